// The control channel: one WebSocket that is opened again whenever it ends, requests matched with
// their answers, everything else handed on.
//
// The machine has no timers and no sockets of its own: both come from outside, so that the tests
// turn the clock.

import { signal, type Signal } from "@preact/signals";

import type { Frame, ServerInfo, User } from "./wire.ts";

/** How the connection is. */
export type Link =
  | { state: "connecting"; attempt: number }
  | { state: "open" }
  /** Lost; tried again at `until` (milliseconds of the clock). */
  | { state: "waiting"; until: number; attempt: number }
  /** The server does not let this page in: nobody is logged in, or no more. */
  | { state: "refused"; cause: string; msg: string }
  /** The server ended the session for good. */
  | { state: "stopped"; why: string }
  | { state: "idle" };

/** One WebSocket. */
export interface Wire {
  send(text: string): void;
  close(): void;
}

export interface WireEvents {
  text(text: string): void;
  closed(): void;
}

export interface Surroundings {
  open(events: WireEvents): Wire;
  now(): number;
  /** Calls `run` after `ms`; the result calls it off. */
  after(ms: number, run: () => void): () => void;
  /** 0 to 1. */
  random(): number;
}

export interface Greeting {
  server: ServerInfo;
  user: User;
}

/** Why a request brought nothing. */
export class Failed extends Error {
  constructor(
    readonly cause_: "offline" | "timeout" | "lost" | "refused",
    message: string,
    readonly frame?: Frame,
  ) {
    super(message);
  }
}

export interface AskOptions {
  /** Milliseconds to wait for the answer. */
  timeout?: number;
  /** Whether a `result` other than ok is an error (default), or the caller reads it. */
  check?: boolean;
  /** Further actions under which the answer may come. */
  also?: string[];
  /** Whether an answer may come without the request's mark. */
  bare?: boolean;
}

interface Pending {
  action: string;
  also: string[];
  bare: boolean;
  check: boolean;
  resolve(frame: Frame): void;
  reject(error: Failed): void;
  cancel(): void;
}

/** Silence after which the server is asked whether it is there, and time it has to answer. */
export const SILENCE = 25_000;
export const GRACE = 10_000;
/** Pauses between attempts grow from the first to the second, with a third of chance. */
export const FIRST_PAUSE = 500;
export const LONGEST_PAUSE = 20_000;
/** Time for the WebSocket to open and the server to greet. */
export const OPENING = 15_000;
const ANSWER = 15_000;

type Handler = (frame: Frame) => void;

export class ControlClient {
  readonly link: Signal<Link> = signal<Link>({ state: "idle" });
  readonly greeting: Signal<Greeting | null> = signal<Greeting | null>(null);
  #wire: Wire | null = null;
  #server: ServerInfo = {};
  #pending = new Map<string, Pending>();
  #handlers = new Map<string, Set<Handler>>();
  #opened = new Set<() => void>();
  #next = 0;
  #attempt = 0;
  #timer: (() => void) | null = null;
  /** Counts connections, so that a word from an old one is known as such. */
  #generation = 0;

  constructor(private readonly around: Surroundings) {}

  /** Connects, and stays connected until `stop`. */
  start(): void {
    if (this.#wire !== null || this.link.value.state === "waiting") return;
    this.#attempt = 0;
    this.#connect();
  }

  /** Ends the connection for good. */
  stop(): void {
    this.#drop("lost");
    this.link.value = { state: "idle" };
    this.greeting.value = null;
  }

  /** Tries at once if a pause is running: the network came back, or a person asks. */
  hurry(): void {
    if (this.link.value.state === "waiting") this.#connect();
  }

  /** Calls `handler` with every frame of `action` that answers no request. */
  on(action: string, handler: Handler): () => void {
    const handlers = this.#handlers.get(action) ?? new Set();
    this.#handlers.set(action, handlers.add(handler));
    return () => handlers.delete(handler);
  }

  /** Calls `run` each time a session has begun, and now if one has. */
  onOpen(run: () => void): () => void {
    this.#opened.add(run);
    if (this.link.value.state === "open") run();
    return () => this.#opened.delete(run);
  }

  /** Sends what has no answer. False if there is no connection. */
  tell(action: string, body: object = {}): boolean {
    if (this.#wire === null || this.link.value.state !== "open") return false;
    this.#wire.send(JSON.stringify({ action, ...body }));
    return true;
  }

  /** Sends a request and waits for its answer. */
  ask(action: string, body: object = {}, options: AskOptions = {}): Promise<Frame> {
    const mark = `w${++this.#next}`;
    return new Promise((resolve, reject) => {
      if (!this.tell(action, { responseid: mark, tag: mark, ...body })) {
        reject(new Failed("offline", "There is no connection to the server."));
        return;
      }
      const late = () => {
        this.#pending.delete(mark);
        reject(new Failed("timeout", "The server did not answer. You may lack the right."));
      };
      this.#pending.set(mark, {
        action,
        also: options.also ?? [],
        bare: options.bare ?? true,
        check: options.check ?? true,
        resolve,
        reject,
        cancel: this.around.after(options.timeout ?? ANSWER, late),
      });
    });
  }

  #connect(): void {
    this.#timer?.();
    const generation = ++this.#generation;
    const current = () => generation === this.#generation;
    this.link.value = { state: "connecting", attempt: this.#attempt };
    this.#wire = this.around.open({
      text: (text) => current() && this.#receive(text),
      closed: () => current() && this.#lost(),
    });
    this.#timer = this.around.after(OPENING, () => current() && this.#lost());
  }

  #receive(text: string): void {
    const frame = parse(text);
    if (frame === null) return;
    switch (frame.action) {
      case "serverinfo":
        this.#server = (frame["serverinfo"] ?? {}) as ServerInfo;
        return;
      case "userinfo":
        this.#greeted(frame["userinfo"] as User);
        return;
      case "close":
        this.#drop("lost");
        this.link.value = { state: "refused", cause: words(frame["cause"]), msg: words(frame["msg"]) };
        this.greeting.value = null;
        return;
      case "stopped":
        this.#drop("lost");
        this.link.value = { state: "stopped", why: words(frame["msg"]) };
        return;
      case "ping":
        this.#wire?.send('{"action":"pong"}');
        break;
    }
    if (this.link.value.state === "open") this.#watch();
    if (frame.action === "ping" || frame.action === "pong") return;
    if (this.#answer(frame)) return;
    for (const handler of this.#handlers.get(frame.action) ?? []) handler(frame);
  }

  #greeted(user: User): void {
    this.#attempt = 0;
    this.greeting.value = { server: this.#server, user };
    if (this.link.value.state === "open") return;
    this.link.value = { state: "open" };
    this.#watch();
    for (const run of [...this.#opened]) run();
  }

  /** Hands `frame` to the request it answers. */
  #answer(frame: Frame): boolean {
    const mark = [frame.responseid, frame.tag].find(
      (mark): mark is string => typeof mark === "string" && this.#pending.has(mark),
    );
    const found = mark ?? this.#oldest(frame);
    if (found === undefined) return false;
    const pending = this.#pending.get(found) as Pending;
    this.#pending.delete(found);
    pending.cancel();
    const { result } = frame;
    const refused = typeof result === "string" && !/^ok$/i.test(result);
    if (pending.check && refused) pending.reject(new Failed("refused", result, frame));
    else pending.resolve(frame);
    return true;
  }

  /** The oldest request whose answer may come without its mark. */
  #oldest(frame: Frame): string | undefined {
    if (frame.action === "event" || frame.responseid !== undefined || frame.tag !== undefined) return;
    for (const [mark, { action, also, bare }] of this.#pending) {
      if (bare && (action === frame.action || also.includes(frame.action))) return mark;
    }
    return;
  }

  /** Begins to wait for the next word of the server. */
  #watch(): void {
    this.#timer?.();
    this.#timer = this.around.after(SILENCE, () => {
      this.#wire?.send('{"action":"ping"}');
      this.#timer = this.around.after(GRACE, () => this.#lost());
    });
  }

  #lost(): void {
    this.#drop("lost");
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#attempt);
    const wait = pause * (1 + this.around.random() / 3);
    this.#attempt += 1;
    this.link.value = { state: "waiting", until: this.around.now() + wait, attempt: this.#attempt };
    this.#timer = this.around.after(wait, () => this.#connect());
  }

  /** Closes the wire and fails what waits on it. */
  #drop(cause: "lost"): void {
    this.#timer?.();
    this.#timer = null;
    this.#generation += 1;
    this.#wire?.close();
    this.#wire = null;
    for (const pending of this.#pending.values()) {
      pending.cancel();
      pending.reject(new Failed(cause, "The connection was lost before the answer came."));
    }
    this.#pending.clear();
  }
}

function parse(text: string): Frame | null {
  try {
    const frame: unknown = JSON.parse(text);
    const usable = typeof frame === "object" && frame !== null && "action" in frame;
    return usable && typeof frame.action === "string" ? (frame as Frame) : null;
  } catch {
    return null;
  }
}

function words(value: unknown): string {
  return typeof value === "string" ? value : "";
}
