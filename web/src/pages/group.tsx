// One device group: its cards.

import { useEffect } from "preact/hooks";

import type { PageProps } from "../app/registry.ts";
import { go, to } from "../app/router.ts";
import { client, domain, store } from "../app/state.ts";
import { groupRights } from "../app/visible.ts";
import { full, short, type Group } from "../control/wire.ts";
import { groupSections } from "../group/index.ts";
import { count, plain } from "../model/format.ts";
import { FULL, has, Right, summary } from "../model/rights.ts";
import { Button, Empty, Icon, Waiting, Words } from "../parts/basic.tsx";
import { confirm, prompt } from "../parts/dialog.tsx";
import { Fence } from "../parts/lazy.tsx";
import { Menu } from "../parts/menu.tsx";

export default function GroupPage({ rest: [key = ""] }: PageProps) {
  const group = store.groups.get(full("mesh", domain(), key));
  useEffect(() => {
    if (group) document.title = plain(group.name);
  }, [group?.name]);
  if (!group) {
    return (
      <div class="page">
        {store.loaded.value ? (
          <Empty icon="groups" title="This group is not here">
            <Button onClick={() => go("groups")}>To the groups</Button>
          </Empty>
        ) : (
          <Waiting />
        )}
      </div>
    );
  }
  const rights = groupRights(group);
  return (
    <div class="page">
      <Head group={group} rights={rights} />
      <div class="cards">
        {groupSections
          .filter((section) => section.visible(group, rights))
          .map((section) => (
            <Fence key={section.order}>
              <section.show group={group} rights={rights} />
            </Fence>
          ))}
      </div>
    </div>
  );
}

function Head({ group, rights }: { group: Group; rights: number }) {
  const devices = [...store.devices.values()].filter(({ meshid }) => meshid === group._id).length;
  const rename = () =>
    prompt("Rename the group", "Name", group.name, "Rename", (meshname) =>
      client.ask("editmesh", { meshid: group._id, meshname }),
    );
  const remove = () =>
    confirm(
      `Delete ${plain(group.name)}?`,
      <p>
        {devices === 0
          ? "The group is empty."
          : `${count(devices, "device")} with notes and history are deleted with it. Their agents stay installed and are refused from then on.`}
      </p>,
      "Delete the group",
      async () => {
        await client.ask("deletemesh", { meshid: group._id });
        go("groups");
      },
    );
  return (
    <div class="stack tight">
      <a class="crumb" href={to("groups")}>
        <Icon name="back" /> Groups
      </a>
      <div class="page-head">
        <div class="grow">
          <h1 class="ellipsis">
            <Words text={group.name} />
          </h1>
          <p class="muted">
            <a
              href={`${to("devices")}?filter=${encodeURIComponent(`group:"${plain(group.name).replace(/"/g, "")}"`)}`}
            >
              {count(devices, "device")}
            </a>
            <span> · You: {summary(rights).toLowerCase()}</span>
          </p>
        </div>
        {group.mtype === 2 && has(rights, Right.manageDevices) && (
          <Button kind="primary" icon="plus" onClick={() => go("add", short(group._id))}>
            Add device
          </Button>
        )}
        <Menu
          label="More actions"
          items={[
            has(rights, Right.editGroup) && { words: "Rename…", icon: "edit", run: () => void rename() },
            rights >>> 0 === FULL && {
              words: "Delete…",
              icon: "trash",
              danger: true,
              run: () => void remove(),
            },
          ]}
        />
      </div>
    </div>
  );
}
