// What the pages for people without an account ask the server.

import { at } from "./address.ts";

export interface Told {
  /** Of HTTP; 0 if the server could not be asked. */
  status: number;
  body: Record<string, unknown>;
}

/** Puts a question. What the page's address says goes into the body, and into no other address. */
export async function put(path: string, question: object): Promise<Told> {
  try {
    const answer = await fetch(at(path), {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json" },
      body: JSON.stringify(question),
    });
    const body: unknown = await answer.json().catch(() => null);
    return { status: answer.status, body: (body ?? {}) as Record<string, unknown> };
  } catch {
    return { status: 0, body: {} };
  }
}
