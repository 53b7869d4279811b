// What firmware says, as the answers of `amtread` have it, in words. Nothing of it is trusted to have
// the form it should have.

import { plain } from "../model/format.ts";

export interface Power {
  /** MeshCentral's number. */
  shown: number | undefined;
  /** Numbers of the firmware that may be asked for now; none where it does not say. */
  offered: number[];
}

type Bag = Record<string, unknown>;

function bag(value: unknown): Bag {
  return typeof value === "object" && value !== null ? (value as Bag) : {};
}

const numbers = (value: unknown): number[] =>
  Array.isArray(value) ? value.filter((one): one is number => typeof one === "number") : [];

export function powerIn(value: unknown): Power {
  const { offered, pwr } = bag(value);
  return { shown: typeof pwr === "number" ? pwr : undefined, offered: numbers(offered) };
}

export interface LogRecord {
  /** Milliseconds since 1970, by the clock of the firmware. */
  time: number;
  text: string;
  /** 8 and more are troubles; audit entries have none. */
  severity: number | undefined;
  /** Numbers of what happened: a sensor and its event, or a part of the firmware and its event. */
  kind: string;
  /** Who did it, and from where, in the audit log. */
  initiator: string;
  address: string;
  /** What more there is, in hexadecimal. */
  data: string;
}

const text = (value: unknown): string => (typeof value === "string" ? value : "");

/** Records of the event log or of the audit log, newest first. */
export function eventsIn(value: unknown): LogRecord[] {
  if (!Array.isArray(value)) return [];
  const records = value.map((one) => {
    const record = bag(one);
    const { time, severity, sensor, offset, app, event } = record;
    const words = text(record["text"]);
    const numbers = sensor === undefined ? [app, event] : [sensor, offset];
    const kind = numbers.map((number) => (typeof number === "number" ? String(number) : "?")).join("/");
    return {
      time: typeof time === "number" && Number.isFinite(time) ? time * 1000 : 0,
      text: words === "" ? `Event ${kind}` : words,
      severity: typeof severity === "number" ? severity : undefined,
      kind,
      initiator: text(record["initiator"]),
      address: text(record["address"]),
      data: text(record["data"]),
    };
  });
  return records.sort((a, b) => b.time - a.time);
}

export function logLine({ text }: LogRecord): string {
  return plain(text).slice(0, 500);
}

export function logWho({ initiator, address }: LogRecord): string {
  return [initiator, address].filter(Boolean).map(plain).join(", ");
}

export function severityWords(severity: number): string {
  if (severity >= 32) return "fatal";
  return severity >= 16 ? "critical" : "warning";
}

/** Parts of the firmware and their versions. */
export function versionsIn(value: unknown): [string, string][] {
  return Object.entries(bag(value)).map(([part, version]) => [plain(part), text(version)]);
}
