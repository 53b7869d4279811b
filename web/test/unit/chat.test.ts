import { strict as assert } from "node:assert";
import { test } from "node:test";

import { BLOCK, Chat, KEPT, LONGEST, OFFERS, Over, type Transfer } from "../../src/chat/chat.ts";
import type { WireEvents } from "../../src/tunnel/tunnel.ts";

/** One side of a relay, and its clock. */
class Side {
  time = 1_000;
  timers: { at: number; run: () => void }[] = [];
  sockets: { url: string; events: WireEvents; sent: Record<string, unknown>[]; closed: boolean }[] = [];
  doors = 0;
  door: () => Promise<string> = async () => `wss://board/${++this.doors}`;
  readonly chat: Chat;

  constructor() {
    this.chat = new Chat(
      {
        open: (url, events) => {
          const sent: Record<string, unknown>[] = [];
          const socket = { url, events, sent, closed: false };
          this.sockets.push(socket);
          return {
            send: (data) => sent.push(JSON.parse(String(data)) as Record<string, unknown>),
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
      () => this.door(),
    );
  }

  get socket() {
    return this.sockets.at(-1) as Side["sockets"][number];
  }

  get is() {
    return this.chat.presence.value.is;
  }

  get files(): Transfer[] {
    return this.chat.entries.value.filter((entry): entry is Transfer => entry.kind === "file");
  }

  hear(message: object): void {
    this.socket.events.text(JSON.stringify(message));
  }

  async pass(ms: number): Promise<void> {
    this.time += ms;
    const due = this.timers.filter(({ at }) => at <= this.time);
    this.timers = this.timers.filter((timer) => !due.includes(timer));
    for (const { run } of due) run();
    await settled();
  }

  async join(): Promise<void> {
    this.chat.start();
    await settled();
    this.socket.events.opened();
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

/** Two sides whose relay delivers what either says. */
async function together(): Promise<{ ann: Side; bob: Side; deliver(): Promise<void> }> {
  const [ann, bob] = [new Side(), new Side()];
  await Promise.all([ann.join(), bob.join()]);
  for (const { socket } of [ann, bob]) socket.events.text("c");
  const deliver = async () => {
    for (let still = 0; still < 5;) {
      const [one, two] = [ann.socket.sent.splice(0), bob.socket.sent.splice(0)];
      one.forEach((message) => bob.hear(message));
      two.forEach((message) => ann.hear(message));
      still = one.length + two.length === 0 ? still + 1 : 0;
      await settled();
    }
  };
  return { ann, bob, deliver };
}

const file = (name: string, bytes: Uint8Array<ArrayBuffer>) => Object.assign(new Blob([bytes]), { name });

function gathering() {
  const parts: Uint8Array[] = [];
  const sink = {
    write: (data: Uint8Array<ArrayBuffer>) => void parts.push(data),
    close: async () => undefined,
  };
  return { sink, content: () => Buffer.concat(parts) };
}

test("what one says the other hears, and that he writes", async () => {
  const { ann, bob, deliver } = await together();
  ann.chat.write(true);
  ann.chat.write(true);
  assert.equal(ann.socket.sent.length, 1, "said once");
  await deliver();
  assert.equal(bob.chat.writing.value, true);
  let told = "";
  bob.chat.onSaid = (text) => (told = text);
  assert.equal(ann.chat.say("hello\nthere"), true);
  await deliver();
  assert.equal(bob.chat.writing.value, false);
  assert.equal(told, "hello\nthere");
  const said = [ann, bob].map(({ chat }) => chat.entries.value.map((entry) => [entry.mine, "text" in entry]));
  assert.deepEqual(said, [[[true, true]], [[false, true]]]);
  assert.equal(ann.chat.say(" \n"), false, "nothing is not said");
});

test("nothing is said to nobody", async () => {
  const side = new Side();
  assert.equal(side.chat.say("hello"), false);
  await side.join();
  assert.equal(side.is, "waiting");
  assert.equal(side.chat.say("hello"), false);
  side.chat.write(true);
  side.hear({ action: "chat", msg: "early" });
  assert.deepEqual(side.socket.sent, []);
  assert.deepEqual(side.chat.entries.value, []);
});

test("who has left may come again, and a broken connection heals", async () => {
  const side = new Side();
  await side.join();
  side.socket.events.text("cr");
  assert.deepEqual(side.chat.presence.value, { is: "together", recorded: true });
  side.socket.events.closed(true);
  assert.deepEqual(side.chat.presence.value, { is: "waiting", left: true });
  for (let n = 2; n < 12; n++) {
    await side.pass(15_000);
    assert.equal(side.doors, n, "each time by a new proof");
    side.socket.events.closed(false);
  }
  await side.pass(15_000);
  side.socket.events.opened();
  side.socket.events.text("c");
  assert.equal(side.is, "together");
});

test("a door that is shut for good ends it, one that sticks is tried again", async () => {
  const side = new Side();
  side.door = async () => {
    throw new Error("later");
  };
  side.chat.start();
  await settled();
  assert.equal(side.is, "reaching");
  side.door = async () => {
    throw new Over("over");
  };
  await side.pass(1_000);
  assert.deepEqual(side.chat.presence.value, { is: "ended", words: "over" });
  assert.deepEqual(side.timers, []);
  side.door = async () => "wss://board/again";
  await side.join();
  assert.equal(side.is, "waiting", "a person may begin again");
  side.chat.stop();
  assert.equal(side.socket.closed, true);
});

test("a file arrives as it was, after it was taken and not before", async () => {
  const { ann, bob, deliver } = await together();
  const content = Uint8Array.from({ length: BLOCK * 2 + 77 }, (_, n) => (n * 7) & 255);
  ann.chat.offer(file("a.bin", content));
  ann.chat.offer(file("empty", new Uint8Array()));
  await deliver();
  assert.deepEqual(
    bob.files.map(({ name, size, state }) => [name, size, state.value]),
    [
      ["a.bin", content.length, "offered"],
      ["empty", 0, "offered"],
    ],
  );
  const [one, two] = [gathering(), gathering()];
  bob.chat.take(bob.files[1] as Transfer, two.sink);
  await deliver();
  assert.equal(bob.files[1]?.state.value, "runs", "it comes after the other");
  bob.chat.take(bob.files[0] as Transfer, one.sink);
  await deliver();
  assert.deepEqual(one.content(), Buffer.from(content));
  for (const { state, done, size } of [...ann.files, ...bob.files]) {
    assert.equal(state.value, "done");
    assert.equal(done.value, size);
  }
});

test("files are refused, stopped, and fail without stopping those behind them", async () => {
  const { ann, bob, deliver } = await together();
  for (const name of ["refused", "stopped", "taken"]) ann.chat.offer(file(name, new Uint8Array(10)));
  await deliver();
  bob.chat.cancel(bob.files[0] as Transfer);
  ann.chat.cancel(ann.files[1] as Transfer);
  const { sink, content } = gathering();
  bob.chat.take(bob.files[2] as Transfer, sink);
  await deliver();
  assert.equal(content().length, 10);
  const states = (side: Side) => side.files.map(({ state }) => state.value);
  assert.deepEqual(states(ann), ["refused", "stopped", "done"]);
  assert.deepEqual(states(bob), ["refused", "stopped", "done"]);
  ann.chat.offer(file("cut", new Uint8Array(10)));
  await deliver();
  ann.socket.events.closed(false);
  bob.socket.events.closed(true);
  assert.equal(ann.files[3]?.state.value, "failed");
  assert.equal(bob.files[3]?.state.value, "failed");
});

test("MeshCentral's page at the other end", async () => {
  const { ann: side } = await together();
  side.socket.sent.length = 0;
  side.hear({ ctrlChannel: "102938", type: "ping" });
  side.hear({ action: "random", random: 0.5 });
  side.hear({ action: "webRtcSdp", sdp: {}, id: 0 });
  assert.deepEqual(side.socket.sent.splice(0), [{ ctrlChannel: "102938", type: "pong" }]);
  // It begins to send at once, acknowledges a beginning twice, and sends 4,000 letters at a time.
  side.hear({ action: "file", size: 3, id: 0.25, type: "", name: "x.bin" });
  side.hear({ action: "fileUploadStart", size: 3, id: 0.25, type: "", name: "x.bin" });
  assert.deepEqual(side.socket.sent, []);
  const { sink, content } = gathering();
  side.chat.take(side.files[0] as Transfer, sink);
  assert.deepEqual(side.socket.sent.splice(0), [{ action: "fileUploadAck", id: 0.25 }]);
  side.hear({ action: "fileData", id: 0.25, data: "\u0000\u00ffa" });
  side.hear({ action: "fileUploadEnd", id: 0.25, size: 3 });
  await settled();
  assert.deepEqual(content(), Buffer.from([0, 255, 97]));
  side.chat.offer(file("y.bin", new Uint8Array(BLOCK + 1)));
  const mark = side.socket.sent.at(-1)?.["id"];
  side.socket.sent.length = 0;
  for (let n = 0; n < 5; n++) {
    side.hear({ action: "fileUploadAck", id: mark });
    await settled();
  }
  assert.deepEqual(
    side.socket.sent.map(({ action }) => action),
    ["fileData", "fileData", "fileUploadEnd"],
  );
});

test("a hostile other side fills nothing", async () => {
  const { ann: side } = await together();
  for (let n = 0; n < KEPT + 50; n++) side.hear({ action: "chat", msg: "x".repeat(LONGEST * 2) });
  assert.equal(side.chat.entries.value.length, KEPT);
  assert.ok(side.chat.entries.value.every((entry) => "text" in entry && entry.text.length === LONGEST));
  for (const message of [
    { action: "file", id: 1, name: 5, size: 1 },
    { action: "file", id: 2, name: "x", size: -1 },
    { action: "file", id: 3, name: "x", size: 1e300 },
    { action: "fileData", id: 9, data: "x" },
    { action: "fileUploadEnd", id: 9 },
    { action: "chat", msg: {} },
    [],
  ])
    side.hear(message);
  side.socket.events.text("{broken");
  side.socket.events.text("null");
  assert.equal(side.files.length, 0);
  for (let n = 0; n < OFFERS + 5; n++) side.hear({ action: "file", id: `f${n}`, name: "x", size: 4 });
  assert.equal(side.files.length, OFFERS);
  const { sink, content } = gathering();
  side.chat.take(side.files[0] as Transfer, sink);
  side.hear({ action: "fileData", id: "f0", data: "more than four" });
  await settled();
  assert.equal(side.files[0]?.state.value, "failed");
  assert.equal(content().length, 0);
  side.chat.take(side.files[1] as Transfer, sink);
  side.hear({ action: "fileUploadEnd", id: "f1" });
  await settled();
  assert.equal(side.files[1]?.state.value, "failed", "less than was said is no file");
});
