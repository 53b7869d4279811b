// Sessions with firmware: how they begin, end and come again; what a serial line carries; what was read.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Console, endWords, type Line } from "../../src/amt/console.ts";
import { decoder, fromCp437, functionKey, typed, USUAL } from "../../src/amt/line.ts";
import { errorWords, imagesIn, Reading } from "../../src/amt/reading.ts";
import { addressFault, ALL, offers, request, SWITCH_ON } from "../../src/amt/power.ts";
import { logCsv } from "../../src/amt/csv.ts";
import {
  aheadWords,
  alarmsIn,
  changesIn,
  isOwn,
  pathWords,
  repeatWords,
  settingsIn,
  usersIn,
} from "../../src/amt/known.ts";
import { eventsIn, logLine, logWho, powerIn, versionsIn } from "../../src/amt/told.ts";
import { isImage } from "../../src/amt/upload.ts";
import { Right } from "../../src/model/rights.ts";

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
    records.map((record) => [record.time, logLine(record), logWho(record)]),
    [
      [20_000, "Event 16/1", "admin, 192.0.2.1"],
      [10_000, "Authentication failed", ""],
      [0, "Event ?/?", ""],
    ],
  );
  assert.deepEqual(eventsIn("nonsense"), []);
  assert.deepEqual(versionsIn({ AMT: "16.1.25", Flash: 7 }), [
    ["AMT", "16.1.25"],
    ["Flash", ""],
  ]);
});

test("a log becomes a file that no spreadsheet takes for formulas", () => {
  const records = eventsIn([
    { time: 20, severity: 16, sensor: 6, offset: 1, text: '=HYPERLINK("x")', data: "00ff" },
    {
      time: 10,
      app: 16,
      event: 1,
      text: 'Two, "words"\nand a line',
      initiator: "admin",
      address: "192.0.2.1",
    },
    null,
  ]);
  assert.equal(
    logCsv(records),
    "Time,Number,Severity,Event,Initiator,Address,Data\r\n" +
      '1970-01-01T00:00:20.000Z,6/1,16,"\'=HYPERLINK(""x"")",,,00ff\r\n' +
      '1970-01-01T00:00:10.000Z,16/1,,"Two, ""words""\nand a line",admin,192.0.2.1,\r\n' +
      ",?/?,,Event ?/?,,,\r\n",
  );
});

test("each state of power is asked for in its own way", () => {
  const table = ALL.map((choice) => [choice.id, ...request(choice, "node//a")]);
  assert.deepEqual(table[0], ["on", "poweraction", { nodeids: ["node//a"], actiontype: 302 }]);
  assert.deepEqual(table[2], ["reset", "amtpower", { nodeid: "node//a", state: 10 }]);
  assert.deepEqual(table.at(-1), ["optical", "amtboot", { nodeid: "node//a", target: "optical" }]);
  assert.equal(new Set(ALL.map(({ id }) => id)).size, ALL.length);
  for (const choice of ALL) assert.equal(choice.right, choice === SWITCH_ON ? Right.wake : Right.power);
  const offered = (list: number[]) => ALL.filter((choice) => offers(list, choice)).map(({ id }) => id);
  assert.equal(offered([]).length, ALL.length, "firmware that says nothing may be asked");
  assert.deepEqual(offered([2, 5]).slice(0, 2), ["on", "cycle"]);
});

test("only addresses that firmware can fetch are taken", () => {
  for (const [address, good] of [
    ["https://boot.example.com/x.efi", true],
    [" https://192.0.2.1:8443/a.iso ", true],
    ["http://boot.example.com/x.efi", false],
    ["https://me:secret@boot.example.com/x.efi", false],
    ["file:///etc/passwd", false],
    ["boot.example.com", false],
    ["", false],
    [`https://boot.example.com/${"x".repeat(300)}`, false],
  ] as const)
    assert.equal(addressFault(address) === "", good, address);
});

test("settings are read part by part, and what is no setting is none", () => {
  const settings = settingsIn({
    serial: true,
    storage: false,
    consent: "desktop",
    consentTimeout: 120,
    clock: { firmware: 1_000_060, server: 1_000_000 },
    hostname: "pc",
    domain: "",
    tls: { remote: true, local: false },
    cira: { servers: [{ address: "mps.example.com", port: 4433 }, 7], triggers: ["periodic"], home: ["x"] },
    wireless: [{ name: "Office", ssid: "office", security: 6 }],
  });
  assert.deepEqual(settings.features, { serial: true, storage: false });
  assert.deepEqual([settings.consent, settings.ahead, settings.clock], ["desktop", 60, 1_000_060_000]);
  assert.deepEqual(settings.tls, { remote: true, local: false, mutual: false });
  assert.deepEqual(settings.cira?.servers, ["mps.example.com:4433"]);
  assert.deepEqual(settings.wireless, [{ name: "Office", words: "office, 6" }]);
  for (const broken of [null, 7, "x", [], { consent: "toString", clock: { firmware: "1" }, hostname: {} }]) {
    const { features, consent, ahead, hostname, tls, cira, wireless } = settingsIn(broken);
    assert.deepEqual([features, consent, ahead, hostname], [{}, undefined, undefined, undefined]);
    assert.deepEqual([tls, cira, wireless], [undefined, undefined, undefined]);
  }
  const words = [1, -60, 300, -90_000].map(aheadWords);
  assert.deepEqual(words, [
    "as the server's",
    "60 s behind the server's",
    "5 min ahead of the server's",
    "25 h behind the server's",
  ]);
});

test("users, alarms and changes are read whatever form they have", () => {
  const [admin, own, bob] = usersIn([
    { name: "admin", admin: true, access: "any", realms: [] },
    { handle: 1, name: "$$uns", access: "local", realms: [16, "x"], enabled: true },
    { handle: 2, name: "bob", access: "nonsense", realms: null, enabled: false },
  ]);
  assert.deepEqual([admin?.admin, admin?.handle], [true, undefined]);
  assert.deepEqual([own && isOwn(own), own?.realms], [true, [16]]);
  assert.deepEqual([bob?.access, bob?.realms, bob?.enabled], ["any", [], false]);
  const [alarm] = alarmsIn([{ name: "wake", start: 10, interval: 86_400, removed: true }, null]);
  assert.deepEqual(alarm, { name: "wake", start: 10_000, interval: 86_400, removed: true });
  assert.deepEqual([0, 86_400, 7_200, 90].map(repeatWords), [
    "once",
    "every day",
    "every 2 hours",
    "every 2 minutes",
  ]);
  assert.deepEqual(changesIn([{ time: 5, path: "windows.memory.0.Capacity", was: 1, is: null }, 7]), [
    { time: 5, path: "windows.memory.0.Capacity", was: "1", is: null },
    { time: 0, path: "", was: null, is: null },
  ]);
  assert.equal(pathWords("windows.memory.0.Capacity"), "memory 1 Capacity");
  assert.equal(pathWords("identifiers.bios_version"), "bios version");
  assert.deepEqual([usersIn("x"), alarmsIn(null), changesIn({})], [[], [], []]);
});

test("only images are sent", () => {
  const names = ["a.iso", "B.IMG", "a.txt", ".iso", "iso", "a.iso.exe"];
  assert.deepEqual(names.map(isImage), [true, true, false, false, false, false]);
});
