import { strict as assert } from "node:assert";
import { test } from "node:test";

import type { Device } from "../../src/control/wire.ts";
import { compile } from "../../src/model/filter.ts";

const device = (more: Partial<Device>): Device => ({
  _id: "node//x",
  meshid: "mesh//home",
  name: "nas",
  ...more,
});

const nas = device({
  rname: "NAS01",
  ip: "192.168.1.9",
  osdesc: "Debian GNU/Linux 12",
  tags: ["backup", "big disk"],
  users: ["clara"],
  conn: 1,
  pwr: 1,
});
const till = device({
  name: "till 2",
  meshid: "mesh//shop",
  osdesc: "Windows 11 Pro",
  tags: ["pos"],
  desc: "by the door",
});
const sleeper = device({
  name: "sleeper",
  conn: 4,
  pwr: 4,
  intelamt: {},
  sessions: { kvm: { "user//a": 1 } },
});

const context = {
  groupName: ({ meshid }: Device) => ({ "mesh//home": "Home", "mesh//shop": "Bakery Shop" })[meshid] ?? "",
};

const CASES: [string, boolean, boolean, boolean][] = [
  // text, nas, till, sleeper
  ["", true, true, true],
  ["   ", true, true, true],
  ["NAS", true, false, false],
  ["nas01", true, false, false],
  ["tag:back", true, false, false],
  ["tag:up", false, false, false],
  ['tag:"big d"', true, false, false],
  ["group:shop", false, true, false],
  ["bakery", false, true, false],
  ["g:home os:debian", true, false, false],
  ["os:windows", false, true, false],
  ["user:clara", true, false, false],
  ["ip:192.168", true, false, false],
  ["desc:door", false, true, false],
  ["agent:online", true, false, false],
  ["agent:offline", false, true, true],
  ["agent:of", false, true, true],
  ["agent:", true, true, true],
  ["agent:nonsense", true, true, true],
  ["power:on", true, false, false],
  ["power:sleep", false, false, true],
  ["has:amt", false, false, true],
  ["has:session", false, false, true],
  ["-os:windows", true, false, true],
  ["-agent:online -has:amt", false, true, false],
  ["nas or till", true, true, false],
  ["or nas", true, false, false],
  ["nas or", true, false, false],
  ['"till 2"', false, true, false],
  ['"till 2', false, true, false],
  ["door till", false, true, false],
  ["door nas", false, false, false],
  ["nosuchkey:x", false, false, false],
  [":", false, false, false],
  ['"', true, true, true],
];

for (const [text, ...expected] of CASES) {
  test(`${JSON.stringify(text)} finds what it names`, () => {
    const matches = compile(text);
    assert.deepEqual(
      [nas, till, sleeper].map((device) => matches(device, context)),
      expected,
    );
  });
}

test("no text breaks the filter", () => {
  let seed = 1;
  const letters = '": -aor()[]\\*+\u202e\0x';
  for (let n = 0; n < 2000; n++) {
    let text = "";
    for (let k = 0; k < 12; k++) {
      seed = (seed * 1103515245 + 12345) % 2 ** 31;
      text += letters[seed % letters.length];
    }
    assert.equal(typeof compile(text)(nas, context), "boolean", text);
  }
});
