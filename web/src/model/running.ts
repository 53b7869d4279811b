// Processes and services as agents report them: JSON inside JSON, of a shape that depends on the
// system. Anything unexpected is left out.

export interface Process {
  pid: number;
  user: string;
  command: string;
}

export interface Service {
  name: string;
  title: string;
  /** Empty if the agent does not tell. */
  state: string;
  running: boolean;
}

/** Most entries shown; a hostile agent may send more. */
const MOST = 10_000;

export function readProcesses(value: unknown): Process[] {
  return entries(value).flatMap(([key, entry]) => {
    const pid = Number(entry["pid"] ?? key);
    const command = text(entry["cmd"]) || text(entry["path"]);
    // The idle "processes" of Windows and macOS cannot be ended and have no command.
    return Number.isSafeInteger(pid) && pid > 0 && command
      ? [{ pid, user: text(entry["user"]), command }]
      : [];
  });
}

export function readServices(value: unknown): Service[] {
  const services = entries(value).flatMap(([, entry]) => {
    const name = text(entry["name"]);
    if (!name) return [];
    const status = entry["status"];
    const state =
      typeof status === "object" && status !== null ? text((status as Record<string, unknown>)["state"]) : "";
    return [
      {
        name,
        title: text(entry["displayName"]) || name,
        state: state.toLowerCase(),
        running: state.toUpperCase() === "RUNNING",
      },
    ];
  });
  return services.sort((a, b) => a.title.localeCompare(b.title, "en"));
}

function entries(value: unknown): [string, Record<string, unknown>][] {
  let parsed: unknown = value;
  if (typeof value === "string") {
    try {
      parsed = JSON.parse(value);
    } catch {
      return [];
    }
  }
  if (typeof parsed !== "object" || parsed === null) return [];
  return Object.entries(parsed)
    .slice(0, MOST)
    .filter(
      (entry): entry is [string, Record<string, unknown>] =>
        typeof entry[1] === "object" && entry[1] !== null,
    );
}

function text(value: unknown): string {
  return typeof value === "string" ? value.slice(0, 1000) : "";
}
