// Numbers, times and states as people read them. Pure: the clock is an argument.

import type { Device } from "../control/wire.ts";

// Making a formatter takes longer than a thousand uses of it.
const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const SECONDS = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const NUMBER = new Intl.NumberFormat("en-GB");

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** `1.4 GB`; decimal units, as disks and networks are sold. */
export function bytes(count: number | undefined): string {
  if (count === undefined || !Number.isFinite(count)) return "";
  const units = ["B", "KB", "MB", "GB", "TB", "PB"];
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const text = unit === 0 || value >= 99.5 ? value.toFixed(0) : value.toPrecision(value >= 9.95 ? 3 : 2);
  return `${text} ${units[unit]}`;
}

/** `16 GB`, as memory is sold: powers of two. */
export function memory(count: number): string {
  return count >= 2 ** 30
    ? `${Number((count / 2 ** 30).toFixed(1))} GB`
    : `${Math.round(count / 2 ** 20)} MB`;
}

/** `5 min`, `3 h`, `12 days`. */
export function span(ms: number): string {
  const length = Math.max(0, ms);
  if (length < MINUTE) return "less than a minute";
  if (length < HOUR) return `${Math.floor(length / MINUTE)} min`;
  if (length < 2 * DAY) return `${Math.floor(length / HOUR)} h`;
  if (length < 730 * DAY) return `${Math.floor(length / DAY)} days`;
  return `${Math.floor(length / (365 * DAY))} years`;
}

/** `just now`, `5 min ago`, `3 h ago`, then the date. */
export function ago(time: number | undefined, now: number): string {
  if (!time) return "";
  const age = now - time;
  // Clocks differ; nothing has happened in the future.
  if (age < MINUTE) return "just now";
  if (age < 7 * DAY) return `${span(age)} ago`;
  return date(time);
}

export function date(time: number): string {
  return DATE.format(time);
}

export function clock(time: number): string {
  return CLOCK.format(time);
}

export function dateTime(time: number | undefined): string {
  return time ? `${date(time)}, ${clock(time)}` : "";
}

/** A time for a list of events: the hour today, else the day too. */
export function moment(time: number, now: number): string {
  const seconds = SECONDS.format(time);
  return new Date(time).toDateString() === new Date(now).toDateString()
    ? seconds
    : `${date(time)}, ${seconds}`;
}

/** `1,234`. */
export function grouped(number: number): string {
  return NUMBER.format(number);
}

export function count(number: number, one: string, many = `${one}s`): string {
  return `${grouped(number)} ${number === 1 ? one : many}`;
}

/** `Firefox on Linux` out of what a browser says of itself. */
export function browserName(agent: string): string {
  const browsers: [RegExp, string][] = [
    [/Edg\//, "Edge"],
    [/OPR\//, "Opera"],
    [/Firefox\//, "Firefox"],
    [/Chrom(e|ium)\//, "Chrome"],
    [/Safari\//, "Safari"],
  ];
  const systems: [RegExp, string][] = [
    [/Android/, "Android"],
    [/iPhone|iPad/, "iOS"],
    [/Windows/, "Windows"],
    [/Mac OS X/, "macOS"],
    [/Linux/, "Linux"],
  ];
  const browser = browsers.find(([pattern]) => pattern.test(agent))?.[1];
  const system = systems.find(([pattern]) => pattern.test(agent))?.[1];
  if (!browser) return plain(agent).slice(0, 60) || "A program";
  return system ? `${browser} on ${system}` : browser;
}

export type State = "on" | "sleep" | "seen" | "off";

/** How a device is. */
export function state(device: Device): State {
  const conn = device.conn ?? 0;
  if (conn & 1) return "on";
  if (conn !== 0) return device.pwr !== undefined && device.pwr >= 2 && device.pwr <= 5 ? "sleep" : "seen";
  return "off";
}

export function stateWords(device: Device): string {
  const conn = device.conn ?? 0;
  const ways = [
    conn & 1 && "agent",
    conn & 2 && "CIRA",
    conn & 12 && "Intel AMT",
    conn & 16 && "MQTT",
  ].filter(Boolean);
  const power = powerWords(device.pwr);
  switch (state(device)) {
    case "on":
      return ways.length > 1 ? `Online by ${ways.join(" and ")}` : "Online";
    case "sleep":
      return `${power}, reachable by ${ways.join(" and ")}`;
    case "seen":
      return `Agent offline, reachable by ${ways.join(" and ")}`;
    case "off":
      return "Offline";
  }
}

export function powerWords(power: number | undefined): string {
  const names = [
    "Unknown",
    "On",
    "Sleeping",
    "Sleeping",
    "Deep sleep",
    "Hibernating",
    "Off",
    "Present",
    "Off",
  ];
  return names[power ?? 0] ?? "Unknown";
}

export type System = "windows" | "linux" | "apple" | "phone" | "unknown";

/** The family of an operating system by what the agent says of itself. */
export function system(device: Device): System {
  const text = (device.osdesc ?? "").toLowerCase();
  if (text.includes("windows")) return "windows";
  if (/mac ?os|darwin|os x/.test(text)) return "apple";
  if (/android|ios/.test(text)) return "phone";
  if (/linux|debian|ubuntu|fedora|bsd|raspbian|suse|centos|red hat|openwrt|alpine|arch|mint/.test(text))
    return "linux";
  const id = device.agent?.id ?? 0;
  if ([1, 2, 3, 4, 34, 42, 43].includes(id)) return "windows";
  if ([16, 29, 10005].includes(id)) return "apple";
  if (id === 14) return "phone";
  return id > 0 ? "linux" : "unknown";
}

/** `Windows 11 Pro` out of `Microsoft Windows 11 Pro - 24H2/26100`. */
export function systemName(device: Device): string {
  return (device.osdesc ?? "")
    .replace(/^Microsoft\s+/, "")
    .replace(/\s+-\s+.*$/, "")
    .replace(/\s+\(.*\)$/, "");
}

/** Texts that agents and people gave may turn the line round or hide in it. */
export function plain(text: string): string {
  // Bidirectional overrides and isolates, zero-width characters, controls.
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, "");
}
