// Connections to the Intel AMT port, each with what happened and what helps.

import { advice, outcome, type Attempt, type Outcome } from "../model/amt.ts";
import { Ago, Badge, Button, Words } from "../parts/basic.tsx";
import { dialog } from "../parts/dialog.tsx";
import { to } from "../app/router.ts";
import { store } from "../app/state.ts";
import { short } from "../control/wire.ts";

const OUTCOMES: Record<Outcome, { words: string; kind?: "ok" | "bad" | "accent" }> = {
  connected: { words: "connected", kind: "ok" },
  ended: { words: "ended" },
  failed: { words: "failed", kind: "bad" },
  open: { words: "under way", kind: "accent" },
  browser: { words: "a browser" },
};

export function Journal({ list }: { list: Attempt[] }) {
  return (
    <ul class="items">
      {list.map((attempt) => (
        <Line key={`${attempt.time} ${attempt.remote}`} attempt={attempt} />
      ))}
    </ul>
  );
}

function Line({ attempt }: { attempt: Attempt }) {
  const { words, kind } = OUTCOMES[outcome(attempt)];
  const device = attempt.nodeid === null ? undefined : store.devices.get(attempt.nodeid);
  const steps = () => dialog("What happened", () => <Steps attempt={attempt} />);
  return (
    <li>
      <div class="what">
        <strong class="ellipsis">
          {device ? (
            <a href={to("device", short(device._id))}>
              <Words text={device.name} />
            </a>
          ) : (
            <Words text={attempt.uuid ?? attempt.remote} />
          )}
        </strong>
        <span class="small muted">
          <Words text={attempt.steps.at(-1)?.text} />
          {" · "}
          <Words text={attempt.remote} />
          {" · "}
          <Ago time={attempt.time} />
        </span>
        {advice(attempt) && <p class="small">{advice(attempt)}</p>}
      </div>
      <Badge kind={kind}>{words}</Badge>
      <Button kind="plain" small icon="details" label="What happened" onClick={steps} />
    </li>
  );
}

function Steps({ attempt }: { attempt: Attempt }) {
  return (
    <div class="stack">
      <p class="muted">
        <Words text={attempt.remote} />
        {attempt.uuid && (
          <>
            , <Words text={attempt.uuid} />
          </>
        )}
      </p>
      <div class="scroll-x" tabIndex={0}>
        <table class="plain-table">
          <thead>
            <tr>
              <th class="number">After</th>
              <th>What</th>
            </tr>
          </thead>
          <tbody>
            {attempt.steps.map(({ ms, text }, n) => (
              <tr key={n}>
                <td class="number">{ms} ms</td>
                <td>
                  <Words text={text} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {advice(attempt) && <p>{advice(attempt)}</p>}
    </div>
  );
}
