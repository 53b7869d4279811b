// What happened to the device.

import { useState } from "preact/hooks";

import { useAsk, useEvents } from "../../app/hooks.ts";
import type { DeviceTabProps } from "../../app/registry.ts";
import { client } from "../../app/state.ts";
import type { Happening } from "../../control/wire.ts";
import { has, Right } from "../../model/rights.ts";
import { Button, Card, Empty, Waiting } from "../../parts/basic.tsx";
import { EventList } from "../../parts/events.tsx";
import { prompt } from "../../parts/dialog.tsx";

const LIMIT = 200;

export default function Events({ device, rights }: DeviceTabProps) {
  const asked = useAsk("events", { nodeid: device._id, limit: LIMIT }, [device._id]);
  const [live, setLive] = useState<Happening[]>([]);
  useEvents(
    (event) => {
      if (event.nodeid !== device._id || !event.msg || event.nolog) return;
      setLive((events) =>
        [{ ...event, time: event.time ?? new Date().toISOString() }, ...events].slice(0, LIMIT),
      );
    },
    [device._id],
  );
  const note = () =>
    prompt("Note in the events", "Text", "", "Add", (text) => {
      client.tell("setDeviceEvent", { nodeid: device._id, msg: encodeURIComponent(text) });
    });
  const stored = asked.frame?.["events"];
  const events = [...live, ...(Array.isArray(stored) ? (stored as Happening[]) : [])];
  return (
    <div class="stack">
      {has(rights, Right.notes) && (
        <div class="row end">
          <Button icon="plus" onClick={note}>
            Add an entry
          </Button>
        </div>
      )}
      {asked.failure ? (
        <Empty icon="warn" title="The events cannot be read">
          <p>{asked.failure}</p>
        </Empty>
      ) : asked.frame === null ? (
        <Waiting rows={5} />
      ) : (
        <Card flush>
          <EventList events={distinct(events)} />
        </Card>
      )}
    </div>
  );
}

/** An event may come live and in the stored list. */
function distinct(events: Happening[]): Happening[] {
  const seen = new Set<string>();
  return events.filter((event) => {
    const key = `${event.time} ${event.action} ${event.msg}`;
    return !seen.has(key) && seen.add(key);
  });
}
