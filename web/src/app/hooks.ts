// Small habits of components.

import { useCallback, useEffect, useState } from "preact/hooks";

import type { AskOptions } from "../control/client.ts";
import type { Frame, Happening } from "../control/wire.ts";
import { client, store } from "./state.ts";

export interface Asked {
  /** The answer; `null` until it came. */
  frame: Frame | null;
  failure: string | null;
  again(): void;
}

/** Asks when the component appears, when the connection is back, when an input changes, or `again`. */
export function useAsk(action: string, body: object, inputs: unknown[], options: AskOptions = {}): Asked {
  const [frame, setFrame] = useState<Frame | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const run = useCallback(() => {
    let current = true;
    client.ask(action, body, options).then(
      (frame) => current && (setFrame(frame), setFailure(null)),
      (error: Error) => current && setFailure(error.message),
    );
    return () => void (current = false);
  }, inputs);
  useEffect(() => {
    let stop = () => {};
    const off = client.onOpen(() => {
      stop();
      stop = run();
    });
    return () => {
      off();
      stop();
    };
  }, [run]);
  return { frame, failure, again: () => void run() };
}

/** Calls `listener` with every event as long as the component is there. */
export function useEvents(listener: (event: Happening) => void, inputs: unknown[]): void {
  useEffect(() => store.onEvent(listener), inputs);
}

/** Calls `handler` with frames of `action` that answer nothing. */
export function useFrames(action: string, handler: (frame: Frame) => void, inputs: unknown[]): void {
  useEffect(() => client.on(action, handler), inputs);
}
