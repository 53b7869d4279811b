// The device groups: what belongs together, and who may do what with it.

import { useState } from "preact/hooks";

import { go, to } from "../app/router.ts";
import { client, Feature, feature, me, store } from "../app/state.ts";
import { groupRights, sortedGroups } from "../app/visible.ts";
import { short } from "../control/wire.ts";
import { count, state } from "../model/format.ts";
import { Site, siteHas, summary } from "../model/rights.ts";
import { Badge, Button, Card, Empty, Icon, Waiting, Words } from "../parts/basic.tsx";
import { dialog } from "../parts/dialog.tsx";
import { Form, Input, Select } from "../parts/field.tsx";

export const KINDS: Record<number, string> = { 1: "Intel AMT", 2: "Agents", 3: "Local devices", 4: "IP-KVM" };

export default function Groups() {
  const groups = sortedGroups();
  const counts = new Map<string, { all: number; online: number }>();
  for (const device of store.devices.values()) {
    const of = counts.get(device.meshid) ?? { all: 0, online: 0 };
    counts.set(device.meshid, { all: of.all + 1, online: of.online + Number(state(device) === "on") });
  }
  const restricted = (me().siteadmin ?? 0) >>> 0 !== 0xffffffff && siteHas(me(), Site.noNewGroups);
  const add = () => dialog("New group", (close) => <New close={close} />);
  return (
    <div class="page">
      <div class="page-head">
        <h1 class="grow">Groups</h1>
        {!restricted && (
          <Button kind="primary" icon="plus" onClick={add}>
            New group
          </Button>
        )}
      </div>
      {!store.loaded.value ? (
        <Waiting />
      ) : groups.length === 0 ? (
        <Empty icon="groups" title="No groups yet">
          <p>Every device belongs to a group. A group says who may do what with its devices.</p>
          {!restricted && (
            <Button kind="primary" icon="plus" onClick={add}>
              Make the first group
            </Button>
          )}
        </Empty>
      ) : (
        <Card flush>
          <ul class="items">
            {groups.map((group) => {
              const { all, online } = counts.get(group._id) ?? { all: 0, online: 0 };
              return (
                <li key={group._id}>
                  <span class="muted">
                    <Icon name="groups" />
                  </span>
                  <a class="what item" href={to("group", short(group._id))}>
                    <strong class="ellipsis">
                      <Words text={group.name} />
                    </strong>
                    <span class="small muted ellipsis" style={{ display: "block" }}>
                      <Words text={group.desc || summary(groupRights(group))} />
                    </span>
                  </a>
                  {group.mtype !== 2 && <Badge>{KINDS[group.mtype] ?? "Other"}</Badge>}
                  <span class="small muted">
                    {all === 0 ? "empty" : `${online} of ${count(all, "device")}`}
                  </span>
                  <Icon name="right" />
                </li>
              );
            })}
          </ul>
        </Card>
      )}
    </div>
  );
}

type Kind = "2" | "1" | "3";

function New({ close }: { close(): void }) {
  const [name, setName] = useState("");
  const [desc, setDesc] = useState("");
  const [kind, setKind] = useState<Kind>("2");
  const kinds: [Kind, string][] = [["2", "Devices with an agent"]];
  if (client.greeting.value?.server.mpsport || !feature(Feature.wanOnly))
    kinds.push(["1", "Intel AMT without an agent"]);
  if (!feature(Feature.wanOnly)) kinds.push(["3", "Local devices without an agent"]);
  return (
    <Form
      action="Make the group"
      disabled={name.trim() === ""}
      onCancel={close}
      onSubmit={async () => {
        const frame = await client.ask("createmesh", {
          meshname: name.trim(),
          meshtype: Number(kind),
          desc: desc.trim(),
        });
        close();
        const id = frame["meshid"];
        if (typeof id === "string") go("group", short(id));
      }}
    >
      <Input label="Name" value={name} onValue={setName} maxLength={128} autoFocus />
      <Input label="Description" value={desc} onValue={setDesc} maxLength={1024} placeholder="Optional" />
      {kinds.length > 1 && <Select label="Kind" value={kind} onValue={setKind} options={kinds} />}
    </Form>
  );
}
