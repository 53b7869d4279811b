// What the firmware of a device is asked and told while its system may be down: power, where it
// starts from, and what it has written down.

import { useState } from "preact/hooks";

import { client } from "../app/state.ts";
import type { Device } from "../control/wire.ts";
import { dateTime, plain, powerWords } from "../model/format.ts";
import { has, Right } from "../model/rights.ts";
import { Badge, Button, Card, Empty, Facts, Waiting } from "../parts/basic.tsx";
import { attempt, confirm } from "../parts/dialog.tsx";
import { Segments } from "../parts/field.tsx";
import { eventsIn, logLine, powerIn, severityWords, START_FROM, versionsIn, type Power } from "./told.ts";

/** Asks the firmware something; it takes seconds. */
async function read(nodeid: string, what: string): Promise<unknown> {
  const { value, result } = await client.ask("amtread", { nodeid, what });
  if (value === undefined) throw new Error(plain(String(result ?? "Intel AMT does not answer")));
  return value;
}

async function done(asked: Promise<Record<string, unknown>>): Promise<void> {
  const { result } = await asked;
  if (result !== "ok") throw new Error(plain(String(result)));
}

/** Power as the firmware sees it. Only what it offers in its state is shown. */
export function PowerCard({ device, rights }: { device: Device; rights: number }) {
  const [power, setPower] = useState<Power | null>(null);
  const [busy, setBusy] = useState(false);
  const nodeid = device._id;
  const look = async () => {
    setBusy(true);
    await attempt(async () => setPower(powerIn(await read(nodeid, "power"))));
    setBusy(false);
  };
  const switchTo = (actiontype: number) =>
    done(client.ask("poweraction", { nodeids: [nodeid], actiontype }, { check: false }));
  const sure = (title: string, action: string, run: () => Promise<void>) =>
    confirm(
      title,
      <p>The system is not asked: what is not saved there is lost.</p>,
      action,
      async () => void (await run()),
    );
  const offers = (number: number) =>
    power === null || power.offered.length === 0 || power.offered.includes(number);
  const may = has(rights, Right.power);
  return (
    <Card
      title="Power"
      tools={
        has(rights, Right.details) && (
          <Button
            kind="plain"
            small
            icon="restart"
            label="Ask for the state"
            busy={busy}
            onClick={() => void look()}
          />
        )
      }
    >
      <div class="stack">
        {power && <Facts facts={[["State", powerWords(power.shown)]]} />}
        <div class="toolbar">
          {has(rights, Right.wake) && offers(2) && (
            <Button icon="power" onClick={() => void attempt(() => switchTo(302), "Switched on")}>
              Switch on
            </Button>
          )}
          {may && offers(8) && (
            <Button
              icon="stop"
              onClick={() => void sure("Switch the device off?", "Switch off", () => switchTo(308))}
            >
              Switch off
            </Button>
          )}
          {may && offers(10) && (
            <Button
              icon="restart"
              onClick={() => void sure("Reset the device?", "Reset", () => switchTo(310))}
            >
              Reset
            </Button>
          )}
        </div>
        {may && (
          <div class="toolbar">
            {START_FROM.map(([target, words]) => (
              <Button
                key={target}
                small
                onClick={() =>
                  void sure(`Start the device: ${words}?`, "Start", () =>
                    done(client.ask("amtboot", { nodeid, target }, { check: false })),
                  )
                }
              >
                {words}
              </Button>
            ))}
          </div>
        )}
      </div>
    </Card>
  );
}

type What = "events" | "audit" | "software";

const WHAT: { value: What; words: string }[] = [
  { value: "events", words: "Events" },
  { value: "audit", words: "Audit log" },
  { value: "software", words: "Versions" },
];

/** What the firmware has written down, asked for when somebody wants it: it is slow. */
export function RecordsCard({ device }: { device: Device }) {
  const [what, setWhat] = useState<What>("events");
  const [asked, setAsked] = useState<{ what: What; value: unknown } | null>(null);
  const [busy, setBusy] = useState(false);
  const ask = async (wanted: What) => {
    setWhat(wanted);
    setBusy(true);
    await attempt(async () => setAsked({ what: wanted, value: await read(device._id, wanted) }));
    setBusy(false);
  };
  const shown = asked?.what === what ? asked.value : undefined;
  return (
    <Card
      title="What the firmware knows"
      tools={
        <Segments label="What to ask for" value={what} options={WHAT} onValue={(one) => void ask(one)} />
      }
    >
      {busy ? (
        <Waiting />
      ) : shown === undefined ? (
        <Empty icon="board" title="Not asked yet">
          <p>Firmware answers slowly, so it is asked when you want it.</p>
          <Button onClick={() => void ask(what)}>Ask</Button>
        </Empty>
      ) : what === "software" ? (
        <Facts facts={versionsIn(shown)} />
      ) : (
        <Log records={eventsIn(shown)} />
      )}
    </Card>
  );
}

function Log({ records }: { records: ReturnType<typeof eventsIn> }) {
  if (records.length === 0) return <Empty icon="events" title="Nothing is written down" />;
  return (
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
          <span class="about">{plain(record.who)}</span>
        </li>
      ))}
    </ul>
  );
}
