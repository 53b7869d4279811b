import { strict as assert } from "node:assert";
import { test } from "node:test";

import { Keyboard, type KeyPress } from "../../src/desktop/keys.ts";
import { LEAST, MOST, Pace } from "../../src/desktop/pace.ts";
import { PILE, Screen, type Told } from "../../src/desktop/screen.ts";
import { ALL, key, pointer, quality, read, select, wheel } from "../../src/desktop/wire.ts";

const bytes = (hex: string): ArrayBuffer =>
  Uint8Array.from(Buffer.from(hex.replace(/\s/g, ""), "hex")).buffer;
const hex = (all: Uint8Array[] | null): string[] =>
  (all ?? []).map((one) => Buffer.from(one).toString("hex"));

/** The head of a JPEG of a size, with as many bytes after it. */
function jpeg(width: number, height: number, more = 0): string {
  const size = (n: number) => n.toString(16).padStart(4, "0");
  return (
    `ffd8 ffe0 0004 0000 ffc0 000b 08 ${size(height)} ${size(width)} 01 011100`.replace(/\s/g, "") +
    "00".repeat(more)
  );
}

function tile(x: number, y: number, image: string): string {
  const size = 8 + image.length / 2;
  const word = (n: number) => n.toString(16).padStart(4, "0");
  if (size <= 65_500) return `0003${word(size)}${word(x)}${word(y)}${image}`;
  return `001b0008${size.toString(16).padStart(8, "0")}00030000${word(x)}${word(y)}${image}`;
}

test("commands of agents are read", () => {
  const cases: [string, object[]][] = [
    ["0007 0008 0500 02d0", [{ is: "size", width: 1280, height: 720 }]],
    ["000b 000c 0002 0001 ffff ffff", [{ is: "displays", ids: [1, ALL], selected: ALL }]],
    ["000b 0008 0000 0000", [{ is: "displays", ids: [], selected: 0 }]],
    ["000c 0005 02", [{ is: "selected", display: 2 }]],
    ["000c 0006 ffff", [{ is: "selected", display: ALL }]],
    ["0012 0005 05", [{ is: "locks", num: true, scroll: false, caps: true }]],
    ["0058 0005 0e", [{ is: "cursor", css: "none" }]],
    ["0057 0005 01", [{ is: "input", locked: true }]],
    ["0041 0007 616263", [{ is: "words", words: "abc", alert: true }]],
    [
      "0052 000e 0001 ff80 0000 0780 0438",
      [{ is: "places", places: [{ id: 1, x: -128, y: 0, width: 1920, height: 1080 }] }],
    ],
    [
      "0007 0008 0010 0010 0058 0005 03",
      [
        { is: "size", width: 16, height: 16 },
        { is: "cursor", css: "pointer" },
      ],
    ],
    ["0063 0004", []],
  ];
  for (const [message, expected] of cases) assert.deepEqual(read(bytes(message)), expected, message);
});

test("an image tells its place and size, in a wrapper or not", () => {
  for (const more of [0, 70_000]) {
    const [image] = read(bytes(tile(480, 352, jpeg(64, 32, more))));
    assert.ok(image?.is === "image");
    assert.deepEqual(
      [image.x, image.y, image.width, image.height, image.type],
      [480, 352, 64, 32, "image/jpeg"],
    );
  }
});

test("bytes that are no command are no command, and nothing is thrown", () => {
  const messages = [
    "",
    "00",
    "000700",
    "0007 0003",
    "0007 ffff 0500",
    "001b 0008 ffffffff 0003 0000",
    "001b 0008 00000003 0003 0000 0000",
    "0003 0008 0000 0000",
    "0003 000c 0000 0000 ffd8 ffff",
    "000b 0006 ffff",
    "0000 0000 0000 0000",
  ];
  for (const message of messages) assert.deepEqual(read(bytes(message)), [], message);
  let seed = 7;
  for (let n = 0; n < 20_000; n++) {
    const random = Uint8Array.from(
      { length: n % 40 },
      () => (seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff) >> 16,
    );
    if (n % 2 && random.length > 1) random.set([0, [3, 7, 11, 12, 18, 27, 82, 88][n % 8] as number]);
    read(random.buffer);
  }
});

test("what a viewer says is what agents read", () => {
  const cases: [Uint8Array, string][] = [
    [key(65, true, false), "000100060041"],
    [key(37, true, true), "000100060425"],
    [key(37, false, true), "000100060325"],
    [pointer(300, 200, 2), "0002000a0002012c00c8"],
    [wheel(1, 2, -120), "0002000c000000010002ff88"],
    [quality(55, 1024, 40), "0005000a013704000028"],
    [select(ALL), "000c0006ffff"],
  ];
  for (const [said, expected] of cases) assert.equal(Buffer.from(said).toString("hex"), expected);
});

const press = (code: string, key: string, held: Partial<KeyPress> = {}): KeyPress => ({
  code,
  key,
  ctrlKey: false,
  altKey: false,
  metaKey: false,
  shiftKey: false,
  altGraph: false,
  capsLock: false,
  ...held,
});

test("keys of all layouts type what stands on them", () => {
  const cases: [string, KeyPress, string[]][] = [
    ["a letter", press("KeyA", "a"), ["000100060041"]],
    ["the same letter where a French keyboard has it", press("KeyQ", "a"), ["000100060041"]],
    ["a digit", press("Digit1", "1"), ["000100060031"]],
    [
      "a digit that needs Shift in France",
      press("Digit1", "1", { shiftKey: true }),
      ["00550007000031", "00550007010031"],
    ],
    ["Shift and a digit in the US", press("Digit1", "!", { shiftKey: true }), ["000100060031"]],
    ["a letter of its own", press("Semicolon", "ö"), ["005500070000f6", "005500070100f6"]],
    ["Cyrillic", press("KeyF", "а"), ["00550007000430", "00550007010430"]],
    [
      "beyond the basic plane",
      press("KeyS", "😀"),
      ["0055000700d83d", "0055000701d83d", "0055000700de00", "0055000701de00"],
    ],
    [
      "AltGr",
      press("KeyE", "€", { altGraph: true, ctrlKey: true, altKey: true }),
      ["005500070020ac", "005500070120ac"],
    ],
    ["a shortcut goes by its letter", press("KeyZ", "y", { ctrlKey: true }), ["000100060059"]],
    [
      "a shortcut of a Cyrillic keyboard goes by its place",
      press("KeyC", "с", { ctrlKey: true }),
      ["000100060043"],
    ],
    ["an arrow", press("ArrowLeft", "ArrowLeft"), ["000100060425"]],
    ["the pad's Enter", press("NumpadEnter", "Enter"), ["00010006040d"]],
    ["a digit of the pad", press("Numpad7", "7"), ["000100060067"]],
    ["a capital without Shift", press("KeyH", "H"), ["00550007000048", "00550007010048"]],
    ["a capital by Caps Lock", press("KeyH", "H", { capsLock: true }), ["000100060048"]],
    ["a key nobody knows", press("LaunchMail", "LaunchMail"), []],
  ];
  for (const [what, one, expected] of cases) assert.deepEqual(hex(new Keyboard().down(one)), expected, what);
  assert.equal(new Keyboard().down(press("BracketLeft", "Dead")), null);
});

test("modifiers are lifted for a character and put back", () => {
  const keyboard = new Keyboard();
  keyboard.down(press("ShiftLeft", "Shift", { shiftKey: true }));
  assert.deepEqual(hex(keyboard.down(press("Digit7", "/", { shiftKey: true }))), [
    "000100060110",
    "0055000700002f",
    "0055000701002f",
    "000100060010",
  ]);
});

test("what is held goes up when the keyboard is lost, and only once", () => {
  const keyboard = new Keyboard();
  keyboard.down(press("ControlRight", "Control"));
  keyboard.down(press("KeyC", "c", { ctrlKey: true }));
  assert.deepEqual(hex(keyboard.release()), ["000100060311", "000100060143"]);
  assert.deepEqual(keyboard.release(), []);
  assert.deepEqual(keyboard.up("KeyC"), []);
});

test("a key goes up as it went down, whatever it gives by then", () => {
  const keyboard = new Keyboard();
  keyboard.down(press("KeyQ", "a"));
  assert.deepEqual(hex(keyboard.up("KeyQ")), ["000100060141"]);
});

/** A canvas that keeps what was drawn, and a decoder that is finished when the test says so. */
function world() {
  const drawn: string[] = [];
  const told: Told[] = [];
  const decoding: { finish(): void; width: number }[] = [];
  let open = 0;
  const screen = new Screen(
    {
      resize: (width, height) => drawn.push(`${width}x${height}`),
      draw: (picture: { width: number }, x, y) => drawn.push(`${picture.width}@${x},${y}`),
      copy: () => drawn.push("copy"),
      decode: (data) =>
        new Promise((resolve) => {
          const width = new DataView(data.buffer, data.byteOffset).getUint16(15);
          open += 1;
          decoding.push({ width, finish: () => resolve({ width, height: 8, close: () => (open -= 1) }) });
        }),
    },
    (one) => told.push(one),
  );
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return { screen, drawn, told, decoding, settle, open: () => open };
}

test("images are drawn in the order they came, however long each takes", async () => {
  const { screen, drawn, decoding, settle, open } = world();
  screen.take(bytes("0007 0008 0100 0100"));
  for (const width of [8, 16, 24]) screen.take(bytes(tile(width, 0, jpeg(width, 8))));
  for (const one of [...decoding].reverse()) one.finish();
  await settle();
  assert.deepEqual(drawn, ["256x256", "8@8,0", "16@16,0", "24@24,0"]);
  assert.equal(open(), 0, "every picture is given back");
});

test("an image far outside of the desktop is not drawn", async () => {
  const { screen, drawn, decoding, settle } = world();
  screen.take(bytes("0007 0008 0010 0010"));
  screen.take(bytes(tile(0, 0, jpeg(4000, 8))));
  decoding[0]?.finish();
  await settle();
  assert.deepEqual(drawn, ["16x16"]);
});

test("an image of absurd size is not even decoded", () => {
  const { screen, decoding } = world();
  screen.take(bytes(tile(0, 0, jpeg(65_535, 65_535))));
  assert.equal(decoding.length, 0);
});

test("what piles up is dropped, and a whole picture is asked for", async () => {
  const { screen, told, decoding, settle, open } = world();
  screen.take(bytes("0007 0008 0100 0100"));
  const large = bytes(tile(0, 0, jpeg(8, 8, 1_000_000)));
  for (let sent = 0; sent <= PILE + 2_000_000; sent += 1_000_000) screen.take(large.slice(0));
  await settle();
  for (let n = 0; n < decoding.length; n++) {
    decoding[n]?.finish();
    await settle();
  }
  assert.deepEqual(told.at(-1), { is: "behind" });
  assert.ok(screen.drawn < 10, `${screen.drawn} were drawn`);
  assert.equal(open(), 0, "every picture is given back");
});

test("the agent rests as little as it can while nothing waits", () => {
  const pace = new Pace(LEAST);
  for (const rtt of [3, 5, 2, 60, 90]) assert.equal(pace.measured(rtt), false);
  // What agents do themselves between two pictures of 1280×720 takes less than the rest of 40 ms.
  assert.ok(pace.pause <= 20);
  // A long way is no full one.
  const far = new Pace(LEAST);
  for (const rtt of [640, 600, 650]) far.measured(rtt);
  assert.equal(far.pause, LEAST);
});

test("the agent rests longer while pictures wait, and less when they do not", () => {
  const pace = new Pace(LEAST);
  pace.measured(30);
  const rests = [900, 900, 200, 60, 60, 60].map((rtt) => (pace.measured(rtt), pace.pause));
  assert.deepEqual(rests, [40, 80, 80, 40, 20, 20]);
  while (pace.behind());
  assert.equal(pace.pause, MOST);
  assert.equal(pace.measured(5_000), false, "nothing to tell");
  pace.begin(120);
  assert.equal(pace.measured(5_000), false, "another session, another way");
  assert.equal(pace.pause, 120);
});
