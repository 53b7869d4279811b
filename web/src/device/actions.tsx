// What can be done with devices, one or many of them, and how each of them took it.

import { signal } from "@preact/signals";
import { useState } from "preact/hooks";

import { client, me, store } from "../app/state.ts";
import { Failed } from "../control/client.ts";
import type { Device } from "../control/wire.ts";
import { count, plain } from "../model/format.ts";
import { hasAmt } from "../model/amt.ts";
import { effective, has, limited, Right } from "../model/rights.ts";
import { Button, Icon, Words } from "../parts/basic.tsx";
import { attempt, dialog, toast } from "../parts/dialog.tsx";
import { Menu } from "../parts/menu.tsx";
import { Form, Input, Segments, Select, TextArea } from "../parts/field.tsx";
import { groupsWith } from "../app/visible.ts";

export interface Action {
  id: string;
  words: string;
  icon: string;
  /** What is needed on the device. */
  right: number;
  danger?: boolean;
  /** Whether it makes sense for a device in this state. */
  fits?(device: Device): boolean;
  start(devices: Device[]): void;
}

const connected = (device: Device) => ((device.conn ?? 0) & 1) !== 0;
const POWER = { off: 2, restart: 3, sleep: 4 };

export const ACTIONS: Action[] = [
  {
    id: "wake",
    words: "Wake",
    icon: "wake",
    right: Right.wake,
    fits: (device) => !connected(device),
    start: (devices) => void onEach("Waking", devices, wake, Right.wake),
  },
  {
    id: "restart",
    words: "Restart",
    icon: "restart",
    right: Right.power,
    fits: connected,
    start: (devices) =>
      sure("Restart", devices, "Restarting", (device) => power(device, POWER.restart), Right.power),
  },
  {
    id: "sleep",
    words: "Sleep",
    icon: "sleep",
    right: Right.power,
    fits: connected,
    start: (devices) =>
      sure("Sleep", devices, "Putting to sleep", (device) => power(device, POWER.sleep), Right.power),
  },
  {
    id: "off",
    words: "Power off",
    icon: "power",
    right: Right.power,
    fits: connected,
    start: (devices) =>
      sure("Power off", devices, "Powering off", (device) => power(device, POWER.off), Right.power),
  },
  {
    id: "amt",
    words: "Intel AMT power…",
    icon: "board",
    right: Right.wake | Right.power,
    fits: (device) => hasAmt(device) && !limited(rightsOn(device), Right.noAmt),
    start: (devices) =>
      void attempt(async () => (await import("../amt/index.ts")).askPower(devices, { rightsOn, onEach })),
  },
  {
    id: "run",
    words: "Run command…",
    icon: "terminal",
    right: Right.runCommands,
    fits: connected,
    start: askCommand,
  },
  {
    id: "message",
    words: "Show message…",
    icon: "message",
    right: Right.chat,
    fits: connected,
    start: askMessage,
  },
  { id: "tags", words: "Tags…", icon: "tag", right: Right.manageDevices, start: askTags },
  { id: "move", words: "Move to group…", icon: "move", right: Right.manageDevices, start: askGroup },
  { id: "remove", words: "Remove…", icon: "trash", right: Right.uninstall, danger: true, start: askRemoval },
];

export function rightsOn(device: Device): number {
  const all = client.greeting.value?.server.manageAllDeviceGroups ?? false;
  return effective(me(), store.groups.get(device.meshid), device, all);
}

/** The actions that fit at least one of the devices. */
export function fitting(devices: Device[]): Action[] {
  return ACTIONS.filter((action) =>
    devices.some((device) => has(rightsOn(device), action.right) && (action.fits?.(device) ?? true)),
  );
}

async function power(device: Device, actiontype: number): Promise<string> {
  await client.ask("poweraction", { nodeids: [device._id], actiontype });
  return "Asked";
}

async function wake(device: Device): Promise<string> {
  const { result } = await client.ask("wakedevices", { nodeids: [device._id] }, { check: false });
  return typeof result === "string" && result.toLowerCase() !== "ok" ? result : "Sent";
}

type Step = (device: Device) => Promise<string>;

function names(devices: Device[]): string {
  return devices.length === 1 ? plain((devices[0] as Device).name) : count(devices.length, "device");
}

/** Asks first, then does it on each. */
function sure(verb: string, devices: Device[], doing: string, step: Step, right: number): void {
  void dialog<boolean>(`${verb} ${names(devices)}?`, (close) => (
    <Form
      action={verb}
      kind="danger"
      onCancel={() => close()}
      onSubmit={() => {
        close(true);
        void onEach(doing, devices, step, right);
      }}
    >
      <p class="muted">Whoever works there loses what is not saved.</p>
    </Form>
  ));
}

interface Outcome {
  state: "waiting" | "running" | "done" | "failed";
  words: string;
}

/** Devices worked on at a time. */
const AT_ONCE = 6;

/** Does one thing to each device and shows how each took it; one device needs no list. */
export async function onEach(title: string, devices: Device[], step: Step, right: number): Promise<void> {
  const outcomes = signal(
    new Map<string, Outcome>(devices.map(({ _id }) => [_id, { state: "waiting", words: "" }])),
  );
  const set = (device: Device, outcome: Outcome) => {
    outcomes.value = new Map(outcomes.value).set(device._id, outcome);
  };
  const one = async (device: Device) => {
    if (!has(rightsOn(device), right)) return set(device, { state: "failed", words: "You lack the right." });
    set(device, { state: "running", words: "" });
    try {
      set(device, { state: "done", words: await step(device) });
    } catch (error) {
      const words = error instanceof Failed || error instanceof Error ? error.message : String(error);
      set(device, { state: "failed", words });
    }
  };
  const queue = [...devices];
  const work = async () => {
    for (let device = queue.shift(); device; device = queue.shift()) await one(device);
  };
  const all = Promise.all(Array.from({ length: Math.min(AT_ONCE, devices.length) }, work));
  const [only] = devices;
  if (devices.length === 1 && only && right !== Right.runCommands) {
    await all;
    const outcome = outcomes.value.get(only._id);
    toast(`${plain(only.name)}: ${outcome?.words}`);
    return;
  }
  void dialog(title, () => <Outcomes devices={devices} outcomes={outcomes} />, { wide: true });
  await all;
}

function Outcomes(props: { devices: Device[]; outcomes: { value: Map<string, Outcome> } }) {
  const outcomes = props.outcomes.value;
  const number = (state: Outcome["state"]) =>
    [...outcomes.values()].filter((outcome) => outcome.state === state).length;
  const left = number("waiting") + number("running");
  return (
    <div class="stack">
      <p role="status" class="muted">
        {left > 0 ? `${count(left, "device")} to go` : `Done on ${count(number("done"), "device")}`}
        {number("failed") > 0 && `, failed on ${number("failed")}`}
      </p>
      <ul class="outcomes">
        {props.devices.map((device) => {
          const { state, words } = outcomes.get(device._id) as Outcome;
          const output = words.includes("\n") || words.length > 32;
          return (
            <li key={device._id}>
              {state === "running" || state === "waiting" ? (
                <span class="spinner faint" />
              ) : (
                <span class={state === "done" ? "ok" : "bad"}>
                  <Icon name={state === "done" ? "check" : "close"} label={state} />
                </span>
              )}
              <div class="grow">
                <div class="row between">
                  <Words text={device.name} class="ellipsis" />
                  {!output && <span class="small muted">{plain(words)}</span>}
                </div>
                {output && <pre class="small muted">{words}</pre>}
              </div>
            </li>
          );
        })}
      </ul>
    </div>
  );
}

function askCommand(devices: Device[]): void {
  void dialog(`Run a command on ${names(devices)}`, (close) => <Command devices={devices} close={close} />);
}

type Shell = "0" | "1" | "2" | "3";
type RunAs = "0" | "1" | "2";

function Command({ devices, close }: { devices: Device[]; close(): void }) {
  const [text, setText] = useState("");
  const [shell, setShell] = useState<Shell>("0");
  const [who, setWho] = useState<RunAs>("0");
  const step: Step = async (device) => {
    const body = {
      nodeids: [device._id],
      type: Number(shell),
      cmds: text,
      runAsUser: Number(who),
      reply: true,
    };
    const frame = await client.ask("runcommands", body, { check: false, timeout: 120_000, bare: false });
    const result = typeof frame.result === "string" ? frame.result : "";
    if (frame.action === "msg" || /^ok$/i.test(result)) return result.trimEnd() || "No output";
    throw new Error(result);
  };
  return (
    <Form
      action="Run"
      disabled={text.trim() === ""}
      onCancel={close}
      onSubmit={() => {
        close();
        void onEach("Output", devices, step, Right.runCommands);
      }}
    >
      <TextArea label="Command" class="mono" value={text} onValue={setText} rows={5} maxLength={65_000} />
      <div class="row wrap">
        <div class="grow">
          <Select
            label="With"
            value={shell}
            onValue={setShell}
            options={[
              ["0", "What is usual there"],
              ["1", "Windows command prompt"],
              ["2", "PowerShell"],
              ["3", "Shell"],
            ]}
          />
        </div>
        <div class="grow">
          <Select
            label="As"
            value={who}
            onValue={setWho}
            options={[
              ["0", "The agent"],
              ["1", "The user there, else the agent"],
              ["2", "The user there"],
            ]}
          />
        </div>
      </div>
    </Form>
  );
}

function askMessage(devices: Device[]): void {
  void dialog(`Show a message on ${names(devices)}`, (close) => <Message devices={devices} close={close} />);
}

function Message({ devices, close }: { devices: Device[]; close(): void }) {
  const [kind, setKind] = useState<"toast" | "box">("toast");
  const [title, setTitle] = useState("");
  const [text, setText] = useState("");
  const step: Step = async (device) => {
    const heading = title.trim() || "Message";
    if (kind === "toast") await client.ask("toast", { nodeids: [device._id], title: heading, msg: text });
    else
      await client.ask(
        "msg",
        { type: "messagebox", nodeid: device._id, title: heading, msg: text },
        { bare: false },
      );
    return "Shown";
  };
  return (
    <Form
      action="Show"
      disabled={text.trim() === ""}
      onCancel={close}
      onSubmit={() => {
        close();
        void onEach("Message", devices, step, Right.chat);
      }}
    >
      <Segments
        label="Kind"
        value={kind}
        onValue={setKind}
        options={[
          { value: "toast", words: "Notification" },
          { value: "box", words: "Message box" },
        ]}
      />
      <Input label="Title" value={title} onValue={setTitle} maxLength={512} placeholder="Message" />
      <TextArea label="Text" value={text} onValue={setText} maxLength={4000} />
    </Form>
  );
}

function askTags(devices: Device[]): void {
  void dialog(`Tags of ${names(devices)}`, (close) => <Tags devices={devices} close={close} />);
}

export function splitTags(text: string): string[] {
  const tags = text
    .split(",")
    .map((tag) => tag.trim())
    .filter(Boolean);
  return [...new Set(tags)];
}

function Tags({ devices, close }: { devices: Device[]; close(): void }) {
  const [only] = devices.length === 1 ? devices : [];
  const [text, setText] = useState(only?.tags?.join(", ") ?? "");
  const [way, setWay] = useState<"add" | "remove" | "replace">(only ? "replace" : "add");
  const step: Step = async (device) => {
    const asked = splitTags(text);
    const now = device.tags ?? [];
    const tags = {
      add: [...new Set([...now, ...asked])],
      remove: now.filter((tag) => !asked.includes(tag)),
      replace: asked,
    }[way];
    await client.ask("changedevice", { nodeid: device._id, tags: tags.length > 0 ? tags : "" });
    return tags.length > 0 ? tags.join(", ") : "No tags";
  };
  return (
    <Form
      action="Save"
      disabled={way !== "replace" && splitTags(text).length === 0}
      onCancel={close}
      onSubmit={() => {
        close();
        void onEach("Tags", devices, step, Right.manageDevices);
      }}
    >
      {!only && (
        <Segments
          label="What to do"
          value={way}
          onValue={setWay}
          options={[
            { value: "add", words: "Add" },
            { value: "remove", words: "Remove" },
            { value: "replace", words: "Replace all" },
          ]}
        />
      )}
      <Input label="Tags" hint="Separated by commas" value={text} onValue={setText} autoFocus />
    </Form>
  );
}

function askGroup(devices: Device[]): void {
  void dialog(`Move ${names(devices)}`, (close) => <Move devices={devices} close={close} />);
}

function Move({ devices, close }: { devices: Device[]; close(): void }) {
  const groups = groupsWith(Right.manageDevices);
  const [target, setTarget] = useState(groups[0]?._id ?? "");
  const step: Step = async (device) => {
    await client.ask("changeDeviceMesh", { nodeids: [device._id], meshid: target });
    return plain(store.groups.get(target)?.name ?? "");
  };
  return (
    <Form
      action="Move"
      disabled={target === ""}
      onCancel={close}
      onSubmit={() => {
        close();
        void onEach("Moving", devices, step, Right.manageDevices);
      }}
    >
      <Select
        label="To the group"
        value={target}
        onValue={setTarget}
        options={groups.map((group): [string, string] => [group._id, plain(group.name)])}
      />
      <p class="small muted">Who may do what with a device follows from its group.</p>
    </Form>
  );
}

function askRemoval(devices: Device[]): void {
  void dialog(`Remove ${names(devices)}?`, (close) => <Removal devices={devices} close={close} />);
}

function Removal({ devices, close }: { devices: Device[]; close(): void }) {
  const [way, setWay] = useState<"uninstall" | "forget">("uninstall");
  const online = devices.filter(connected).length;
  const step: Step = async (device) => {
    if (way === "uninstall" && connected(device)) client.tell("uninstallagent", { nodeids: [device._id] });
    await client.ask("removedevices", { nodeids: [device._id] });
    return "Removed";
  };
  return (
    <Form
      action="Remove"
      kind="danger"
      onCancel={close}
      onSubmit={() => {
        close();
        void onEach("Removing", devices, step, Right.uninstall);
      }}
    >
      <Segments
        label="How"
        value={way}
        onValue={setWay}
        options={[
          { value: "uninstall", words: "Uninstall the agent" },
          { value: "forget", words: "Only forget here" },
        ]}
      />
      <p class="muted">
        {way === "uninstall"
          ? online < devices.length
            ? `The agents of ${count(online, "connected device")} are uninstalled; the others are forgotten and come back if they connect again.`
            : "The agent is uninstalled, then the device is removed with its notes and history."
          : "A device whose agent stays comes back, as a new one, when it connects again."}
      </p>
    </Form>
  );
}

/** The device's own menu. */
export function deviceMenu(device: Device) {
  return fitting([device]).map((action) => ({
    words: action.words,
    icon: action.icon,
    danger: action.danger ?? false,
    run: () => action.start([device]),
  }));
}

/** The bar below a list in which devices are selected. */
export function Bulk({ devices, onClear }: { devices: Device[]; onClear(): void }) {
  const actions = fitting(devices);
  const direct = actions.filter(({ id }) => ["wake", "restart", "run", "message"].includes(id));
  return (
    <div class="bulk" role="toolbar" aria-label="Selected devices">
      <strong>{devices.length}</strong>
      <span class="words muted">selected</span>
      {direct.map((action) => (
        <Button
          key={action.id}
          kind="plain"
          icon={action.icon}
          label={action.words.replace("…", "")}
          onClick={() => action.start(devices)}
        />
      ))}
      <BulkMore actions={actions.filter((action) => !direct.includes(action))} devices={devices} />
      <Button kind="plain" icon="close" label="Clear the selection" onClick={onClear} />
    </div>
  );
}

function BulkMore({ actions, devices }: { actions: Action[]; devices: Device[] }) {
  const items = actions.map((action) => ({
    words: action.words,
    icon: action.icon,
    danger: action.danger ?? false,
    run: () => action.start(devices),
  }));
  return <Menu label="More" kind="plain" up items={items} />;
}
