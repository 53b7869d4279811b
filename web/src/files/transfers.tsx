// What is on its way, and how it went.

import { bytes, count } from "../model/format.ts";
import { Button, Icon, Words } from "../parts/basic.tsx";
import type { Job, Queue } from "./queue.ts";

export function Transfers({ queue }: { queue: Queue }) {
  const jobs = queue.jobs.value;
  if (jobs.length === 0) return null;
  const left = jobs.filter(({ state }) => ["waits", "runs"].includes(state.value)).length;
  return (
    <section class="card transfers">
      <header>
        <h2>{left > 0 ? `${count(left, "transfer")} under way` : "Transfers"}</h2>
        {left < jobs.length && (
          <Button small kind="plain" onClick={() => queue.clear()}>
            Clear
          </Button>
        )}
      </header>
      <ul class="items">
        {[...jobs].reverse().map((job) => (
          <Row key={job.id} job={job} queue={queue} />
        ))}
      </ul>
    </section>
  );
}

const STATES = { waits: "Waits", runs: "", done: "Done", failed: "Failed", stopped: "Stopped" };

function Row({ job, queue }: { job: Job; queue: Queue }) {
  const state = job.state.value;
  const part = job.total > 0 ? Math.min(1, job.done.value / job.total) : state === "done" ? 1 : 0;
  const words = job.words.value || STATES[state];
  return (
    <li>
      <Icon name={job.way === "up" ? "upload" : "download"} />
      <div class="what">
        <strong class="ellipsis">
          <Words text={job.name} />
        </strong>
        <span class={state === "failed" ? "small bad" : "small muted"}>
          {bytes(job.done.value)} of {bytes(job.total)}
          {words && ` · ${words}`}
        </span>
        {state === "runs" && (
          <div
            class="meter"
            role="progressbar"
            aria-label={`Progress of ${job.name.slice(0, 80)}`}
            aria-valuenow={Math.round(part * 100)}
            aria-valuemin={0}
            aria-valuemax={100}
          >
            <i style={{ width: `${part * 100}%` }} />
          </div>
        )}
      </div>
      {(state === "failed" || state === "stopped") && (
        <Button small kind="plain" icon="restart" label="Try again" onClick={() => queue.again(job)} />
      )}
      {(state === "waits" || state === "runs") && (
        <Button small kind="plain" icon="close" label="Stop" onClick={() => queue.stop(job)} />
      )}
    </li>
  );
}
