// The commands of a remote desktop: `u16 command, u16 size, payload`, big-endian, the size with the
// four bytes of the head. Images too large for that come in a wrapper (27) with a length of 32 bits.
// Everything here is total: bytes that are no command are skipped, never thrown about.

export type FromAgent =
  | {
      is: "image";
      x: number;
      y: number;
      type: ImageType;
      data: Uint8Array<ArrayBuffer>;
      width: number;
      height: number;
    }
  | { is: "copy"; fromX: number; fromY: number; x: number; y: number; width: number; height: number }
  | { is: "size"; width: number; height: number }
  /** `selected` is one of `ids`, or `ALL`. */
  | { is: "displays"; ids: number[]; selected: number }
  | { is: "places"; places: Place[] }
  | { is: "selected"; display: number }
  | { is: "locks"; num: boolean; scroll: boolean; caps: boolean }
  | { is: "words"; words: string; alert: boolean }
  | { is: "input"; locked: boolean }
  | { is: "cursor"; css: string };

export type ImageType = "image/jpeg" | "image/png";

/** Where a display lies on the whole desktop; coordinates may be negative. */
export interface Place {
  id: number;
  x: number;
  y: number;
  width: number;
  height: number;
}

/** The id that stands for all displays together. */
export const ALL = 65_535;

/** Longest words of an agent that are shown. */
const WORDS = 500;

const CURSORS = [
  "default",
  "progress",
  "crosshair",
  "pointer",
  "help",
  "text",
  "no-drop",
  "move",
  "nesw-resize",
  "ns-resize",
  "nwse-resize",
  "w-resize",
  "alias",
  "wait",
  "none",
  "not-allowed",
  "col-resize",
];

/** What a message of the agent holds. Agents send one command with each; several are read too. */
export function read(message: ArrayBuffer): FromAgent[] {
  const view = new DataView(message);
  const commands: FromAgent[] = [];
  let at = 0;
  while (at + 4 <= view.byteLength) {
    let command = view.getUint16(at);
    let size = view.getUint16(at + 2);
    let head = 4;
    if (command === 27 && size === 8 && at + 12 <= view.byteLength) {
      // Inner length, then the command with its own head, whose size cannot be told.
      size = view.getUint32(at + 4);
      command = view.getUint16(at + 8);
      at += 8;
    }
    if (size < head || size > view.byteLength - at) break;
    const payload = new DataView(message, at + head, size - head);
    const one = parse(command, payload);
    if (one !== null) commands.push(one);
    at += size;
  }
  return commands;
}

function parse(command: number, body: DataView<ArrayBuffer>): FromAgent | null {
  const { byteLength: length } = body;
  switch (command) {
    case 3:
      return length > 4 ? image(body) : null;
    case 4:
      if (length < 12) return null;
      return {
        is: "copy",
        fromX: body.getUint16(0),
        fromY: body.getUint16(2),
        x: body.getUint16(4),
        y: body.getUint16(6),
        width: body.getUint16(8),
        height: body.getUint16(10),
      };
    case 7:
      return length < 4 ? null : { is: "size", width: body.getUint16(0), height: body.getUint16(2) };
    case 11: {
      if (length < 4) return null;
      const count = Math.min(body.getUint16(0), (length - 4) >> 1);
      const ids = Array.from({ length: count }, (_, n) => body.getUint16(2 + 2 * n));
      return { is: "displays", ids, selected: body.getUint16(2 + 2 * count) };
    }
    case 12:
      // One byte from older agents, two from newer.
      if (length < 1) return null;
      return { is: "selected", display: length === 1 ? body.getUint8(0) : body.getUint16(0) };
    case 17:
    case 65:
      return { is: "words", words: text(body), alert: command === 65 };
    case 18: {
      if (length < 1) return null;
      const flags = body.getUint8(0);
      return { is: "locks", num: (flags & 1) !== 0, scroll: (flags & 2) !== 0, caps: (flags & 4) !== 0 };
    }
    case 82: {
      const places = Array.from({ length: Math.floor(length / 10) }, (_, n) => ({
        id: body.getUint16(n * 10),
        x: body.getInt16(n * 10 + 2),
        y: body.getInt16(n * 10 + 4),
        width: body.getUint16(n * 10 + 6),
        height: body.getUint16(n * 10 + 8),
      }));
      return { is: "places", places };
    }
    case 87:
      return length < 1 ? null : { is: "input", locked: body.getUint8(0) === 1 };
    case 88:
      return length < 1 ? null : { is: "cursor", css: CURSORS[body.getUint8(0)] ?? "default" };
    default:
      return null;
  }
}

function text(body: DataView<ArrayBuffer>): string {
  return new TextDecoder().decode(body).slice(0, WORDS);
}

function image(body: DataView<ArrayBuffer>): FromAgent | null {
  const data = new Uint8Array(body.buffer, body.byteOffset + 4, body.byteLength - 4);
  const size = jpegSize(data) ?? pngSize(data);
  return size && { is: "image", x: body.getUint16(0), y: body.getUint16(2), data, ...size };
}

interface Size {
  type: ImageType;
  width: number;
  height: number;
}

/** The size a JPEG has by its frame header, so that nothing huge is decoded. */
export function jpegSize(data: Uint8Array<ArrayBuffer>): Size | null {
  if (data[0] !== 0xff || data[1] !== 0xd8) return null;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let at = 2;
  while (at + 9 <= data.length) {
    if (data[at] !== 0xff) return null;
    const marker = data[at + 1] as number;
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    // Start of frame, all kinds of it; C4, C8 and CC are something else.
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return { type: "image/jpeg", width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
    }
    const length = view.getUint16(at + 2);
    if (length < 2) return null;
    at += 2 + length;
  }
  return null;
}

export function pngSize(data: Uint8Array<ArrayBuffer>): Size | null {
  const magic = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
  if (data.length < 24 || magic.some((byte, n) => data[n] !== byte)) return null;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  return { type: "image/png", width: view.getUint32(16), height: view.getUint32(20) };
}

/** What a viewer says. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** A key goes down or up: a virtual key code of Windows, on every system. */
export function key(code: number, down: boolean, extended: boolean): Bytes {
  const action = extended ? (down ? 4 : 3) : down ? 0 : 1;
  return Uint8Array.of(0, 1, 0, 6, action, code);
}

/** A character that has no key of its own: one UTF-16 unit. */
export function unicode(unit: number, down: boolean): Bytes {
  return Uint8Array.of(0, 85, 0, 7, down ? 0 : 1, unit >> 8, unit & 0xff);
}

/** Bits of the buttons, as `pointer` takes them. */
export const Button = {
  leftDown: 2,
  leftUp: 4,
  rightDown: 8,
  rightUp: 16,
  middleDown: 32,
  middleUp: 64,
} as const;

/** The pointer is at a place; `button` is what changes there, 0 for nothing. */
export function pointer(x: number, y: number, button = 0): Bytes {
  return Uint8Array.of(0, 2, 0, 10, 0, button, x >> 8, x & 0xff, y >> 8, y & 0xff);
}

/** The wheel turns; 120 is one notch, above 0 is away from the person. */
export function wheel(x: number, y: number, delta: number): Bytes {
  const turn = Math.max(-32_768, Math.min(32_767, Math.round(delta))) & 0xffff;
  return Uint8Array.of(0, 2, 0, 12, 0, 0, x >> 8, x & 0xff, y >> 8, y & 0xff, turn >> 8, turn & 0xff);
}

/** JPEG of a quality (1 to 100), a size (1024 is all of it), a pause between pictures in milliseconds. */
export function quality(percent: number, scale: number, pause: number): Bytes {
  return Uint8Array.of(0, 5, 0, 10, 1, percent, scale >> 8, scale & 0xff, pause >> 8, pause & 0xff);
}

/** The same for macOS, whose agent takes this form only. */
export function shortQuality(percent: number): Bytes {
  return Uint8Array.of(0, 5, 0, 6, 1, percent);
}

/** Everything is sent again. */
export const refresh = (): Bytes => Uint8Array.of(0, 6, 0, 4);

export const ctrlAltDel = (): Bytes => Uint8Array.of(0, 10, 0, 4);

/** Asks which displays there are. */
export const askDisplays = (): Bytes => Uint8Array.of(0, 11, 0, 4);

/** Only ids that the agent told: others have killed agents. */
export function select(display: number): Bytes {
  return Uint8Array.of(0, 12, 0, 6, display >> 8, display & 0xff);
}

/** Whether the person at the device may type. */
export function lockInput(locked: boolean): Bytes {
  return Uint8Array.of(0, 87, 0, 5, locked ? 1 : 0);
}
