// A line over time, drawn by hand: one path, one area, three marks.

import { useEffect, useId, useRef, useState } from "preact/hooks";

import { clock, date } from "../model/format.ts";

export interface Point {
  at: number;
  value: number;
}

const [HEIGHT, BOTTOM, TOP] = [200, 22, 8];
/** Width of a digit on the axis, and what is beside it. */
const [DIGIT, MARGIN] = [7, 16];

/** A number not below `value` that is easy to read on an axis. */
export function niceCeiling(value: number): number {
  if (value <= 4) return 4;
  const power = 10 ** Math.floor(Math.log10(value));
  const factor = [1, 2, 4, 5, 10].find((factor) => factor * power >= value) ?? 10;
  return factor * power;
}

export function LinePlot(props: {
  points: Point[];
  from: number;
  to: number;
  label: string;
  show(value: number): string;
}) {
  const { points, from, to } = props;
  const title = useId();
  const svg = useRef<SVGSVGElement>(null);
  const [width, setWidth] = useState(640);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.max(200, entry?.contentRect.width ?? 640)));
    watch.observe(svg.current as SVGSVGElement);
    return () => watch.disconnect();
  }, []);
  const top = niceCeiling(Math.max(1, ...points.map(({ value }) => value)));
  const scale = [0, top / 2, top].map((value) => ({ value, words: props.show(value) }));
  const left = MARGIN + DIGIT * Math.max(...scale.map(({ words }) => words.length));
  const x = (at: number) => left + ((at - from) / Math.max(1, to - from)) * (width - left);
  const y = (value: number) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
  const line = points
    .map(({ at, value }, n) => `${n === 0 ? "M" : "L"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`)
    .join("");
  const [first, last] = [points[0], points.at(-1)];
  const area =
    first && last ? `${line}L${x(last.at).toFixed(1)} ${y(0)}L${x(first.at).toFixed(1)} ${y(0)}Z` : "";
  const when = (at: number) => (to - from > 2 * 86_400_000 ? date(at).replace(/ \d{4}$/, "") : clock(at));
  const marks = [from, from + (to - from) / 2, to];
  return (
    <svg
      ref={svg}
      class="plot"
      height={HEIGHT}
      viewBox={`0 0 ${width} ${HEIGHT}`}
      role="img"
      aria-labelledby={title}
    >
      <title id={title}>{props.label}</title>
      {scale.map(({ value, words }) => (
        <g key={value}>
          <line class="axis" x1={left} x2={width} y1={y(value)} y2={y(value)} />
          <text x={left - 8} y={y(value) + 4} text-anchor="end">
            {words}
          </text>
        </g>
      ))}
      {marks.map((at, n) => (
        <text key={at} x={x(at)} y={HEIGHT - 4} text-anchor={n === 0 ? "start" : n === 2 ? "end" : "middle"}>
          {when(at)}
        </text>
      ))}
      <path class="area" d={area} />
      <path class="line" d={line} />
    </svg>
  );
}
