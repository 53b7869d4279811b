// What other people send to this account while it is logged in: notices, and requests to talk.

import { effect } from "@preact/signals";

import { plain } from "../model/format.ts";
import { dialog, toast } from "../parts/dialog.tsx";
import { wanted } from "./router.ts";
import { client, phase } from "./state.ts";

/** What the tags of requests to talk begin with. */
const CHAT = "meshmessenger/";
/** Longest notice that is shown. */
const LONGEST = 500;

/** Shows notices from now on, and leads who came for a chat there once they are logged in. */
export function listenForNotices(): void {
  effect(() => {
    if (phase.value === "in" && wanted.value !== "") location.replace(chatPage(wanted.value));
  });
  client.on("msg", (frame) => {
    const { type, tag, title, value, titleid } = frame as Record<string, unknown>;
    // Those with a number of a title answer what was just asked.
    if (type !== "notify" || typeof value !== "string" || titleid !== undefined) return;
    const from = typeof title === "string" ? plain(title).slice(0, 80) : "";
    if (typeof tag === "string" && tag.startsWith(CHAT)) void request(from, tag);
    else toast(plain(from ? `${from}: ${value}` : value).slice(0, LONGEST));
  });
}

function request(from: string, tag: string): Promise<unknown> {
  return dialog(`${from || "Somebody"} wants to talk`, (close) => (
    <div class="row">
      <a class="button primary" href={chatPage(tag)} target="_blank" rel="noopener" onClick={() => close()}>
        Open the chat
      </a>
    </div>
  ));
}

/** Where two accounts talk. The halves of `id` may be encoded already. */
export function chatPage(id: string): string {
  return `messenger?id=${id.split("/").map(encoded).join("/")}`;
}

function encoded(part: string): string {
  try {
    return encodeURIComponent(decodeURIComponent(part));
  } catch {
    return encodeURIComponent(part);
  }
}
