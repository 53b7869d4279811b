// Security keys: sticks to touch, or the phone's or computer's own.

import { useState } from "preact/hooks";

import { useAsk, useEvents } from "../app/hooks.ts";
import { client, feature, Feature } from "../app/state.ts";
import { registration, type Registration } from "../control/webauthn.ts";
import { plain } from "../model/format.ts";
import { Button, Card, Icon, Words } from "../parts/basic.tsx";
import { confirm, dialog } from "../parts/dialog.tsx";
import { Form, Input } from "../parts/field.tsx";

interface Key {
  i: number;
  name: string;
  type: number;
}

export function SecurityKeys() {
  const asked = useAsk("otp-hkey-get", {}, [], { check: false, timeout: 5_000 });
  useEvents((event) => event.action === "accountchange" && asked.again(), [asked.again]);
  const list = asked.frame?.["keys"];
  // Silence: this server knows no security keys.
  if (!Array.isArray(list) || !feature(Feature.webAuthn)) return null;
  const keys = list as Key[];
  const add = () => dialog("New security key", (close) => <Add close={close} done={asked.again} />);
  const remove = (key: Key) =>
    confirm(`Remove ${plain(key.name)}?`, <p>It no longer opens this account.</p>, "Remove", async () => {
      client.tell("otp-hkey-remove", { index: key.i });
      asked.again();
    });
  return (
    <Card
      title="Security keys"
      flush={keys.length > 0}
      tools={
        <Button small icon="plus" onClick={add}>
          Add
        </Button>
      }
    >
      {keys.length === 0 && (
        <p class="muted">A key you touch is the strongest second step: it cannot be phished.</p>
      )}
      <ul class="items">
        {keys.map((key) => (
          <li key={key.i}>
            <Icon name="key" />
            <div class="what">
              <strong class="ellipsis">
                <Words text={key.name} />
              </strong>
            </div>
            <Button
              kind="plain"
              small
              icon="trash"
              label={`Remove ${plain(key.name)}`}
              onClick={() => void remove(key)}
            />
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Add({ close, done }: { close(): void; done(): void }) {
  const [name, setName] = useState("");
  return (
    <Form
      action="Touch the key"
      disabled={name.trim() === ""}
      onCancel={close}
      onSubmit={async () => {
        const start = await client.ask("webauthn-startregister", { name: name.trim() }, { check: false });
        const response = await registration(start["request"] as Registration);
        const end = await client.ask(
          "webauthn-endregister",
          { response },
          { check: false, also: ["otp-hkey-setup-response", "otp-hkey-get"] },
        );
        if (end["result"] === false) throw new Error("The server did not accept the key.");
        done();
        close();
      }}
    >
      <Input
        label="Name"
        placeholder="What it looks like, where it is"
        value={name}
        onValue={setName}
        maxLength={64}
        autoFocus
      />
    </Form>
  );
}
