// What this account sees and may do, for lists of choices.

import { client, me, store } from "./state.ts";
import type { Group } from "../control/wire.ts";
import { effective, has } from "../model/rights.ts";

const order = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/** Compares names as people sort them: `pc2` before `pc10`. */
export const compareNames = (a: string, b: string): number => order.compare(a, b);

/** All groups by name. */
export function sortedGroups(): Group[] {
  return [...store.groups.values()].sort((a, b) => compareNames(a.name, b.name));
}

export function groupRights(group: Group): number {
  return effective(me(), group, undefined, client.greeting.value?.server.manageAllDeviceGroups ?? false);
}

/** Agent groups on which this account has a right. */
export function groupsWith(right: number): Group[] {
  return sortedGroups().filter((group) => group.mtype === 2 && has(groupRights(group), right));
}
