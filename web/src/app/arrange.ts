// From the devices that are known to the rows of the list: filtered, grouped, sorted, with heights.

import type { Device, Group } from "../control/wire.ts";
import { compile } from "../model/filter.ts";
import { state } from "../model/format.ts";
import type { Row } from "../parts/virtual.tsx";

export interface Options {
  filter: string;
  sort: "name" | "state" | "system" | "seen";
  view: "list" | "tiles";
  folded: ReadonlySet<string>;
  /** Tiles side by side. */
  columns: number;
  rowHeight: number;
  tileHeight: number;
}

export type ListRow = Row &
  (
    | {
        kind: "group";
        id: string;
        name: string;
        group: Group | undefined;
        count: number;
        online: number;
        folded: boolean;
      }
    | { kind: "device"; device: Device; first: boolean; last: boolean }
    | { kind: "tiles"; devices: Device[] }
  );

export interface Arranged {
  rows: ListRow[];
  /** Devices in the order of the rows. */
  devices: Device[];
  /** Row of each device. */
  places: Map<string, number>;
  matching: number;
}

export const GROUP_HEIGHT = 48;
/** The group of devices that were given to somebody without their group. */
const WITHOUT = "";

const names = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
const RANK = { on: 0, sleep: 1, seen: 2, off: 3 };

export function arrange(
  devices: readonly Device[],
  groups: ReadonlyMap<string, Group>,
  lastSeen: ReadonlyMap<string, number>,
  options: Options,
): Arranged {
  const ranks = ranked(devices);
  const matches = compile(options.filter);
  const context = { groupName: (device: Device) => groups.get(device.meshid)?.name ?? "" };
  const parts = new Map<string, Device[]>();
  // An empty group has its place, unless something is looked for.
  if (options.filter.trim() === "") for (const id of groups.keys()) parts.set(id, []);
  let matching = 0;
  for (const device of devices) {
    if (!matches(device, context)) continue;
    matching += 1;
    const id = groups.has(device.meshid) ? device.meshid : WITHOUT;
    const part = parts.get(id);
    if (part) part.push(device);
    else parts.set(id, [device]);
  }
  const ids = [...parts.keys()].sort(
    (a, b) => order(a, b) || names.compare(groups.get(a)?.name ?? "", groups.get(b)?.name ?? ""),
  );
  const compare = comparison(options.sort, ranks, lastSeen);
  const arranged: Arranged = { rows: [], devices: [], places: new Map(), matching };
  for (const id of ids)
    addGroup(arranged, id, groups.get(id), (parts.get(id) as Device[]).sort(compare), options);
  return arranged;
}

/** What has no group comes last. */
function order(a: string, b: string): number {
  return Number(a === WITHOUT) - Number(b === WITHOUT);
}

function addGroup(
  into: Arranged,
  id: string,
  group: Group | undefined,
  devices: Device[],
  options: Options,
): void {
  const folded = options.folded.has(id) && options.filter.trim() === "";
  into.rows.push({
    kind: "group",
    key: `group ${id}`,
    height: GROUP_HEIGHT,
    id,
    name: group?.name ?? "Shared with me",
    group,
    count: devices.length,
    online: devices.filter((device) => state(device) === "on").length,
    folded,
  });
  if (folded) return;
  if (options.view === "list") {
    devices.forEach((device, n) => {
      into.places.set(device._id, into.rows.length);
      const [first, last] = [n === 0, n === devices.length - 1];
      into.rows.push({ kind: "device", key: device._id, height: options.rowHeight, device, first, last });
    });
  } else {
    for (let n = 0; n < devices.length; n += options.columns) {
      const some = devices.slice(n, n + options.columns);
      for (const device of some) into.places.set(device._id, into.rows.length);
      into.rows.push({ kind: "tiles", key: `tiles ${id} ${n}`, height: options.tileHeight, devices: some });
    }
  }
  into.devices.push(...devices);
}

/** Places of names in their order. Comparing names as people do is slow, and they hardly change. */
let places: ReadonlyMap<string, number> = new Map();

function ranked(devices: readonly Device[]): ReadonlyMap<string, number> {
  if (devices.every(({ name }) => places.has(name))) return places;
  const sorted = [...new Set(devices.map(({ name }) => name))].sort(names.compare);
  places = new Map(sorted.map((name, n) => [name, n]));
  return places;
}

function comparison(
  sort: Options["sort"],
  ranks: ReadonlyMap<string, number>,
  lastSeen: ReadonlyMap<string, number>,
) {
  const byName = (a: Device, b: Device) => (ranks.get(a.name) ?? 0) - (ranks.get(b.name) ?? 0);
  switch (sort) {
    case "name":
      return byName;
    case "state":
      return (a: Device, b: Device) => RANK[state(a)] - RANK[state(b)] || byName(a, b);
    case "system":
      return (a: Device, b: Device) => compareTexts(a.osdesc, b.osdesc) || byName(a, b);
    case "seen":
      return (a: Device, b: Device) => Math.sign(seen(b, lastSeen) - seen(a, lastSeen)) || byName(a, b);
  }
}

/** What is not known comes last. */
function compareTexts(a = "\uffff", b = "\uffff"): number {
  return a < b ? -1 : Number(a > b);
}

function seen(device: Device, lastSeen: ReadonlyMap<string, number>): number {
  return state(device) === "on" ? Number.MAX_SAFE_INTEGER : (lastSeen.get(device._id) ?? 0);
}
