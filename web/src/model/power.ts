// The power history of a device as stretches of time.
//
// Source: `powertimeline`: [power, seconds, power, delta, power, …]; the first three absolute, then
// pairs of seconds since the one before and the new power.

export interface Stretch {
  from: number;
  to: number;
  power: number;
}

/** Stretches within the `length` milliseconds before `now`, oldest first, without holes. */
export function stretches(timeline: unknown, now: number, length: number): Stretch[] {
  const start = now - length;
  const changes = read(timeline);
  const found: Stretch[] = [];
  for (const [n, { at, power }] of changes.entries()) {
    const from = Math.max(start, at);
    const to = Math.min(now, changes[n + 1]?.at ?? now);
    if (to > from) found.push({ from, to, power });
  }
  const first = found[0]?.from ?? now;
  if (first > start) found.unshift({ from: start, to: first, power: before(timeline) });
  return found;
}

/** Share of the time with `power`, 0 to 1. */
export function share(stretches: Stretch[], wanted: (power: number) => boolean): number {
  let [all, some] = [0, 0];
  for (const { from, to, power } of stretches) {
    all += to - from;
    if (wanted(power)) some += to - from;
  }
  return all === 0 ? 0 : some / all;
}

interface Change {
  at: number;
  power: number;
}

function read(timeline: unknown): Change[] {
  if (!Array.isArray(timeline) || !timeline.every((value) => typeof value === "number")) return [];
  const numbers = timeline as number[];
  const [, second, third] = numbers;
  if (second === undefined || third === undefined) return [];
  // Nothing stored: the second number is now, in milliseconds.
  if (second > 1e11) return [{ at: 0, power: third }];
  const changes = [{ at: second * 1000, power: third }];
  let at = second;
  for (let n = 3; n + 1 < numbers.length; n += 2) {
    at += numbers[n] as number;
    changes.push({ at: at * 1000, power: numbers[n + 1] as number });
  }
  return changes;
}

function before(timeline: unknown): number {
  const first: unknown = Array.isArray(timeline) ? timeline[0] : 0;
  return typeof first === "number" ? first : 0;
}
