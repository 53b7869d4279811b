// Where the page is: the part of the address after `#`. The server is asked for one document only,
// so that a tenant's prefix and a reload change nothing.

import { signal } from "@preact/signals";

import { lasting } from "../control/address.ts";

export interface Route {
  page: string;
  rest: string[];
  query: URLSearchParams;
}

export function parse(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#?\/?/, "").split("?", 2);
  const [page = "", ...rest] = path.split("/").filter(Boolean).map(decode);
  return { page: page === "" ? "devices" : page, rest, query: new URLSearchParams(query) };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Why a login by a link failed, if one did. */
export const loginFailed = signal("");

/** The id of a chat that somebody came for, who had to log in first. */
export const wanted = signal("");

/** The address of a page. */
export function to(...parts: string[]): string {
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

export const route = signal<Route>(parse(typeof location === "undefined" ? "" : location.hash));

export function go(...parts: string[]): void {
  location.hash = to(...parts);
}

/** Changes the query of the address without a step in the history. */
export function setQuery(name: string, value: string): void {
  const { page, rest, query } = route.peek();
  const next = new URLSearchParams(query);
  if (value) next.set(name, value);
  else next.delete(name);
  const text = next.toString();
  history.replaceState(null, "", to(page, ...rest) + (text ? `?${text}` : ""));
  route.value = { page, rest, query: next };
}

/** MeshCentral's numbers of the tabs, for addresses made by other programs. */
const VIEWS: Record<string, string> = {
  "10": "general",
  "11": "desktop",
  "12": "terminal",
  "13": "files",
  "14": "amt",
  "15": "console",
  "16": "events",
  "17": "details",
};

/** Follows the address from now on. `?gotonode=&viewmode=&hide=` of other programs is understood. */
export function follow(): void {
  const asked = new URLSearchParams(location.search);
  const node = asked.get("gotonode");
  if (Number(asked.get("hide") ?? 0) & 1) document.documentElement.dataset["embedded"] = "";
  const chat = asked.get("meshmessengerid");
  if (chat) wanted.value = chat;
  loginFailed.value = asked.get("login-failed") ?? "";
  if (location.search !== "") {
    // Whatever it was, it has been read; it may have been a login and belongs in no history.
    const hash = node ? to("device", node, VIEWS[asked.get("viewmode") ?? ""] ?? "general") : location.hash;
    history.replaceState(null, "", location.pathname + lasting() + hash);
  }
  route.value = parse(location.hash);
  addEventListener("hashchange", () => {
    route.value = parse(location.hash);
  });
}
