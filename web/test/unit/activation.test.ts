// Activating Intel AMT: what a group wants, the command, the log.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  activationsIn,
  isComplete,
  meshCmd,
  passwordFault,
  policyBody,
  policyChoices,
  policyFacts,
  policyForm,
  policyType,
} from "../../src/model/activation.ts";

test("nobody chooses admin control mode without a certificate", () => {
  const types = (hasCertificate: boolean) => policyChoices(hasCertificate).map(([type]) => type);
  assert.deepEqual(types(true), ["0", "1", "2", "3", "4"]);
  assert.deepEqual(types(false), ["0", "1", "2", "4"]);
  assert.equal(policyType({ type: 9 }), "0");
  assert.equal(policyType(undefined), "0");
});

test("a policy is sent as MeshCentral's page sends it", () => {
  const form = policyForm({ type: 3, password: 1, badpass: 1, ccm: 2, cirasetup: 1 }, true);
  assert.deepEqual(form, {
    type: "3",
    secret: "keep",
    password: "",
    badpass: "1",
    ccm: "2",
    cirasetup: "1",
  });
  const table: [object, boolean, object][] = [
    [{}, true, { type: 3, password: null, badpass: 1, ccm: 2, cirasetup: 1 }],
    [{ secret: "random" }, false, { type: 3, password: "", badpass: 1, ccm: 2, cirasetup: 1 }],
    [
      { type: "2", secret: "new", password: "P@ssw0rd", cirasetup: "2" },
      true,
      { type: 2, password: "P@ssw0rd", badpass: 1, cirasetup: 2 },
    ],
    [{ type: "0" }, true, { type: 0 }],
    [{ type: "1" }, true, { type: 1 }],
    [{ type: "4" }, true, { type: 4 }],
  ];
  for (const [change, hasPort, body] of table) {
    assert.deepEqual(policyBody({ ...form, ...change } as typeof form, hasPort), body);
  }
  assert.deepEqual(policyForm(undefined, true).cirasetup, "2");
  assert.deepEqual(policyForm(undefined, false).cirasetup, "0");
  assert.deepEqual(policyFacts({ type: 4 }), []);
  assert.deepEqual(
    policyFacts({ type: 3, ccm: 1, cirasetup: 2 }).map(([name]) => name),
    ["Password", "Otherwise", "Calls (CIRA)"],
  );
});

test("a password that firmware refuses is not sent", () => {
  for (const [password, good] of [
    ["P@ssw0rd", true],
    ["yZ@2zMMAY4QW", true],
    ["P@ssw0r", false],
    ["Passw0rd", false],
    ["Passw0rd_", false],
    ["p@ssw0rd", false],
    ["P@SSW0RD", false],
    ["P@ssword", false],
    ["P@ssw0rd:", false],
    ["P@ssw0rdé", false],
    [`P@ssw0rd${"x".repeat(25)}`, false],
  ] as const)
    assert.equal(passwordFault(password) === null, good, password);
  const form = policyForm({ type: 2 }, true);
  assert.equal(isComplete({ ...form, secret: "new", password: "short" }), false);
  assert.equal(isComplete({ ...form, type: "4", secret: "new", password: "short" }), true);
});

test("the command names the server as it is known elsewhere, its tenant, and its certificate", () => {
  const group = "a@b$c";
  const page = new URL("https://10.0.0.5/cust2/");
  const info = { name: "mesh.example.com", port: 8443, tlshash: "ABCD" };
  const there = meshCmd("windows", info, page, null, group);
  const run =
    "amtconfig --url wss://mesh.example.com:8443/cust2/apf.ashx --id 'a@b$c' --serverhttpshash ABCD";
  assert.equal(there.run, `meshcmd ${run}`);
  assert.equal(
    there.fetch,
    'curl.exe -k -L -o meshcmd.exe "https://mesh.example.com:8443/cust2/meshagents?meshcmd=4"; ' +
      `.\\meshcmd.exe ${run}`,
  );
  assert.equal(there.downloads[0]?.href, "/cust2/meshagents?meshcmd=4");
  // A name that only this network knows, and a server that is in it only.
  for (const local of [
    { name: "board", port: 443 },
    { ...info, features: 2 },
  ]) {
    const { run, fetch } = meshCmd("linux", local, page, "k y", group);
    assert.match(run, /--url wss:\/\/10\.0\.0\.5\/cust2\/apf\.ashx /);
    assert.match(
      fetch,
      /meshagents\?meshcmd=6&key=k%20y" && chmod 755 meshcmd && sudo \.\/meshcmd amtconfig/,
    );
  }
});

test("the log says what was begun and what came of it", () => {
  const uuid = "03000200-0400-0500-0006-000700080009";
  const found = activationsIn([
    { time: "2026-11-22T20:00:01.000Z", action: "acmactivate-success", amtUuid: uuid, ipport: "192.0.2.1" },
    {
      time: "2026-11-22T20:00:00.000Z",
      action: "acmactivate",
      amtUuid: uuid,
      amtFqdn: "example.com",
      nodeid: "node//a",
      computerName: "pc",
    },
    { action: "ccmactivate-failed", amtUuid: 7 },
    { action: "setupbin", dns: "example.net" },
    null,
  ]);
  assert.deepEqual(
    found.map(({ what, state, computer, suffix, nodeid }) => [what, state, computer, suffix, nodeid]),
    [
      ["Admin control mode", "done", "pc", "example.com", "node//a"],
      ["Admin control mode", "begun", "pc", "example.com", "node//a"],
      ["Client control mode", "failed", "", "", ""],
      ["File setup.bin", "done", "", "example.net", ""],
      ["", "begun", "", "", ""],
    ],
  );
  assert.deepEqual(activationsIn("nonsense"), []);
});
