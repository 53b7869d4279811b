// A line about a certificate: until when it is good.

import { date, plain } from "../model/format.ts";
import { expiring } from "../model/health.ts";
import { Badge } from "../parts/basic.tsx";
import { now } from "../parts/clock.ts";

export function Expiry({ name, words, end }: { name: string; words: string; end: number }) {
  const state = expiring(end, now.value);
  return (
    <li>
      <div class="what">
        <strong>{plain(name)}</strong>
        <span class="small muted">{plain(words)}</span>
      </div>
      <span class="small muted">until {date(end)}</span>
      {state !== "good" && (
        <Badge kind={state === "over" ? "bad" : "warn"}>{state === "over" ? "expired" : "soon"}</Badge>
      )}
    </li>
  );
}
