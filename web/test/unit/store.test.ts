import { strict as assert } from "node:assert";
import { test } from "node:test";

import type { Happening, User } from "../../src/control/wire.ts";
import { EVENTS_KEPT, Store } from "../../src/model/store.ts";

function world() {
  const due: (() => void)[] = [];
  let reloads = 0;
  const store = new Store(
    (run) => due.push(run),
    () => (reloads += 1),
    () => 1000,
  );
  const me: User = { _id: "user//ada", name: "ada", siteadmin: 0, links: { "mesh//a": { rights: 8 } } };
  store.setMe(me);
  store.apply({
    action: "meshes",
    meshes: [{ _id: "mesh//a", name: "A", mtype: 2, links: { "user//ada": { rights: 8 } } }],
  });
  store.apply({
    action: "nodes",
    nodes: { "mesh//a": [{ _id: "node//1", name: "one", conn: 1, pwr: 1, agct: 5 }] },
  });
  const flush = () => due.splice(0).forEach((run) => run());
  flush();
  return {
    store,
    me,
    flush,
    due,
    reloads: () => reloads,
    event: (event: Happening) => store.apply({ action: "event", event }),
  };
}

test("a device keeps its connection through a change of its document", () => {
  const { store, event } = world();
  event({
    action: "changenode",
    nodeid: "node//1",
    node: { _id: "node//1", meshid: "mesh//a", name: "uno" },
  });
  assert.deepEqual(store.devices.get("node//1"), {
    _id: "node//1",
    meshid: "mesh//a",
    name: "uno",
    conn: 1,
    pwr: 1,
    agct: 5,
  });
});

test("connects and disconnects are applied in place", () => {
  const { store, event } = world();
  event({ action: "nodeconnect", nodeid: "node//1", conn: 0, pwr: 0 });
  assert.equal(store.devices.get("node//1")?.conn, undefined);
  assert.equal(store.lastSeen.get("node//1"), 1000);
  event({ action: "nodeconnect", nodeid: "node//1", conn: 1, pwr: 1, ct: 77 });
  assert.deepEqual([store.devices.get("node//1")?.conn, store.devices.get("node//1")?.agct], [1, 77]);
  event({ action: "nodeconnect", nodeid: "node//unknown", conn: 1 });
  assert.equal(store.devices.size, 1);
});

test("devices come, move and go", () => {
  const { store, event } = world();
  event({ action: "addnode", node: { _id: "node//2", meshid: "mesh//a", name: "two" } });
  assert.equal(store.devices.size, 2);
  event({
    action: "nodemeshchange",
    nodeid: "node//2",
    newMeshId: "mesh//foreign",
    node: { _id: "node//2", name: "two" },
  });
  assert.equal(store.devices.has("node//2"), false, "it went where this account sees nothing");
  event({ action: "removenode", nodeid: "node//1" });
  assert.equal(store.devices.size, 0);
});

test("a deleted group takes its devices along", () => {
  const { store, event } = world();
  event({ action: "deletemesh", meshid: "mesh//a" });
  assert.deepEqual([store.groups.size, store.devices.size], [0, 0]);
});

test("a group that is taken away disappears, one that is given is asked for", () => {
  const { store, event, reloads } = world();
  store.setMe({ _id: "user//ada", name: "ada", links: {} });
  event({ action: "meshchange", meshid: "mesh//a", name: "A", links: { "user//bob": { rights: 8 } } });
  assert.equal(store.groups.size, 0);
  event({ action: "meshchange", meshid: "mesh//b", name: "B", links: { "user//ada": { rights: 8 } } });
  assert.equal(reloads(), 1);
});

test("a change of one's own rights asks for everything again, another change does not", () => {
  const { event, me, reloads } = world();
  event({ action: "accountchange", account: { ...me, realname: "Ada" } });
  assert.equal(reloads(), 0);
  event({ action: "accountchange", account: { ...me, links: { "mesh//a": { rights: 4294967295 } } } });
  assert.equal(reloads(), 1);
  event({ action: "accountchange", account: { _id: "user//bob", name: "bob", links: {} } });
  assert.equal(reloads(), 1);
});

test("a resync marker asks for everything again", () => {
  const { event, reloads } = world();
  event({ action: "resync" });
  assert.equal(reloads(), 1);
});

test("however many events come, a beat draws once", () => {
  const { store, event, due, flush } = world();
  const before = store.changes.devices.value;
  for (let n = 0; n < 1000; n++) event({ action: "nodeconnect", nodeid: "node//1", conn: n % 2, pwr: 1 });
  assert.equal(due.length, 1);
  flush();
  assert.equal(store.changes.devices.value, before + 1);
});

test("live events are bounded, transient ones are not kept", () => {
  const { store, event } = world();
  for (let n = 0; n < EVENTS_KEPT + 50; n++) event({ action: "agentlog", msg: `m${n}` });
  event({ action: "nodeconnect", nodeid: "node//1", nolog: 1, msg: "quiet" });
  assert.equal(store.events.length, EVENTS_KEPT);
  assert.equal(store.events[0]?.msg, `m${EVENTS_KEPT + 49}`);
});

test("documents that are no documents change nothing", () => {
  const { store, event } = world();
  for (const broken of [
    null,
    1,
    "x",
    {},
    { action: "changenode" },
    { action: "changenode", node: 7 },
    { action: "meshchange" },
    { action: "createmesh", mesh: null },
  ]) {
    event(broken as Happening);
  }
  store.apply({ action: "nodes", nodes: null });
  store.apply({ action: "users", users: "no" });
  assert.equal(store.devices.size, 0);
});
