// What the device is and how it is kept here.

import { useState } from "preact/hooks";

import type { DeviceTabProps } from "../../app/registry.ts";
import { to } from "../../app/router.ts";
import { client, me, store } from "../../app/state.ts";
import { short, type Device } from "../../control/wire.ts";
import { dateTime, plain } from "../../model/format.ts";
import { CONSENT, has, Right, RIGHTS, summary } from "../../model/rights.ts";
import { Ago, Badge, Button, Card, Facts, Words } from "../../parts/basic.tsx";
import { confirm, dialog } from "../../parts/dialog.tsx";
import { Bits, Form, Input, Select, TextArea } from "../../parts/field.tsx";
import { splitTags } from "../actions.tsx";

export default function General({ device, rights }: DeviceTabProps) {
  return (
    <div class="cards">
      <About device={device} rights={rights} />
      <Agent device={device} />
      <Safety device={device} />
      <People device={device} rights={rights} />
    </div>
  );
}

function About({ device, rights }: DeviceTabProps) {
  const group = store.groups.get(device.meshid);
  const editable = has(rights, Right.manageDevices);
  const tools = editable && (
    <Button
      kind="plain"
      small
      icon="edit"
      label="Edit"
      onClick={() => dialog("Edit the device", (close) => <Edit device={device} close={close} />)}
    />
  );
  return (
    <Card title="Device" tools={tools}>
      <Facts
        facts={[
          ["Host name", device.rname],
          group && [
            "Group",
            <a href={to("group", short(group._id))}>
              <Words text={group.name} />
            </a>,
          ],
          ["Description", device.desc],
          ["Tags", device.tags?.length ? <Tags tags={device.tags} /> : null],
          ["Address", device.ip ?? device.host ?? ""],
          ["System", device.osdesc],
          ["Users", device.users?.join(", ") ?? ""],
          ["Started", device.lastbootuptime ? <Ago time={device.lastbootuptime} /> : null],
          ["First seen", dateTime(device.firstconnect)],
          ["Last seen", device.conn ? "now" : <Ago time={store.lastSeen.get(device._id)} />],
          ["Asks there", consentWords(device, group?.consent ?? 0)],
        ]}
      />
    </Card>
  );
}

function Tags({ tags }: { tags: string[] }) {
  return (
    <span class="row wrap">
      {tags.map((tag) => (
        <Badge key={tag}>
          <Words text={tag} class="ellipsis" />
        </Badge>
      ))}
    </span>
  );
}

function consentWords(device: Device, ofGroup: number): string {
  const bits = (device.consent ?? 0) | ofGroup;
  return CONSENT.filter(({ bit }) => bits & bit)
    .map(({ words }) => words.toLowerCase())
    .join(", ");
}

const PICTURES: [string, string][] = [
  ["1", "Desktop"],
  ["2", "Laptop"],
  ["3", "Phone"],
  ["4", "Server"],
  ["5", "Storage"],
  ["6", "Router"],
  ["7", "Small board"],
  ["8", "Virtual machine"],
];

function Edit({ device, close }: { device: Device; close(): void }) {
  const [name, setName] = useState(device.name);
  const [desc, setDesc] = useState(device.desc ?? "");
  const [tags, setTags] = useState(device.tags?.join(", ") ?? "");
  const [icon, setIcon] = useState(String(device.icon ?? 1));
  const [consent, setConsent] = useState(device.consent ?? 0);
  return (
    <Form
      action="Save"
      disabled={name.trim() === ""}
      onCancel={close}
      onSubmit={async () => {
        const list = splitTags(tags);
        await client.ask("changedevice", {
          nodeid: device._id,
          name: name.trim(),
          desc,
          icon: Number(icon),
          consent,
          tags: list.length > 0 ? list : "",
        });
        close();
      }}
    >
      <Input label="Name" value={name} onValue={setName} autoFocus />
      <TextArea label="Description" value={desc} onValue={setDesc} rows={3} />
      <Input label="Tags" hint="Separated by commas" value={tags} onValue={setTags} />
      <Select label="Picture" value={icon} onValue={setIcon} options={PICTURES} />
      <fieldset class="stack tight">
        <legend class="small muted">With the person at the device</legend>
        <Bits bits={CONSENT} value={consent} onValue={setConsent} />
      </fieldset>
    </Form>
  );
}

function Agent({ device }: { device: Device }) {
  const { agent, intelamt } = device;
  if (!agent && !intelamt) return null;
  return (
    <Card title="Agent">
      <Facts
        facts={[
          ["Kind", agent?.id ? (KINDS[agent.id] ?? `Number ${agent.id}`) : ""],
          ["Core", agent?.core],
          agent?.root !== undefined && ["Runs as", agent.root ? "administrator" : "a plain user"],
          ["Can", capabilities(agent?.caps ?? 0)],
          ["Connected", device.agct && device.conn ? <Ago time={device.agct} /> : null],
          intelamt?.ver !== undefined && [
            "Intel AMT",
            `Version ${intelamt.ver}${intelamt.state === 2 ? ", activated" : ""}`,
          ],
          ["Id", <code class="small">{short(device._id)}</code>],
        ]}
      />
    </Card>
  );
}

const KINDS: Record<number, string> = {
  3: "Windows, 32 bits",
  4: "Windows, 64 bits",
  5: "Linux, x86",
  6: "Linux, x86-64",
  9: "Linux, ARM",
  13: "Linux, Raspberry Pi (ARMv6)",
  14: "Android",
  16: "macOS, Intel",
  25: "Linux, ARM hard float",
  26: "Linux, ARM64",
  29: "macOS, Apple silicon",
  30: "FreeBSD, x86-64",
  32: "Linux, ARM64",
  43: "Windows, ARM64",
  10005: "macOS, universal",
};

function capabilities(bits: number): string {
  const names: [number, string][] = [
    [1, "desktop"],
    [2, "terminal"],
    [4, "files"],
    [8, "console"],
  ];
  const can = names.filter(([bit]) => bits & bit).map(([, name]) => name);
  if (bits & 32) can.push("temporary");
  return can.join(", ");
}

/** What Windows says of its protection. */
function Safety({ device }: { device: Device }) {
  const { av, defender, wsc } = device;
  if (!av?.length && !defender && !wsc) return null;
  const state = (good: boolean, words: string) => <Badge kind={good ? "ok" : "warn"}>{plain(words)}</Badge>;
  return (
    <Card title="Protection">
      <Facts
        facts={[
          ...(av ?? []).map((product): [string, preact.ComponentChildren] => [
            "Antivirus",
            <span class="row wrap">
              <Words text={product.product} />
              {state(product.enabled === true, product.enabled ? "on" : "off")}
              {state(product.updated === true, product.updated ? "up to date" : "outdated")}
            </span>,
          ]),
          defender?.RealTimeProtection !== undefined && [
            "Defender",
            state(defender.RealTimeProtection, defender.RealTimeProtection ? "real-time" : "off"),
          ],
          wsc?.firewall !== undefined && ["Firewall", state(wsc.firewall === "OK", wsc.firewall)],
          wsc?.autoUpdate !== undefined && ["Updates", state(wsc.autoUpdate === "OK", wsc.autoUpdate)],
        ]}
      />
    </Card>
  );
}

/** Who has rights on this device itself, beside those of its group. */
function People({ device, rights }: DeviceTabProps) {
  const holders = Object.entries(device.links ?? {});
  const managed = has(rights, Right.manageUsers);
  if (holders.length === 0 && !managed) return null;
  const remove = (id: string) =>
    confirm(
      "Take the rights away?",
      <p>{plain(short(id))} keeps what the device's group gives.</p>,
      "Take away",
      () => client.ask("adddeviceuser", { nodeid: device._id, userids: [id], rights: 0, remove: true }),
    );
  const add = () => dialog("Share with an account", (close) => <AddUser device={device} close={close} />);
  return (
    <Card
      title="Only for this device"
      flush={holders.length > 0}
      tools={managed && <Button kind="plain" small icon="plus" label="Add somebody" onClick={add} />}
    >
      {holders.length === 0 ? (
        <p class="muted">Nobody has rights beyond those of the group.</p>
      ) : (
        <ul class="items">
          {holders.map(([id, link]) => (
            <li key={id}>
              <div class="what">
                <strong class="ellipsis">
                  <Words text={store.userGroups.get(id)?.name ?? short(id)} />
                </strong>
                <span class="small muted">{summary(link.rights)}</span>
              </div>
              {managed && id !== me()._id && (
                <Button
                  kind="plain"
                  small
                  icon="close"
                  label={`Remove ${plain(short(id))}`}
                  onClick={() => void remove(id)}
                />
              )}
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

function AddUser({ device, close }: { device: Device; close(): void }) {
  const [name, setName] = useState("");
  const [bits, setBits] = useState<number>(
    Right.remoteControl | Right.chat | Right.wake | Right.power | Right.details,
  );
  const grantable = RIGHTS.map((part) => ({ ...part, rights: part.rights.filter(({ bit }) => bit > 4) }));
  return (
    <Form
      action="Share"
      disabled={name.trim() === ""}
      onCancel={close}
      onSubmit={async () => {
        await client.ask("adddeviceuser", { nodeid: device._id, usernames: [name.trim()], rights: bits });
        close();
      }}
    >
      <Input label="User name" value={name} onValue={setName} autoFocus />
      {grantable.map(({ title, rights }) => (
        <fieldset key={title} class="stack tight">
          <legend class="small muted">{title}</legend>
          <Bits bits={rights} value={bits} onValue={setBits} />
        </fieldset>
      ))}
    </Form>
  );
}
