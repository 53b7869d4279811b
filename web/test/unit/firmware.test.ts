// Sessions with firmware: how they begin, end and come again; what a serial line carries; what was read.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Console, endWords, type Line } from "../../src/amt/console.ts";
import { decoder, fromCp437, functionKey, typed, USUAL } from "../../src/amt/line.ts";
import { errorWords, imagesIn, Reading } from "../../src/amt/reading.ts";
import { eventsIn, logLine, powerIn, versionsIn } from "../../src/amt/told.ts";

class Fake implements Line {
  binaryType = "blob";
  closed = false;
  #heard = new Map<string, ((event: never) => void)[]>();

  addEventListener(name: string, listener: (event: never) => void): void {
    this.#heard.set(name, [...(this.#heard.get(name) ?? []), listener]);
  }

  close(): void {
    this.closed = true;
  }

  say(name: "message" | "close", event: object): void {
    for (const listener of this.#heard.get(name) ?? []) listener(event as never);
  }
}

function place(address = async () => "wss://x/") {
  const lines: Fake[] = [];
  const timers: (() => void)[] = [];
  const finished: Fake[] = [];
  const session = new Console<Fake>({
    address,
    open: () => lines[lines.push(new Fake()) - 1] as Fake,
    begin: (line) => () => finished.push(line),
    after: (_, run) => {
      timers.push(run);
      return () => timers.splice(timers.indexOf(run), 1);
    },
  });
  const soon = () => new Promise((resolve) => setImmediate(resolve));
  return { session, lines, timers, finished, soon };
}

test("a session is open when the firmware says something, and says why it ended", async () => {
  const { session, lines, finished, soon } = place();
  session.start();
  assert.equal(session.state.value.is, "opening");
  await soon();
  const [line] = lines as [Fake];
  assert.equal(line.binaryType, "arraybuffer");
  line.say("message", { data: new ArrayBuffer(0) });
  assert.equal(session.state.value.is, "open");
  line.say("close", { code: 4004 });
  assert.deepEqual(session.state.value, { is: "ended", code: 4004, words: endWords(4004) });
  assert.equal(finished.length, 1);
});

test("a computer that restarts is come back to, a refusal is not", async () => {
  const { session, lines, timers, soon } = place();
  session.start();
  await soon();
  lines[0]?.say("close", { code: 4009 });
  assert.equal(timers.length, 0, "it was never open");
  session.start();
  await soon();
  lines[1]?.say("message", { data: "" });
  lines[1]?.say("close", { code: 4009 });
  assert.equal(timers.length, 1);
  timers[0]?.();
  await soon();
  assert.equal(lines.length, 3);
  lines[2]?.say("message", { data: "" });
  lines[2]?.say("close", { code: 4001 });
  await soon();
  assert.equal(lines.length, 3);
});

test("one that is stopped stays so, also while it is opened", async () => {
  const { session, lines, soon } = place();
  session.start();
  session.stop();
  await soon();
  assert.equal(lines.length, 0);
  session.start();
  await soon();
  session.stop();
  assert.equal(lines[0]?.closed, true);
  lines[0]?.say("close", { code: 1006 });
  assert.deepEqual(session.state.value, { is: "ended", code: 1000, words: "Disconnected." });
});

test("what stands in the way of an address is said", async () => {
  const { session, soon } = place(async () => {
    throw new Error("no way");
  });
  session.start();
  await soon();
  assert.deepEqual(session.state.value, { is: "ended", code: 0, words: "no way" });
});

test("code page 437 has a letter for each byte", () => {
  const all = fromCp437(Uint8Array.from({ length: 256 }, (_, byte) => byte));
  assert.equal([...all].length, 256);
  assert.equal(all[0x41], "A");
  assert.equal(fromCp437(new Uint8Array([0xc9, 0xcd, 0xbb, 0x84, 0xe1, 0xff])), "╔═╗äß\u00a0");
  assert.equal(fromCp437(new Uint8Array([0x1b, 0x5b, 0x48])), "\x1b[H");
  const utf8 = decoder("utf-8");
  assert.equal(utf8(new Uint8Array([0xe2, 0x95])) + utf8(new Uint8Array([0x94])), "╔");
});

test("keys go over the line as was chosen", () => {
  for (const [choice, text, expected] of [
    [{}, "\x1bOP", "\x1bOP"],
    [{}, "\x1b[15~", "\x1bOT"],
    [{ functionKeys: "intel" }, "\x1b[15~", "\x1bOt"],
    [{ functionKeys: "intel" }, "\x1b[24~", ""],
    [{ functionKeys: "digits" }, "\x1b[21~", "\x1b0"],
    [{ functionKeys: "digits" }, "\x1b[24~", "\x1b@"],
    [{}, "\x7f", "\x7f"],
    [{ backspace: true }, "\x7f", "\b"],
    [{}, "\r", "\r"],
    [{ lineFeed: true }, "ls\r", "ls\r\n"],
    [{}, "\x1b[A", "\x1b[A"],
  ] as const)
    assert.equal(typed(text, { ...USUAL, ...choice }), expected);
  assert.equal(functionKey(12, "vt100"), "\x1bO[");
});

test("what was read is counted once, wherever it is", () => {
  const reading = new Reading(1000);
  reading.read(0, 100);
  reading.read(50, 50);
  assert.equal(reading.share, 10);
  reading.read(999, 1);
  assert.deepEqual([reading.share, reading.last], [11, 999]);
  reading.read(5000, 10);
  reading.read(0, 0);
  assert.equal(reading.share, 11);
  const empty = new Reading(0);
  empty.read(0, 1);
  assert.equal(empty.share, 0);
});

test("only what is an image is one", () => {
  assert.deepEqual(imagesIn([{ path: "a.iso", size: 1 }, { path: 1, size: 1 }, null, "x"]), [
    { path: "a.iso", size: 1 },
  ]);
  assert.deepEqual(imagesIn(undefined), []);
  assert.match(errorWords(5), /CD/);
  assert.match(errorWords("nonsense"), /cannot be used/);
});

test("what firmware says is read whatever form it has", () => {
  assert.deepEqual(powerIn({ state: 2, offered: [8, 10, "x"], pwr: 1 }), { shown: 1, offered: [8, 10] });
  assert.deepEqual(powerIn(null), { shown: undefined, offered: [] });
  const records = eventsIn([
    { time: 10, severity: 16, sensor: 6, text: "Authentication failed" },
    { time: 20, app: 16, event: 1, text: "", initiator: "admin", address: "192.0.2.1" },
    null,
  ]);
  assert.deepEqual(
    records.map((record) => [record.time, logLine(record), record.who]),
    [
      [20_000, "Event 16/1", "admin, 192.0.2.1"],
      [10_000, "Authentication failed", ""],
      [0, "Event undefined/undefined", ""],
    ],
  );
  assert.deepEqual(eventsIn("nonsense"), []);
  assert.deepEqual(versionsIn({ AMT: "16.1.25", Flash: 7 }), [
    ["AMT", "16.1.25"],
    ["Flash", ""],
  ]);
});
