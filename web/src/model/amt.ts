// Intel AMT that calls in: what became of its connections, and what helps.
//
// Source: the answers of `mpsjournal` and `mpssetup`; the words of its steps are the server's.

import type { Device } from "../control/wire.ts";

export interface Step {
  /** Milliseconds after the beginning. */
  ms: number;
  text: string;
}

/** One connection to the Intel AMT port. */
export interface Attempt {
  remote: string;
  /** Milliseconds since 1970. */
  time: number;
  uuid: string | null;
  nodeid: string | null;
  ended: boolean;
  steps: Step[];
}

/** What is entered into the firmware of a computer. */
export interface Setup {
  host: string;
  port: number;
  user: string;
  password: string;
  /** Where the root certificate is, below the page's own address. */
  root: string;
}

/** The connections in an answer, newest first. */
export function attempts(journal: unknown): Attempt[] {
  return Array.isArray(journal) ? (journal as Attempt[]) : [];
}

export type Outcome = "connected" | "failed" | "ended" | "open" | "browser";

export function outcome(attempt: Attempt): Outcome {
  const last = attempt.steps.at(-1)?.text ?? "";
  if (last.startsWith("a browser")) return "browser";
  const wasIn = attempt.steps.some(({ text }) => text === "let in");
  if (wasIn) return attempt.ended ? "ended" : "connected";
  return attempt.ended ? "failed" : "open";
}

const ADVICE: [RegExp, string][] = [
  [
    /feature legacy-amt/,
    "Its firmware is older than version 12 and speaks an old TLS only. A build of the server with the feature legacy-amt serves it.",
  ],
  [/mpsHighSecurity/, "mpsHighSecurity in config.json forbids the TLS that this firmware speaks."],
  [
    /did not speak TLS/,
    "Something other than Intel AMT, or a proxy that ended TLS on the way: it must pass TLS on.",
  ],
  [
    /^TLS failed/,
    "The firmware does not trust the root certificate, or the server's name entered there is not the one in its certificate.",
  ],
  [
    /no device group goes by this user name/,
    "The user name is not that of a group: see the group's Intel AMT card.",
  ],
  [
    /several device groups go by this user name/,
    "Two groups have ids that begin alike. Make one of them anew.",
  ],
  [/wrong password/, "The password is not the one on the group's Intel AMT card."],
  [
    /did not log in by password/,
    "The firmware is set to log in by certificate. Set it to user name and password.",
  ],
  [/its cookie is not/, "The agent's pass was too old. It gets a new one by itself."],
  [/holds no Intel AMT computers/, "Use a group for agents or for Intel AMT."],
  [/one that many mainboards have/, "The maker set no UUID. Give it one of its own in the BIOS."],
  [/devices have reported this UUID/, "Remove the device that is not this computer."],
  [
    /in a group of another kind/,
    "Its device is in a group where Intel AMT does not belong. Move it, or remove it there.",
  ],
  [/limits\.maxDevices/, "There is no room for more devices: see maxDevices in config.json."],
  [/two computers have this UUID/, "They take the place from each other. Give one of them another UUID."],
  [
    /did not log in in time|nothing was said/,
    "It connected and fell silent: mostly a scanner, or a broken line.",
  ],
  [/did not answer for/, "The computer lost its network or its power. It calls again by itself."],
  [/a newer tunnel/, "It called again before the old connection had ended. Nothing to do."],
];

/** What helps, if anything is known to. */
export function advice(attempt: Attempt): string | undefined {
  const texts = attempt.steps.map(({ text }) => text).reverse();
  return ADVICE.find(([pattern]) => texts.some((text) => pattern.test(text)))?.[1];
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The UUID of the computer: as reported, or as its id has it when there is nothing but Intel AMT. */
export function uuidOf(device: Device): string | undefined {
  const reported = device.intelamt?.uuid?.toLowerCase();
  if (reported && UUID.test(reported)) return reported;
  const key = device._id.slice(device._id.lastIndexOf("/") + 1);
  let bytes: string;
  try {
    bytes = atob(key.replace(/@/g, "+").replace(/\$/g, "/"));
  } catch {
    return undefined;
  }
  const third = bytes.slice(0, 16);
  if (bytes !== third.repeat(3) || third.length !== 16) return undefined;
  const hex = [...third].map((letter) => letter.charCodeAt(0).toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** How its Intel AMT is connected, in words; empty if it is not. */
export function connectionWords(device: Device): string {
  const conn = device.conn ?? 0;
  const ways = [
    conn & 2 && "by itself (CIRA)",
    conn & 4 && "in the local network",
    conn & 8 && "through a relay",
  ];
  return ways.filter(Boolean).join(", ");
}

/** Whether a device has anything to do with Intel AMT. */
export function hasAmt(device: Device): boolean {
  return device.mtype === 1 || device.intelamt !== undefined || ((device.conn ?? 0) & 14) !== 0;
}
