// Agents, memory and what was written to disk, over time.

import { useEffect, useState } from "preact/hooks";

import { tryAsk } from "../app/state.ts";
import type { Frame } from "../control/wire.ts";
import { bytes, grouped } from "../model/format.ts";
import { measured, type Measure } from "../model/health.ts";
import { Card, Waiting } from "../parts/basic.tsx";
import { now } from "../parts/clock.ts";
import { Segments } from "../parts/field.tsx";
import { LinePlot } from "../parts/plot.tsx";

const HOURS = { "24": "Day", "168": "Week", "720": "30 days" } as const;
type Hours = keyof typeof HOURS;

const MEASURES: { value: Measure; words: string; title: string; show(value: number): string }[] = [
  { value: "agents", words: "Agents", title: "Agents online", show: grouped },
  { value: "memory", words: "Memory", title: "Memory of the server", show: bytes },
  { value: "written", words: "Disk", title: "Written to disk since the start", show: bytes },
];

export function Measurements() {
  const [hours, setHours] = useState<Hours>("24");
  const [chosen, setChosen] = useState<Measure>("agents");
  const [frame, setFrame] = useState<Frame | null | undefined>(undefined);
  useEffect(() => {
    let current = true;
    void tryAsk("servertimelinestats", { hours: Number(hours) }).then(
      (answer) => current && setFrame(answer),
    );
    return () => void (current = false);
  }, [hours]);
  if (frame === null) return null;
  const series = MEASURES.map((measure) => ({
    ...measure,
    points: measured(frame?.["events"], measure.value),
  }));
  const told = series.filter(({ value, points }) => value === "agents" || points.length > 0);
  const shown = told.find(({ value }) => value === chosen) ?? told[0];
  if (shown === undefined) return null;
  const { title, points, show } = shown;
  return (
    <Card
      title={title}
      tools={
        <div class="row wrap">
          {told.length > 1 && (
            <Segments label="What is measured" value={shown.value} onValue={setChosen} options={told} />
          )}
          <Segments
            label="Time"
            value={hours}
            onValue={setHours}
            options={Object.entries(HOURS).map(([value, words]) => ({ value: value as Hours, words }))}
          />
        </div>
      }
    >
      {frame === undefined ? (
        <Waiting />
      ) : points.length < 2 ? (
        <p class="muted">There are too few measurements yet.</p>
      ) : (
        <LinePlot
          points={points}
          from={now.value - Number(hours) * 3_600_000}
          to={now.value}
          label={`${title} over ${HOURS[hours].toLowerCase()}: ${show(points.at(-1)?.value ?? 0)} now`}
          show={show}
        />
      )}
    </Card>
  );
}
