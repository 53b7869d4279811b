// Links with which people install the agent themselves.

import { useState } from "preact/hooks";

import type { GroupSectionProps } from "../app/registry.ts";
import { client } from "../app/state.ts";
import type { Group } from "../control/wire.ts";
import { has, Right } from "../model/rights.ts";
import { Badge, Button, Card } from "../parts/basic.tsx";
import { CopyBox, Qr } from "../parts/copy.tsx";
import { attempt, dialog } from "../parts/dialog.tsx";
import { Form, Input, Select } from "../parts/field.tsx";

export default function Invitations({ group, rights }: GroupSectionProps) {
  const codes = group.invite?.codes ?? [];
  const editable = has(rights, Right.editGroup);
  const invite = () => dialog("Invite by a link", (close) => <Invite group={group} close={close} />);
  const edit = () => dialog("Invitation codes", (close) => <Codes group={group} close={close} />);
  const clear = () =>
    attempt(() => client.ask("editmesh", { meshid: group._id, invite: "*" }), "The codes are gone");
  return (
    <Card title="Invitations">
      <div class="stack">
        <p class="muted">
          Somebody opens the link on a device and installs the agent; the device then appears in this group.
        </p>
        <div class="row wrap">
          <Button icon="link" onClick={invite}>
            Make a link
          </Button>
          {editable && (
            <Button icon="key" onClick={edit}>
              Codes
            </Button>
          )}
        </div>
        {codes.length > 0 && (
          <div class="row wrap">
            {codes.map((code) => (
              <Badge key={code} kind="accent">
                {code}
              </Badge>
            ))}
            {editable && (
              <Button kind="plain" small icon="trash" label="Remove the codes" onClick={() => void clear()} />
            )}
          </div>
        )}
      </div>
    </Card>
  );
}

type Hours = "1" | "24" | "168" | "720" | "0";
type Way = "0" | "1" | "2";

export function Invite({ group, close }: { group: Group; close(): void }) {
  const [hours, setHours] = useState<Hours>("24");
  const [flags, setFlags] = useState<Way>("2");
  const [url, setUrl] = useState("");
  if (url) {
    return (
      <div class="stack">
        <CopyBox text={url} label="the link" />
        <Qr text={url} label="The link as a QR code" />
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
      action="Make the link"
      onCancel={close}
      onSubmit={async () => {
        const frame = await client.ask("createInviteLink", {
          meshid: group._id,
          expire: Number(hours),
          flags: Number(flags),
        });
        if (typeof frame["url"] !== "string") throw new Error("The server made no link.");
        setUrl(frame["url"]);
      }}
    >
      <Select
        label="Works for"
        value={hours}
        onValue={setHours}
        options={[
          ["1", "One hour"],
          ["24", "One day"],
          ["168", "One week"],
          ["720", "30 days"],
          ["0", "Ever"],
        ]}
      />
      <Select
        label="Agent"
        value={flags}
        onValue={setFlags}
        options={[
          ["2", "Installed, runs in the background"],
          ["1", "Runs while its window is open"],
          ["0", "Either, the person chooses"],
        ]}
      />
    </Form>
  );
}

function Codes({ group, close }: { group: Group; close(): void }) {
  const [text, setText] = useState(group.invite?.codes?.join(", ") ?? "");
  const codes = text
    .split(",")
    .map((code) => code.trim())
    .filter(Boolean);
  return (
    <Form
      action="Save"
      disabled={codes.length === 0}
      onCancel={close}
      onSubmit={async () => {
        await client.ask("editmesh", {
          meshid: group._id,
          invite: { codes, flags: group.invite?.flags ?? 2 },
        });
        close();
      }}
    >
      <p class="small muted">
        Who types one of these words at “/invite” on this server gets the agent of this group.
      </p>
      <Input label="Codes" hint="Separated by commas" value={text} onValue={setText} autoFocus />
    </Form>
  );
}
