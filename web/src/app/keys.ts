// Keys that work wherever nothing is being typed. The last that bound a key has it.

import { useEffect, useRef } from "preact/hooks";

export type Keys = Record<string, (event: KeyboardEvent) => void>;

interface Bound {
  keys: { current: Keys };
}

const stack: Bound[] = [];

/** True while letters go into a field or a dialog is open. */
function isBusy(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement | null;
  const typing = target?.closest(
    "input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]",
  );
  return Boolean(typing) || document.querySelector("dialog[open]") !== null;
}

export function listenForKeys(): void {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isBusy(event)) return;
    // Enter and blank belong to what has the focus.
    const focused = (event.target as HTMLElement | null)?.closest(
      "a, button, input, summary, [role=menuitem]",
    );
    if (focused && (event.key === "Enter" || event.key === " ")) return;
    for (const { keys } of [...stack].reverse()) {
      const run = keys.current[event.key];
      if (run) {
        event.preventDefault();
        run(event);
        return;
      }
    }
  });
}

/** Binds keys as long as the component is there. */
export function useKeys(keys: Keys): void {
  const current = useRef(keys);
  current.current = keys;
  useEffect(() => {
    const bound = { keys: current };
    stack.push(bound);
    return () => void stack.splice(stack.indexOf(bound), 1);
  }, []);
}
