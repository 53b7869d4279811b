// What a computer has read of an image: enough for a bar that shows where it is and how much it has.

/** Parts of an image that are told apart. */
const CELLS = 100;

export class Reading {
  readonly total: number;
  /** The sector read last. */
  last = 0;
  #cells = new Uint8Array(CELLS);

  /** Of an image with so many sectors. */
  constructor(total: number) {
    this.total = total;
  }

  /** The computer has asked for sectors. */
  read(start: number, count: number): void {
    if (this.total <= 0 || count <= 0) return;
    const cell = (sector: number) => Math.min(CELLS - 1, Math.floor((sector * CELLS) / this.total));
    this.#cells.fill(1, cell(start), cell(start + count - 1) + 1);
    this.last = start + count - 1;
  }

  /** Parts of which something was read, of 100. */
  get share(): number {
    return this.#cells.reduce((sum, cell) => sum + cell, 0);
  }
}

/** An image on the server. */
export interface DriveImage {
  /** What the server is told when it is chosen. */
  path: string;
  /** What people read, where that is something else: the files of a device group. */
  name?: string;
  size: number;
}

/** The images in an answer; anything else is none. */
export function imagesIn(list: unknown): DriveImage[] {
  if (!Array.isArray(list)) return [];
  return list.filter(
    (one): one is DriveImage =>
      typeof one === "object" && one !== null && typeof one.path === "string" && typeof one.size === "number",
  );
}

const ERRORS: Record<number, string> = {
  1: "The floppy image is not there any more.",
  2: "The floppy image has no size of a disk: a multiple of 512 bytes.",
  3: "The floppy image cannot be read.",
  4: "The CD image is not there any more.",
  5: "The CD image has no size of a disk: a multiple of 512 bytes.",
  6: "The CD image cannot be read.",
  7: "Choose an image.",
};

/** Why it does not begin. */
export function errorWords(code: unknown): string {
  return ERRORS[Number(code)] ?? "The images cannot be used.";
}
