// Lists in the firmware that people add to: its users, and the alarms that switch the computer on.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import type { Device } from "../control/wire.ts";
import { PASSWORD_RULE, passwordFault } from "../model/activation.ts";
import { count, dateTime, plain } from "../model/format.ts";
import { Badge, Button, Card, Waiting, Words } from "../parts/basic.tsx";
import { attempt, confirm, dialog, toast } from "../parts/dialog.tsx";
import { Check, Form, Input, Select } from "../parts/field.tsx";
import { read, set } from "./ask.ts";
import {
  ACCESS_WORDS,
  alarmsIn,
  isOwn,
  REALMS,
  repeatWords,
  REPEATS,
  usersIn,
  type Access,
  type Alarm,
  type FirmwareUser,
} from "./known.ts";
import { Unasked } from "./unasked.tsx";

interface ListProps<T> {
  title: string;
  nodeid: string;
  /** By the name it has in `amtread`. */
  what: string;
  parse(value: unknown): T[];
  none: string;
  /** What the button that adds is called, and its dialog. */
  add: false | { words: string; body(close: (done?: boolean) => void): preact.JSX.Element };
  line(one: T, changed: () => Promise<void>): ComponentChildren;
}

/** A list that is asked for when somebody wants it, and again when it has changed. */
function List<T>({ title, nodeid, what, parse, none, add, line }: ListProps<T>) {
  const [list, setList] = useState<T[] | null>(null);
  const [busy, setBusy] = useState(false);
  const look = async () => {
    setBusy(true);
    await attempt(async () => setList(parse(await read(nodeid, what))));
    setBusy(false);
  };
  const open = async () => {
    if (add && (await dialog<boolean>(add.words, add.body))) await look();
  };
  return (
    <Card
      title={title}
      flush={list !== null && list.length > 0}
      foot={
        add &&
        list !== null && (
          <Button icon="plus" onClick={() => void open()}>
            {add.words}
          </Button>
        )
      }
    >
      {busy && list === null ? (
        <Waiting />
      ) : list === null ? (
        <Unasked words={`Ask for the ${what}`} ask={() => void look()} />
      ) : list.length === 0 ? (
        <p class="muted">{none}</p>
      ) : (
        <ul class="items">{list.map((one) => line(one, look))}</ul>
      )}
    </Card>
  );
}

export function UsersCard({ device, mayChange }: { device: Device; mayChange: boolean }) {
  const nodeid = device._id;
  return (
    <List
      title="Users of the firmware"
      nodeid={nodeid}
      what="users"
      parse={usersIn}
      none="There are none."
      add={
        mayChange && {
          words: "Add a user",
          body: (close) => <UserForm nodeid={nodeid} user={null} close={close} />,
        }
      }
      line={(user, changed) => (
        <User
          key={user.handle ?? user.name}
          nodeid={nodeid}
          user={user}
          mayChange={mayChange}
          changed={changed}
        />
      )}
    />
  );
}

function User(props: { nodeid: string; user: FirmwareUser; mayChange: boolean; changed(): Promise<void> }) {
  const { nodeid, user, mayChange, changed } = props;
  const edit = async () => {
    const body = (close: (done?: boolean) => void) => <UserForm nodeid={nodeid} user={user} close={close} />;
    if (await dialog<boolean>(`Change ${plain(user.name)}`, body)) await changed();
  };
  const remove = async () => {
    const sure = await confirm(
      `Remove ${plain(user.name)}?`,
      <p>Whatever logs in to the firmware as this user cannot any more.</p>,
      "Remove",
      () => set(nodeid, "user", { verb: "remove", handle: user.handle }),
    );
    if (sure) await changed();
  };
  const words = user.admin
    ? "the administrator, as whom this server logs in"
    : isOwn(user)
      ? "the firmware's own"
      : `${ACCESS_WORDS[user.access].toLowerCase()}, ${count(user.realms.length, "part")} of the firmware`;
  return (
    <li>
      <div class="what">
        <strong>
          <Words text={user.name} />
        </strong>
        <span class="small muted">{words}</span>
      </div>
      {!user.enabled && <Badge>off</Badge>}
      {mayChange && user.handle !== undefined && !user.admin && !isOwn(user) && (
        <>
          <Button
            kind="plain"
            small
            icon="edit"
            label={`Change ${plain(user.name)}`}
            onClick={() => void edit()}
          />
          <Button
            kind="plain"
            small
            icon="trash"
            label={`Remove ${plain(user.name)}`}
            onClick={() => void remove()}
          />
        </>
      )}
    </li>
  );
}

/** Longest name of a user, in characters. */
const NAME_MAX = 16;

function UserForm(props: { nodeid: string; user: FirmwareUser | null; close(done?: boolean): void }) {
  const { nodeid, user, close } = props;
  const [name, setName] = useState(user?.name ?? "");
  const [pass, setPass] = useState("");
  const [access, setAccess] = useState<Access>(user?.access ?? "any");
  const [realms, setRealms] = useState(new Set(user?.realms ?? []));
  const [enabled, setEnabled] = useState(user?.enabled ?? true);
  // A name is part of what firmware keeps of a password: a new one needs the password again.
  const isRenamed = name.trim() !== user?.name;
  const keeps = !isRenamed && pass === "";
  const fault = keeps ? null : passwordFault(pass);
  const choose = (realm: number, is: boolean) => {
    const next = new Set(realms);
    if (is) next.add(realm);
    else next.delete(realm);
    setRealms(next);
  };
  return (
    <Form
      action={user ? "Save" : "Add"}
      disabled={name.trim() === "" || fault !== null || realms.size === 0}
      onCancel={() => close()}
      onSubmit={async () => {
        const who = user ? { verb: "change", handle: user.handle } : { verb: "add" };
        const login = { ...(isRenamed && { name: name.trim() }), ...(!keeps && { pass }) };
        await set(nodeid, "user", { ...who, ...login, access, realms: [...realms], enabled });
        toast("Saved in the firmware");
        close(true);
      }}
    >
      <Input label="Name" value={name} onValue={setName} maxLength={NAME_MAX} autocomplete="off" autoFocus />
      <Input
        label="Password"
        hint={
          keeps
            ? "It stays as it is while this is empty."
            : pass === ""
              ? PASSWORD_RULE
              : (fault ?? "Firmware takes it.")
        }
        type="password"
        autocomplete="new-password"
        maxLength={32}
        value={pass}
        onValue={setPass}
      />
      <Select
        label="Logs in"
        value={access}
        options={Object.entries(ACCESS_WORDS) as [Access, string][]}
        onValue={setAccess}
      />
      <fieldset class="stack tight">
        <legend class="small muted">May use</legend>
        <div class="checks">
          {REALMS.map(([realm, words]) => (
            <Check
              key={realm}
              label={words}
              checked={realms.has(realm)}
              onValue={(is) => choose(realm, is)}
            />
          ))}
        </div>
      </fieldset>
      <Check label="May log in" checked={enabled} onValue={setEnabled} />
    </Form>
  );
}

export function AlarmsCard({ device, mayChange }: { device: Device; mayChange: boolean }) {
  const nodeid = device._id;
  return (
    <List
      title="Alarm clocks"
      nodeid={nodeid}
      what="alarms"
      parse={alarmsIn}
      none="None is set. An alarm switches the computer on at its time."
      add={
        mayChange && {
          words: "Add an alarm",
          body: (close) => <AlarmForm nodeid={nodeid} close={close} />,
        }
      }
      line={(alarm, changed) => (
        <AlarmLine key={alarm.name} nodeid={nodeid} alarm={alarm} mayChange={mayChange} changed={changed} />
      )}
    />
  );
}

function AlarmLine(props: { nodeid: string; alarm: Alarm; mayChange: boolean; changed(): Promise<void> }) {
  const { nodeid, alarm, mayChange, changed } = props;
  const remove = async () => {
    const gone = () => set(nodeid, "alarm", { verb: "remove", name: alarm.name });
    if (await attempt(gone, `${plain(alarm.name)} is removed`)) await changed();
  };
  return (
    <li>
      <div class="what">
        <strong>
          <Words text={alarm.name} />
        </strong>
        <span class="small muted">
          {dateTime(alarm.start)}, {repeatWords(alarm.interval)}
          {alarm.removed && ", then removed"}
        </span>
      </div>
      {mayChange && (
        <Button
          kind="plain"
          small
          icon="trash"
          label={`Remove ${plain(alarm.name)}`}
          onClick={() => void remove()}
        />
      )}
    </li>
  );
}

function AlarmForm({ nodeid, close }: { nodeid: string; close(done?: boolean): void }) {
  const [name, setName] = useState("");
  const [at, setAt] = useState("");
  const [interval, setRepeat] = useState("0");
  const [remove, setRemove] = useState(true);
  const start = Math.floor(Date.parse(at) / 1000);
  const isOnce = interval === "0";
  return (
    <Form
      action="Add"
      disabled={name.trim() === "" || !(start * 1000 > Date.now())}
      onCancel={() => close()}
      onSubmit={async () => {
        const when = { start, interval: Number(interval), remove: isOnce && remove };
        await set(nodeid, "alarm", { verb: "add", name: name.trim(), ...when });
        toast("The alarm is set");
        close(true);
      }}
    >
      <Input label="Name" value={name} onValue={setName} maxLength={32} autoFocus />
      <Input
        label="Switches the computer on at"
        hint="In the time of this browser, by the clock of the firmware"
        type="datetime-local"
        value={at}
        onValue={setAt}
      />
      <Select label="Again" value={interval} options={REPEATS} onValue={setRepeat} />
      {isOnce && <Check label="Remove it when it has rung" checked={remove} onValue={setRemove} />}
    </Form>
  );
}
