import { strict as assert } from "node:assert";
import { test } from "node:test";

import {
  ControlClient,
  Failed,
  FIRST_PAUSE,
  GRACE,
  LONGEST_PAUSE,
  OPENING,
  SILENCE,
  type WireEvents,
} from "../../src/control/client.ts";

/** Sockets and a clock in the hand of the test. */
class World {
  time = 0;
  timers: { at: number; run: () => void }[] = [];
  sockets: { events: WireEvents; sent: Record<string, unknown>[]; closed: boolean }[] = [];
  readonly client = new ControlClient({
    open: (events) => {
      const socket = { events, sent: [] as Record<string, unknown>[], closed: false };
      this.sockets.push(socket);
      return { send: (text) => socket.sent.push(JSON.parse(text)), close: () => (socket.closed = true) };
    },
    now: () => this.time,
    after: (ms, run) => {
      const timer = { at: this.time + ms, run };
      this.timers.push(timer);
      return () => (this.timers = this.timers.filter((other) => other !== timer));
    },
    random: () => 0,
  });

  pass(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const next = this.timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.timers = this.timers.filter((timer) => timer !== next);
      this.time = next.at;
      next.run();
    }
    this.time = end;
  }

  get socket() {
    return this.sockets.at(-1) as World["sockets"][number];
  }

  get state(): string {
    return this.client.link.value.state;
  }

  say(frame: object): void {
    this.socket.events.text(JSON.stringify(frame));
  }

  greet(): void {
    this.say({ action: "serverinfo", serverinfo: { name: "board" } });
    this.say({ action: "userinfo", userinfo: { _id: "user//ada", name: "ada" } });
  }

  static open(): World {
    const world = new World();
    world.client.start();
    world.greet();
    return world;
  }
}

test("a session is open once the server has greeted", () => {
  const world = new World();
  let opened = 0;
  world.client.onOpen(() => (opened += 1));
  world.client.start();
  assert.equal(world.state, "connecting");
  assert.equal(world.client.tell("nodes"), false);
  world.greet();
  assert.equal(world.state, "open");
  assert.equal(opened, 1);
  assert.equal(world.client.greeting.value?.server.name, "board");
});

test("a lost connection is tried again with growing pauses, and at once when asked", () => {
  const world = World.open();
  const pauses: number[] = [];
  for (let n = 0; n < 9; n++) {
    world.socket.events.closed();
    const link = world.client.link.value;
    assert.equal(link.state, "waiting");
    if (link.state === "waiting") pauses.push(link.until - world.time);
    world.pass(pauses.at(-1) as number);
    assert.equal(world.state, "connecting");
  }
  assert.deepEqual(pauses.slice(0, 3), [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]);
  assert.equal(pauses.at(-1), LONGEST_PAUSE);
  world.socket.events.closed();
  world.client.hurry();
  assert.equal(world.state, "connecting");
  world.greet();
  world.socket.events.closed();
  const link = world.client.link.value;
  assert.equal(link.state === "waiting" && link.until - world.time, FIRST_PAUSE, "success begins anew");
});

test("an old connection's words count no more", () => {
  const world = World.open();
  const old = world.socket;
  old.events.closed();
  world.pass(FIRST_PAUSE);
  old.events.text('{"action":"userinfo","userinfo":{"_id":"user//eve"}}');
  old.events.closed();
  assert.equal(world.state, "connecting");
  assert.equal(world.sockets.length, 2);
});

test("a silent server is asked whether it is there, then given up", () => {
  const world = World.open();
  world.pass(SILENCE);
  assert.deepEqual(world.socket.sent.at(-1), { action: "ping" });
  world.say({ action: "pong" });
  world.pass(SILENCE);
  assert.equal(world.state, "open");
  world.pass(GRACE);
  assert.equal(world.state, "waiting");
  assert.equal(world.socket.closed, true);
});

test("a server that never greets is given up", () => {
  const world = new World();
  world.client.start();
  world.pass(OPENING);
  assert.equal(world.state, "waiting");
});

test("a refusal is final until somebody logs in", () => {
  const world = new World();
  world.client.start();
  world.say({ action: "close", cause: "noauth", msg: "noauth" });
  assert.deepEqual(world.client.link.value, { state: "refused", cause: "noauth", msg: "noauth" });
  world.pass(10 * LONGEST_PAUSE);
  assert.equal(world.sockets.length, 1);
  world.client.start();
  world.greet();
  assert.equal(world.state, "open");
  world.say({ action: "stopped", msg: "Session count exceed" });
  assert.deepEqual(world.client.link.value, { state: "stopped", why: "Session count exceed" });
});

test("pings of the server are answered and handed to nobody", () => {
  const world = World.open();
  let seen = 0;
  world.client.on("ping", () => (seen += 1));
  world.say({ action: "ping" });
  assert.deepEqual(world.socket.sent.at(-1), { action: "pong" });
  assert.equal(seen, 0);
});

const MARKS: [string, (mark: unknown) => object][] = [
  ["both marks", (mark) => ({ responseid: mark, tag: mark })],
  ["the tag only", (mark) => ({ tag: mark })],
  ["the responseid only", (mark) => ({ responseid: mark, result: "ok" })],
  ["no mark", () => ({})],
];

for (const [name, marks] of MARKS) {
  test(`an answer with ${name} finds its request`, async () => {
    const world = World.open();
    const asked = world.client.ask("getNotes", { id: "x" });
    const mark = world.socket.sent.at(-1)?.["responseid"];
    world.say({ action: "getNotes", notes: "yes", ...marks(mark) });
    assert.equal((await asked)["notes"], "yes");
  });
}

test("answers without a mark go to the oldest request of their action, events to none", async () => {
  const world = World.open();
  const events: unknown[] = [];
  world.client.on("event", (frame) => events.push(frame));
  const first = world.client.ask("loginTokens");
  const second = world.client.ask("loginTokens");
  world.say({ action: "event", event: { action: "loginTokens" } });
  world.say({ action: "other" });
  world.say({ action: "loginTokens", loginTokens: [1] });
  world.say({ action: "loginTokens", loginTokens: [2] });
  assert.deepEqual((await first)["loginTokens"], [1]);
  assert.deepEqual((await second)["loginTokens"], [2]);
  assert.equal(events.length, 1);
});

test("an answer under another action is taken if it was announced", async () => {
  const world = World.open();
  const asked = world.client.ask("createDeviceShareLink", {}, { also: ["deviceShares"] });
  world.say({ action: "deviceShares", result: "Access denied" });
  await assert.rejects(
    asked,
    (error: Failed) => error.cause_ === "refused" && error.message === "Access denied",
  );
});

test("words of an agent are no answer to a message", () => {
  const world = World.open();
  const said: unknown[] = [];
  world.client.on("msg", (frame) => said.push(frame["value"]));
  void world.client.ask("msg", { type: "console" }, { bare: false }).catch(() => undefined);
  world.say({ action: "msg", type: "console", value: "hello" });
  assert.deepEqual(said, ["hello"]);
});

test("a result other than ok is a failure, unless the caller reads it", async () => {
  const world = World.open();
  const answers: [object, boolean, boolean][] = [
    [{ result: "ok" }, true, true],
    [{ result: "OK" }, true, true],
    [{ result: "Permission denied" }, true, false],
    [{ result: "Permission denied" }, false, true],
    [{}, true, true],
  ];
  for (const [body, check, good] of answers) {
    const asked = world.client.ask("editmesh", {}, { check });
    world.say({ action: "editmesh", tag: world.socket.sent.at(-1)?.["tag"], ...body });
    const outcome = await asked.then(
      () => true,
      () => false,
    );
    assert.equal(outcome, good, JSON.stringify(body));
  }
});

test("requests end: by a time limit, by a lost connection, by none", async () => {
  const world = World.open();
  const causes: string[] = [];
  const note = (error: Failed) => void causes.push(error.cause_);
  const late = world.client.ask("nodes", {}, { timeout: 1000 }).catch(note);
  world.pass(1000);
  await late;
  const lost = world.client.ask("nodes").catch(note);
  world.socket.events.closed();
  await lost;
  await world.client.ask("nodes").catch(note);
  assert.deepEqual(causes, ["timeout", "lost", "offline"]);
});

test("frames that are no frames are ignored", () => {
  const world = World.open();
  for (const text of ["", "{", "null", "[]", "1", '"x"', '{"action":1}', "{}"])
    world.socket.events.text(text);
  assert.equal(world.state, "open");
});
