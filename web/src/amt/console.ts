// A session with the firmware of a device: one WebSocket, why it ended, and coming again.
//
// The server does what there is to prove; here are plain RFB, plain bytes, or JSON. It closes with a
// number, which docs/amt-consoles.md explains.

import { signal, type Signal } from "@preact/signals";

export type ConsoleState =
  { is: "idle" } | { is: "opening" } | { is: "open" } | { is: "ended"; code: number; words: string };

const ENDS: Record<number, string> = {
  1000: "Disconnected.",
  4001: "You have no right to this any more, or never had.",
  4002: "Intel AMT of this device cannot be reached.",
  4003: "Intel AMT does not accept the password that is kept for this device.",
  4004: "Intel AMT holds another session of this kind: it takes one at a time.",
  4005: "Intel AMT does not offer this, or it is switched off in its settings.",
  4006: "Intel AMT refuses. The person at the device may have to consent first.",
  4007: "The screen is larger than Intel AMT sends it, or none is switched on there.",
  4008: "Intel AMT said something that makes no sense.",
  4009: "Intel AMT has ended the session.",
  4010: "The session was ended by an administrator.",
  4011: "Intel AMT shows another certificate than before, so it is not trusted.",
  4012: "This page said something the server does not understand.",
  4013: "Intel AMT does not answer.",
};

/** The end after which the person at the device may be asked. */
export const CONSENT = 4006;
/** Ends after which it is tried again: the line broke, or the computer restarts. */
const AGAIN = [1006, 4009];
/** Pauses before that; after the last one a person has to ask. */
const PAUSES = [1_000, 2_000, 4_000, 8_000, 15_000];
/** A session that has lasted so long was a good one. */
const STEADY = 20_000;

/** Why it ended, in words. */
export function endWords(code: number): string {
  return ENDS[code] ?? "The connection broke.";
}

/** What of a WebSocket is needed; the browser's has it. */
export interface Line {
  binaryType: string;
  addEventListener(name: "message", listener: (event: { data: unknown }) => void): void;
  addEventListener(name: "close", listener: (event: { code: number }) => void): void;
  close(): void;
}

export interface Around<L extends Line> {
  address(): Promise<string>;
  open(address: string): L;
  /** Takes a socket into use; what it gives back is called when that has ended. */
  begin(line: L): () => void;
  after(ms: number, run: () => void): () => void;
}

export class Console<L extends Line> {
  readonly state: Signal<ConsoleState> = signal({ is: "idle" });
  #around: Around<L>;
  #line: L | null = null;
  #cancel = () => {};
  #tries = 0;

  constructor(around: Around<L>) {
    this.#around = around;
  }

  /** Opens it, or opens it again. */
  start(): void {
    this.#drop();
    this.#tries = 0;
    void this.#open();
  }

  /** Ends it for good. */
  stop(): void {
    this.#drop();
    if (this.state.value.is !== "idle") this.#end(1000);
  }

  async #open(): Promise<void> {
    this.state.value = { is: "opening" };
    let abandoned = false;
    this.#cancel = () => (abandoned = true);
    try {
      const address = await this.#around.address();
      if (!abandoned) this.#use(this.#around.open(address));
    } catch (error) {
      if (!abandoned) this.state.value = { is: "ended", code: 0, words: (error as Error).message };
    }
  }

  #use(line: L): void {
    this.#line = line;
    line.binaryType = "arraybuffer";
    const finish = this.#around.begin(line);
    let opened = false;
    let steady = () => {};
    line.addEventListener("message", () => {
      if (opened || this.#line !== line) return;
      opened = true;
      this.state.value = { is: "open" };
      steady = this.#around.after(STEADY, () => (this.#tries = 0));
    });
    line.addEventListener("close", ({ code }) => {
      steady();
      finish();
      if (this.#line !== line) return;
      this.#line = null;
      this.#end(code);
      const pause = PAUSES[this.#tries];
      if (!AGAIN.includes(code) || pause === undefined || !(opened || this.#tries > 0)) return;
      this.#tries += 1;
      this.#cancel = this.#around.after(pause, () => void this.#open());
    });
  }

  #end(code: number): void {
    this.state.value = { is: "ended", code, words: endWords(code) };
  }

  #drop(): void {
    this.#cancel();
    this.#cancel = () => {};
    const line = this.#line;
    this.#line = null;
    line?.close();
  }
}
