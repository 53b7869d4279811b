// Settings of the firmware as the answers of `amtread` have them, and changes of its hardware. What
// has not the form it should have is left out.

type Bag = Record<string, unknown>;

const bag = (value: unknown): Bag => (typeof value === "object" && value !== null ? (value as Bag) : {});
const list = (value: unknown): Bag[] => (Array.isArray(value) ? value.slice(0, 500).map(bag) : []);
const text = (value: unknown): string => (typeof value === "string" ? value.slice(0, 300) : "");
const texts = (value: unknown): string[] => (Array.isArray(value) ? value.map(text).filter(Boolean) : []);
const number = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isFinite(value) ? value : undefined;
const flag = (value: unknown): boolean | undefined => (typeof value === "boolean" ? value : undefined);

export const FEATURES = [
  ["desktop", "Screen (KVM)"],
  ["serial", "Serial line (SOL)"],
  ["storage", "Drives (IDER)"],
] as const;

export type FeatureName = (typeof FEATURES)[number][0];

export const CONSENT_WORDS = {
  none: "Nobody is asked",
  desktop: "For the screen",
  all: "For everything",
} as const;

export type ConsentFor = keyof typeof CONSENT_WORDS;

/** Settings; a part that the firmware has not is absent. */
export interface Settings {
  features: Partial<Record<FeatureName, boolean>>;
  consent: ConsentFor | undefined;
  /** Seconds somebody has to answer. */
  consentTimeout: number | undefined;
  /** Seconds the clock is ahead of the server's. */
  ahead: number | undefined;
  /** Milliseconds since 1970 by the clock of the firmware. */
  clock: number | undefined;
  hostname: string | undefined;
  domain: string | undefined;
  tls: { remote: boolean; local: boolean; mutual: boolean } | undefined;
  cira: { servers: string[]; triggers: string[]; home: string[]; connected: boolean } | undefined;
  wireless: { name: string; words: string }[] | undefined;
}

export function settingsIn(value: unknown): Settings {
  const all = bag(value);
  const features: Settings["features"] = {};
  for (const [name] of FEATURES) {
    const is = flag(all[name]);
    if (is !== undefined) features[name] = is;
  }
  const consent = text(all["consent"]);
  const clock = bag(all["clock"]);
  const [theirs, ours] = [number(clock["firmware"]), number(clock["server"])];
  const tls = bag(all["tls"]);
  const cira = bag(all["cira"]);
  return {
    features,
    consent: Object.hasOwn(CONSENT_WORDS, consent) ? (consent as ConsentFor) : undefined,
    consentTimeout: number(all["consentTimeout"]),
    ahead: theirs !== undefined && ours !== undefined ? theirs - ours : undefined,
    clock: theirs === undefined ? undefined : theirs * 1000,
    hostname: typeof all["hostname"] === "string" ? text(all["hostname"]) : undefined,
    domain: typeof all["domain"] === "string" ? text(all["domain"]) : undefined,
    tls: all["tls"] === undefined ? undefined : switches(tls, ["remote", "local", "mutual"]),
    cira:
      all["cira"] === undefined
        ? undefined
        : {
            servers: list(cira["servers"]).map(server).filter(Boolean),
            triggers: texts(cira["triggers"]),
            home: texts(cira["home"]),
            connected: cira["connected"] === true,
          },
    wireless: all["wireless"] === undefined ? undefined : list(all["wireless"]).map(profile),
  };
}

function switches<T extends string>(from: Bag, names: T[]): Record<T, boolean> {
  return Object.fromEntries(names.map((name) => [name, from[name] === true])) as Record<T, boolean>;
}

function server(one: Bag): string {
  const [address, port] = [text(one["address"]), number(one["port"])];
  return address === "" || port === undefined ? address : `${address}:${port}`;
}

function profile(one: Bag): Settings["wireless"] extends (infer P)[] | undefined ? P : never {
  const more = [text(one["ssid"]), one["security"] === undefined ? "" : String(one["security"])];
  return { name: text(one["name"]), words: more.filter(Boolean).join(", ").slice(0, 300) };
}

/** How far a clock is off, in words. */
export function aheadWords(seconds: number): string {
  const off = Math.abs(Math.round(seconds));
  if (off <= 2) return "as the server's";
  const words =
    off < 120 ? `${off} s` : off < 7200 ? `${Math.round(off / 60)} min` : `${Math.round(off / 3600)} h`;
  return seconds > 0 ? `${words} ahead of the server's` : `${words} behind the server's`;
}

const TRIGGER_WORDS: Record<string, string> = {
  user: "when somebody there asks for help",
  alert: "on alerts",
  periodic: "at intervals",
  home: "to be provisioned",
};

/** What makes the firmware call, in words. */
export const triggerWords = (trigger: string): string =>
  Object.hasOwn(TRIGGER_WORDS, trigger) ? (TRIGGER_WORDS[trigger] as string) : trigger;

export type Access = "local" | "network" | "any";

export const ACCESS_WORDS: Record<Access, string> = {
  local: "At the computer",
  network: "From the network",
  any: "From everywhere",
};

/** Parts of the firmware somebody may use, by the firmware's numbers. */
export const REALMS: [number, string][] = [
  [2, "Redirection: screen, serial line, drives"],
  [3, "Administration"],
  [4, "Hardware"],
  [5, "Remote control: power and starts"],
  [6, "Storage"],
  [7, "Event manager"],
  [8, "Storage administration"],
  [9, "Agents, at the computer"],
  [10, "Agents, remote"],
  [11, "Circuit breaker"],
  [12, "Clock"],
  [13, "General information"],
  [14, "Firmware update"],
  [15, "Implementation (EIT)"],
  [16, "Local notification"],
  [17, "Endpoint access control"],
  [18, "Endpoint access administration"],
  [19, "Event log"],
  [20, "Audit log"],
  [21, "Users"],
  [24, "Local system"],
];

/** A user of the firmware. The administrator has no handle. */
export interface FirmwareUser {
  handle: number | undefined;
  name: string;
  access: Access;
  realms: number[];
  enabled: boolean;
  admin: boolean;
}

/** Whether firmware made it for itself: it is shown and left alone. */
export const isOwn = ({ name }: FirmwareUser): boolean => name.startsWith("$$");

export function usersIn(value: unknown): FirmwareUser[] {
  return list(value).map((one) => {
    const access = text(one["access"]);
    const realms = Array.isArray(one["realms"]) ? one["realms"] : [];
    return {
      handle: number(one["handle"]),
      name: text(one["name"]),
      access: Object.hasOwn(ACCESS_WORDS, access) ? (access as Access) : "any",
      realms: realms.filter((realm): realm is number => typeof realm === "number"),
      enabled: one["enabled"] !== false,
      admin: one["admin"] === true,
    };
  });
}

export interface Alarm {
  name: string;
  /** Milliseconds since 1970. */
  start: number;
  /** Seconds; 0 once. */
  interval: number;
  /** It is gone when it has rung. */
  removed: boolean;
}

export function alarmsIn(value: unknown): Alarm[] {
  return list(value).map((one) => ({
    name: text(one["name"]),
    start: (number(one["start"]) ?? 0) * 1000,
    interval: number(one["interval"]) ?? 0,
    removed: one["removed"] === true,
  }));
}

export const REPEATS: [string, string][] = [
  ["0", "Once"],
  ["3600", "Every hour"],
  ["86400", "Every day"],
  ["604800", "Every week"],
];

/** How often an alarm rings, in words. */
export function repeatWords(interval: number): string {
  const known = REPEATS.find(([seconds]) => Number(seconds) === interval);
  if (known) return known[1].toLowerCase();
  const hours = interval / 3600;
  return hours >= 1
    ? `every ${Math.round(hours * 10) / 10} hours`
    : `every ${Math.round(interval / 60)} minutes`;
}

export interface Change {
  /** Milliseconds since 1970, by the server's clock. */
  time: number;
  path: string;
  was: string | null;
  is: string | null;
}

/** Changes of the hardware, newest first. */
export function changesIn(value: unknown): Change[] {
  const words = (one: unknown): string | null =>
    typeof one === "number" || typeof one === "boolean" ? String(one) : text(one) || null;
  return list(value).map((one) => ({
    time: number(one["time"]) ?? 0,
    path: text(one["path"]),
    was: words(one["was"]),
    is: words(one["is"]),
  }));
}

/** `identifiers.bios_version` as people say it. */
export function pathWords(path: string): string {
  return path
    .split(/[./]/)
    .filter((part) => part !== "windows" && part !== "identifiers" && part !== "")
    .map((part) => (/^\d+$/.test(part) ? String(Number(part) + 1) : part.replaceAll("_", " ")))
    .join(" ");
}

export interface FirmwareCertificate {
  subject: string;
  issuer: string;
  root: boolean;
}

export function certificatesIn(value: unknown): FirmwareCertificate[] {
  return list(value).map((one) => ({
    subject: text(one["subject"]),
    issuer: text(one["issuer"]),
    root: one["root"] === true,
  }));
}
