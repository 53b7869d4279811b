// A list of events, in words.

import { to } from "../app/router.ts";
import { store } from "../app/state.ts";
import { short, type Happening } from "../control/wire.ts";
import { moment, plain } from "../model/format.ts";
import { now } from "./clock.ts";
import { Empty, Words } from "./basic.tsx";

export function EventList({ events, withDevice }: { events: Happening[]; withDevice?: boolean }) {
  if (events.length === 0) return <Empty icon="events" title="Nothing happened" />;
  return (
    <ul class="event-list">
      {events.map((event, n) => {
        const at = Date.parse(event.time ?? "");
        return (
          <li key={`${event.time} ${event.msg} ${n}`}>
            <time dateTime={event.time}>{Number.isNaN(at) ? "" : moment(at, now.value)}</time>
            <span class="said">
              {withDevice && <About event={event} />}
              {plain(event.msg ?? event.action).slice(0, 500)}
            </span>
            <span class="about">{plain(event.username ?? "")}</span>
          </li>
        );
      })}
    </ul>
  );
}

function About({ event }: { event: Happening }) {
  const device = store.devices.get(event.nodeid ?? "");
  if (device) {
    return (
      <a href={to("device", short(device._id), "events")}>
        <Words text={device.name} />
      </a>
    );
  }
  const group = store.groups.get(event.meshid ?? "");
  if (!group) return null;
  return (
    <a href={to("group", short(group._id))}>
      <Words text={group.name} />
    </a>
  );
}
