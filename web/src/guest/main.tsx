// The page of guests: a device somebody shares, without an account. It knows what the server says
// of the link in its address and nothing else; the relay judges what is done.

import { signal } from "@preact/signals";
import { render, type ComponentType } from "preact";
import { useEffect } from "preact/hooks";

import { applyPrefs } from "../app/prefs.ts";
import { relay } from "../control/address.ts";
import { put } from "../control/visit.ts";
import type { Device } from "../control/wire.ts";
import { dateTime, plain, system } from "../model/format.ts";
import { Empty, Icon, Waiting, Words } from "../parts/basic.tsx";
import { Dialogs, Toasts } from "../parts/dialog.tsx";
import { Fence, lazy } from "../parts/lazy.tsx";
import type { Seat } from "../tunnel/hooks.tsx";
import { Protocol, type Way } from "../tunnel/tunnel.ts";

/** What a link opens. */
interface Visit {
  device: string;
  guest: string;
  /** Who shares the device. */
  by: string;
  title: string | null;
  /** Numbers of the protocols that are shared. */
  usages: number[];
  viewOnly: boolean;
  limited: boolean;
  /** When it is over, in ms. */
  until: number | null;
  online: boolean;
  agent: { id: number; caps: number } | null;
}

type State =
  { is: "asking" } | { is: "open"; visit: Visit } | { is: "closed"; why: string; start: number | null };

const PARTS: { path: string; title: string; protocol: number; show: ComponentType<{ seat: Seat }> }[] = [
  {
    path: "desktop",
    title: "Desktop",
    protocol: Protocol.desktop,
    show: lazy(() => import("../desktop/view.tsx")),
  },
  {
    path: "terminal",
    title: "Terminal",
    protocol: Protocol.shell,
    show: lazy(() => import("../terminal/terminal.tsx")),
  },
  { path: "files", title: "Files", protocol: Protocol.files, show: lazy(() => import("../files/view.tsx")) },
];

/** How often the server is asked whether the device is there and the link still good. */
const LOOK = 20_000;

const link = new URLSearchParams(location.search).get("c") ?? "";
const state = signal<State>({ is: "asking" });
const part = signal("");

/** Asks what the link opens; with a protocol also for the cookie of one session. */
async function ask(protocol?: number): Promise<string> {
  const { status, body } = await put("sharing", {
    c: link,
    ...(protocol === undefined ? {} : { p: protocol }),
  });
  if (status === 200) {
    state.value = { is: "open", visit: body as unknown as Visit };
    return typeof body["cookie"] === "string" ? body["cookie"] : "";
  }
  if (status !== 404) throw new Error("The server cannot be asked.");
  const start = body["start"];
  state.value = {
    is: "closed",
    why: String(body["closed"] ?? "gone"),
    start: typeof start === "number" ? start : null,
  };
  throw new Error("This invitation has ended.");
}

/** The server itself calls the agent; a guest only says which session is wanted. */
const way: Way = {
  async address(id, protocol) {
    const cookie = await ask(protocol);
    return relay(`browser=1&p=${protocol}&id=${id}&auth=${encodeURIComponent(cookie)}`);
  },
  async send() {},
};

function Page() {
  useEffect(() => {
    const look = () => void ask().catch(() => undefined);
    look();
    const timer = setInterval(() => !document.hidden && look(), LOOK);
    return () => clearInterval(timer);
  }, []);
  const { value } = state;
  return (
    <>
      <main id="main" class="visit">
        {value.is === "asking" && <Waiting />}
        {value.is === "closed" && <Closed why={value.why} start={value.start} />}
        {value.is === "open" && <Open visit={value.visit} />}
      </main>
      <Dialogs />
      <Toasts />
    </>
  );
}

function Closed({ why, start }: { why: string; start: number | null }) {
  const early = why === "early" && start !== null;
  return (
    <>
      <header>
        <div class="brand">
          <Icon name="mark" />
          <span>meshboard</span>
        </div>
        <h1>{early ? "Not yet" : "This invitation has ended"}</h1>
      </header>
      <Empty icon="share" title={early ? `It begins ${dateTime(start)}` : "The link opens nothing any more"}>
        <p>{early ? "This page opens by itself then." : "Whoever invited you can send another one."}</p>
      </Empty>
    </>
  );
}

function Open({ visit }: { visit: Visit }) {
  const { device, guest, by, title, usages, until, online, agent } = visit;
  // What is shared may have several shells; any of them makes a terminal.
  const parts = PARTS.filter(({ protocol }) => usages.includes(protocol));
  const shown = parts.find(({ path }) => path === part.value) ?? parts[0];
  useEffect(() => {
    document.title = `${plain(device)} · ${title || "meshboard"}`;
  }, [device, title]);
  const kind = system({ agent } as unknown as Device);
  const seat: Seat = {
    way,
    name: device,
    online,
    windows: kind === "windows",
    apple: kind === "apple",
    viewOnly: visit.viewOnly,
    limited: visit.limited,
    only: usages,
  };
  return (
    <>
      <header>
        <div class="brand">
          <Icon name="mark" />
          <span class="ellipsis">{title || "meshboard"}</span>
        </div>
        <h1 class="ellipsis">
          <Words text={device} />
        </h1>
        <p class="small muted">
          <span class="state">
            <span class={online ? "dot on" : "dot off"} /> {online ? "Online" : "Offline"}
          </span>
          {" · "}
          <Words text={by} /> lets you in as <Words text={guest} />
          {until !== null && `, until ${dateTime(until)}`}
        </p>
        {parts.length > 1 && (
          <nav class="tabs" aria-label="Parts of this device">
            {parts.map(({ path, title }) => (
              <a
                key={path}
                href={`#${path}`}
                aria-current={path === shown?.path ? "page" : undefined}
                onClick={(event) => {
                  event.preventDefault();
                  part.value = path;
                }}
              >
                {title}
              </a>
            ))}
          </nav>
        )}
      </header>
      {shown ? (
        <Fence key={shown.path}>
          <shown.show seat={seat} />
        </Fence>
      ) : (
        <Empty icon="share" title="There is nothing to be seen here">
          <p>What this link shares cannot be shown by this server.</p>
        </Empty>
      )}
    </>
  );
}

applyPrefs();
const root = document.getElementById("app") as HTMLElement;
root.replaceChildren();
render(<Page />, root);
