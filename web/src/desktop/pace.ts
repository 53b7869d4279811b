// How long the agent rests between two pictures: as little as it can where everything it sends is
// taken up at once, longer where pictures pile up on the way or here.
//
// A question to the agent and its answer stand in the same queue as the pictures. What a round trip
// takes beyond the quickest one is what pictures wait: a slow line would be kept full, and whoever
// types there would see every key that much later.

/** The shortest rest of agents, in milliseconds: what is below they do not take. */
export const LEAST = 20;
/** The longest rest that is asked for, in milliseconds. */
export const MOST = 640;
/** Milliseconds that pictures may wait. */
const FULL = 300;
/** Below this wait, in milliseconds, there is room for more. */
const EMPTY = 100;

export class Pace {
  #quickest = Infinity;
  #least: number;
  /** Milliseconds between two pictures. */
  pause: number;

  /** `least` is the rest where nothing waits. */
  constructor(least: number) {
    this.#least = least;
    this.pause = least;
  }

  /** Another session, or another quality: nothing is known of it. */
  begin(least: number): void {
    this.#quickest = Infinity;
    this.#least = least;
    this.pause = least;
  }

  /** A round trip took `rtt` milliseconds; whether the pause is another one now. */
  measured(rtt: number): boolean {
    this.#quickest = Math.min(this.#quickest, rtt);
    const wait = rtt - this.#quickest;
    if (wait > FULL) return this.#rest(this.pause * 2);
    return wait < EMPTY && this.#rest(this.pause / 2);
  }

  /** Pictures came faster than they could be shown; whether the pause is another one now. */
  behind(): boolean {
    return this.#rest(this.pause * 2);
  }

  #rest(wanted: number): boolean {
    const before = this.pause;
    this.pause = Math.round(Math.max(this.#least, Math.min(MOST, wanted)));
    return this.pause !== before;
  }
}
