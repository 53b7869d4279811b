// A conversation through the relay: what people say, that they write, files they offer. Both sides
// are alike. Socket, clock and the way to the relay come from outside.
//
// The words are MeshCentral's (`chat`, `outtext`, `file…`), so that its page may be at the other end.
// A file is offered, sent in blocks that are each acknowledged, and only after the other side took
// the offer: it holds its first acknowledgement back until then. Calls with sound and picture are
// not taken up; they would pass beside the server.

import { signal, type Signal } from "@preact/signals";

import type { Sink, Source } from "../files/session.ts";
import type { Surroundings, Wire } from "../tunnel/tunnel.ts";

export type Presence =
  | { is: "idle" }
  /** On the way to the server. */
  | { is: "reaching" }
  /** The other one is not there (yet, or any more). */
  | { is: "waiting"; left: boolean }
  | { is: "together"; recorded: boolean }
  /** It is over; a person may begin again. */
  | { is: "ended"; words: string };

export type Entry = Said | Transfer;

interface Common {
  id: number;
  mine: boolean;
  time: number;
}

export interface Said extends Common {
  kind: "said";
  text: string;
}

export type FileState = "offered" | "runs" | "done" | "refused" | "stopped" | "failed";

export interface Transfer extends Common {
  kind: "file";
  name: string;
  size: number;
  done: Signal<number>;
  state: Signal<FileState>;
}

/** Where the socket goes; rejects with [`Over`] if there is no use in trying again. */
export type Door = () => Promise<string>;

/** The chat cannot be joined any more. */
export class Over extends Error {}

/** Longest message, in letters. */
export const LONGEST = 8_000;
/** Entries that are kept. */
export const KEPT = 500;
/** Bytes of a block of a file. */
export const BLOCK = 16_384;
/** Offers that wait for an answer, at most; further ones are refused. */
export const OFFERS = 20;
/** Pauses before the server is tried again; the last one from then on. */
const PAUSES = [500, 1_000, 2_000, 4_000, 8_000, 15_000];

const CONTROL = "102938";

/** A file on its way out. */
interface Outgoing {
  mark: number;
  file: Source & { type?: string };
  entry: Transfer;
  at: number;
  begun: boolean;
}

/** A file on its way in. */
interface Incoming {
  mark: unknown;
  entry: Transfer;
  sink: (Sink & { close(): Promise<void> }) | null;
  /** The other side waits for the word to send. */
  ready: boolean;
}

export class Chat {
  readonly presence: Signal<Presence> = signal<Presence>({ is: "idle" });
  readonly entries: Signal<Entry[]> = signal<Entry[]>([]);
  /** The other one is writing. */
  readonly writing: Signal<boolean> = signal(false);
  /** Called with what the other one says, for who looks elsewhere. */
  onSaid: (text: string) => void = () => {};
  #wire: Wire | null = null;
  #timer: (() => void) | null = null;
  #generation = 0;
  #attempt = 0;
  #next = 0;
  #wrote = false;
  #outgoing: Outgoing[] = [];
  #incoming = new Map<unknown, Incoming>();
  /** Blocks are taken in their order, whatever time the browser takes to keep them. */
  #tail: Promise<void> = Promise.resolve();

  constructor(
    private readonly around: Surroundings,
    private readonly door: Door,
  ) {}

  get isTogether(): boolean {
    return this.presence.value.is === "together";
  }

  /** Joins, and comes again by itself when the connection breaks. */
  start(): void {
    const { is } = this.presence.value;
    if (is !== "idle" && is !== "ended") return;
    this.#attempt = 0;
    this.presence.value = { is: "reaching" };
    void this.#join();
  }

  /** Leaves. */
  stop(): void {
    this.#drop();
    this.presence.value = { is: "idle" };
  }

  /** Says something; false if nobody is there. */
  say(text: string): boolean {
    const said = text.slice(0, LONGEST);
    if (!this.isTogether || said.trim() === "") return false;
    this.#send({ action: "chat", msg: said });
    this.#wrote = false;
    this.#say(true, said);
    return true;
  }

  /** Tells the other one whether something is being written. */
  write(on: boolean): void {
    if (on === this.#wrote || !this.isTogether) return;
    this.#wrote = on;
    this.#send({ action: "outtext", value: on });
  }

  /** Offers a file. */
  offer(file: Source & { type?: string }): void {
    if (!this.isTogether) return;
    const mark = this.around.now() + Math.random();
    const entry = this.#transfer(true, file.name, file.size);
    this.#outgoing.push({ mark, file, entry, at: 0, begun: false });
    this.#send({ action: "file", size: file.size, id: mark, type: file.type ?? "", name: file.name });
    this.#sendNext();
  }

  /** Takes a file that was offered. */
  take(entry: Transfer, sink: Sink & { close(): Promise<void> }): void {
    const incoming = this.#offered(entry);
    if (!incoming) return;
    incoming.sink = sink;
    entry.state.value = "runs";
    if (incoming.ready) this.#acknowledge(incoming.mark);
  }

  /** Refuses a file that was offered, or stops one. */
  cancel(entry: Transfer): void {
    if (entry.mine) {
      const job = this.#outgoing.find((one) => one.entry === entry);
      if (!job) return;
      this.#send({ action: "fileUploadCancel", id: job.mark });
      this.#finish(job, "stopped");
      return;
    }
    const incoming = this.#offered(entry);
    if (!incoming) return;
    this.#send({ action: "fileUploadCancel", id: incoming.mark });
    this.#incoming.delete(incoming.mark);
    entry.state.value = entry.state.value === "offered" ? "refused" : "stopped";
  }

  async #join(): Promise<void> {
    const generation = ++this.#generation;
    const current = () => generation === this.#generation;
    try {
      const address = await this.door();
      if (!current()) return;
      this.#wire = this.around.open(address, {
        opened: () => {
          if (!current()) return;
          const { value } = this.presence;
          this.presence.value = { is: "waiting", left: value.is === "waiting" && value.left };
        },
        text: (text) => current() && this.#text(text),
        data: () => undefined,
        closed: () => current() && this.#closed(),
      });
    } catch (error) {
      if (!current()) return;
      if (error instanceof Over) this.#end(error.message);
      else this.#closed();
    }
  }

  #closed(): void {
    const together = this.isTogether;
    if (together) this.#attempt = 0;
    this.#drop();
    this.presence.value = together ? { is: "waiting", left: true } : this.presence.value;
    const pause = PAUSES[Math.min(this.#attempt, PAUSES.length - 1)] as number;
    this.#attempt += 1;
    this.#timer = this.around.after(pause, () => void this.#join());
  }

  #end(words: string): void {
    this.#drop();
    this.presence.value = { is: "ended", words };
  }

  #drop(): void {
    this.#generation += 1;
    this.#timer?.();
    this.#timer = null;
    this.#wire?.close();
    this.#wire = null;
    this.#wrote = false;
    this.writing.value = false;
    for (const { entry } of [...this.#outgoing, ...this.#incoming.values()]) entry.state.value = "failed";
    this.#outgoing = [];
    this.#incoming.clear();
  }

  #text(text: string): void {
    if (!this.isTogether) {
      if (text !== "c" && text !== "cr") return;
      this.#attempt = 0;
      this.presence.value = { is: "together", recorded: text === "cr" };
      return;
    }
    const message = parse(text);
    if (message !== null) this.#heard(message);
  }

  #heard(message: Record<string, unknown>): void {
    const { id, msg } = message;
    if (message["ctrlChannel"] !== undefined) {
      if (message["type"] === "ping") this.#send({ ctrlChannel: CONTROL, type: "pong" });
      return;
    }
    switch (message["action"]) {
      case "chat":
        if (typeof msg !== "string") return;
        this.writing.value = false;
        this.#say(false, msg.slice(0, LONGEST));
        this.onSaid(msg.slice(0, LONGEST));
        return;
      case "outtext":
        this.writing.value = message["value"] === true;
        return;
      case "file":
        this.#offeredTo(message);
        return;
      case "fileUploadStart": {
        const incoming = this.#incoming.get(id);
        if (!incoming) return;
        incoming.ready = true;
        if (incoming.sink) this.#acknowledge(id);
        return;
      }
      case "fileData":
        this.#later(() => this.#block(id, message["data"]));
        return;
      case "fileUploadEnd":
        this.#later(() => this.#arrived(id));
        return;
      case "fileUploadAck": {
        const [job] = this.#outgoing;
        if (job && job.mark === id) void this.#sendBlock(job);
        return;
      }
      case "fileUploadCancel": {
        const incoming = this.#incoming.get(id);
        if (incoming) {
          incoming.entry.state.value = "stopped";
          this.#incoming.delete(id);
        }
        const job = this.#outgoing.find(({ mark }) => mark === id);
        if (job) this.#finish(job, job.at > 0 ? "stopped" : "refused");
        return;
      }
    }
  }

  #offeredTo({ id, name, size }: Record<string, unknown>): void {
    const good =
      typeof name === "string" && typeof size === "number" && Number.isSafeInteger(size) && size >= 0;
    const waiting = [...this.#incoming.values()].filter(({ entry }) => entry.state.value === "offered");
    if (!good || waiting.length >= OFFERS || this.#incoming.has(id)) {
      this.#send({ action: "fileUploadCancel", id });
      return;
    }
    const entry = this.#transfer(false, name.slice(0, 255), size);
    this.#incoming.set(id, { mark: id, entry, sink: null, ready: false });
  }

  #later(run: () => Promise<void>): void {
    this.#tail = this.#tail.then(run);
  }

  async #block(id: unknown, data: unknown): Promise<void> {
    const incoming = this.#incoming.get(id);
    if (!incoming?.sink || typeof data !== "string") return;
    const { entry } = incoming;
    try {
      if (entry.done.value + data.length > entry.size)
        throw new Error("It is longer than it was said to be.");
      await incoming.sink.write(Uint8Array.from(data, (letter) => letter.charCodeAt(0)));
      entry.done.value += data.length;
      this.#acknowledge(id);
    } catch {
      this.#fail(incoming);
    }
  }

  async #arrived(id: unknown): Promise<void> {
    const incoming = this.#incoming.get(id);
    if (!incoming?.sink) return;
    const { entry } = incoming;
    if (entry.done.value !== entry.size) return this.#fail(incoming);
    this.#incoming.delete(id);
    try {
      await incoming.sink.close();
      entry.state.value = "done";
    } catch {
      entry.state.value = "failed";
    }
    this.#acknowledge(id);
  }

  #fail({ mark, entry }: Incoming): void {
    this.#incoming.delete(mark);
    this.#send({ action: "fileUploadCancel", id: mark });
    entry.state.value = "failed";
  }

  #acknowledge(id: unknown): void {
    this.#send({ action: "fileUploadAck", id });
  }

  #sendNext(): void {
    const [job] = this.#outgoing;
    if (!job || job.begun) return;
    job.begun = true;
    const { size, name, type } = job.file;
    this.#send({ action: "fileUploadStart", size, id: job.mark, type: type ?? "", name });
  }

  async #sendBlock(job: Outgoing): Promise<void> {
    const { file, entry, mark } = job;
    entry.state.value = "runs";
    if (job.at >= file.size) {
      this.#send({
        action: "fileUploadEnd",
        size: file.size,
        id: mark,
        type: file.type ?? "",
        name: file.name,
      });
      this.#finish(job, "done");
      return;
    }
    const from = job.at;
    job.at = Math.min(from + BLOCK, file.size);
    try {
      const bytes = new Uint8Array(await file.slice(from, job.at).arrayBuffer());
      if (this.#outgoing[0] !== job) return;
      this.#send({ action: "fileData", id: mark, data: String.fromCharCode(...bytes) });
      entry.done.value = from + bytes.length;
    } catch {
      this.#send({ action: "fileUploadCancel", id: mark });
      this.#finish(job, "failed");
    }
  }

  #finish(job: Outgoing, state: FileState): void {
    job.entry.state.value = state;
    this.#outgoing = this.#outgoing.filter((one) => one !== job);
    this.#sendNext();
  }

  #offered(entry: Transfer): Incoming | undefined {
    return [...this.#incoming.values()].find((one) => one.entry === entry);
  }

  #say(mine: boolean, text: string): void {
    this.#add({ ...this.#common(mine), kind: "said", text });
  }

  #transfer(mine: boolean, name: string, size: number): Transfer {
    const file = { ...this.#common(mine), kind: "file" as const, name, size };
    const entry = { ...file, done: signal(0), state: signal<FileState>("offered") };
    this.#add(entry);
    return entry;
  }

  #common(mine: boolean): Common {
    return { id: ++this.#next, mine, time: this.around.now() };
  }

  #add(entry: Entry): void {
    this.entries.value = [...this.entries.value, entry].slice(-KEPT);
  }

  #send(message: object): void {
    this.#wire?.send(JSON.stringify(message));
  }
}

function parse(text: string): Record<string, unknown> | null {
  if (!text.startsWith("{")) return null;
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return null;
  }
}
