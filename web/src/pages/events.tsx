// What happened, everywhere this account may look.

import { useEffect, useMemo, useState } from "preact/hooks";

import { useAsk } from "../app/hooks.ts";
import { store } from "../app/state.ts";
import type { Happening } from "../control/wire.ts";
import { plain } from "../model/format.ts";
import { Button, Card, Empty, Icon, Waiting } from "../parts/basic.tsx";
import { EventList } from "../parts/events.tsx";
import { Select } from "../parts/field.tsx";

const STEP = 200;

const KINDS: [string, string][] = [
  ["", "Everything"],
  ["agentlog", "Agents"],
  ["relaylog", "Sessions"],
  ["runcommands", "Commands"],
  ["manual", "Entries by hand"],
  ["changenode", "Changes of devices"],
  ["removenode", "Removed devices"],
];

export default function Events() {
  const [kind, setKind] = useState("");
  const [limit, setLimit] = useState(STEP);
  const [text, setText] = useState("");
  const asked = useAsk("events", { limit, ...(kind && { filter: kind }) }, [kind, limit]);
  const [since, setSince] = useState(0);
  // Events are live from the moment the list was made.
  useEffect(() => setSince(Date.now()), [asked.frame]);
  const stored = asked.frame?.["events"];
  const list = Array.isArray(stored) ? (stored as Happening[]) : [];
  const shown = useMemo(() => {
    const live = store.events.filter(
      (event) => Date.parse(event.time ?? "") > since - 1000 && (kind === "" || event.action === kind),
    );
    const wanted = text.trim().toLowerCase();
    const seen = new Set<string>();
    return [...live, ...list].filter((event) => {
      const key = `${event.time} ${event.action} ${event.msg}`;
      if (seen.has(key)) return false;
      seen.add(key);
      const device = store.devices.get(event.nodeid ?? "")?.name ?? "";
      return [event.msg, event.username, device].some((words) =>
        plain(words ?? "")
          .toLowerCase()
          .includes(wanted),
      );
    });
  }, [store.changes.events.value, asked.frame, text, since]);
  return (
    <div class="page">
      <div class="page-head">
        <h1>Events</h1>
      </div>
      <div class="toolbar">
        <div class="search" role="search">
          <Icon name="search" />
          <input
            type="search"
            class="input"
            aria-label="Search events"
            placeholder="Search: words, device, account"
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </div>
        <Select quiet label="Kind" value={kind} onValue={setKind} options={KINDS} />
      </div>
      {asked.failure ? (
        <Empty icon="warn" title="The events cannot be read">
          <p>{asked.failure}</p>
        </Empty>
      ) : asked.frame === null ? (
        <Waiting rows={8} />
      ) : (
        <>
          <Card flush>
            <EventList events={shown} withDevice />
          </Card>
          {list.length >= limit && (
            <div class="row">
              <Button onClick={() => setLimit(limit + STEP)}>Show older ones</Button>
            </div>
          )}
        </>
      )}
    </div>
  );
}
