// What firmware is asked and told by the actions `amtread` and `amtset`: it takes seconds, and stands
// in a queue behind what others ask of the same device.

import { client } from "../app/state.ts";
import { plain } from "../model/format.ts";

/** The longest that is waited for an answer. */
export const PATIENCE = 60_000;

/** Asks the firmware something. */
export async function read(nodeid: string, what: string): Promise<unknown> {
  const body = { nodeid, what };
  const { value, result } = await client.ask("amtread", body, { check: false, timeout: PATIENCE });
  if (value === undefined) throw new Error(plain(String(result ?? "Intel AMT does not answer.")));
  return value;
}

/** Has the firmware do something; fails with the server's sentence. */
export async function order(action: string, body: object): Promise<void> {
  const { result } = await client.ask(action, body, { check: false, timeout: PATIENCE });
  if (result !== "ok") throw new Error(plain(String(result ?? "Intel AMT does not answer.")));
}

/** Changes a setting of the firmware. */
export const set = (nodeid: string, what: string, body: object = {}): Promise<void> =>
  order("amtset", { nodeid, what, ...body });
