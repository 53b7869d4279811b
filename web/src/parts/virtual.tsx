// A long list of which only what is seen is there. Rows have heights known beforehand, so nothing is
// measured and nothing jumps.

import type { ComponentChildren, RefObject } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

export interface Row {
  key: string;
  height: number;
}

/** Pixels drawn above and below what is seen. */
const MARGIN = 400;

export interface VirtualHandle {
  /** Brings a row into view. */
  reveal(index: number): void;
}

/** Tops of the rows, and where the last ends. */
export function offsets(rows: Row[]): Float64Array {
  const tops = new Float64Array(rows.length + 1);
  rows.forEach((row, n) => (tops[n + 1] = (tops[n] ?? 0) + row.height));
  return tops;
}

/** The first row that reaches below `y`. */
export function rowAt(tops: Float64Array, y: number): number {
  let low = 0;
  let high = tops.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((tops[middle + 1] ?? Infinity) > y) high = middle;
    else low = middle + 1;
  }
  return low;
}

export function Virtual<T extends Row>(props: {
  rows: T[];
  label: string;
  /** Space below the last row, in pixels. */
  foot?: number;
  handle?: RefObject<VirtualHandle | null>;
  children(row: T, index: number): ComponentChildren;
}) {
  const { rows } = props;
  const frame = useRef<HTMLDivElement>(null);
  const [seen, setSeen] = useState({ top: 0, height: 900 });
  const tops = useMemo(() => offsets(rows), [rows]);

  useLayoutEffect(() => {
    const element = frame.current as HTMLDivElement;
    let asked = 0;
    const look = () => {
      asked = 0;
      setSeen({ top: element.scrollTop, height: element.clientHeight });
    };
    const soon = () => {
      if (asked === 0) asked = requestAnimationFrame(look);
    };
    const resized = new ResizeObserver(soon);
    resized.observe(element);
    element.addEventListener("scroll", soon, { passive: true });
    look();
    return () => {
      cancelAnimationFrame(asked);
      resized.disconnect();
      element.removeEventListener("scroll", soon);
    };
  }, []);

  useEffect(() => {
    if (!props.handle) return;
    props.handle.current = {
      reveal(index) {
        const element = frame.current as HTMLDivElement;
        const [top = 0, bottom = 0] = [tops[index], tops[index + 1]];
        if (top < element.scrollTop) element.scrollTop = top - 8;
        else if (bottom > element.scrollTop + element.clientHeight)
          element.scrollTop = bottom - element.clientHeight + 8;
      },
    };
  });

  const first = rowAt(tops, seen.top - MARGIN);
  const end = seen.top + seen.height + MARGIN;
  const shown = [];
  for (let n = first; n < rows.length && (tops[n] as number) < end; n++) {
    const row = rows[n] as T;
    const style = { height: `${row.height}px`, transform: `translateY(${tops[n]}px)` };
    shown.push(
      <div key={row.key} style={style}>
        {props.children(row, n)}
      </div>,
    );
  }
  const height = `${(tops[rows.length] ?? 0) + (props.foot ?? 0)}px`;
  return (
    <div class="virtual" ref={frame} tabIndex={0} role="region" aria-label={props.label}>
      <div class="space" style={{ height }}>
        {shown}
      </div>
    </div>
  );
}
