// The page of a chat: opened at a device by its agent, with a token in the address that works once,
// or by somebody who is logged in and was asked to talk.

import { signal } from "@preact/signals";
import { render } from "preact";

import { applyPrefs } from "../app/prefs.ts";
import { relay } from "../control/address.ts";
import { put } from "../control/visit.ts";
import { plain } from "../model/format.ts";
import { Empty, Icon } from "../parts/basic.tsx";
import { Dialogs, Toasts } from "../parts/dialog.tsx";
import { Fence } from "../parts/lazy.tsx";
import { browser } from "../tunnel/open.ts";
import { Chat, Over } from "./chat.ts";
import { Conversation } from "./view.tsx";

interface Joined {
  /** Whom one talks to. */
  who: string;
  /** The device one sits at, or wants to talk to. */
  device: string | null;
  title: string | null;
  /** What goes into the address of the relay. */
  query: string;
  /** The token for the next time. */
  next?: string;
}

const asked = new URLSearchParams(location.search);
const id = asked.get("id") ?? "";
/** What this tab keeps when the page is loaded again. */
const kept = history.state as { c?: unknown } | null;
let token = typeof kept?.c === "string" ? kept.c : asked.get("c");
const joined = signal<Joined | null>(null);
/** Why there is no conversation. */
const closed = signal<"gone" | "login" | null>(null);

const chat = new Chat(browser, async () => {
  const { status, body } = await put("messenger", { id, ...(token === null ? {} : { c: token }) });
  if (status === 200) {
    joined.value = body as unknown as Joined;
    if (joined.value.next !== undefined) keep(joined.value.next);
    return relay(joined.value.query);
  }
  if (status === 0 || status >= 500) throw new Error("later");
  closed.value = body["closed"] === "login" ? "login" : "gone";
  throw new Over("This conversation is over.");
});

/** Keeps the next token with this tab, and takes the one that was used out of the address. */
function keep(next: string): void {
  token = next;
  asked.delete("c");
  history.replaceState({ c: next }, "", `${location.pathname}?${asked}`);
}

function Page() {
  const { who, device, title } = joined.value ?? { who: "", device: null, title: null };
  return (
    <>
      <main id="main" class="visit talk">
        <header>
          <div class="brand">
            <Icon name="mark" />
            <span class="ellipsis">{title || "meshboard"}</span>
          </div>
          <h1 class="ellipsis">{who ? `Chat with ${plain(who)}` : "Chat"}</h1>
          {device !== null && device !== who && <p class="small muted">On {plain(device)}</p>}
        </header>
        <Fence>
          {closed.value === null || chat.entries.value.length > 0 ? <Open who={who} /> : <Closed />}
        </Fence>
      </main>
      <Dialogs />
      <Toasts />
    </>
  );
}

function Open({ who }: { who: string }) {
  return <Conversation chat={chat} name={who || "the other one"} />;
}

function Closed() {
  if (closed.value === "login") {
    const back = `./?${new URLSearchParams({ meshmessengerid: id })}`;
    return (
      <Empty icon="lock" title="This conversation is between two accounts">
        <p>
          <a href={back}>Log in</a> to take part.
        </p>
      </Empty>
    );
  }
  return (
    <Empty icon="chat" title="This conversation is over">
      <p>A link to a chat works once. Whoever asked you to talk can ask again.</p>
    </Empty>
  );
}

applyPrefs();
document.title = "Chat";
const root = document.getElementById("app") as HTMLElement;
root.replaceChildren();
render(<Page />, root);
chat.start();
