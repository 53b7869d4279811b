// What the group is for, and when one wants to hear of it.

import { useState } from "preact/hooks";

import type { GroupSectionProps } from "../app/registry.ts";
import { client, me } from "../app/state.ts";
import type { Group } from "../control/wire.ts";
import { dateTime } from "../model/format.ts";
import { has, Right } from "../model/rights.ts";
import { Button, Card, Facts } from "../parts/basic.tsx";
import { dialog } from "../parts/dialog.tsx";
import { Bits, Form, Input, TextArea } from "../parts/field.tsx";
import { KINDS } from "../pages/groups.tsx";

const NOTIFY = [
  { bit: 2, words: "Device connects" },
  { bit: 4, words: "Device disconnects" },
  { bit: 8, words: "Somebody uses a desktop" },
];

export default function About({ group, rights }: GroupSectionProps) {
  const notify = me().links?.[group._id]?.notify ?? 0;
  const edit = () => dialog("Edit the group", (close) => <Edit group={group} close={close} />);
  return (
    <Card
      title="Group"
      tools={
        has(rights, Right.editGroup) && <Button kind="plain" small icon="edit" label="Edit" onClick={edit} />
      }
    >
      <div class="stack">
        <Facts
          facts={[
            ["Description", group.desc],
            ["For", KINDS[group.mtype]],
            ["Made", dateTime(group.creation)],
            ["By", group.creatorname],
          ]}
        />
        {me().links?.[group._id] && (
          <fieldset class="stack tight">
            <legend class="small muted">Tell me when</legend>
            <Bits
              bits={NOTIFY}
              value={notify}
              onValue={(bits) => client.tell("changemeshnotify", { meshid: group._id, notify: bits })}
            />
          </fieldset>
        )}
      </div>
    </Card>
  );
}

function Edit({ group, close }: { group: Group; close(): void }) {
  const [name, setName] = useState(group.name);
  const [desc, setDesc] = useState(group.desc ?? "");
  return (
    <Form
      action="Save"
      disabled={name.trim() === ""}
      onCancel={close}
      onSubmit={async () => {
        await client.ask("editmesh", { meshid: group._id, meshname: name.trim(), desc });
        close();
      }}
    >
      <Input label="Name" value={name} onValue={setName} maxLength={128} autoFocus />
      <TextArea label="Description" value={desc} onValue={setDesc} maxLength={1024} />
    </Form>
  );
}
