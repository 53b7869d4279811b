// One session with an agent: a WebSocket to the relay, at whose other end the agent is, and what
// every protocol in it has in common. Socket, clock and the way to ask for the agent come from
// outside.
//
// The order of things: the socket is open, the server is asked to send the agent, the relay says
// `c` (or `cr`: the session is recorded), then options, the number of the protocol, its data.

import { signal, type Signal } from "@preact/signals";

/** Numbers of the protocols in a tunnel. */
export const Protocol = {
  shell: 1,
  desktop: 2,
  files: 5,
  powerShell: 6,
  userShell: 8,
  userPowerShell: 9,
} as const;

export type TunnelState =
  | { is: "idle" }
  /** The agent was sent for. */
  | { is: "opening" }
  /** The person at the device is asked. */
  | { is: "asking"; words: string }
  | { is: "open"; recorded: boolean }
  | { is: "ended"; why: Why; words: string };

/** Why there is no session (any more). */
export type Why =
  /** This side ended it. */
  | "left"
  /** The other side ended it: the shell exited, the share was revoked. */
  | "closed"
  /** The connection broke. */
  | "lost"
  /** The server does not send for the agent: it is offline, or a right is missing. */
  | "refused"
  /** The person at the device said no, or the agent could not. */
  | "denied"
  /** The agent did not come. */
  | "absent";

export interface Wire {
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(): void;
  /** Bytes that were given to `send` and have not left. */
  waiting(): number;
}

export interface WireEvents {
  opened(): void;
  text(text: string): void;
  data(data: ArrayBuffer): void;
  /** `clean` if the other side said goodbye. */
  closed(clean: boolean): void;
}

export interface Surroundings {
  open(url: string, events: WireEvents): Wire;
  now(): number;
  after(ms: number, run: () => void): () => void;
}

/** How an agent is reached: with an account, or as a guest. */
export interface Way {
  /** Where the viewer's socket goes. */
  address(id: string, protocol: number): Promise<string>;
  /** Has the agent sent to the other end; rejects with what the server says. */
  send(id: string, protocol: number): Promise<void>;
}

export interface Speaker {
  /** The protocol may begin: everything before it was said. */
  opened?(): void;
  data?(data: ArrayBuffer): void;
  /** The way to the agent and back took so many milliseconds. */
  measured?(rtt: number): void;
  /** A text that is no control message. */
  text?(text: string): void;
  /** The session is over, for whatever reason. */
  ended?(): void;
}

/** Time for the agent to come. The server itself gives up after 15 seconds. */
export const COMING = 20_000;
/** Pause between two measurements of the way to the agent. */
export const PULSE = 5_000;
/** Longest text that is shown over a picture. */
const LONGEST = 300;

const CONTROL = "102938";

export class Tunnel {
  readonly state: Signal<TunnelState> = signal<TunnelState>({ is: "idle" });
  /** Milliseconds to the agent and back. */
  readonly rtt: Signal<number | null> = signal<number | null>(null);
  /** Who is in the session: names of accounts and how many windows each has. */
  readonly watchers: Signal<Record<string, number>> = signal<Record<string, number>>({});
  #wire: Wire | null = null;
  #timer: (() => void) | null = null;
  #recorded = false;
  #denied = "";
  /** Counts attempts, so that a word from an old one is known as such. */
  #generation = 0;

  constructor(
    private readonly around: Surroundings,
    private readonly way: Way,
    private readonly speaker: Speaker,
  ) {}

  get isOpen(): boolean {
    return this.state.value.is === "open";
  }

  /** Begins a session; one that runs is left first. `options` are what the protocol knows of them. */
  async start(protocol: number, options: object | null = null): Promise<void> {
    this.#drop();
    const generation = this.#generation;
    const current = () => generation === this.#generation;
    this.state.value = { is: "opening" };
    this.#recorded = false;
    this.#denied = "";
    const id = randomId();
    try {
      const address = await this.way.address(id, protocol);
      if (!current()) return;
      this.#timer = this.around.after(COMING, () => current() && this.#end("absent", ""));
      this.#wire = this.around.open(address, {
        opened: () => {
          if (!current()) return;
          this.way
            .send(id, protocol)
            .catch((error: Error) => current() && this.#end("refused", error.message));
        },
        text: (text) => current() && this.#text(text, protocol, options),
        data: (data) => current() && this.speaker.data?.(data),
        closed: (clean) => current() && this.#closed(clean),
      });
    } catch (error) {
      if (current()) this.#end("refused", error instanceof Error ? error.message : String(error));
    }
  }

  /** Leaves the session. */
  stop(): void {
    if (this.state.value.is !== "idle" && this.state.value.is !== "ended") this.#end("left", "");
    else this.#drop();
  }

  /** Sends bytes of the protocol. */
  send(data: Uint8Array<ArrayBuffer>): void {
    if (this.isOpen) this.#wire?.send(data);
  }

  /** Sends a control message. */
  tell(type: string, members: object = {}): void {
    this.#wire?.send(JSON.stringify({ ctrlChannel: CONTROL, type, ...members }));
  }

  /** Sends JSON as the protocol of files has it. */
  say(message: object): void {
    if (this.isOpen) this.#wire?.send(JSON.stringify(message));
  }

  /** Bytes on this side that have not left. */
  waiting(): number {
    return this.#wire?.waiting() ?? 0;
  }

  #text(text: string, protocol: number, options: object | null): void {
    if (this.state.value.is === "opening") {
      if (text !== "c" && text !== "cr") return;
      this.#timer?.();
      this.#recorded = text === "cr";
      if (options !== null) this.tell("options", options);
      this.#wire?.send(String(protocol));
      this.state.value = { is: "open", recorded: this.#recorded };
      this.#measure();
      this.speaker.opened?.();
      return;
    }
    const control = parse(text);
    if (control === null) this.speaker.text?.(text);
    else this.#control(control);
  }

  #control(message: Record<string, unknown>): void {
    switch (message["type"]) {
      case "ping":
        this.tell("pong");
        return;
      case "rtt": {
        const { time } = message;
        if (typeof time !== "number") return;
        this.rtt.value = Math.max(0, this.around.now() - time);
        this.speaker.measured?.(this.rtt.value);
        return;
      }
      case "metadata": {
        const { users } = message;
        if (typeof users === "object" && users !== null)
          this.watchers.value = users as Record<string, number>;
        return;
      }
      case "console":
        this.#console(message["msg"], message["msgid"]);
        return;
    }
  }

  /** What the agent wants shown over the picture; 1 asks the person there, 2 and above tell why not. */
  #console(msg: unknown, msgid: unknown): void {
    const words = typeof msg === "string" ? msg.slice(0, LONGEST) : "";
    const number = typeof msgid === "number" ? msgid : 0;
    if (words === "" || number === 0) {
      this.#denied = "";
      this.state.value = { is: "open", recorded: this.#recorded };
    } else if (number === 1) {
      this.state.value = { is: "asking", words };
    } else {
      // The agent may leave the tunnel open; there is nothing in it.
      this.#denied = words;
      this.#end("denied", words);
    }
  }

  #measure(): void {
    this.tell("rtt", { time: this.around.now() });
    const generation = this.#generation;
    this.#timer = this.around.after(PULSE, () => generation === this.#generation && this.#measure());
  }

  #closed(clean: boolean): void {
    const { is } = this.state.value;
    if (is === "opening") this.#end("absent", "");
    else this.#end(this.#denied ? "denied" : clean ? "closed" : "lost", this.#denied);
  }

  #end(why: Why, words: string): void {
    this.#drop();
    this.state.value = { is: "ended", why, words };
    this.speaker.ended?.();
  }

  #drop(): void {
    this.#generation += 1;
    this.#timer?.();
    this.#timer = null;
    this.#wire?.close();
    this.#wire = null;
    this.rtt.value = null;
    this.watchers.value = {};
  }
}

/** A control message, or `null` for anything else. Some peers send the mark as a number. */
function parse(text: string): Record<string, unknown> | null {
  if (!text.startsWith("{")) return null;
  try {
    const message: unknown = JSON.parse(text);
    if (typeof message !== "object" || message === null) return null;
    return "ctrlChannel" in message && String(message.ctrlChannel) === CONTROL
      ? (message as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}

/** The name under which the two sides find each other. */
function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
