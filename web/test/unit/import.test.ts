import assert from "node:assert/strict";
import { test } from "node:test";

import { listOf } from "../../src/model/import.ts";

test("tables become entries, whatever separates their cells", () => {
  const expected = [
    { fqdn: "a.example", name: "A, first", password: ' x"y', tls: true },
    { fqdn: "192.0.2.5", name: "", password: "", tls: false },
  ];
  const comma =
    '\uFEFFHost,Name,Password,TLS,Room\r\na.example,"A, first"," x""y",yes,7\r\n\r\n192.0.2.5\r\n';
  assert.deepEqual(listOf(comma), expected);
  const semicolon = 'fqdn;name;pass;tls\na.example;A, first;" x""y";1\n192.0.2.5;;;0';
  assert.deepEqual(listOf(semicolon), expected);
});

test("JSON goes to the server as it is", () => {
  assert.deepEqual(listOf(' [{"fqdn":"a"}]'), [{ fqdn: "a" }]);
  assert.throws(() => listOf("[{"));
  assert.throws(() => listOf("name\npc"), /column host/);
});
