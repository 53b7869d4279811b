// From a key of this keyboard to what the agent types.
//
// Agents take Windows' virtual key codes, which mean places on the keyboard of the device. Letters
// go by what they are, other keys by where they are. A character that its place on a US keyboard
// would not give (other layouts, AltGr, dead keys, what an input method made) goes as the character,
// with the modifiers that made it lifted: for the device it is a key of its own.

import { key, unicode, type Bytes } from "./wire.ts";

interface Place {
  code: number;
  extended?: boolean;
  /** What a US keyboard gives there, without and with Shift. */
  plain?: string;
  shifted?: string;
}

const PLACES = new Map<string, Place>([
  ["Backspace", { code: 8 }],
  ["Tab", { code: 9 }],
  ["Enter", { code: 13 }],
  ["NumpadEnter", { code: 13, extended: true }],
  ["ShiftLeft", { code: 16 }],
  ["ShiftRight", { code: 16 }],
  ["ControlLeft", { code: 17 }],
  ["ControlRight", { code: 17, extended: true }],
  ["AltLeft", { code: 18 }],
  ["AltRight", { code: 18, extended: true }],
  ["Pause", { code: 19, extended: true }],
  ["CapsLock", { code: 20 }],
  ["Escape", { code: 27 }],
  ["Space", { code: 32, plain: " ", shifted: " " }],
  ["PageUp", { code: 33, extended: true }],
  ["PageDown", { code: 34, extended: true }],
  ["End", { code: 35, extended: true }],
  ["Home", { code: 36, extended: true }],
  ["ArrowLeft", { code: 37, extended: true }],
  ["ArrowUp", { code: 38, extended: true }],
  ["ArrowRight", { code: 39, extended: true }],
  ["ArrowDown", { code: 40, extended: true }],
  ["PrintScreen", { code: 44, extended: true }],
  ["Insert", { code: 45, extended: true }],
  ["Delete", { code: 46, extended: true }],
  ["MetaLeft", { code: 91, extended: true }],
  ["MetaRight", { code: 92, extended: true }],
  ["ContextMenu", { code: 93, extended: true }],
  ["NumpadMultiply", { code: 106 }],
  ["NumpadAdd", { code: 107 }],
  ["NumpadSubtract", { code: 109 }],
  ["NumpadDecimal", { code: 110 }],
  ["NumpadDivide", { code: 111, extended: true }],
  ["NumLock", { code: 144, extended: true }],
  ["ScrollLock", { code: 145 }],
  ["Semicolon", { code: 186, plain: ";", shifted: ":" }],
  ["Equal", { code: 187, plain: "=", shifted: "+" }],
  ["Comma", { code: 188, plain: ",", shifted: "<" }],
  ["Minus", { code: 189, plain: "-", shifted: "_" }],
  ["Period", { code: 190, plain: ".", shifted: ">" }],
  ["Slash", { code: 191, plain: "/", shifted: "?" }],
  ["Backquote", { code: 192, plain: "`", shifted: "~" }],
  ["BracketLeft", { code: 219, plain: "[", shifted: "{" }],
  ["Backslash", { code: 220, plain: "\\", shifted: "|" }],
  ["BracketRight", { code: 221, plain: "]", shifted: "}" }],
  ["Quote", { code: 222, plain: "'", shifted: '"' }],
]);
for (let n = 0; n < 10; n++) {
  PLACES.set(`Digit${n}`, { code: 48 + n, plain: `${n}`, shifted: ")!@#$%^&*(".charAt(n) });
  PLACES.set(`Numpad${n}`, { code: 96 + n });
}
for (let n = 1; n <= 24; n++) PLACES.set(`F${n}`, { code: 111 + n });

export interface KeyPress {
  /** Where the key is. */
  code: string;
  /** What it gives. */
  key: string;
  ctrlKey: boolean;
  altKey: boolean;
  metaKey: boolean;
  shiftKey: boolean;
  /** AltGr, or the Option key of a Mac, took part in making the character. */
  altGraph: boolean;
  capsLock: boolean;
}

interface Held {
  code: number;
  extended: boolean;
}

const MODIFIERS = [16, 17, 18, 91, 92];

/** The keyboard at the device, as this side has pressed it. */
export class Keyboard {
  #held = new Map<string, Held>();

  /** A key went down: what to send, or `null` if the browser has to make a character of it first. */
  down(press: KeyPress): Bytes[] | null {
    if (["Dead", "Process", "Unidentified", "Compose"].includes(press.key)) return null;
    const found = place(press);
    if (found === "character") return this.type(press.key);
    if (found === null) return [];
    this.#held.set(press.code, found);
    return [key(found.code, true, found.extended)];
  }

  up(code: string): Bytes[] {
    const held = this.#held.get(code);
    if (!held) return [];
    this.#held.delete(code);
    return [key(held.code, false, held.extended)];
  }

  /** Types characters, whatever is held. */
  type(text: string): Bytes[] {
    const lifted = [...this.#held.values()].filter(({ code }) => MODIFIERS.includes(code));
    const said = lifted.map(({ code, extended }) => key(code, false, extended));
    for (const letter of text) said.push(...character(letter));
    // Windows opens the menu when Alt goes down and up alone; it is not put back.
    const back = lifted.filter(({ code }) => code !== 18);
    return [...said, ...back.map(({ code, extended }) => key(code, true, extended))];
  }

  /** Presses keys together, then lets them go. */
  chord(...names: string[]): Bytes[] {
    const keys = names.map((name) =>
      place({
        code: name,
        key: "",
        ctrlKey: false,
        altKey: false,
        metaKey: false,
        shiftKey: false,
        altGraph: false,
        capsLock: false,
      }),
    );
    const known = keys.filter((one): one is Held => one !== null && one !== "character");
    return [
      ...known.map(({ code, extended }) => key(code, true, extended)),
      ...known.reverse().map(({ code, extended }) => key(code, false, extended)),
    ];
  }

  /** Everything that is held goes up: the window lost the keyboard. */
  release(): Bytes[] {
    const said = [...this.#held.values()].map(({ code, extended }) => key(code, false, extended));
    this.#held.clear();
    return said;
  }
}

function place(press: KeyPress): Held | "character" | null {
  const { code, altGraph, shiftKey } = press;
  // A Mac's Option key makes characters as AltGr does.
  const shortcut = (press.ctrlKey || press.altKey || press.metaKey) && !altGraph;
  const isCharacter = [...press.key].length === 1;
  if (isCharacter && /^[a-z]$/i.test(press.key) && !altGraph) {
    const upper = press.key !== press.key.toLowerCase();
    // A keyboard on glass gives capitals without Shift.
    if (!shortcut && upper !== (shiftKey !== press.capsLock)) return "character";
    return { code: press.key.toUpperCase().charCodeAt(0), extended: false };
  }
  const known = PLACES.get(code);
  if (isCharacter && !shortcut && !code.startsWith("Numpad")) {
    const us = shiftKey ? known?.shifted : known?.plain;
    if (us !== press.key) return "character";
  }
  if (known) return { code: known.code, extended: known.extended ?? false };
  const letter = /^Key([A-Z])$/.exec(code)?.[1];
  if (letter) return { code: letter.charCodeAt(0), extended: false };
  return code === "IntlBackslash" ? { code: 226, extended: false } : null;
}

function character(letter: string): Bytes[] {
  const code = { "\n": 13, "\r": 13, "\t": 9 }[letter];
  if (code !== undefined) return [key(code, true, false), key(code, false, false)];
  const said: Bytes[] = [];
  // Beyond the basic plane a character is two units.
  for (let n = 0; n < letter.length; n++) {
    const unit = letter.charCodeAt(n);
    said.push(unicode(unit, true), unicode(unit, false));
  }
  return said;
}
