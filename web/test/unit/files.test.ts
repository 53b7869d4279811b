import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { Queue } from "../../src/files/queue.ts";
import { AHEAD, BLOCK, Files, PATIENCE, type Source } from "../../src/files/session.ts";
import { above, block, crumbs, entries, escape, isPlainName, join } from "../../src/files/wire.ts";

/** An agent with files in memory, as strict as a real one. */
class Agent {
  files = new Map<string, Uint8Array>();
  asked: Record<string, unknown>[] = [];
  timers: (() => void)[] = [];
  flying = 0;
  most = 0;
  #open: { path: string; reqid: unknown } | null = null;
  #sending: Uint8Array | null = null;
  mute = false;
  readonly session = new Files(
    {
      say: (message) => this.#soon(() => this.#take(message as Record<string, unknown>)),
      send: (data) => this.#data(data),
    },
    {
      after: (_ms, run) => {
        this.timers.push(run);
        return () => void (this.timers = this.timers.filter((other) => other !== run));
      },
    },
  );

  #soon(run: () => void): void {
    if (!this.mute) setImmediate(run);
  }

  #say(message: object, text = false): void {
    const json = JSON.stringify(message);
    this.session.take(text ? json : new Uint8Array(Buffer.from(json)).buffer);
  }

  #data(data: Uint8Array): void {
    this.flying += 1;
    this.most = Math.max(this.most, this.flying);
    const open = this.#open;
    if (!open) throw new Error("data without a file");
    if (data[0] === 0x7b) throw new Error("this would be taken for JSON");
    const plain = Uint8Array.from(data[0] === 0 ? data.subarray(1) : data);
    const before = this.files.get(open.path) ?? new Uint8Array();
    this.files.set(open.path, Uint8Array.from([...before, ...plain]));
    this.#soon(() => {
      this.flying -= 1;
      this.#say({ action: "uploadack", reqid: open.reqid });
    });
  }

  #take(message: Record<string, unknown>): void {
    this.asked.push(message);
    const path = `${message["path"]}/${message["name"]}`;
    const { reqid } = message;
    switch (message["action"]) {
      case "ls":
        this.#say({
          path: message["path"],
          reqid,
          dir: [...this.files].map(([name, data]) => ({
            n: name.split("/").at(-1),
            t: 3,
            s: data.length,
            d: "2026-01-02T03:04:05Z",
          })),
        });
        return;
      case "upload":
        if (message["path"] === "/forbidden") return this.#say({ action: "uploaderror", reqid });
        if (!message["append"]) this.files.set(path, new Uint8Array());
        this.#open = { path, reqid };
        return this.#say({ action: "uploadstart", reqid });
      case "uploaddone":
        this.#open = null;
        return this.#say({ action: "uploaddone", reqid });
      case "uploadhash": {
        const data = this.files.get(path);
        return this.#say({
          action: "uploadhash",
          reqid,
          hash: data ? createHash("sha384").update(data).digest("hex").toUpperCase() : null,
        });
      }
      case "download":
        return this.#download(message);
    }
  }

  #download({ sub, id, path }: Record<string, unknown>): void {
    if (sub === "start") {
      this.#sending = this.files.get(path as string) ?? null;
      this.#say({ action: "download", sub: this.#sending ? "start" : "cancel", id }, true);
    } else if ((sub === "startack" || sub === "ack") && this.#sending) {
      const piece = this.#sending.subarray(0, 16_380);
      // A file that fills its last block ends with an empty one.
      const last = piece.length < 16_380;
      this.#sending = last ? null : this.#sending.subarray(16_380);
      this.session.take(Uint8Array.from([1, 0, 0, last ? 1 : 0, ...piece]).buffer);
    }
  }
}

function source(name: string, data: Uint8Array): Source {
  return {
    name,
    size: data.length,
    slice: (from, to) => new Blob([Uint8Array.from(data.subarray(from, to))]),
  };
}

/** Bytes with `{` and zero where blocks begin. */
function noise(size: number): Uint8Array {
  const data = Uint8Array.from({ length: size }, (_, n) => (n * 2_654_435_761) >>> 13);
  for (let at = 0, n = 0; at < size; at += BLOCK, n++) data[at] = n % 2 ? 0 : 0x7b;
  return data;
}

const never = new AbortController().signal;
const nothing = () => {};

test("files of every size arrive unchanged, with a bounded number of blocks under way", async () => {
  for (const size of [0, 1, BLOCK, BLOCK * 3, BLOCK * 20 + 17]) {
    const agent = new Agent();
    const data = noise(size);
    let told = 0;
    await agent.session.upload("/home", source("a.bin", data), 0, (done) => (told = done), never);
    assert.deepEqual(agent.files.get("/home/a.bin"), data, `${size}`);
    assert.equal(told, size);
    assert.ok(agent.most <= AHEAD, `${agent.most} blocks`);
  }
});

test("downloads of every size come unchanged", async () => {
  for (const size of [0, 12, 16_380, 16_380 * 2, 200_001]) {
    const agent = new Agent();
    const data = noise(size);
    agent.files.set("/home/a.bin", data);
    const parts: Uint8Array[] = [];
    await agent.session.download("/home/a.bin", { write: (part) => void parts.push(part) }, nothing, never);
    assert.deepEqual(new Uint8Array(Buffer.concat(parts)), data, `${size}`);
  }
});

test("what the agent refuses is told", async () => {
  const agent = new Agent();
  await assert.rejects(
    agent.session.upload("/forbidden", source("a", noise(9)), 0, nothing, never),
    /cannot write/,
  );
  await assert.rejects(agent.session.download("/none", { write: nothing }, nothing, never), /cannot read/);
});

test("an agent that says nothing is not waited for", async () => {
  const agent = new Agent();
  agent.mute = true;
  const list = agent.session.list("/");
  for (const run of agent.timers) run();
  await assert.rejects(list, /does not answer/);
  assert.ok(PATIENCE > 0);
});

test("a device that stops in the middle of a file is not waited for", async () => {
  const agent = new Agent();
  agent.files.set("/home/a.bin", noise(200_001));
  const sink = { write: () => void (agent.mute = true) };
  const download = agent.session.download("/home/a.bin", sink, nothing, never);
  while (!agent.mute) await new Promise(setImmediate);
  await new Promise(setImmediate);
  for (const run of agent.timers) run();
  await assert.rejects(download, /stopped sending/);
});

test("a broken connection fails everything that is under way", async () => {
  const agent = new Agent();
  agent.mute = true;
  const [list, up, down] = [
    agent.session.list("/"),
    agent.session.upload("/", source("a", noise(9)), 0, nothing, never),
    agent.session.download("/a", { write: nothing }, nothing, never),
  ];
  agent.session.lose();
  for (const one of [list, up, down]) await assert.rejects(one, /broke/);
});

test("an upload is stopped, and another can follow", async () => {
  const agent = new Agent();
  const stop = new AbortController();
  const up = agent.session.upload(
    "/home",
    source("a.bin", noise(BLOCK * 50)),
    0,
    () => stop.abort(),
    stop.signal,
  );
  await assert.rejects(up, /Stopped/);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(agent.asked.at(-1)?.["action"], "uploadcancel");
});

test("an upload goes on where it stopped, if what is there is its beginning", async () => {
  const data = noise(BLOCK * 4);
  for (const [there, appends] of [
    [data.subarray(0, BLOCK + 5), true],
    [noise(100).reverse(), false],
  ] as const) {
    const agent = new Agent();
    agent.files.set("/home/a.bin", Uint8Array.from(there));
    const queue = new Queue(agent.session);
    const arrived = new Promise((resolve) => (queue.onArrival = resolve));
    queue.upload("/home", source("a.bin", data), "resume", there.length);
    await arrived;
    assert.deepEqual(agent.files.get("/home/a.bin"), data);
    const upload = agent.asked.find(({ action }) => action === "upload");
    assert.equal(upload?.["append"] === true, appends);
  }
});

test("a queue sends one file after the other and goes on after a failure", async () => {
  const agent = new Agent();
  const queue = new Queue(agent.session);
  queue.upload("/forbidden", source("a", noise(9)));
  queue.upload("/home", source("b", noise(9)));
  await new Promise((resolve) => (queue.onArrival = resolve));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(
    queue.jobs.value.map(({ state }) => state.value),
    ["failed", "done"],
  );
});

test("names are parts of paths or they are not", () => {
  for (const name of ["a", "a b", "..a", "<img>", "ä"]) assert.ok(isPlainName(name), name);
  for (const name of ["", ".", "..", "a/b", "a\\b", "a\u0000b"]) assert.ok(!isPlainName(name), name);
});

test("paths of both kinds of systems are joined and cut", () => {
  assert.equal(join("/", "etc"), "/etc");
  assert.equal(join("/etc", "ssl"), "/etc/ssl");
  assert.equal(join("", "C:"), "C:");
  assert.equal(join("C:", "Users"), "C:/Users");
  assert.deepEqual(["/etc/ssl", "/etc", "/", "C:/Users", "C:"].map(above), ["/etc", "/", "", "C:", ""]);
  assert.deepEqual(
    crumbs("/etc/ssl").map(({ path }) => path),
    ["/etc", "/etc/ssl"],
  );
  assert.deepEqual(
    crumbs("C:/Users").map(({ path }) => path),
    ["C:", "C:/Users"],
  );
});

test("entries of a folder are taken as far as they are entries", () => {
  const dir = [
    { n: "a", t: 3, s: 5, d: "2026-01-02T03:04:05Z" },
    { n: "b", t: 2 },
    { n: 7, t: 3 },
    { n: "c", t: 9 },
    null,
    "x",
    { n: "d", t: 3, s: -1, d: "never" },
  ];
  assert.deepEqual(entries(dir), [
    { name: "a", kind: "file", size: 5, changed: Date.UTC(2026, 0, 2, 3, 4, 5) },
    { name: "b", kind: "folder", size: 0, changed: 0 },
    { name: "d", kind: "file", size: 0, changed: 0 },
  ]);
  assert.equal(entries(null), null);
});

test("data that looks like something else is marked, blocks are recognised", () => {
  assert.deepEqual([...escape(Uint8Array.of(0x7b, 1))], [0, 0x7b, 1]);
  assert.deepEqual([...escape(Uint8Array.of(0))], [0, 0]);
  assert.deepEqual([...escape(Uint8Array.of(1))], [1]);
  assert.equal(block(Uint8Array.of(1, 0, 0).buffer), null);
  assert.equal(block(Uint8Array.of(2, 0, 0, 1).buffer), null);
  assert.equal(block(Uint8Array.of(1, 0, 0, 1).buffer)?.last, true);
});
