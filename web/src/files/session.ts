// The files of a device, through a tunnel: one question at a time for each kind, one upload and one
// download at a time, each in blocks that are acknowledged.
//
// Agents answer most changes with nothing; the folder is read again to see what came of them.

import { signal, type Signal } from "@preact/signals";

import { block, entries, escape, join, type Entry } from "./wire.ts";

/** Bytes of a block of an upload. With its mark it stays below what agents read at once. */
export const BLOCK = 65_535;
/** Blocks under way before one is acknowledged. */
export const AHEAD = 8;
/** Time for an answer. */
export const PATIENCE = 20_000;
/** Time for the next block of a file. */
const STALLED = 60_000;
/** Largest file whose beginning is compared before an upload goes on where it stopped. */
export const COMPARED = 512 * 1024 * 1024;

/** The tunnel, as far as files need it. */
export interface Line {
  say(message: object): void;
  send(data: Uint8Array<ArrayBuffer>): void;
}

export interface Clock {
  after(ms: number, run: () => void): () => void;
}

/** What to send: a `File` of the browser, or something made here. */
export interface Source {
  name: string;
  size: number;
  slice(from: number, to: number): Blob;
}

/** Where a download goes. */
export interface Sink {
  write(data: Uint8Array<ArrayBuffer>): Promise<void> | void;
}

export interface Progress {
  done: number;
  total: number;
}

interface Waiting {
  resolve(message: Record<string, unknown>): void;
  reject(error: Error): void;
  cancel(): void;
}

interface Upload {
  reqid: number;
  acknowledged(): void;
  failed(error: Error): void;
}

interface Download {
  id: number;
  block(message: ArrayBuffer): void;
  started(): void;
  failed(error: Error): void;
}

export class Files {
  /** What the agent does for long: packing, unpacking. */
  readonly busy: Signal<string> = signal("");
  #waiting = new Map<string, Waiting>();
  #upload: Upload | null = null;
  #download: Download | null = null;
  #next = 0;
  /** Called when the agent says that a folder changed. */
  onChange: () => void = () => {};

  constructor(
    private readonly line: Line,
    private readonly clock: Clock,
  ) {}

  async list(path: string): Promise<Entry[]> {
    const reqid = ++this.#next;
    const answer = await this.#ask(`ls ${reqid}`, { action: "ls", reqid, path });
    const list = entries(answer["dir"]);
    if (list === null) throw new Error("This folder cannot be read.");
    return list;
  }

  makeFolder(path: string): void {
    this.line.say({ action: "mkdir", reqid: ++this.#next, path });
  }

  remove(path: string, names: string[]): void {
    this.line.say({ action: "rm", reqid: ++this.#next, path, delfiles: names, rec: true });
  }

  rename(path: string, oldname: string, newname: string): void {
    this.line.say({ action: "rename", reqid: ++this.#next, path, oldname, newname });
  }

  /** Copies or moves `names` from one folder to another. */
  transfer(action: "copy" | "move", scpath: string, dspath: string, names: string[]): void {
    this.line.say({ action, reqid: ++this.#next, scpath, dspath, names });
  }

  zip(path: string, output: string, files: string[]): void {
    this.line.say({ action: "zip", reqid: ++this.#next, path, output, files });
  }

  unzip(path: string, name: string): void {
    this.line.say({ action: "unzip", reqid: ++this.#next, input: join(path, name), dest: path });
  }

  cancel(): void {
    this.line.say({ action: "cancel" });
    this.busy.value = "";
  }

  /** SHA-384 of a file on the device in hexadecimal digits; `null` if there is none. */
  async hash(path: string, name: string, patience = PATIENCE): Promise<string | null> {
    const reqid = ++this.#next;
    const answer = await this.#ask(
      `hash ${reqid}`,
      { action: "uploadhash", reqid, path, name, tag: reqid },
      patience,
    );
    return typeof answer["hash"] === "string" ? answer["hash"].toLowerCase() : null;
  }

  /**
   * Sends a file. With `from` above 0 what is there is kept and the rest added. Rejects when the
   * agent refuses, `signal` is raised, or the tunnel ends.
   */
  upload(
    path: string,
    source: Source,
    from: number,
    progress: (done: number) => void,
    stop: AbortSignal,
  ): Promise<void> {
    if (this.#upload) return Promise.reject(new Error("Another file is being sent."));
    const reqid = ++this.#next;
    return new Promise<void>((resolve, reject) => {
      let sent = from;
      let acknowledged = from;
      let flying: number[] = [];
      let reading = false;
      let over = false;
      const finish = (error: Error | null) => {
        if (over) return;
        over = true;
        this.#upload = null;
        stop.removeEventListener("abort", abort);
        if (error) reject(error);
        else resolve();
      };
      const abort = () => {
        this.line.say({ action: "uploadcancel", reqid });
        finish(new Error("Stopped."));
      };
      const fill = async () => {
        if (reading) return;
        reading = true;
        try {
          while (!over && sent < source.size && flying.length < AHEAD) {
            const data = new Uint8Array(
              await source.slice(sent, Math.min(sent + BLOCK, source.size)).arrayBuffer(),
            );
            if (over) return;
            if (data.length === 0) throw new Error("The file became shorter while it was sent.");
            this.line.send(escape(data));
            flying.push(data.length);
            sent += data.length;
          }
        } catch (error) {
          this.line.say({ action: "uploadcancel", reqid });
          finish(error instanceof Error ? error : new Error("The file cannot be read."));
        } finally {
          reading = false;
        }
        if (!over && flying.length === 0 && sent >= source.size) this.#done(reqid, finish);
      };
      this.#upload = {
        reqid,
        acknowledged: () => {
          acknowledged += flying.shift() ?? 0;
          progress(acknowledged);
          void fill();
        },
        failed: finish,
      };
      stop.addEventListener("abort", abort);
      const start = {
        action: "upload",
        reqid,
        path,
        name: source.name,
        size: source.size,
        ...(from > 0 ? { append: true } : {}),
      };
      this.#ask(`upload ${reqid}`, start).then(
        () => void fill(),
        (error: Error) => finish(error),
      );
    });
  }

  #done(reqid: number, finish: (error: Error | null) => void): void {
    this.#ask(`done ${reqid}`, { action: "uploaddone", reqid }).then(() => finish(null), finish);
  }

  /** Fetches a file, block by block into `sink`. */
  download(path: string, sink: Sink, progress: (done: number) => void, stop: AbortSignal): Promise<void> {
    if (this.#download) return Promise.reject(new Error("Another file is being fetched."));
    const id = ++this.#next;
    return new Promise<void>((resolve, reject) => {
      let done = 0;
      let writing = Promise.resolve();
      const finish = (error: Error | null) => {
        if (this.#download?.id !== id) return;
        this.#download = null;
        timer();
        stop.removeEventListener("abort", abort);
        if (error) reject(error);
        else writing.then(resolve, reject);
      };
      const abort = () => {
        this.line.say({ action: "download", sub: "stop", id });
        finish(new Error("Stopped."));
      };
      let timer = this.clock.after(PATIENCE, () => finish(new Error("The agent does not answer.")));
      const stalled = () => {
        this.line.say({ action: "download", sub: "stop", id });
        finish(new Error("The device stopped sending."));
      };
      const acknowledge = () => {
        this.line.say({ action: "download", sub: "ack", id });
        // Whoever was asked for a block sends one. A slow disk here is not the device's fault.
        timer();
        timer = this.clock.after(STALLED, stalled);
      };
      this.#download = {
        id,
        started: () => {
          timer();
          this.line.say({ action: "download", sub: "startack", id });
          // Each acknowledgement brings one block: those sent ahead keep as many on the way.
          for (let n = 1; n < AHEAD; n++) acknowledge();
        },
        block: (message) => {
          const read = block(message);
          if (read === null) return;
          done += read.data.length;
          progress(done);
          // The next block is asked for when this one is kept, so that a slow disk slows the sender.
          writing = writing.then(() => sink.write(read.data));
          writing.then(
            () => (read.last ? finish(null) : this.#download?.id === id && acknowledge()),
            (error: Error) => {
              this.line.say({ action: "download", sub: "stop", id });
              finish(error);
            },
          );
        },
        failed: finish,
      };
      stop.addEventListener("abort", abort);
      this.line.say({ action: "download", sub: "start", id, path });
    });
  }

  /** A message that came through the tunnel. */
  take(message: string | ArrayBuffer): void {
    if (typeof message !== "string") {
      // Blocks and JSON come in the same frames; the first byte tells.
      if (new Uint8Array(message, 0, Math.min(1, message.byteLength))[0] !== 0x7b) {
        this.#download?.block(message);
        return;
      }
      message = new TextDecoder().decode(message);
    }
    const read = parse(message);
    if (read !== null) this.#answer(read);
  }

  /** The tunnel ended: everything that waits fails. */
  lose(): void {
    const lost = new Error("The connection broke.");
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const one of waiting) {
      one.cancel();
      one.reject(lost);
    }
    this.#upload?.failed(lost);
    this.#download?.failed(lost);
    this.busy.value = "";
  }

  #answer(message: Record<string, unknown>): void {
    const { action, reqid } = message;
    switch (action) {
      case undefined:
        return this.#settle(`ls ${reqid}`, message);
      case "uploadhash":
        return this.#settle(`hash ${reqid}`, message);
      case "uploadstart":
        return this.#settle(`upload ${reqid}`, message);
      case "uploadack":
        if (this.#upload?.reqid === reqid) this.#upload?.acknowledged();
        return;
      case "uploaddone":
        return this.#settle(`done ${reqid}`, message);
      case "uploaderror":
        if (this.#upload?.reqid === reqid)
          this.#upload?.failed(new Error("The device cannot write this file."));
        return;
      case "download":
        if (this.#download?.id !== message["id"]) return;
        if (message["sub"] === "start") this.#download?.started();
        else if (message["sub"] === "cancel")
          this.#download?.failed(new Error("The device cannot read this file."));
        return;
      case "dialogmessage":
        this.busy.value = busyWords(message);
        return;
      case "unziperror":
        this.busy.value = "";
        this.onError(
          `The archive cannot be unpacked: ${typeof message["error"] === "string" ? message["error"].slice(0, 200) : "it is damaged"}`,
        );
        return;
      case "refresh":
        this.onChange();
        return;
    }
  }

  /** Called with what went wrong on the device. */
  onError: (words: string) => void = () => {};

  #ask(key: string, message: object, patience = PATIENCE): Promise<Record<string, unknown>> {
    return new Promise((resolve, reject) => {
      const late = () => {
        this.#waiting.delete(key);
        reject(new Error("The agent does not answer."));
      };
      this.#waiting.set(key, { resolve, reject, cancel: this.clock.after(patience, late) });
      this.line.say(message);
    });
  }

  #settle(key: string, message: Record<string, unknown>): void {
    const waiting = this.#waiting.get(key);
    if (!waiting) return;
    this.#waiting.delete(key);
    waiting.cancel();
    waiting.resolve(message);
  }
}

function parse(text: string): Record<string, unknown> | null {
  try {
    const message: unknown = JSON.parse(text);
    return typeof message === "object" && message !== null ? (message as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

function busyWords({ msg, file, progress }: Record<string, unknown>): string {
  switch (msg) {
    case "zipping":
    case "zippingFile": {
      const name = typeof file === "string" ? ` ${file.slice(0, 100)}` : "";
      const percent = typeof progress === "number" ? `, ${Math.round(progress)} %` : "";
      return `Packing${name}${percent}…`;
    }
    case "unzipping":
      return "Unpacking…";
    default:
      return "";
  }
}
