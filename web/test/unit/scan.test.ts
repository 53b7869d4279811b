import assert from "node:assert/strict";
import { test } from "node:test";

import { begin, follow, written } from "../../src/model/scan.ts";

test("a scan is followed to its end", () => {
  let scan = begin("127.0.0.0/24");
  scan = follow(scan, { action: "scanamtprogress", range: "127.0.0.0/24", asked: 10, total: 256, found: 1 });
  assert.deepEqual(scan, { state: "runs", range: "127.0.0.0/24", asked: 10, total: 256, found: 1 });
  const entry = { ver: "12.0", tls: 1, state: 2, hostname: "pc", hosttype: "host" };
  scan = follow(scan, { action: "scanamtdevice", range: "127.0.0.0/24", results: { "127.0.0.8": entry } });
  const found = [{ address: "127.0.0.8", name: "pc", version: "12.0", tls: true, state: 2 }];
  assert.deepEqual(scan, { state: "done", range: "127.0.0.0/24", found });
});

test("another scan, or none, changes nothing", () => {
  const scan = begin("127.0.0.1");
  assert.equal(follow(scan, { action: "scanamtdevice", range: "127.0.0.2", results: {} }), scan);
  assert.equal(follow(scan, { action: "nodeconnect", range: "127.0.0.1" }), scan);
});

test("what is no range is told with its reason", () => {
  const failed = (event: object) => follow(begin("x"), { action: "scanamtdevice", range: "x", ...event });
  assert.deepEqual(failed({ results: null, error: "write it so" }), {
    state: "failed",
    range: "x",
    why: "write it so",
  });
  assert.deepEqual(failed({ results: null }), { state: "failed", range: "x", why: "this is no range" });
});

test("blanks do not matter", () => {
  assert.equal(written(" 127.0.0.1 - 127.0.0.9 "), "127.0.0.1-127.0.0.9");
});
