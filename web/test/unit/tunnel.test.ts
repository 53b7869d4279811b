import { strict as assert } from "node:assert";
import { test } from "node:test";

import { COMING, PULSE, Tunnel, type Speaker, type WireEvents } from "../../src/tunnel/tunnel.ts";

/** A relay, an agent and a clock in the hand of the test. */
class World {
  time = 1_000;
  timers: { at: number; run: () => void }[] = [];
  sockets: { url: string; events: WireEvents; sent: string[]; closed: boolean }[] = [];
  sentFor: [string, number][] = [];
  refusal: Error | null = null;
  heard: string[] = [];
  readonly tunnel: Tunnel;

  constructor(speaker: Speaker = {}) {
    this.tunnel = new Tunnel(
      {
        open: (url, events) => {
          const socket = { url, events, sent: [] as string[], closed: false };
          this.sockets.push(socket);
          return {
            send: (data) => socket.sent.push(String(data)),
            close: () => (socket.closed = true),
            waiting: () => 0,
          };
        },
        now: () => this.time,
        after: (ms, run) => {
          const timer = { at: this.time + ms, run };
          this.timers.push(timer);
          return () => (this.timers = this.timers.filter((other) => other !== timer));
        },
      },
      {
        address: async (id, protocol) => `wss://board/${protocol}/${id}`,
        send: async (id, protocol) => {
          this.sentFor.push([id, protocol]);
          if (this.refusal) throw this.refusal;
        },
      },
      {
        opened: () => this.heard.push("opened"),
        ended: () => this.heard.push("ended"),
        text: (text) => this.heard.push(text),
        ...speaker,
      },
    );
  }

  get socket() {
    return this.sockets.at(-1) as World["sockets"][number];
  }

  get state() {
    return this.tunnel.state.value;
  }

  say(frame: object): void {
    this.socket.events.text(JSON.stringify({ ctrlChannel: "102938", ...frame }));
  }

  pass(ms: number): void {
    this.time += ms;
    const due = this.timers.filter(({ at }) => at <= this.time);
    this.timers = this.timers.filter((timer) => !due.includes(timer));
    for (const { run } of due) run();
  }

  /** A terminal that has begun. */
  static async open(mark = "c", options: object | null = null, speaker: Speaker = {}): Promise<World> {
    const world = new World(speaker);
    await world.tunnel.start(1, options);
    world.socket.events.opened();
    world.socket.events.text(mark);
    return world;
  }
}

test("options, then the protocol's number, then everything else", async () => {
  const world = await World.open("c", { cols: 80, rows: 25 });
  const [options, protocol] = world.socket.sent;
  assert.deepEqual(JSON.parse(options as string), {
    ctrlChannel: "102938",
    type: "options",
    cols: 80,
    rows: 25,
  });
  assert.equal(protocol, "1");
  assert.deepEqual(world.state, { is: "open", recorded: false });
  assert.deepEqual(world.heard, ["opened"]);
});

test("nothing is said before the relay has joined the two", async () => {
  const world = new World();
  await world.tunnel.start(5);
  world.socket.events.opened();
  world.socket.events.text("hello");
  world.tunnel.send(Uint8Array.of(1));
  assert.deepEqual(world.socket.sent, []);
  assert.equal(world.sentFor.length, 1);
});

test("a recorded session says so", async () => {
  const world = await World.open("cr");
  assert.deepEqual(world.state, { is: "open", recorded: true });
});

test("each attempt has a name of its own that cannot be guessed", async () => {
  const world = await World.open();
  await world.tunnel.start(1);
  const names = world.sockets.map(({ url }) => url.split("/").at(-1));
  assert.equal(new Set(names).size, 2);
  for (const name of names) assert.match(name as string, /^[0-9a-f]{32}$/);
});

test("every end has its reason", async () => {
  const cases: [string, (world: World) => void | Promise<void>][] = [
    ["left", ({ tunnel }) => tunnel.stop()],
    ["closed", ({ socket }) => socket.events.closed(true)],
    ["lost", ({ socket }) => socket.events.closed(false)],
    ["denied", (world) => world.say({ type: "console", msg: "Denied by the user", msgid: 2 })],
  ];
  for (const [why, happens] of cases) {
    const world = await World.open();
    await happens(world);
    assert.equal(world.state.is === "ended" && world.state.why, why);
    assert.deepEqual(world.heard, ["opened", "ended"], why);
  }
});

test("a server that does not send the agent is quoted", async () => {
  const world = new World();
  world.refusal = new Error("Unable to route");
  await world.tunnel.start(2);
  world.socket.events.opened();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(world.state, { is: "ended", why: "refused", words: "Unable to route" });
  assert.ok(world.socket.closed);
});

test("an agent that does not come is given up", async () => {
  const world = new World();
  await world.tunnel.start(2);
  world.socket.events.opened();
  world.pass(COMING);
  assert.deepEqual(world.state, { is: "ended", why: "absent", words: "" });
});

test("the person at the device is asked, and answers", async () => {
  const world = await World.open();
  world.say({ type: "console", msg: "Waiting for user to grant access...", msgid: 1 });
  assert.equal(world.state.is, "asking");
  world.say({ type: "console", msg: null, msgid: 0 });
  assert.equal(world.state.is, "open");
});

test("the way to the agent is measured again and again", async () => {
  const measured: number[] = [];
  const world = await World.open("c", null, { measured: (rtt) => measured.push(rtt) });
  world.time += 42;
  world.say({ ctrlChannel: 102938, type: "rtt", time: 1_000 });
  assert.equal(world.tunnel.rtt.value, 42);
  assert.deepEqual(measured, [42]);
  const before = world.socket.sent.length;
  world.pass(PULSE);
  assert.equal(world.socket.sent.length, before + 1);
});

test("words from an attempt that was left change nothing", async () => {
  const world = await World.open();
  const old = world.socket;
  world.tunnel.stop();
  await world.tunnel.start(1);
  old.events.closed(false);
  old.events.text("c");
  assert.equal(world.state.is, "opening");
});

test("texts that are no control messages belong to the protocol", async () => {
  const world = await World.open();
  for (const text of ['{"action":"download"}', "{", "plain", '{"ctrlChannel":"1","type":"ping"}'])
    world.socket.events.text(text);
  assert.deepEqual(world.heard, [
    "opened",
    '{"action":"download"}',
    "{",
    "plain",
    '{"ctrlChannel":"1","type":"ping"}',
  ]);
});
