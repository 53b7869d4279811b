import { strict as assert } from "node:assert";
import { test } from "node:test";

import type { Device, Group, User } from "../../src/control/wire.ts";
import { parse, to } from "../../src/app/router.ts";
import { ago, bytes, memory, plain, span, state, system, systemName } from "../../src/model/format.ts";
import { readHardware, readInterfaces, size } from "../../src/model/hardware.ts";
import { configuration, measured, refusals, troubles, type Held } from "../../src/model/health.ts";
import { installers } from "../../src/model/install.ts";
import { share, stretches } from "../../src/model/power.ts";
import { effective, FULL, summary } from "../../src/model/rights.ts";
import { readProcesses, readServices } from "../../src/model/running.ts";
import { Lines } from "../../src/server/upload.ts";

const DAY = 86_400_000;

test("numbers are told as people read them", () => {
  const table: [number, string][] = [
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 KB"],
    [1234, "1.2 KB"],
    [12_345, "12.3 KB"],
    [999_600, "1.0 MB"],
    [1.5e9, "1.5 GB"],
    [8e12, "8.0 TB"],
  ];
  for (const [count, words] of table) assert.equal(bytes(count), words);
  assert.equal(memory(17179869184), "16 GB");
  assert.equal(memory(512 * 2 ** 20), "512 MB");
});

test("times are told as people say them", () => {
  const now = Date.UTC(2026, 10, 22, 12);
  const table: [number, string][] = [
    [-5000, "just now"],
    [30_000, "just now"],
    [5 * 60_000, "5 min ago"],
    [3 * 3_600_000, "3 h ago"],
    [3 * DAY, "3 days ago"],
    [30 * DAY, "23 Oct 2026"],
  ];
  for (const [age, words] of table) assert.equal(ago(now - age, now), words);
  assert.equal(ago(0, now), "");
  assert.equal(span(800 * DAY), "2 years");
});

test("words of others cannot turn the line round or hide in it", () => {
  assert.equal(plain("abc\u202Edef\u200B\u0000\u2066x\uFEFF"), "abcdefx");
  assert.equal(plain("<b>naïve</b> 日本 עברית"), "<b>naïve</b> 日本 עברית");
});

test("a device is what its connections say", () => {
  const device = (more: Partial<Device>): Device => ({ _id: "", meshid: "", name: "", ...more });
  assert.equal(state(device({})), "off");
  assert.equal(state(device({ conn: 1, pwr: 1 })), "on");
  assert.equal(state(device({ conn: 3, pwr: 1 })), "on");
  assert.equal(state(device({ conn: 4, pwr: 4 })), "sleep");
  assert.equal(state(device({ conn: 2, pwr: 1 })), "seen");
  assert.equal(system(device({ osdesc: "Microsoft Windows 11" })), "windows");
  assert.equal(system(device({ osdesc: "macOS 15.1" })), "apple");
  assert.equal(system(device({ agent: { id: 25 } })), "linux");
  assert.equal(system(device({})), "unknown");
  assert.equal(systemName(device({ osdesc: "Microsoft Windows 11 Pro - 24H2/26100" })), "Windows 11 Pro");
});

test("rights come from all links, and restrictions are no rights", () => {
  const user: User = {
    _id: "user//a",
    name: "a",
    links: { "mesh//g": { rights: 8 }, "ugrp//u": { rights: 1 } },
  };
  const group: Group = {
    _id: "mesh//g",
    name: "g",
    mtype: 2,
    links: { "ugrp//u": { rights: 64 }, "user//b": { rights: FULL } },
  };
  const device: Device = {
    _id: "node//d",
    meshid: "mesh//g",
    name: "d",
    links: { "ugrp//u": { rights: 128 } },
  };
  assert.equal(effective(user, group), 8 | 64);
  assert.equal(effective(user, group, device), 8 | 64 | 128);
  assert.equal(
    effective({ ...user, siteadmin: FULL }, undefined, device),
    128,
    "an administrator has no rights by that",
  );
  assert.equal(effective({ ...user, siteadmin: FULL }, undefined, device, true), FULL);
  assert.equal(effective({ ...user, removeRights: 64 | 512 }, group), 8 | 512);
  const full: User = { ...user, links: { "mesh//g": { rights: FULL } } };
  assert.equal(effective(full, group), FULL);
  assert.equal(effective({ ...full, removeRights: 8 }, group), 0x1ec0ef & ~8);
  assert.equal(summary(FULL), "Everything");
  assert.equal(summary(0), "Sees it");
});

test("the power history has no holes and ends now", () => {
  const now = 1_000_000_000_000;
  const at = now / 1000;
  const timeline = [0, at - 7200, 1, 3600, 4, 1800, 1];
  const found = stretches(timeline, now, 4 * 3_600_000);
  assert.deepEqual(
    found.map(({ from, to, power }) => [(now - from) / 60_000, (now - to) / 60_000, power]),
    [
      [240, 120, 0],
      [120, 60, 1],
      [60, 30, 4],
      [30, 0, 1],
    ],
  );
  assert.equal(
    share(found, (power) => power === 1),
    90 / 240,
  );
  assert.deepEqual(stretches([1, now, 1], now, 1000), [{ from: now - 1000, to: now, power: 1 }]);
  for (const broken of [null, [], [1], [1, 2], "x", [1, "2", 3], {}]) {
    assert.equal(stretches(broken, now, 1000).length <= 1, true);
  }
});

test("reports of hostile agents are read as far as they make sense", () => {
  for (const broken of [
    null,
    1,
    "x",
    [],
    { identifiers: [] },
    { linux: { memory: 7 } },
    { windows: { memory: [null, 1] } },
  ]) {
    assert.equal(readHardware(broken).memory.length, 0);
    assert.deepEqual(readProcesses(broken), []);
    assert.deepEqual(readServices(JSON.stringify(broken)), []);
  }
  const flood = JSON.stringify(
    Object.fromEntries(Array.from({ length: 20_000 }, (_, n) => [n + 1, { cmd: "x".repeat(5000) }])),
  );
  assert.equal(readProcesses(flood).length, 10_000);
  assert.equal(readProcesses(flood)[0]?.command.length, 1000);
  assert.equal(readProcesses("{").length, 0);
  assert.equal(readInterfaces({ a: [{ address: "127.0.0.1" }] }).length, 0);
  assert.equal(size("8192 MB"), 8192 * 2 ** 20);
  assert.equal(size("16 GB"), 16 * 2 ** 30);
  assert.equal(size({}), 0);
});

test("addresses survive names with anything in them", () => {
  const key = "a$b@c/d e?f#g";
  const { page, rest } = parse(to("device", key, "events"));
  assert.deepEqual([page, rest], ["device", [key, "events"]]);
  assert.equal(parse("").page, "devices");
  assert.equal(parse("#/devices?filter=a%20b").query.get("filter"), "a b");
  assert.deepEqual(parse("#/device/%E0%A4%A").rest, ["%E0%A4%A"]);
});

test("install commands carry the prefix of the tenant and an escaped group", () => {
  const [first] = installers("linux", new URL("https://board:8443/cust2/"), "a@b$c");
  assert.match(first?.command ?? "", /"https:\/\/board:8443\/cust2\/meshagents\?script=1"/);
  assert.match(first?.command ?? "", /https:\/\/board:8443\/cust2 'a@b\$c'$/);
  const [, shell] = installers("windows", new URL("https://board/"), "a@b$c");
  assert.match(shell?.command ?? "", /meshid=a%40b%24c&/);
});

test("held agents stand together by their trouble, those that wait first", () => {
  const held = (cause: string, address: string, waiting: number): Held => {
    const words = { why: cause, fix: "", first: 1, last: 2, times: 1 };
    return { cause, address, waiting, ...words };
  };
  const list = [held("a", "1", 0), held("b", "2", 1), held("a", "3", 0)];
  assert.deepEqual(
    troubles(list).map(({ why, agents }) => [why, agents.map(({ address }) => address)]),
    [
      ["b", ["2"]],
      ["a", ["1", "3"]],
    ],
  );
});

test("what is said of a configuration is texts, or nothing", () => {
  assert.deepEqual(configuration({ problems: ["a", 1], warnings: null }), { problems: ["a"], warnings: [] });
  for (const nothing of [undefined, null, "x"]) assert.equal(configuration(nothing), null);
});

test("each line of an installation is told once, as it comes", () => {
  const lines = new Lines();
  const all =
    '{"step":"reading","number":42,"count":100}\n{"step":"agent","file":"x","number":3,"count":4}\n' +
    'nonsense\n{"step":"cores"}\n{"installed":{"version":"1.1.55","agents":4}}\n';
  const told = [30, 60, all.length].flatMap((end) => lines.take(all.slice(0, end)));
  assert.deepEqual(told, [
    { is: "step", words: "Reading the package", part: 0.42 },
    { is: "step", words: "Preparing agent 3 of 4", part: 0.75 },
    { is: "step", words: "Preparing the cores", part: null },
    { is: "installed", version: "1.1.55", agents: 4 },
  ]);
  assert.deepEqual(lines.take(all), []);
  assert.deepEqual(new Lines().take('{"failed":"no"}\n'), [{ is: "failed", words: "no" }]);
});

test("refusals of agents come first, measurements in order", () => {
  assert.deepEqual(
    refusals({ tls: 5, agent_key: 1, http: 0, strange: 2 }).map(({ cause }) => cause),
    ["agent_key", "tls", "strange"],
  );
  assert.deepEqual(
    (["agents", "memory", "written"] as const).map((what) =>
      measured(
        [
          { time: "2026-01-02T00:00:00Z", conn: { ca: 2 }, mem: { rss: 20 }, disk: { written: 200 } },
          { time: 1, conn: { ca: 1 }, mem: { rss: 10 } },
          { time: "x", conn: {} },
          {},
        ],
        what,
      ).map(({ value }) => value),
    ),
    [[1, 2], [10, 20], [200]],
  );
});
