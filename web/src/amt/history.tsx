// What was activated, as the activation log has it.

import { useAsk } from "../app/hooks.ts";
import { to } from "../app/router.ts";
import { store } from "../app/state.ts";
import { short } from "../control/wire.ts";
import { activationsIn, type Activation } from "../model/activation.ts";
import { dateTime, plain } from "../model/format.ts";
import { Badge, Empty, Waiting, Words } from "../parts/basic.tsx";

const STATES: Record<Activation["state"], { words: string; kind?: "ok" | "bad" }> = {
  begun: { words: "begun" },
  done: { words: "done", kind: "ok" },
  failed: { words: "failed", kind: "bad" },
};

export function History({ close }: { close(): void }) {
  const { frame, failure } = useAsk("amtactivations", {}, []);
  const list = activationsIn(frame?.["activations"]);
  if (failure !== null) return <p class="muted">{failure}</p>;
  if (frame === null) return <Waiting />;
  if (list.length === 0) return <Empty icon="events" title="Nothing was activated yet" />;
  return (
    <div class="stack">
      <p class="small muted">
        The newest lines of the activation log. Passwords are in its file only, which is to be kept safely.
      </p>
      <ul class="items">
        {list.map((line, n) => (
          <Line key={n} line={line} close={close} />
        ))}
      </ul>
    </div>
  );
}

function Line({ line, close }: { line: Activation; close(): void }) {
  const device = store.devices.get(line.nodeid);
  const { words, kind } = STATES[line.state];
  const more = [line.suffix, line.uuid, line.from].filter(Boolean).map(plain).join(" · ");
  return (
    <li>
      <div class="what">
        <strong class="ellipsis">
          {device ? (
            <a href={to("device", short(device._id))} onClick={() => close()}>
              <Words text={device.name} />
            </a>
          ) : (
            <Words text={line.computer || line.uuid || line.what} />
          )}
        </strong>
        <div class="small muted">
          {plain(line.what)}, {dateTime(line.time)}
        </div>
        <div class="small muted">{more}</div>
      </div>
      <Badge kind={kind}>{words}</Badge>
    </li>
  );
}
