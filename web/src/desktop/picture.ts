// The page's side of the worker that draws.

import address from "worker:./decoder.ts";

import { at } from "../control/address.ts";
import type { FromWorker } from "./decoder.ts";
import type { Told } from "./screen.ts";

/** The one policy with which this page starts scripts: its own workers. */
interface Policies {
  createPolicy(
    name: string,
    rules: { createScriptURL(address: string): string },
  ): { createScriptURL(address: string): string };
}
let policy: ReturnType<Policies["createPolicy"]> | null = null;

function script(): string {
  const { trustedTypes } = window as { trustedTypes?: Policies };
  const rules = { createScriptURL: () => at(address) };
  policy ??= trustedTypes?.createPolicy("meshboard", rules) ?? rules;
  return policy.createScriptURL("");
}

/** What a second brought. */
export interface Rate {
  images: number;
  bytes: number;
}

export class Picture {
  #worker: Worker;
  #last = { drawn: 0, received: 0 };
  #asked = new Map<number, (blob: Blob) => void>();
  #next = 0;

  /** Draws onto `canvas`, which belongs to the worker from now on. */
  constructor(canvas: HTMLCanvasElement, told: (told: Told) => void, rate: (rate: Rate) => void) {
    this.#worker = new Worker(script());
    const offscreen = canvas.transferControlToOffscreen();
    this.#worker.postMessage({ canvas: offscreen }, [offscreen]);
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      if ("told" in data) told(data.told);
      else if ("picture" in data) this.#given(data.picture, data.blob);
      else {
        const { drawn, received } = this.#last;
        this.#last = data;
        rate({ images: data.drawn - drawn, bytes: data.received - received });
      }
    };
  }

  take(message: ArrayBuffer): void {
    this.#worker.postMessage({ message }, [message]);
  }

  /** What is seen now, as PNG. */
  snapshot(): Promise<Blob> {
    const picture = ++this.#next;
    return new Promise((resolve) => {
      this.#asked.set(picture, resolve);
      this.#worker.postMessage({ picture });
    });
  }

  close(): void {
    this.#worker.terminate();
  }

  #given(picture: number, blob: Blob): void {
    this.#asked.get(picture)?.(blob);
    this.#asked.delete(picture);
  }
}
