// The one connection, the one store, and which of the page's faces is shown.

import { computed, effect, signal } from "@preact/signals";

import { ControlClient, Failed, type Surroundings } from "../control/client.ts";
import { channel } from "../control/address.ts";
import { logout, welcome, type Welcome } from "../control/session.ts";
import type { Frame, User } from "../control/wire.ts";
import { Site, siteHas } from "../model/rights.ts";
import { Store } from "../model/store.ts";

const browser: Surroundings = {
  open(events) {
    const socket = new WebSocket(channel());
    socket.onmessage = ({ data }) => typeof data === "string" && events.text(data);
    socket.onclose = () => events.closed();
    return {
      send: (text) => socket.readyState === WebSocket.OPEN && socket.send(text),
      close: () => socket.close(),
    };
  },
  now: Date.now,
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
  random: Math.random,
};

export const client = new ControlClient(browser);

/** Shortest time between two changes of what is shown: a storm of events must not keep a phone busy. */
const BEAT = 100;
let lastBeat = 0;

/** Runs with the next frame, unless there was a beat just now. */
function soon(run: () => void): void {
  const beat = () => {
    lastBeat = performance.now();
    run();
  };
  const wait = lastBeat + BEAT - performance.now();
  if (wait > 0 || document.hidden) setTimeout(beat, Math.max(wait, 0));
  else requestAnimationFrame(beat);
}

export const store = new Store(soon, () => void loadAll());

/** What the server tells everybody; `null` until it did. */
export const server = signal<Welcome | null>(null);
/** Why there is no page yet, if the server could not be asked. */
export const trouble = signal<string | null>(null);
/** Somebody was in, and is no more: the login page says so. */
export const ended = signal(false);

export const link = client.link;

export const phase = computed<"starting" | "setup" | "login" | "in">(() => {
  if (client.greeting.value !== null) return "in";
  if (server.value?.setup) return "setup";
  if (link.value.state === "refused" || link.value.state === "stopped") return "login";
  return "starting";
});

export function me(): User {
  return store.me ?? { _id: "user//", name: "" };
}

export function domain(): string {
  return client.greeting.value?.server.domain ?? "";
}

/** Bits of `features` and `features2` that the page asks for. */
export const Feature = {
  /** The local network is out of reach. */
  wanOnly: 0x1,
  /** Only the local network can reach the server. */
  lanOnly: 0x2,
  noUserFiles: 0x8,
  secondFactor: 0x1000,
  webAuthn: 0x20000,
  tokenSession: 0x100,
  loginTokens: 0x80,
};

export function feature(bit: number): boolean {
  return ((client.greeting.value?.server.features ?? 0) & bit) !== 0;
}

export function feature2(bit: number): boolean {
  return ((client.greeting.value?.server.features2 ?? 0) & bit) !== 0;
}

let loading: Promise<void> | null = null;

/** Asks for all lists. */
export function loadAll(): Promise<void> {
  loading ??= lists().finally(() => (loading = null));
  return loading;
}

async function lists(): Promise<void> {
  const load = async (action: string, timeout = 60_000) => {
    try {
      store.apply(await client.ask(action, {}, { timeout }));
    } catch (error) {
      // A lost connection loads everything again when it is back.
      if (!(error instanceof Failed)) throw error;
    }
  };
  await load("meshes");
  await load("nodes");
  await Promise.all([load("lastconnects"), load("usergroups", 5_000), loadAccounts(load)]);
}

async function loadAccounts(load: (action: string) => Promise<void>): Promise<void> {
  if (!siteHas(store.me ?? undefined, Site.manageUsers)) return;
  await Promise.all([load("users"), load("wssessioncount")]);
}

/** Asks a question that older servers do not know: `null` when there is no answer. */
export async function tryAsk(action: string, body: object = {}, timeout = 4_000): Promise<Frame | null> {
  try {
    return await client.ask(action, body, { timeout, check: false });
  } catch {
    return null;
  }
}

export async function begin(): Promise<void> {
  client.on("event", (frame) => store.apply(frame));
  client.on("wssessioncount", (frame) => store.apply(frame));
  client.onOpen(() => {
    if (client.greeting.value) store.setMe(client.greeting.value.user);
    void loadAll();
  });
  effect(() => {
    const { state } = link.value;
    if (state === "open") ended.value = false;
    if ((state === "refused" || state === "stopped") && store.me !== null) {
      ended.value = true;
      store.clear();
    }
  });
  addEventListener("online", () => client.hurry());
  document.addEventListener("visibilitychange", () => !document.hidden && client.hurry());
  await look();
}

/** Asks the server who it is, and connects unless it has no account yet. */
export async function look(): Promise<void> {
  try {
    server.value = await welcome();
    trouble.value = null;
    if (!server.value.setup) client.start();
  } catch (error) {
    trouble.value = error instanceof Error ? error.message : String(error);
    setTimeout(() => void look(), 3_000);
  }
}

export async function leave(): Promise<void> {
  await logout().catch(() => undefined);
  store.clear();
  client.stop();
  client.start();
}
