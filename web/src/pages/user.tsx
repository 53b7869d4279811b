// One account, as somebody who manages accounts sees it.

import { useEffect, useState } from "preact/hooks";

import { useAsk } from "../app/hooks.ts";
import type { PageProps } from "../app/registry.ts";
import { chatPage } from "../app/notices.tsx";
import { go, to } from "../app/router.ts";
import { client, domain, me, store } from "../app/state.ts";
import { full, short, type User } from "../control/wire.ts";
import { count, dateTime, plain } from "../model/format.ts";
import { FULL, isAdministrator, SITE_LIMITS, SITE_RIGHTS, summary } from "../model/rights.ts";
import { Ago, Badge, Button, Card, Empty, Facts, Icon, Words } from "../parts/basic.tsx";
import { attempt, confirm, dialog, toast } from "../parts/dialog.tsx";
import { Bits, Check, Form, Input } from "../parts/field.tsx";
import { Menu } from "../parts/menu.tsx";
import { Notes } from "../parts/notes.tsx";

export default function UserPage({ rest: [name = ""] }: PageProps) {
  const user = store.users.get(full("user", domain(), name));
  useEffect(() => {
    if (user) document.title = plain(user.name);
  }, [user?.name]);
  if (!user) {
    return (
      <div class="page">
        <Empty icon="user" title="This account is not here">
          <Button onClick={() => go("users")}>To the accounts</Button>
        </Empty>
      </div>
    );
  }
  return (
    <div class="page">
      <Head user={user} />
      <div class="cards">
        <About user={user} />
        <SiteRights user={user} />
        <Links user={user} />
        <Logins user={user} />
        <Card title="Notes">
          <Notes id={user._id} words="For those who manage accounts; the person does not see them." />
        </Card>
      </div>
    </div>
  );
}

function Head({ user }: { user: User }) {
  const sessions = store.sessions.get(user._id) ?? 0;
  const untouchable = isAdministrator(user) && !isAdministrator(me());
  const self = user._id === me()._id;
  const remove = () =>
    confirm(
      `Delete ${plain(user.name)}?`,
      <p>The account, its rights and its login tokens are deleted.</p>,
      "Delete the account",
      async () => {
        await client.ask("deleteuser", { userid: user._id });
        go("users");
      },
    );
  const message = () =>
    dialog(`Message to ${plain(user.name)}`, (close) => <Message user={user} close={close} />);
  const password = () => dialog("Set a password", (close) => <Password user={user} close={close} />);
  return (
    <div class="stack tight">
      <a class="crumb" href={to("users")}>
        <Icon name="back" /> Users
      </a>
      <div class="page-head">
        <h1 class="grow ellipsis">
          <Words text={user.name} />
        </h1>
        {sessions > 0 && <Badge kind="ok">{count(sessions, "session")}</Badge>}
        {sessions > 0 && !self && (
          <Button icon="message" onClick={message}>
            Message
          </Button>
        )}
        {sessions > 0 && !self && (
          <a
            class="button"
            href={chatPage(`meshmessenger/${encodeURIComponent(user._id)}/${encodeURIComponent(me()._id)}`)}
            target="_blank"
            rel="noopener"
            onClick={() => client.tell("meshmessenger", { userid: user._id })}
          >
            <Icon name="chat" />
            Chat
          </a>
        )}
        {!untouchable && (
          <Menu
            label="More actions"
            items={[
              !self && { words: "Set a password…", icon: "key", run: () => void password() },
              !self && { words: "Delete…", icon: "trash", danger: true, run: () => void remove() },
            ]}
          />
        )}
      </div>
    </div>
  );
}

function About({ user }: { user: User }) {
  const edit = () => dialog("Edit the account", (close) => <Edit user={user} close={close} />);
  const factors = [
    user.otpsecret && "authenticator app",
    user.otphkeys && count(user.otphkeys, "security key"),
    user.otpkeys && count(user.otpkeys, "backup code"),
  ];
  return (
    <Card title="Account" tools={<Button kind="plain" small icon="edit" label="Edit" onClick={edit} />}>
      <Facts
        facts={[
          ["Name", user.realname],
          [
            "E-mail",
            user.email && (
              <span>
                {plain(user.email)} {!user.emailVerified && <Badge kind="warn">not verified</Badge>}
              </span>
            ),
          ],
          ["Second factor", factors.filter(Boolean).join(", ") || "none"],
          ["Made", dateTime((user.creation ?? 0) * 1000)],
          ["Last login", user.login ? <Ago time={user.login * 1000} /> : "never"],
          [
            "Password",
            user.passchange === -1
              ? "must be changed at the next login"
              : dateTime((user.passchange ?? 0) * 1000),
          ],
        ]}
      />
    </Card>
  );
}

function Edit({ user, close }: { user: User; close(): void }) {
  const [realname, setRealname] = useState(user.realname ?? "");
  const [email, setEmail] = useState(user.email ?? "");
  const [verified, setVerified] = useState(user.emailVerified ?? false);
  return (
    <Form
      action="Save"
      onCancel={close}
      onSubmit={async () => {
        await client.ask("edituser", {
          id: user._id,
          realname: realname.trim(),
          email: email.trim(),
          emailVerified: verified,
        });
        close();
      }}
    >
      <Input label="Name" value={realname} onValue={setRealname} autoFocus />
      <Input label="E-mail" type="email" value={email} onValue={setEmail} />
      <Check label="The address is verified" checked={verified} onValue={setVerified} />
    </Form>
  );
}

function Password({ user, close }: { user: User; close(): void }) {
  const [password, setPassword] = useState("");
  const [reset, setReset] = useState(true);
  const [factors, setFactors] = useState(false);
  return (
    <Form
      action="Set"
      disabled={password === "" && !factors}
      onCancel={close}
      onSubmit={() => {
        const body = {
          userid: user._id,
          pass: password,
          hint: "",
          resetNextLogin: reset,
          removeMultiFactor: factors,
        };
        if (!client.tell("changeuserpass", body)) throw new Error("There is no connection to the server.");
        close();
        toast("Asked the server to set it");
      }}
    >
      <Input
        label="New password"
        type="password"
        autocomplete="new-password"
        value={password}
        onValue={setPassword}
        autoFocus
      />
      <Check label="Must be changed at the next login" checked={reset} onValue={setReset} />
      <Check
        label="Remove all second factors"
        hint="for somebody who lost phone and keys"
        checked={factors}
        onValue={setFactors}
      />
    </Form>
  );
}

function Message({ user, close }: { user: User; close(): void }) {
  const [text, setText] = useState("");
  return (
    <Form
      action="Send"
      disabled={text.trim() === ""}
      onCancel={close}
      onSubmit={() => {
        client.tell("notifyuser", { userid: user._id, msg: text.trim() });
        close();
      }}
    >
      <Input label="Text" value={text} onValue={setText} maxLength={512} autoFocus />
    </Form>
  );
}

function SiteRights({ user }: { user: User }) {
  const now = (user.siteadmin ?? 0) >>> 0;
  const [bits, setBits] = useState(now);
  useEffect(() => setBits(now), [now]);
  const administrator = isAdministrator(me());
  const self = user._id === me()._id;
  const fixed = self || (isAdministrator(user) && !administrator);
  const save = () => attempt(() => client.ask("edituser", { id: user._id, siteadmin: bits }), "Saved");
  return (
    <Card
      title="On the server"
      foot={
        bits !== now && (
          <>
            <Button onClick={() => setBits(now)}>Undo</Button>
            <Button kind="primary" onClick={() => void save()}>
              Save
            </Button>
          </>
        )
      }
    >
      <div class="stack">
        {self && <p class="small muted">Nobody changes his or her own rights.</p>}
        <Check
          label="Administrator"
          hint="may do everything on the server; device groups still have their own members"
          checked={bits === FULL}
          disabled={fixed || !administrator}
          onValue={(on) => setBits(on ? FULL : 0)}
        />
        {bits !== FULL && (
          <>
            <Bits bits={SITE_RIGHTS} value={bits} disabled={fixed || !administrator} onValue={setBits} />
            <fieldset class="stack tight">
              <legend class="small muted">Limits</legend>
              <Bits bits={SITE_LIMITS} value={bits} disabled={fixed} onValue={setBits} />
            </fieldset>
          </>
        )}
      </div>
    </Card>
  );
}

function Links({ user }: { user: User }) {
  const links = Object.entries(user.links ?? {});
  if (links.length === 0) {
    return (
      <Card title="Device groups">
        <p class="muted">No rights on any group or device. Give them on the page of a group.</p>
      </Card>
    );
  }
  return (
    <Card title="Rights" flush>
      <ul class="items">
        {links.map(([id, { rights }]) => (
          <li key={id}>
            <div class="what">
              <strong class="ellipsis">
                <LinkName id={id} />
              </strong>
              <span class="small muted">{id.startsWith("ugrp/") ? "Member" : summary(rights)}</span>
            </div>
          </li>
        ))}
      </ul>
    </Card>
  );
}

export function LinkName({ id }: { id: string }) {
  const key = short(id);
  const [kind] = id.split("/");
  const found = { mesh: store.groups.get(id), node: store.devices.get(id), ugrp: store.userGroups.get(id) }[
    kind ?? ""
  ];
  const page = { mesh: "group", node: "device", ugrp: "usergroup" }[kind ?? ""];
  if (!found || !page)
    return (
      <span class="muted">{kind === "mesh" ? "A group you do not see" : "Something you do not see"}</span>
    );
  return (
    <a href={to(page, key)}>
      <Words text={found.name} />
    </a>
  );
}

interface Login {
  t: string;
  m: number;
  a?: unknown[];
}

/** What the numbers of login events say. */
const LOGIN_WORDS: Record<number, string> = {
  107: "Logged in",
  108: "Second factor wrong",
  109: "Password right, second factor missing",
  110: "Password wrong",
  155: "Refused, locked",
};

export function Logins({ user }: { user?: User }) {
  const asked = useAsk("previousLogins", user ? { userid: user._id } : {}, [user?._id], { timeout: 5_000 });
  const list = asked.frame?.["events"];
  if (!Array.isArray(list)) return null;
  const logins = (list as Login[]).slice(0, 12);
  return (
    <Card title="Logins" flush>
      {logins.length === 0 ? (
        <p class="muted" style={{ padding: "0 1rem 0.5rem" }}>
          None are known.
        </p>
      ) : (
        <ul class="items">
          {logins.map(({ t, m, a }, n) => (
            <li key={`${t} ${n}`}>
              <div class="what">
                <strong>{LOGIN_WORDS[m] ?? "Login"}</strong>
                <span class="small muted">{dateTime(Date.parse(t))}</span>
              </div>
              <span class="small muted">{plain(String(a?.[0] ?? ""))}</span>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}
