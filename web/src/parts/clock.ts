// The time, for everything that says how long ago something was. Moves every twenty seconds.

import { signal } from "@preact/signals";

export const now = signal(Date.now());

if (typeof window !== "undefined") {
  setInterval(() => (now.value = Date.now()), 20_000);
}
