// Links with which somebody without an account gets at this device for a while.

import { useState } from "preact/hooks";

import { useAsk, useEvents } from "../../app/hooks.ts";
import type { DeviceTabProps } from "../../app/registry.ts";
import { client } from "../../app/state.ts";
import { short, type Device, type Share } from "../../control/wire.ts";
import { dateTime, plain } from "../../model/format.ts";
import { limited, Right } from "../../model/rights.ts";
import { Button, Card, Empty, Waiting, Words } from "../../parts/basic.tsx";
import { copy, CopyBox, Qr } from "../../parts/copy.tsx";
import { confirm, dialog } from "../../parts/dialog.tsx";
import { Bits, Check, Form, Input, Select } from "../../parts/field.tsx";

const WAYS = [
  { bit: 2, words: "Desktop", not: Right.noDesktop },
  { bit: 1, words: "Terminal", not: Right.noTerminal },
  { bit: 4, words: "Files", not: Right.noFiles },
];

export default function Sharing({ device, rights }: DeviceTabProps) {
  const asked = useAsk("deviceShares", { nodeid: device._id }, [device._id]);
  useEvents(
    (event) => {
      const ours = event.nodeid === device._id || event.nodeid === undefined;
      if (ours && ["deviceShareUpdate", "addedDeviceShare", "removedDeviceShare"].includes(event.action))
        asked.again();
    },
    [device._id, asked.again],
  );
  const list = asked.frame?.["deviceShares"];
  const shares = Array.isArray(list) ? (list as Share[]) : [];
  const add = () =>
    dialog("Share with a guest", (close) => (
      <Add device={device} rights={rights} close={close} done={asked.again} />
    ));
  return (
    <Card
      title="Guests"
      flush={shares.length > 0}
      tools={
        <Button icon="plus" small onClick={add}>
          New link
        </Button>
      }
    >
      {asked.failure ? (
        <p class="muted">{asked.failure}</p>
      ) : asked.frame === null ? (
        <Waiting />
      ) : shares.length === 0 ? (
        <Empty icon="share" title="Nobody is invited">
          <p>
            A link lets a guest use this device for a while, without an account. You can end it at any time.
          </p>
        </Empty>
      ) : (
        <ul class="items">
          {shares.map((share) => (
            <ShareItem key={share.publicid} device={device} share={share} done={asked.again} />
          ))}
        </ul>
      )}
    </Card>
  );
}

function ways({ p, viewOnly, port }: Share): string {
  const names: [number, string][] = [
    [1, "terminal"],
    [2, viewOnly ? "desktop, looking only" : "desktop"],
    [4, "files"],
    [8, `web on port ${port ?? 80}`],
    [16, `secure web on port ${port ?? 443}`],
  ];
  return names
    .filter(([bit]) => p & bit)
    .map(([, name]) => name)
    .join(", ");
}

function when({ startTime, expireTime, recurring, duration }: Share): string {
  if (recurring) return `${recurring === 1 ? "every day" : "every week"}, ${duration} min`;
  if (!expireTime) return "until it is removed";
  const later = startTime !== undefined && startTime > Date.now();
  return later ? `${dateTime(startTime)} to ${dateTime(expireTime)}` : `until ${dateTime(expireTime)}`;
}

function ShareItem({ device, share, done }: { device: Device; share: Share; done(): void }) {
  const { url } = share;
  const remove = () =>
    confirm(
      "End this invitation?",
      <p>The link stops working, and a session that runs on it ends.</p>,
      "End it",
      async () => {
        await client.ask("removeDeviceShare", { nodeid: device._id, publicid: share.publicid });
        done();
      },
    );
  return (
    <li>
      <div class="what">
        <strong class="ellipsis">
          <Words text={share.guestName ?? "Guest"} />
        </strong>
        <span class="small muted">
          {ways(share)} · {when(share)}
          {share.userid && ` · by ${plain(short(share.userid))}`}
        </span>
      </div>
      {url && <Button kind="plain" small icon="copy" label="Copy the link" onClick={() => void copy(url)} />}
      {url && (
        <Button
          kind="plain"
          small
          icon="qr"
          label="Show the link"
          onClick={() => void dialog("Link for the guest", () => <LinkShown url={url} />)}
        />
      )}
      <Button kind="plain" small icon="trash" label="End this invitation" onClick={() => void remove()} />
    </li>
  );
}

export function LinkShown({ url }: { url: string }) {
  return (
    <div class="stack">
      <CopyBox text={url} label="the link" />
      <Qr text={url} label="The link as a QR code" />
      <p class="small muted">Whoever has this link can use it. Send it only to whom it is meant for.</p>
    </div>
  );
}

type Duration = "60" | "480" | "1440" | "10080" | "0";

function Add(props: { device: Device; rights: number; close(): void; done(): void }) {
  const { device, rights, close, done } = props;
  const allowed = WAYS.filter(({ not }) => !limited(rights, not));
  const [name, setName] = useState("Guest");
  const [bits, setBits] = useState(2);
  const [viewOnly, setViewOnly] = useState(limited(rights, Right.viewOnly));
  const [minutes, setMinutes] = useState<Duration>("60");
  const [ask, setAsk] = useState(true);
  return (
    <Form
      action="Make the link"
      disabled={name.trim() === "" || bits === 0}
      onCancel={close}
      onSubmit={async () => {
        const consent = ask ? (bits & 2 ? 8 : 0) | (bits & 1 ? 16 : 0) | (bits & 4 ? 32 : 0) : 0;
        const body = {
          nodeid: device._id,
          guestname: name.trim(),
          p: bits,
          consent,
          expire: Number(minutes),
          viewOnly,
        };
        const frame = await client.ask("createDeviceShareLink", body, { also: ["deviceShares"] });
        const url = frame["url"];
        close();
        done();
        if (typeof url === "string") void dialog("Link for the guest", () => <LinkShown url={url} />);
      }}
    >
      <Input label="Name of the guest" value={name} onValue={setName} autoFocus />
      <fieldset class="stack tight">
        <legend class="small muted">May use</legend>
        <Bits bits={allowed} value={bits} onValue={setBits} />
        {(bits & 2) !== 0 && (
          <Check
            label="Only look at the desktop"
            checked={viewOnly}
            disabled={limited(rights, Right.viewOnly)}
            onValue={setViewOnly}
          />
        )}
      </fieldset>
      <Select
        label="For"
        value={minutes}
        onValue={setMinutes}
        options={[
          ["60", "One hour"],
          ["480", "Eight hours"],
          ["1440", "One day"],
          ["10080", "One week"],
          ["0", "Until it is removed"],
        ]}
      />
      <Check label="Ask the person at the device first" checked={ask} onValue={setAsk} />
    </Form>
  );
}
