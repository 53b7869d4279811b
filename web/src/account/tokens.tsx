// Login tokens: names and passwords for programs, that can be taken back one by one.

import { useState } from "preact/hooks";

import { useAsk, useEvents } from "../app/hooks.ts";
import { client } from "../app/state.ts";
import type { LoginToken } from "../control/wire.ts";
import { dateTime, plain } from "../model/format.ts";
import { Button, Card, Icon, Words } from "../parts/basic.tsx";
import { CopyBox } from "../parts/copy.tsx";
import { confirm, dialog } from "../parts/dialog.tsx";
import { Form, Input, Select } from "../parts/field.tsx";

export function Tokens() {
  const asked = useAsk("loginTokens", {}, [], { check: false, timeout: 5_000 });
  useEvents(
    (event) => (event.action === "loginTokenAdded" || event.action === "loginTokenChanged") && asked.again(),
    [asked.again],
  );
  const list = asked.frame?.["loginTokens"];
  if (!Array.isArray(list)) return null;
  const tokens = list as LoginToken[];
  const add = () => dialog("New login token", (close) => <Add close={close} done={asked.again} />);
  const remove = (token: LoginToken) =>
    confirm(
      `Take ${plain(token.name)} back?`,
      <p>Programs that use it are logged out.</p>,
      "Take back",
      async () => {
        await client.ask("loginTokens", { remove: [token.tokenUser] }, { check: false });
        asked.again();
      },
    );
  return (
    <Card
      title="Login tokens"
      flush={tokens.length > 0}
      tools={
        <Button small icon="plus" onClick={add}>
          New
        </Button>
      }
    >
      {tokens.length === 0 && (
        <p class="muted">
          For scripts and tools: a name and a password of their own, without your second step.
        </p>
      )}
      <ul class="items">
        {tokens.map((token) => (
          <li key={token.tokenUser}>
            <Icon name="lock" />
            <div class="what">
              <strong class="ellipsis">
                <Words text={token.name} />
              </strong>
              <span class="small muted">
                {token.expire ? `until ${dateTime(token.expire)}` : "does not expire"}
              </span>
            </div>
            <Button
              kind="plain"
              small
              icon="trash"
              label={`Take ${plain(token.name)} back`}
              onClick={() => void remove(token)}
            />
          </li>
        ))}
      </ul>
    </Card>
  );
}

type Minutes = "60" | "1440" | "43200" | "525600" | "0";

function Add({ close, done }: { close(): void; done(): void }) {
  const [name, setName] = useState("");
  const [minutes, setMinutes] = useState<Minutes>("43200");
  const [made, setMade] = useState<{ user: string; pass: string } | null>(null);
  if (made) {
    return (
      <div class="stack">
        <p class="muted">The password is shown once.</p>
        <CopyBox text={made.user} label="the name" />
        <CopyBox text={made.pass} label="the password" />
        <div class="actions">
          <Button kind="primary" onClick={close}>
            Done
          </Button>
        </div>
      </div>
    );
  }
  return (
    <Form
      action="Make the token"
      disabled={name.trim() === ""}
      onCancel={close}
      onSubmit={async () => {
        const frame = await client.ask("createLoginToken", { name: name.trim(), expire: Number(minutes) });
        done();
        setMade({ user: String(frame["tokenUser"]), pass: String(frame["tokenPass"]) });
      }}
    >
      <Input
        label="For"
        placeholder="Which program or script"
        value={name}
        onValue={setName}
        maxLength={100}
        autoFocus
      />
      <Select
        label="Works for"
        value={minutes}
        onValue={setMinutes}
        options={[
          ["60", "One hour"],
          ["1440", "One day"],
          ["43200", "30 days"],
          ["525600", "One year"],
          ["0", "Until it is taken back"],
        ]}
      />
    </Form>
  );
}
