// The picture of a remote desktop, put together from images in the order they came. Decoding runs
// ahead and beside; drawing waits its turn. What a fast agent or a slow processor could pile up is
// bounded: then the images that wait are dropped and a whole picture is asked for.
//
// The canvas and the decoder come from outside.

import { read, type FromAgent } from "./wire.ts";

/** A decoded image. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  close(): void;
}

export interface Surface<P extends Picture> {
  resize(width: number, height: number): void;
  draw(picture: P, x: number, y: number): void;
  copy(fromX: number, fromY: number, width: number, height: number, x: number, y: number): void;
  decode(data: Uint8Array<ArrayBuffer>, type: string): Promise<P>;
}

/** What the page is told. */
export type Told = Exclude<FromAgent, { is: "image" | "copy" }> | { is: "behind" };

/** Images that are decoded at the same time. */
export const AT_ONCE = 6;
/** Bytes of images that may wait. */
export const PILE = 24 * 1024 * 1024;
/** Largest desktop, in pixels and on one side. */
const PIXELS = 64 * 1024 * 1024;
const SIDE = 16_384;
/** How far an image may reach over the edge: images are made of cells of this size. */
const CELL = 64;

type Image = Extract<FromAgent, { is: "image" }>;

interface Entry<P> {
  image: Image;
  picture: Promise<P | null> | null;
}

export class Screen<P extends Picture> {
  #queue: (Entry<P> | Exclude<FromAgent, Image>)[] = [];
  #width = 0;
  #height = 0;
  #waiting = 0;
  #drawing = false;
  #dropped = false;
  /** Images drawn and bytes received so far. */
  drawn = 0;
  received = 0;

  constructor(
    private readonly surface: Surface<P>,
    private readonly tell: (told: Told) => void,
  ) {}

  take(message: ArrayBuffer): void {
    this.received += message.byteLength;
    for (const command of read(message)) {
      if (command.is !== "image") {
        this.#queue.push(command);
        continue;
      }
      if (command.width === 0 || command.height === 0 || command.width > SIDE || command.height > SIDE)
        continue;
      if (this.#waiting + command.data.length > PILE) this.#drop();
      this.#waiting += command.data.length;
      this.#queue.push({ image: command, picture: null });
    }
    this.#decode();
    void this.#draw();
  }

  /** Forgets images that wait; a whole picture is asked for when the rest is drawn. */
  #drop(): void {
    this.#queue = this.#queue.filter((entry) => {
      if (!("image" in entry)) return true;
      void entry.picture?.then((picture) => picture?.close());
      return false;
    });
    this.#waiting = 0;
    this.#dropped = true;
  }

  /** Begins with the images that are next. */
  #decode(): void {
    let running = 0;
    for (const entry of this.#queue) {
      if (!("image" in entry)) continue;
      if (running >= AT_ONCE) return;
      running += 1;
      entry.picture ??= this.surface.decode(entry.image.data, entry.image.type).catch(() => null);
    }
  }

  async #draw(): Promise<void> {
    if (this.#drawing) return;
    this.#drawing = true;
    for (;;) {
      const entry = this.#queue[0];
      if (!entry) break;
      if ("image" in entry) {
        const picture = await entry.picture;
        // Meanwhile it may have been dropped, and closed there.
        if (this.#queue[0] !== entry) continue;
        this.#queue.shift();
        this.#waiting -= entry.image.data.length;
        this.#decode();
        if (picture) this.#paint(picture, entry.image);
      } else {
        this.#queue.shift();
        this.#follow(entry);
      }
    }
    this.#drawing = false;
    if (this.#dropped) {
      this.#dropped = false;
      this.tell({ is: "behind" });
    }
  }

  #paint(picture: P, { x, y }: Image): void {
    const fits = x + picture.width <= this.#width + CELL && y + picture.height <= this.#height + CELL;
    if (fits) this.surface.draw(picture, x, y);
    picture.close();
    this.drawn += 1;
  }

  #follow(command: Exclude<FromAgent, Image>): void {
    switch (command.is) {
      case "copy":
        this.surface.copy(command.fromX, command.fromY, command.width, command.height, command.x, command.y);
        return;
      case "size": {
        const { width, height } = command;
        if (width === 0 || height === 0 || width > SIDE || height > SIDE || width * height > PIXELS) return;
        // The same size comes with every whole picture; what is there stays until it is drawn over.
        if (width === this.#width && height === this.#height) return;
        this.#width = width;
        this.#height = height;
        this.surface.resize(width, height);
        this.tell(command);
        return;
      }
      default:
        this.tell(command);
    }
  }
}
