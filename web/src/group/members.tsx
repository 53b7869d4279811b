// Who may do what with the devices of the group, in words.

import { useState } from "preact/hooks";

import type { GroupSectionProps } from "../app/registry.ts";
import { client, me, store } from "../app/state.ts";
import { short, type Group } from "../control/wire.ts";
import { plain } from "../model/format.ts";
import { FULL, has, LIMITS, Right, RIGHTS, summary } from "../model/rights.ts";
import { Avatar, Badge, Button, Card, Icon, Words } from "../parts/basic.tsx";
import { confirm, dialog } from "../parts/dialog.tsx";
import { Bits, Form, Input, Segments, Select } from "../parts/field.tsx";

export default function Members({ group, rights }: GroupSectionProps) {
  const managed = has(rights, Right.manageUsers);
  const holders = Object.entries(group.links ?? {}).sort(
    ([, a], [, b]) => (b.rights >>> 0) - (a.rights >>> 0),
  );
  const edit = (id?: string) =>
    dialog(
      id ? nameOf(id, group) : "Add somebody",
      (close) => <Member group={group} id={id} mine={rights} close={close} />,
      { wide: true },
    );
  const remove = (id: string) =>
    confirm("Take the rights away?", <p>{nameOf(id, group)} no longer sees this group.</p>, "Take away", () =>
      client.ask("removemeshuser", { meshid: group._id, userid: id }),
    );
  return (
    <Card
      title="Who may do what"
      flush
      tools={
        managed && (
          <Button small icon="plus" onClick={() => edit()}>
            Add
          </Button>
        )
      }
    >
      <ul class="items">
        {holders.map(([id, link]) => {
          const mine = id === me()._id;
          return (
            <li key={id}>
              {id.startsWith("ugrp/") ? <Icon name="users" /> : <Avatar name={nameOf(id, group)} />}
              <div class="what">
                <strong class="ellipsis">
                  <Words text={nameOf(id, group)} /> {mine && <Badge>you</Badge>}
                </strong>
                <span class="small muted">{summary(link.rights)}</span>
              </div>
              {managed && !mine && (
                <>
                  <Button
                    kind="plain"
                    small
                    icon="edit"
                    label={`Rights of ${nameOf(id, group)}`}
                    onClick={() => edit(id)}
                  />
                  <Button
                    kind="plain"
                    small
                    icon="close"
                    label={`Remove ${nameOf(id, group)}`}
                    onClick={() => void remove(id)}
                  />
                </>
              )}
            </li>
          );
        })}
      </ul>
    </Card>
  );
}

function nameOf(id: string, group: Group): string {
  return plain(
    store.userGroups.get(id)?.name ?? store.users.get(id)?.name ?? group.links?.[id]?.name ?? short(id),
  );
}

type Preset = "use" | "operate" | "all" | "own";

const USE = Right.remoteControl | Right.chat | Right.notes | Right.details;
const OPERATE =
  USE | Right.wake | Right.power | Right.runCommands | Right.agentConsole | Right.manageDevices | Right.relay;
const PRESETS: Record<Exclude<Preset, "own">, number> = { use: USE, operate: OPERATE, all: FULL };

function presetOf(rights: number): Preset {
  const found = (Object.entries(PRESETS) as [Preset, number][]).find(
    ([, bits]) => bits >>> 0 === rights >>> 0,
  );
  return found?.[0] ?? "own";
}

function Member(props: { group: Group; id: string | undefined; mine: number; close(): void }) {
  const { group, id, mine, close } = props;
  const before = id ? (group.links?.[id]?.rights ?? 0) : USE;
  const [who, setWho] = useState("");
  const [preset, setPreset] = useState<Preset>(presetOf(before));
  const [bits, setBits] = useState(before >>> 0 === FULL ? OPERATE : before);
  const rights = preset === "own" ? bits : PRESETS[preset];
  const users = [...store.users.values()].filter(({ _id }) => !group.links?.[_id]);
  const userGroups = [...store.userGroups.values()].filter(({ _id }) => !group.links?.[_id]);
  const save = async () => {
    const target = id ?? who;
    const named = target.includes("/") ? { userids: [target] } : { usernames: [target.trim()] };
    const frame = await client.ask(
      "addmeshuser",
      { meshid: group._id, ...named, meshadmin: rights },
      { check: false },
    );
    const failed = frame["failed"];
    if (failed === undefined ? !/^(ok|added)/i.test(String(frame.result)) : Number(failed) > 0)
      throw new Error(String(frame.result));
    close();
  };
  return (
    <Form action={id ? "Save" : "Add"} disabled={!id && who.trim() === ""} onCancel={close} onSubmit={save}>
      {!id &&
        (users.length + userGroups.length > 0 ? (
          <Select
            label="Who"
            value={who}
            onValue={setWho}
            options={[
              ["", "Choose …"],
              ...userGroups.map((group): [string, string] => [
                group._id,
                `${plain(group.name)} (user group)`,
              ]),
              ...users.map((user): [string, string] => [user._id, plain(user.name)]),
            ]}
          />
        ) : (
          <Input label="User name" value={who} onValue={setWho} autoFocus />
        ))}
      <Segments
        label="Rights"
        value={preset}
        onValue={(next) => {
          if (next === "own" && preset !== "own" && preset !== "all") setBits(PRESETS[preset]);
          setPreset(next);
        }}
        options={[
          { value: "use", words: "Use" },
          { value: "operate", words: "Operate" },
          ...(mine >>> 0 === FULL ? [{ value: "all" as const, words: "Everything" }] : []),
          { value: "own", words: "Choose" },
        ]}
      />
      <p class="small muted">{PRESET_WORDS[preset]}</p>
      {preset === "own" && (
        <>
          {RIGHTS.map((part) => (
            <fieldset key={part.title} class="stack tight">
              <legend class="small muted">{part.title}</legend>
              <Bits bits={part.rights} value={bits} onValue={setBits} />
            </fieldset>
          ))}
          <fieldset class="stack tight">
            <legend class="small muted">Limits</legend>
            <Bits bits={LIMITS} value={bits} onValue={setBits} />
          </fieldset>
        </>
      )}
    </Form>
  );
}

const PRESET_WORDS: Record<Preset, string> = {
  use: "Desktop, terminal and files, chat, notes, and a look at hardware and network.",
  operate: "All that, and wake, restart, power off, run commands, the agent's console, add and edit devices.",
  all: "Everything, with the members and the deletion of the group. Limits do not count.",
  own: "Pick each right.",
};
