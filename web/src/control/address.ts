// Addresses on the server. All are relative to the page, which may be that of a tenant below `/`.

/** A tenant may want a `?key=` with every request (`loginKey`); it came with the page's address. */
const key = typeof location === "undefined" ? null : new URLSearchParams(location.search).get("key");

/** That key, for what is run elsewhere. */
export function loginKey(): string | null {
  return key;
}

/** Where `path` is, for `fetch`. */
export function at(path: string): string {
  return key === null ? path : `${path}?key=${encodeURIComponent(key)}`;
}

/** Where the control channel is. */
export function channel(): string {
  return socket("control.ashx");
}

/** Where a viewer's end of a tunnel goes. */
export function relay(query: string): string {
  return page("meshrelay.ashx", query);
}

/** Where another WebSocket is. */
export function page(path: string, query: string): string {
  const address = socket(path);
  return `${address}${address.includes("?") ? "&" : "?"}${query}`;
}

function socket(path: string): string {
  const url = new URL(at(path), new URL(".", location.href));
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = "";
  return url.href;
}

/** The query that has to stay in the address bar. */
export function lasting(): string {
  return key === null ? "" : `?key=${encodeURIComponent(key)}`;
}
