// What the server tells of itself, and what follows from it for people.

import type { Point } from "../parts/plot.tsx";

export interface Certificate {
  role: string;
  subject: string;
  notAfter: string;
}

/** What Intel AMT is activated with. */
export interface Activation {
  certificates: {
    name: string;
    /** The DNS suffix of the computers it is for. */
    domain: string;
    notAfter: string;
    /** SHA-256 of its root, which firmware has to trust. */
    root: string;
  }[];
  /** Why others, or the log, cannot be used. */
  warnings: string[];
}

/** An agent that is not let in, and why, in the server's words. */
export interface Held {
  cause: string;
  why: string;
  /** What would help. */
  fix: string;
  address: string;
  name?: string | null;
  node?: string | null;
  /** The certificate it sees, if that is why. */
  hash?: string | null;
  /** Milliseconds since 1970. */
  first: number;
  last: number;
  times: number;
  /** Connections of it that wait at this moment. */
  waiting: number;
}

/** The answer to `serverhealth`. */
export interface Health {
  version?: string;
  /** Seconds. */
  uptime?: number;
  memory?: { resident: number; cpuSeconds: number };
  agents?: number;
  sessions?: number;
  devices?: number;
  agentPackage?: string | null;
  certificates?: Certificate[];
  certificateErrors?: string[];
  /** Absent where nothing is set up for it. */
  activation?: Activation;
  store?: { degraded?: string | null; unwritten: number; bytesWritten: number };
  /** Refusals since the start, by cause. */
  refused?: Record<string, number>;
  /** What happened last first; full administrators are told. */
  held?: Held[];
}

interface Cause {
  words: string;
  fix: string;
}

const CAUSES: Record<string, Cause> = {
  agent_web_hash: {
    words: "Agents that see another certificate",
    fix: "A proxy ends TLS before this server. Set certUrl to the proxy's address; do not switch the check off.",
  },
  agent_auth: {
    words: "Agents that could not prove who they are",
    fix: "Mostly no agents at all. One of yours has a damaged database: install it again.",
  },
  agent_admission: {
    words: "Agents without a place here",
    fix: "Their group was deleted, or belongs to another server. Make the group anew and install again, or import the old data folder.",
  },
  agent_key: {
    words: "Agents without the agent key",
    fix: "agentKey is set, and these were installed before. Install them again from here.",
  },
  overload: {
    words: "Connections beyond what the server takes at once",
    fix: "Passes by itself; agents come back.",
  },
  tls: {
    words: "Failed TLS handshakes",
    fix: "Mostly scanners. If an agent of yours is among them, look at its clock.",
  },
  http: { words: "Requests that were not HTTP", fix: "Mostly scanners. Nothing to do." },
  websocket: { words: "Broken WebSockets", fix: "A proxy in between may cut long messages." },
  address: {
    words: "Addresses that are not allowed",
    fix: "See agentAllowedIP, userAllowedIP and the blocked ones in config.json.",
  },
  user_auth: {
    words: "Failed logins",
    fix: "If they were not yours: set up the second step for every account.",
  },
  amt_tls: {
    words: "Intel AMT whose TLS failed or is too old",
    fix: "The page Intel AMT says for each connection what happened.",
  },
  amt_auth: {
    words: "Intel AMT with a wrong login",
    fix: "User name and password are on the page of each group; what failed is on the page Intel AMT.",
  },
  banned: {
    words: "Networks locked out after failed logins",
    fix: "They may try again after a while; see maxInvalidLogin.",
  },
};

export interface Refusal extends Cause {
  cause: string;
  number: number;
}

/** Refusals that happened; what concerns agents first. */
export function refusals(refused: Record<string, number>): Refusal[] {
  return Object.entries(refused)
    .filter(([, number]) => number > 0)
    .map(([cause, number]) => ({ cause, number, ...(CAUSES[cause] ?? { words: cause, fix: "" }) }))
    .sort(
      (a, b) =>
        Number(b.cause.startsWith("agent")) - Number(a.cause.startsWith("agent")) || b.number - a.number,
    );
}

/** Agents of one trouble together, those that wait now first. */
export function troubles(held: Held[]): { why: string; fix: string; agents: Held[] }[] {
  const groups = new Map<string, { why: string; fix: string; agents: Held[] }>();
  for (const agent of held) {
    const group = groups.get(agent.cause);
    if (group) group.agents.push(agent);
    else groups.set(agent.cause, { why: agent.why, fix: agent.fix, agents: [agent] });
  }
  const waiting = ({ agents }: { agents: Held[] }) => agents.some((agent) => agent.waiting > 0);
  return [...groups.values()].sort((a, b) => Number(waiting(b)) - Number(waiting(a)));
}

const MONTH = 30 * 86_400_000;

export function expiring(end: number, now: number): "good" | "soon" | "over" {
  if (end < now) return "over";
  return end < now + MONTH ? "soon" : "good";
}

/** What is measured over time. */
export type Measure = "agents" | "memory" | "written";

interface Sample {
  time?: string | number;
  conn?: { ca?: number };
  mem?: { rss?: number };
  disk?: { written?: number };
}

const MEASURED: Record<Measure, (sample: Sample) => number | undefined> = {
  agents: ({ conn }) => conn?.ca,
  memory: ({ mem }) => mem?.rss,
  written: ({ disk }) => disk?.written,
};

/** One number of each measurement of `servertimelinestats`. */
export function measured(events: unknown, what: Measure): Point[] {
  if (!Array.isArray(events)) return [];
  return events
    .map((event: Sample) => ({
      at: typeof event.time === "number" ? event.time : Date.parse(event.time ?? ""),
      value: MEASURED[what](event) ?? NaN,
    }))
    .filter(({ at, value }) => Number.isFinite(at) && Number.isFinite(value))
    .sort((a, b) => a.at - b.at);
}

/** What is to be said of a configuration file. */
export interface Remarks {
  /** With these the server does not start. */
  problems: string[];
  warnings: string[];
}

/** The member `check` of `serverconfig`; `null` if the server does not tell. */
export function configuration(check: unknown): Remarks | null {
  if (typeof check !== "object" || check === null) return null;
  const { problems, warnings } = check as Record<string, unknown>;
  const texts = (list: unknown) =>
    Array.isArray(list) ? list.filter((text): text is string => typeof text === "string") : [];
  return { problems: texts(problems), warnings: texts(warnings) };
}
