// A scan of the local network as the page follows it: what events say about it, in order.

import type { Happening } from "../control/wire.ts";

/** Intel AMT that was found. */
export interface Found {
  address: string;
  name: string;
  /** `0.0` if it does not say. */
  version: string;
  tls: boolean;
  /** 0 not activated, 1 being activated, 2 activated. */
  state: number;
}

export type Scan =
  | { state: "runs"; range: string; asked: number; total: number; found: number }
  | { state: "done"; range: string; found: Found[] }
  | { state: "failed"; range: string; why: string };

export function begin(range: string): Scan {
  return { state: "runs", range, asked: 0, total: 0, found: 0 };
}

/** The range without the blanks people type: answers carry it as it was sent. */
export function written(range: string): string {
  return range.replace(/\s/g, "");
}

const number = (value: unknown) => (typeof value === "number" && Number.isFinite(value) ? value : 0);

/** The scan after an event. One of another range, or of no scan, changes nothing. */
export function follow(scan: Scan, event: Happening): Scan {
  if (scan.state !== "runs" || event["range"] !== scan.range) return scan;
  if (event.action === "scanamtprogress") {
    const { asked, total, found } = event;
    return { ...scan, asked: number(asked), total: number(total), found: number(found) };
  }
  if (event.action !== "scanamtdevice") return scan;
  const results = event["results"];
  if (typeof results !== "object" || results === null) {
    const why = event["error"];
    return { state: "failed", range: scan.range, why: typeof why === "string" ? why : "this is no range" };
  }
  const found = Object.entries(results as Record<string, Record<string, unknown>>).map(
    ([address, entry]) => ({
      address,
      name:
        entry["hosttype"] === "host" && typeof entry["hostname"] === "string" ? entry["hostname"] : address,
      version: String(entry["ver"] ?? "0.0"),
      tls: number(entry["tls"]) === 1,
      state: number(entry["state"]),
    }),
  );
  return { state: "done", range: scan.range, found };
}
