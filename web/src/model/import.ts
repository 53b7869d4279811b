// Lists of computers with Intel AMT, as other programs write them: JSON as it is, or a table.

/** What became of an entry. */
export interface Outcome {
  /** Counted from 1. */
  entry: number;
  host: string;
  result: string;
}

/** Names of columns, and what the server calls them. */
const COLUMNS: Record<string, string> = {
  host: "fqdn",
  fqdn: "fqdn",
  address: "fqdn",
  ip: "fqdn",
  name: "name",
  user: "username",
  username: "username",
  password: "password",
  pass: "password",
  tls: "tls",
  version: "version",
  uuid: "uuid",
};

/** What the server takes as `amtdevices`. */
export function listOf(text: string): unknown {
  const trimmed = text.replace(/^\uFEFF/, "").trim();
  if (trimmed.startsWith("{") || trimmed.startsWith("[")) return JSON.parse(trimmed) as unknown;
  const [head, ...rows] = table(trimmed);
  const columns = (head ?? []).map((name) => COLUMNS[name.trim().toLowerCase()]);
  if (!columns.includes("fqdn")) throw new Error("The first line of the table has to name a column host.");
  return rows
    .filter((row) => row.some((cell) => cell.trim() !== ""))
    .map((row) => {
      const entry: Record<string, unknown> = {};
      columns.forEach((column, place) => {
        const cell = row[place] ?? "";
        if (column === "tls") entry[column] = ["1", "true", "yes", "tls"].includes(cell.trim().toLowerCase());
        // A password may begin or end with a blank.
        else if (column !== undefined) entry[column] = column === "password" ? cell : cell.trim();
      });
      return entry;
    });
}

/** Rows of cells, separated as in the first line; a cell in quotes may hold anything. */
function table(text: string): string[][] {
  const first = text.split("\n", 1)[0] ?? "";
  const separator = [";", "\t"].find((one) => first.includes(one)) ?? ",";
  const rows: string[][] = [[""]];
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const row = rows.at(-1)!;
    const [char, next] = [text[at]!, text[at + 1]];
    if (quoted && char === '"' && next === '"') {
      row.push(row.pop() + '"');
      at++;
    } else if (char === '"' && (quoted || row.at(-1) === "")) quoted = !quoted;
    else if (!quoted && char === separator) row.push("");
    else if (!quoted && char === "\n") rows.push([""]);
    else if (quoted || char !== "\r") row.push(row.pop() + char);
  }
  return rows;
}

/** The outcomes in an answer. */
export function outcomesOf(value: unknown): Outcome[] {
  if (!Array.isArray(value)) return [];
  return (value as Record<string, unknown>[]).map((one) => ({
    entry: Number(one["entry"]),
    host: typeof one["host"] === "string" ? one["host"] : "",
    result: String(one["result"]),
  }));
}
