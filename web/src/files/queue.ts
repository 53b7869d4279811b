// Uploads and downloads, one after the other. What was broken off goes on where it stopped.

import { signal, type Signal } from "@preact/signals";

import { COMPARED, type Files, type Sink, type Source } from "./session.ts";
import { join } from "./wire.ts";

export type JobState = "waits" | "runs" | "done" | "failed" | "stopped";

export interface Job {
  id: number;
  way: "up" | "down";
  name: string;
  folder: string;
  total: number;
  done: Signal<number>;
  state: Signal<JobState>;
  words: Signal<string>;
  stop: AbortController;
  run(files: Files, job: Job): Promise<void>;
}

/** What to do where a file of this name is already. */
export type Clash = "replace" | "resume" | "skip";

export class Queue {
  readonly jobs: Signal<Job[]> = signal<Job[]>([]);
  #next = 0;
  #running = false;
  /** Called when a file has come to a folder of the device. */
  onArrival: (folder: string) => void = () => {};

  constructor(private readonly files: Files) {}

  /** Sends a file into a folder. `there` is the size of a file of this name, if one is there. */
  upload(folder: string, source: Source, clash: Clash = "replace", there = 0): void {
    this.#add("up", source.name, folder, source.size, async (files, job) => {
      // A second attempt looks what came of the first.
      const kept = clash === "resume" || job.done.value > 0;
      const from = kept ? await goOn(files, folder, source, there, job) : 0;
      if (from === source.size && from > 0) {
        job.done.value = from;
        return;
      }
      await files.upload(folder, source, from, (done) => (job.done.value = done), job.stop.signal);
      this.onArrival(folder);
    });
  }

  /** Fetches a file; `open` is called when its turn comes. */
  download(
    folder: string,
    name: string,
    size: number,
    open: () => Promise<Sink & { close(): Promise<void> }>,
  ): void {
    this.#add("down", name, folder, size, async (files, job) => {
      job.done.value = 0;
      const sink = await open();
      await files.download(join(folder, name), sink, (done) => (job.done.value = done), job.stop.signal);
      await sink.close();
    });
  }

  again(job: Job): void {
    job.stop = new AbortController();
    job.state.value = "waits";
    job.words.value = "";
    void this.#work();
  }

  stop(job: Job): void {
    if (job.state.value === "waits") job.state.value = "stopped";
    job.stop.abort();
  }

  clear(): void {
    this.jobs.value = this.jobs.value.filter(({ state }) => ["waits", "runs"].includes(state.value));
  }

  #add(way: Job["way"], name: string, folder: string, total: number, run: Job["run"]): void {
    const job: Job = {
      id: ++this.#next,
      way,
      name,
      folder,
      total,
      done: signal(0),
      state: signal<JobState>("waits"),
      words: signal(""),
      stop: new AbortController(),
      run,
    };
    this.jobs.value = [...this.jobs.value, job];
    void this.#work();
  }

  async #work(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    for (;;) {
      const job = this.jobs.value.find(({ state }) => state.value === "waits");
      if (!job) break;
      job.state.value = "runs";
      try {
        await job.run(this.files, job);
        job.done.value = Math.max(job.done.value, job.total);
        job.state.value = "done";
      } catch (error) {
        job.state.value = job.stop.signal.aborted ? "stopped" : "failed";
        job.words.value = error instanceof Error ? error.message : String(error);
      }
    }
    this.#running = false;
  }
}

/** Where an upload goes on: after what is there, if that is the beginning of this file. */
async function goOn(files: Files, folder: string, source: Source, there: number, job: Job): Promise<number> {
  const list = await files.list(folder);
  const size = list.find(({ name, kind }) => name === source.name && kind === "file")?.size ?? there;
  if (size === 0 || size > source.size || size > COMPARED) return 0;
  job.words.value = "Comparing…";
  const [theirs, ours] = await Promise.all([
    files.hash(folder, source.name, 120_000),
    sha384(source.slice(0, size)),
  ]);
  job.words.value = "";
  return theirs === ours ? size : 0;
}

async function sha384(blob: Blob): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-384", await blob.arrayBuffer());
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
