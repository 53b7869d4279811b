// The agent's own console: words go to it, its words come back.

import { useEffect, useRef, useState } from "preact/hooks";

import type { DeviceTabProps } from "../../app/registry.ts";
import { useFrames } from "../../app/hooks.ts";
import { client } from "../../app/state.ts";
import { Button, Icon, Notice } from "../../parts/basic.tsx";
import { Menu } from "../../parts/menu.tsx";

interface Line {
  mine: boolean;
  text: string;
}

/** Lines kept; a chatty agent must not fill the browser. */
const KEPT = 1000;
/** Longest text of one line. */
const LONGEST = 64 * 1024;

/** What was said, as long as the page lives: changing the tab loses nothing. */
const said = new Map<string, Line[]>();
const typed: string[] = [];

export default function Console({ device }: DeviceTabProps) {
  const [, changed] = useState(0);
  const [text, setText] = useState("");
  const [back, setBack] = useState(0);
  const out = useRef<HTMLDivElement>(null);
  const lines = said.get(device._id) ?? [];
  const online = ((device.conn ?? 0) & 1) !== 0;

  const add = (line: Line) => {
    said.set(device._id, [...(said.get(device._id) ?? []), line].slice(-KEPT));
    changed((n) => n + 1);
  };
  useFrames(
    "msg",
    (frame) => {
      if (frame["type"] !== "console" || frame["nodeid"] !== device._id) return;
      const value = frame["value"];
      add({
        mine: false,
        text: (typeof value === "string" ? value : JSON.stringify(value)).slice(0, LONGEST),
      });
    },
    [device._id],
  );
  useEffect(() => {
    out.current?.scrollTo(0, out.current.scrollHeight);
  }, [lines.length]);

  const say = async (value: string) => {
    if (value.trim() === "") return;
    if (typed.at(-1) !== value) typed.push(value);
    setText("");
    setBack(0);
    add({ mine: true, text: value });
    try {
      await client.ask("msg", { type: "console", nodeid: device._id, value }, { bare: false });
    } catch (error) {
      add({ mine: false, text: error instanceof Error ? error.message : String(error) });
    }
  };
  const recall = (step: number) => {
    const next = Math.max(0, Math.min(typed.length, back + step));
    setBack(next);
    setText(next === 0 ? "" : (typed[typed.length - next] ?? ""));
  };
  return (
    <div class="stack">
      {!online && <Notice kind="warn">The agent is offline. Its console answers when it is back.</Notice>}
      <div class="console">
        <div class="out" ref={out} role="log" aria-label="Console" tabIndex={0}>
          {lines.length === 0 && <span class="faint">Type “help” for what the agent understands.</span>}
          {lines.map((line, n) => (
            <div key={n} class={line.mine ? "mine" : undefined}>
              {line.mine ? `› ${line.text}` : line.text}
            </div>
          ))}
        </div>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void say(text);
          }}
        >
          <Icon name="right" />
          <input
            class="input"
            aria-label="Command for the agent"
            autocomplete="off"
            autocapitalize="off"
            spellcheck={false}
            value={text}
            disabled={!online}
            onInput={(event) => setText(event.currentTarget.value)}
            onKeyDown={(event) => {
              const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
              if (step === undefined) return;
              event.preventDefault();
              recall(step);
            }}
          />
          <Button type="submit" small disabled={!online || text === ""}>
            Send
          </Button>
          <Menu
            label="Console"
            kind="plain"
            small
            up
            items={[
              { words: "Clear", icon: "trash", run: () => (said.delete(device._id), changed((n) => n + 1)) },
              "line",
              { words: "Load the default core", icon: "restart", run: () => core(device._id, "default") },
              { words: "Load the recovery core", icon: "shield", run: () => core(device._id, "recovery") },
              { words: "Clear the core", icon: "close", run: () => core(device._id, "clear") },
              "line",
              {
                words: "Disconnect the agent",
                icon: "power",
                danger: true,
                run: () => client.tell("agentdisconnect", { nodeid: device._id, disconnectMode: 1 }),
              },
            ]}
          />
        </form>
      </div>
    </div>
  );
}

function core(nodeid: string, type: string): void {
  client.tell("uploadagentcore", { nodeids: [nodeid], type });
}
