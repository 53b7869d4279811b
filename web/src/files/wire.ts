// What an agent and a viewer of its files say to each other. Names come from the device and are
// only names: nothing of them is ever markup, an address, or a path of this side.

export interface Entry {
  name: string;
  kind: "drive" | "folder" | "file";
  /** Bytes; of a drive its whole size. */
  size: number;
  /** Milliseconds since 1970; 0 if unknown. */
  changed: number;
}

/** Most entries of one folder that are shown. */
export const MOST = 20_000;

/** The entries of an `ls` answer; `null` if the folder cannot be read. */
export function entries(dir: unknown): Entry[] | null {
  if (!Array.isArray(dir)) return null;
  const kinds: Record<number, Entry["kind"]> = { 1: "drive", 2: "folder", 3: "file" };
  const read: Entry[] = [];
  for (const item of dir.slice(0, MOST)) {
    if (typeof item !== "object" || item === null) continue;
    const { n, t, s, d } = item as Record<string, unknown>;
    const kind = kinds[t as number];
    if (typeof n !== "string" || n === "" || kind === undefined) continue;
    const changed = typeof d === "string" ? Date.parse(d) : 0;
    read.push({
      name: n,
      kind,
      size: typeof s === "number" && s >= 0 ? s : 0,
      changed: Number.isFinite(changed) ? changed : 0,
    });
  }
  return read;
}

/** Whether a name is one part of a path, and so can be acted on. */
export function isPlainName(name: string): boolean {
  return name !== "" && name !== "." && name !== ".." && !/[/\\\u0000]/.test(name);
}

/** The path of `name` in `folder`; both kinds of systems take `/`. */
export function join(folder: string, name: string): string {
  if (folder === "" || folder === "/") return `${folder}${name}`;
  return `${folder.replace(/\/+$/, "")}/${name}`;
}

/** The folder above. */
export function above(folder: string): string {
  const path = folder.replace(/\/+$/, "");
  const cut = path.lastIndexOf("/");
  if (cut < 0) return "";
  return cut === 0 ? "/" : path.slice(0, cut);
}

/** The parts of a path, each with the path up to it. */
export function crumbs(folder: string): { name: string; path: string }[] {
  const rooted = folder.startsWith("/");
  let path = "";
  return folder
    .split("/")
    .filter(Boolean)
    .map((name) => {
      path = path === "" ? (rooted ? `/${name}` : name) : `${path}/${name}`;
      return { name, path };
    });
}

/** Data of an upload: what would look like JSON or like the mark itself gets a zero before it. */
export function escape(data: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (data[0] !== 0x7b && data[0] !== 0) return data;
  const escaped = new Uint8Array(data.length + 1);
  escaped.set(data, 1);
  return escaped;
}

/** A block of a download: `01 00 00 F`, then data; the lowest bit of F marks the last. */
export function block(message: ArrayBuffer): { data: Uint8Array<ArrayBuffer>; last: boolean } | null {
  if (message.byteLength < 4) return null;
  const head = new DataView(message).getUint32(0);
  if (head >>> 24 !== 1) return null;
  return { data: new Uint8Array(message, 4), last: (head & 1) !== 0 };
}
