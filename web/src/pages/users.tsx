// Accounts and user groups.

import { useState } from "preact/hooks";

import type { PageProps } from "../app/registry.ts";
import { go, to } from "../app/router.ts";
import { client, me, store } from "../app/state.ts";
import { compareNames } from "../app/visible.ts";
import { short, type User } from "../control/wire.ts";
import { count, plain } from "../model/format.ts";
import { FULL, isAdministrator, Site, siteHas, siteSummary } from "../model/rights.ts";
import { Ago, Avatar, Badge, Button, Card, Empty, Icon, Waiting, Words } from "../parts/basic.tsx";
import { dialog } from "../parts/dialog.tsx";
import { Check, Form, Input, Segments } from "../parts/field.tsx";

export default function Users({ rest: [part] }: PageProps) {
  const accounts = siteHas(me(), Site.manageUsers);
  const groups = siteHas(me(), Site.userGroups);
  const shown = part === "groups" || !accounts ? "groups" : "accounts";
  return (
    <div class="page">
      <div class="page-head">
        <h1 class="grow">Users</h1>
        {shown === "accounts" ? (
          <Button
            kind="primary"
            icon="plus"
            onClick={() => dialog("New account", (close) => <NewAccount close={close} />)}
          >
            New account
          </Button>
        ) : (
          groups && (
            <Button
              kind="primary"
              icon="plus"
              onClick={() => dialog("New user group", (close) => <NewGroup close={close} />)}
            >
              New user group
            </Button>
          )
        )}
      </div>
      <nav class="tabs" aria-label="Kinds">
        {accounts && (
          <a href={to("users")} aria-current={shown === "accounts" ? "page" : undefined}>
            Accounts
          </a>
        )}
        <a href={to("users", "groups")} aria-current={shown === "groups" ? "page" : undefined}>
          User groups
        </a>
      </nav>
      {shown === "accounts" ? <Accounts /> : <UserGroups />}
    </div>
  );
}

function Accounts() {
  const [text, setText] = useState("");
  const wanted = text.trim().toLowerCase();
  const users = [...store.users.values()]
    .filter((user) =>
      [user.name, user.realname, user.email].some((words) => words?.toLowerCase().includes(wanted)),
    )
    .sort((a, b) => compareNames(a.name, b.name));
  if (store.users.size === 0) return <Waiting />;
  return (
    <>
      <div class="toolbar">
        <div class="search" role="search">
          <Icon name="search" />
          <input
            type="search"
            class="input"
            aria-label="Search accounts"
            placeholder="Search"
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </div>
      </div>
      <Card flush>
        <ul class="items">
          {users.map((user) => (
            <Account key={user._id} user={user} />
          ))}
        </ul>
      </Card>
    </>
  );
}

function Account({ user }: { user: User }) {
  const sessions = store.sessions.get(user._id) ?? 0;
  const rights = user.siteadmin ?? 0;
  return (
    <li>
      <Avatar name={user.realname || user.name} />
      <a class="what item" href={to("user", short(user._id))}>
        <strong class="ellipsis">
          <Words text={user.name} />
          {user.realname && <Words text={` ${user.realname}`} class="muted" />}
        </strong>
        <span class="small muted ellipsis" style={{ display: "block" }}>
          {siteSummary(rights)}
          {user.email && ` · ${plain(user.email)}`}
        </span>
      </a>
      {(user.otpsecret || user.otphkeys) && <Badge kind="ok">2FA</Badge>}
      {rights >>> 0 !== FULL && rights & Site.locked ? <Badge kind="bad">locked</Badge> : null}
      <span class="small muted">
        {sessions > 0 ? (
          count(sessions, "session")
        ) : user.login ? (
          <Ago time={user.login * 1000} />
        ) : (
          "never here"
        )}
      </span>
      <Icon name="right" />
    </li>
  );
}

function NewAccount({ close }: { close(): void }) {
  const [name, setName] = useState("");
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [reset, setReset] = useState(true);
  const [kind, setKind] = useState<"user" | "admin">("user");
  return (
    <Form
      action="Make the account"
      disabled={name.trim() === "" || password === ""}
      onCancel={close}
      onSubmit={async () => {
        await client.ask("adduser", {
          username: name.trim(),
          pass: password,
          resetNextLogin: reset,
          ...(email.trim() && { email: email.trim() }),
          ...(kind === "admin" && { siteadmin: FULL }),
        });
        close();
      }}
    >
      <Input label="User name" value={name} onValue={setName} autocomplete="off" maxLength={256} autoFocus />
      <Input label="E-mail" type="email" value={email} onValue={setEmail} placeholder="Optional" />
      <Input
        label="Password"
        type="password"
        autocomplete="new-password"
        value={password}
        onValue={setPassword}
      />
      <Check label="Must be changed at the first login" checked={reset} onValue={setReset} />
      {isAdministrator(me()) && (
        <Segments
          label="Kind"
          value={kind}
          onValue={setKind}
          options={[
            { value: "user", words: "User" },
            { value: "admin", words: "Administrator" },
          ]}
        />
      )}
    </Form>
  );
}

function UserGroups() {
  const groups = [...store.userGroups.values()].sort((a, b) => compareNames(a.name, b.name));
  if (groups.length === 0) {
    return (
      <Empty icon="users" title="No user groups">
        <p>A user group has rights on device groups and devices; its members share them.</p>
      </Empty>
    );
  }
  return (
    <Card flush>
      <ul class="items">
        {groups.map(({ _id, name, desc, links = {} }) => {
          const members = Object.keys(links).filter((id) => id.startsWith("user/")).length;
          return (
            <li key={_id}>
              <Icon name="users" />
              <a class="what item" href={to("usergroup", short(_id))}>
                <strong class="ellipsis">
                  <Words text={name} />
                </strong>
                <span class="small muted">{desc ? <Words text={desc} /> : count(members, "member")}</span>
              </a>
              <span class="small muted">{count(Object.keys(links).length - members, "right")}</span>
              <Icon name="right" />
            </li>
          );
        })}
      </ul>
    </Card>
  );
}

function NewGroup({ close }: { close(): void }) {
  const [name, setName] = useState("");
  const [desc, setDesc] = useState("");
  return (
    <Form
      action="Make the group"
      disabled={name.trim() === ""}
      onCancel={close}
      onSubmit={async () => {
        const frame = await client.ask("createusergroup", { name: name.trim(), desc: desc.trim() });
        close();
        if (typeof frame["ugrpid"] === "string") go("usergroup", short(frame["ugrpid"]));
      }}
    >
      <Input label="Name" value={name} onValue={setName} maxLength={64} autoFocus />
      <Input label="Description" value={desc} onValue={setDesc} placeholder="Optional" />
    </Form>
  );
}
