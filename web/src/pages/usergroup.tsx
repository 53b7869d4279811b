// One user group: its members, and what they may do where.

import { useEffect, useState } from "preact/hooks";

import type { PageProps } from "../app/registry.ts";
import { go, to } from "../app/router.ts";
import { client, domain, me, store } from "../app/state.ts";
import { full, short, type UserGroup } from "../control/wire.ts";
import { plain } from "../model/format.ts";
import { Site, siteHas, summary } from "../model/rights.ts";
import { Avatar, Button, Card, Empty, Icon, Words } from "../parts/basic.tsx";
import { attempt, confirm, dialog } from "../parts/dialog.tsx";
import { Form, Input, Select, TextArea } from "../parts/field.tsx";
import { Menu } from "../parts/menu.tsx";
import { LinkName } from "./user.tsx";

export default function UserGroupPage({ rest: [key = ""] }: PageProps) {
  const group = store.userGroups.get(full("ugrp", domain(), key));
  useEffect(() => {
    if (group) document.title = plain(group.name);
  }, [group?.name]);
  if (!group) {
    return (
      <div class="page">
        <Empty icon="users" title="This user group is not here">
          <Button onClick={() => go("users", "groups")}>To the user groups</Button>
        </Empty>
      </div>
    );
  }
  const links = Object.entries(group.links ?? {});
  const editable = siteHas(me(), Site.userGroups);
  return (
    <div class="page">
      <Head group={group} editable={editable} />
      <div class="cards">
        <Members
          group={group}
          ids={links.map(([id]) => id).filter((id) => id.startsWith("user/"))}
          editable={editable}
        />
        <Card title="Rights" flush={links.length > 0}>
          <ul class="items">
            {links
              .filter(([id]) => !id.startsWith("user/"))
              .map(([id, { rights }]) => (
                <li key={id}>
                  <div class="what">
                    <strong class="ellipsis">
                      <LinkName id={id} />
                    </strong>
                    <span class="small muted">{summary(rights)}</span>
                  </div>
                </li>
              ))}
          </ul>
          <p class="small faint" style={{ padding: "0.5rem 1rem" }}>
            Rights are given on the page of a device group, to this user group.
          </p>
        </Card>
      </div>
    </div>
  );
}

function Head({ group, editable }: { group: UserGroup; editable: boolean }) {
  const edit = () => dialog("Edit the user group", (close) => <Edit group={group} close={close} />);
  const remove = () =>
    confirm(
      `Delete ${plain(group.name)}?`,
      <p>Its members lose the rights they had through it.</p>,
      "Delete the user group",
      async () => {
        await client.ask("deleteusergroup", { ugrpid: group._id });
        go("users", "groups");
      },
    );
  return (
    <div class="stack tight">
      <a class="crumb" href={to("users", "groups")}>
        <Icon name="back" /> User groups
      </a>
      <div class="page-head">
        <h1 class="grow ellipsis">
          <Words text={group.name} />
        </h1>
        {editable && (
          <Menu
            label="More actions"
            items={[
              { words: "Edit…", icon: "edit", run: () => void edit() },
              { words: "Delete…", icon: "trash", danger: true, run: () => void remove() },
            ]}
          />
        )}
        {group.desc && (
          <p class="lead">
            <Words text={group.desc} />
          </p>
        )}
      </div>
    </div>
  );
}

function Edit({ group, close }: { group: UserGroup; close(): void }) {
  const [name, setName] = useState(group.name);
  const [desc, setDesc] = useState(group.desc ?? "");
  return (
    <Form
      action="Save"
      disabled={name.trim() === ""}
      onCancel={close}
      onSubmit={() => {
        client.tell("editusergroup", { ugrpid: group._id, name: name.trim(), desc });
        close();
      }}
    >
      <Input label="Name" value={name} onValue={setName} maxLength={64} autoFocus />
      <TextArea label="Description" value={desc} onValue={setDesc} />
    </Form>
  );
}

function Members({ group, ids, editable }: { group: UserGroup; ids: string[]; editable: boolean }) {
  const add = () => dialog("Add a member", (close) => <Add group={group} ids={ids} close={close} />);
  const remove = (userid: string) =>
    attempt(() => client.ask("removeuserfromusergroup", { ugrpid: group._id, userid }), "Removed");
  return (
    <Card
      title="Members"
      flush={ids.length > 0}
      tools={
        editable && (
          <Button small icon="plus" onClick={add}>
            Add
          </Button>
        )
      }
    >
      {ids.length === 0 && <p class="muted">Nobody yet.</p>}
      <ul class="items">
        {ids.map((id) => (
          <li key={id}>
            <Avatar name={short(id)} />
            <div class="what">
              <strong class="ellipsis">
                <Words text={store.users.get(id)?.name ?? short(id)} />
              </strong>
            </div>
            {editable && (
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
    </Card>
  );
}

function Add({ group, ids, close }: { group: UserGroup; ids: string[]; close(): void }) {
  const others = [...store.users.values()].filter(({ _id }) => !ids.includes(_id));
  const [name, setName] = useState("");
  return (
    <Form
      action="Add"
      disabled={name.trim() === ""}
      onCancel={close}
      onSubmit={async () => {
        const frame = await client.ask(
          "addusertousergroup",
          { ugrpid: group._id, usernames: [name.trim()] },
          { check: false },
        );
        if (Number(frame["added"] ?? 1) < 1) throw new Error("There is no account of that name.");
        close();
      }}
    >
      {others.length > 0 ? (
        <Select
          label="Account"
          value={name}
          onValue={setName}
          options={[
            ["", "Choose …"],
            ...others.map((user): [string, string] => [user.name, plain(user.name)]),
          ]}
        />
      ) : (
        <Input label="User name" value={name} onValue={setName} autoFocus />
      )}
    </Form>
  );
}
