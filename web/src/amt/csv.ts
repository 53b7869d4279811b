// Logs of the firmware as a file for spreadsheets.

import type { LogRecord } from "./told.ts";

/** Rows as comma-separated values (RFC 4180). What a spreadsheet would take for a formula is text. */
export function csv(rows: string[][]): string {
  const cell = (text: string) => {
    const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

/** A log, newest first. */
export function logCsv(records: LogRecord[]): string {
  const rows = records.map(({ time, kind, severity, text, initiator, address, data }) => [
    time > 0 ? new Date(time).toISOString() : "",
    kind,
    severity === undefined ? "" : String(severity),
    text,
    initiator,
    address,
    data,
  ]);
  return csv([["Time", "Number", "Severity", "Event", "Initiator", "Address", "Data"], ...rows]);
}
