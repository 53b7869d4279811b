// Rights on devices and on the server, and what each of them means in words. The server decides;
// the page uses the same rules to leave out what would be refused.

import type { Device, Group, User } from "../control/wire.ts";

export const FULL = 0xffffffff;

export const Right = {
  editGroup: 1,
  manageUsers: 2,
  manageDevices: 4,
  remoteControl: 8,
  agentConsole: 16,
  serverFiles: 32,
  wake: 64,
  notes: 128,
  viewOnly: 256,
  noTerminal: 512,
  noFiles: 1024,
  noAmt: 2048,
  limitedInput: 4096,
  ownEventsOnly: 8192,
  chat: 16384,
  uninstall: 32768,
  noDesktop: 65536,
  runCommands: 131072,
  power: 262144,
  guestSharing: 524288,
  details: 1048576,
  relay: 2097152,
} as const;

export const Site = {
  backup: 1,
  manageUsers: 2,
  restore: 4,
  files: 8,
  update: 16,
  locked: 32,
  noNewGroups: 64,
  noTools: 128,
  userGroups: 256,
  recordings: 512,
  lockSettings: 1024,
  allEvents: 2048,
  noNewDevices: 4096,
} as const;

export interface Meaning {
  bit: number;
  words: string;
  hint?: string;
}

/** What a right lets somebody do with the devices of a group, or with one device. */
export const RIGHTS: { title: string; rights: Meaning[] }[] = [
  {
    title: "Use",
    rights: [
      { bit: Right.remoteControl, words: "Remote control", hint: "desktop, terminal and files" },
      { bit: Right.chat, words: "Chat and messages" },
      { bit: Right.notes, words: "Read and write notes" },
      { bit: Right.details, words: "See hardware and network" },
      { bit: Right.relay, words: "Reach ports behind the device" },
    ],
  },
  {
    title: "Power and commands",
    rights: [
      { bit: Right.wake, words: "Wake" },
      { bit: Right.power, words: "Restart, sleep and power off" },
      { bit: Right.runCommands, words: "Run commands" },
      { bit: Right.agentConsole, words: "Agent console" },
      { bit: Right.uninstall, words: "Remove the device, uninstall its agent" },
    ],
  },
  {
    title: "Administer",
    rights: [
      { bit: Right.editGroup, words: "Edit the group" },
      { bit: Right.manageUsers, words: "Decide who has which rights" },
      { bit: Right.manageDevices, words: "Add and edit devices" },
      { bit: Right.serverFiles, words: "Files of the group on the server" },
      { bit: Right.guestSharing, words: "Share devices with guests" },
    ],
  },
];

/** Limits: a set bit takes something away. */
export const LIMITS: Meaning[] = [
  { bit: Right.viewOnly, words: "May look at the desktop but not touch it" },
  { bit: Right.limitedInput, words: "Limited input: no special keys" },
  { bit: Right.noDesktop, words: "No desktop" },
  { bit: Right.noTerminal, words: "No terminal" },
  { bit: Right.noFiles, words: "No files" },
  { bit: Right.noAmt, words: "No Intel AMT" },
  { bit: Right.ownEventsOnly, words: "Sees only events of his or her own" },
];

/** Rights on the server. */
export const SITE_RIGHTS: Meaning[] = [
  { bit: Site.manageUsers, words: "Manage accounts" },
  { bit: Site.userGroups, words: "Manage user groups" },
  { bit: Site.files, words: "Own files on the server" },
  { bit: Site.recordings, words: "See recordings" },
  { bit: Site.allEvents, words: "See the events of all groups" },
  { bit: Site.backup, words: "Take backups" },
  { bit: Site.restore, words: "Restore backups" },
  { bit: Site.update, words: "Update the server" },
];

export const SITE_LIMITS: Meaning[] = [
  { bit: Site.locked, words: "Account is locked" },
  { bit: Site.noNewGroups, words: "May not make device groups" },
  { bit: Site.noNewDevices, words: "May not add devices" },
  { bit: Site.noTools, words: "Only this page, no tools" },
  { bit: Site.lockSettings, words: "May not change the own account" },
];

/** What is agreed with the person at the device. */
export const CONSENT: Meaning[] = [
  { bit: 1, words: "Tell about desktop sessions" },
  { bit: 2, words: "Tell about terminal sessions" },
  { bit: 4, words: "Tell about file sessions" },
  { bit: 8, words: "Ask before desktop sessions" },
  { bit: 16, words: "Ask before terminal sessions" },
  { bit: 32, words: "Ask before file sessions" },
  { bit: 64, words: "Show a bar while the desktop is watched" },
];

/** Behaviour of a group. */
export const GROUP_FLAGS: Meaning[] = [
  { bit: 1, words: "Forget devices when they disconnect" },
  { bit: 2, words: "Follow the host name of the device" },
  { bit: 8, words: "Prefer the name the agent gives" },
  { bit: 4, words: "Record sessions" },
];

export function has(rights: number, bit: number): boolean {
  return rights >>> 0 === FULL || (rights & bit) !== 0;
}

/** Whether a restriction is imposed; full rights know none. */
export function limited(rights: number, bit: number): boolean {
  return rights >>> 0 !== FULL && (rights & bit) !== 0;
}

const REMOVABLE =
  Right.remoteControl | Right.agentConsole | Right.wake | Right.uninstall | Right.runCommands | Right.power;
const IMPOSABLE = Right.viewOnly | Right.noTerminal | Right.noFiles | Right.noDesktop;
const PLAIN_FULL = 0x1e_c0ef;

/** What `user` may do with `group`, or with `device` of it. */
export function effective(user: User, group: Group | undefined, device?: Device, all = false): number {
  let rights = 0;
  const holders = [user._id, ...Object.keys(user.links ?? {}).filter((id) => id.startsWith("ugrp/"))];
  const add = (bits: number | undefined) => {
    if (bits === undefined || rights >>> 0 === FULL) return;
    rights = bits >>> 0 === FULL ? FULL : (rights | bits) >>> 0;
  };
  if (all && (user.siteadmin ?? 0) >>> 0 === FULL) add(FULL);
  if (group) add(user.links?.[group._id]?.rights);
  if (device) add(user.links?.[device._id]?.rights);
  for (const holder of holders) {
    add(group?.links?.[holder]?.rights);
    add(device?.links?.[holder]?.rights);
  }
  return without(rights, user.removeRights ?? 0);
}

function without(rights: number, removed: number): number {
  if (removed === 0 || rights === 0) return rights;
  const base = rights >>> 0 === FULL ? PLAIN_FULL : rights;
  return ((base & ~(removed & REMOVABLE)) | (removed & IMPOSABLE)) >>> 0;
}

export function siteHas(user: User | undefined, bit: number): boolean {
  return has(user?.siteadmin ?? 0, bit);
}

export function isAdministrator(user: User | undefined): boolean {
  return (user?.siteadmin ?? 0) >>> 0 === FULL;
}

/** Rights in a few words: for lists. */
export function summary(rights: number): string {
  if (rights >>> 0 === FULL) return "Everything";
  const granted = RIGHTS.flatMap((part) => part.rights).filter(({ bit }) => rights & bit);
  const limits = LIMITS.filter(({ bit }) => rights & bit);
  if (granted.length === 0) return "Sees it";
  const first = granted
    .slice(0, 3)
    .map(({ words }) => words)
    .join(", ");
  const more = granted.length > 3 ? ` and ${granted.length - 3} more` : "";
  return first + more + (limits.length > 0 ? ", limited" : "");
}

/** Site rights in a few words. */
export function siteSummary(rights: number): string {
  if (rights >>> 0 === FULL) return "Administrator";
  if (rights & Site.locked) return "Locked";
  if (rights & Site.manageUsers) return "Manages accounts";
  return "User";
}
