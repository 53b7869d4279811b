// Conversations with the people at devices. They go on while another part of the page is looked at,
// and end with the login.

import { effect, signal, type Signal } from "@preact/signals";

import { client, me, phase } from "../app/state.ts";
import { relay } from "../control/address.ts";
import { plain } from "../model/format.ts";
import { toast } from "../parts/dialog.tsx";
import { browser } from "../tunnel/open.ts";
import { Chat } from "./chat.ts";

interface Held {
  chat: Chat;
  /** Whether somebody looks at it. */
  shown: Signal<boolean>;
}

const all = new Map<string, Held>();

effect(() => {
  if (phase.value !== "login") return;
  for (const { chat } of all.values()) chat.stop();
  all.clear();
});

/** The conversation with the person at a device. */
export function conversation(nodeid: string, name: string): Held {
  const known = all.get(nodeid);
  if (known) return known;
  const chat = new Chat(browser, async () => {
    const { cookie } = await client.ask("authcookie");
    if (typeof cookie !== "string") throw new Error("The server gives no way to a chat.");
    const id = `meshmessenger/${encodeURIComponent(nodeid)}/${encodeURIComponent(me()._id)}`;
    return relay(`id=${id}&auth=${encodeURIComponent(cookie)}`);
  });
  const held = { chat, shown: signal(false) };
  chat.onSaid = (text) => {
    if (!held.shown.value) toast(`${plain(name)}: ${plain(text).slice(0, 120)}`);
  };
  all.set(nodeid, held);
  return held;
}
