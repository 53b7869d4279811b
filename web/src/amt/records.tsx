// What the firmware has written down and knows of the computer. It is slow, so each part is asked for
// when somebody wants it.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import type { Device } from "../control/wire.ts";
import { bytes, dateTime, memory, plain } from "../model/format.ts";
import { readHardware, readInterfaces } from "../model/hardware.ts";
import { Badge, Button, Card, Empty, Facts, Waiting, Words, type Fact } from "../parts/basic.tsx";
import { attempt } from "../parts/dialog.tsx";
import { Segments } from "../parts/field.tsx";
import { save } from "../parts/save.ts";
import { read } from "./ask.ts";
import { logCsv } from "./csv.ts";
import { certificatesIn, changesIn, pathWords } from "./known.ts";
import { eventsIn, logLine, logWho, severityWords, versionsIn } from "./told.ts";
import { Unasked } from "./unasked.tsx";

/** One thing that can be asked for. */
interface View {
  /** By the name it has in `amtread`. */
  what: string;
  words: string;
  show(value: unknown, device: Device): ComponentChildren;
}

/** Several of them in one card. */
function Asking({ title, device, views }: { title: string; device: Device; views: View[] }) {
  const [what, setWhat] = useState(views[0]?.what ?? "");
  const [asked, setAsked] = useState<{ what: string; value: unknown } | null>(null);
  const [busy, setBusy] = useState(false);
  const ask = async (wanted: string) => {
    setWhat(wanted);
    setBusy(true);
    await attempt(async () => setAsked({ what: wanted, value: await read(device._id, wanted) }));
    setBusy(false);
  };
  const view = asked?.what === what ? views.find((view) => view.what === what) : undefined;
  return (
    <Card
      title={title}
      tools={
        <Segments
          label={`${title}: what to ask for`}
          value={what}
          options={views.map(({ what, words }) => ({ value: what, words }))}
          onValue={(one) => void ask(one)}
        />
      }
    >
      {busy ? (
        <Waiting />
      ) : view && asked ? (
        view.show(asked.value, device)
      ) : (
        <Unasked words="Ask" ask={() => void ask(what)} />
      )}
    </Card>
  );
}

const LOGS: View[] = [
  {
    what: "events",
    words: "Events",
    show: (value, device) => <Log what="events" value={value} device={device} />,
  },
  {
    what: "audit",
    words: "Audit log",
    show: (value, device) => <Log what="audit" value={value} device={device} />,
  },
];

/** The two logs. */
export function LogsCard({ device }: { device: Device }) {
  return <Asking title="Logs of the firmware" device={device} views={LOGS} />;
}

function Log({ what, value, device }: { what: string; value: unknown; device: Device }) {
  const records = eventsIn(value);
  if (records.length === 0) return <Empty icon="events" title="Nothing is written down" />;
  const name = plain(device.name).replace(/[^\w.-]+/g, "_");
  return (
    <div class="stack">
      <div class="toolbar">
        <Button
          small
          icon="download"
          onClick={() => save(`${name}-${what}.csv`, "text/csv;charset=utf-8", logCsv(records))}
        >
          Export as CSV
        </Button>
        <span class="small muted">{records.length} records, by the clock of the firmware</span>
      </div>
      <ul class="event-list">
        {records.map((record, n) => (
          <li key={n}>
            <time dateTime={new Date(record.time).toISOString()}>{dateTime(record.time)}</time>
            <span class="row wrap">
              {record.severity !== undefined && record.severity >= 8 && (
                <Badge kind={record.severity >= 16 ? "bad" : "warn"}>{severityWords(record.severity)}</Badge>
              )}
              <span>{logLine(record)}</span>
            </span>
            <span class="about">{logWho(record)}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}

const HARDWARE: View[] = [
  { what: "hardware", words: "Parts", show: (value) => <Parts value={value} /> },
  { what: "network", words: "Network", show: (value) => <Network value={value} /> },
  { what: "changes", words: "Changes", show: (value) => <Changes value={value} /> },
  { what: "software", words: "Versions", show: (value) => <Facts facts={versionsIn(value)} /> },
  { what: "certificates", words: "Certificates", show: (value) => <Certificates value={value} /> },
];

/** What is in the computer, and what has changed there. */
export function HardwareCard({ device }: { device: Device }) {
  return <Asking title="Hardware" device={device} views={HARDWARE} />;
}

function Parts({ value }: { value: unknown }) {
  const hardware = readHardware(value);
  const parts: { title: string; facts: Fact[] }[] = [
    ...hardware.parts,
    {
      title: "Memory",
      facts: hardware.memory.map(({ place, size, kind }): Fact => [
        plain(place),
        [memory(size), plain(kind)].filter(Boolean).join(", "),
      ]),
    },
    {
      title: "Storage",
      facts: hardware.disks.map(({ name, size }): Fact => [
        plain(name),
        size > 0 ? bytes(size) : "unknown size",
      ]),
    },
  ].filter(({ facts }) => facts.length > 0);
  if (parts.length === 0) return <Empty icon="board" title="The firmware tells nothing of it" />;
  return (
    <div class="stack">
      {parts.map(({ title, facts }) => (
        <section class="stack tight" key={title}>
          <h3>{title}</h3>
          <Facts facts={facts} />
        </section>
      ))}
    </div>
  );
}

function Network({ value }: { value: unknown }) {
  return (
    <div class="stack">
      {readInterfaces(value).map(({ name, addresses, mac, gateway }) => (
        <section class="stack tight" key={name}>
          <h3>{plain(name)}</h3>
          <Facts
            facts={[
              ["Address", addresses.map(plain).join(", ")],
              ["Gateway", gateway],
              ["MAC", mac],
            ]}
          />
        </section>
      ))}
    </div>
  );
}

function Changes({ value }: { value: unknown }) {
  const changes = changesIn(value);
  if (changes.length === 0) return <Empty icon="board" title="Nothing has changed since it is known" />;
  return (
    <ul class="event-list">
      {changes.map(({ time, path, was, is }, n) => (
        <li key={n}>
          <time dateTime={new Date(time).toISOString()}>{dateTime(time)}</time>
          <span>
            {plain(pathWords(path))}: {was === null ? "new" : <s>{plain(was)}</s>}{" "}
            {is === null ? "is gone" : <strong>{plain(is)}</strong>}
          </span>
        </li>
      ))}
    </ul>
  );
}

function Certificates({ value }: { value: unknown }) {
  const list = certificatesIn(value);
  if (list.length === 0) return <Empty icon="key" title="There are none in the firmware" />;
  return (
    <ul class="items">
      {list.map(({ subject, issuer, root }, n) => (
        <li key={n}>
          <div class="what">
            <strong>
              <Words text={subject} />
            </strong>
            {issuer !== subject && (
              <span class="small muted">
                by <Words text={issuer} />
              </span>
            )}
          </div>
          {root && <Badge>trusted root</Badge>}
        </li>
      ))}
    </ul>
  );
}
