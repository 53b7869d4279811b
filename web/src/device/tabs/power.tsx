// When the device was on, day by day.

import { useAsk } from "../../app/hooks.ts";
import type { DeviceTabProps } from "../../app/registry.ts";
import { clock, powerWords } from "../../model/format.ts";
import { share, stretches, type Stretch } from "../../model/power.ts";
import { Card, Empty, Waiting } from "../../parts/basic.tsx";
import { now } from "../../parts/clock.ts";

const DAY = 86_400_000;
const DAYS = 10;

export default function Power({ device }: DeviceTabProps) {
  const asked = useAsk("powertimeline", { nodeid: device._id }, [device._id, device.pwr]);
  if (asked.failure) {
    return (
      <Empty icon="power" title="The history cannot be read">
        <p>{asked.failure}</p>
      </Empty>
    );
  }
  if (!asked.frame) return <Waiting rows={6} />;
  const today = new Date(now.value).setHours(0, 0, 0, 0);
  const all = stretches(asked.frame["timeline"], now.value, now.value - today + (DAYS - 1) * DAY);
  const days = Array.from({ length: DAYS }, (_, n) => dayBefore(today, n));
  const week = stretches(asked.frame["timeline"], now.value, 7 * DAY);
  return (
    <Card title="Last days">
      <div class="stack wide">
        <div class="stack">
          {days.map((day) => (
            <Day key={day} day={day} stretches={all} />
          ))}
          <div class="power-day small faint" aria-hidden="true">
            <span />
            <div class="row between">
              {["00:00", "06:00", "12:00", "18:00", "24:00"].map((hour) => (
                <span key={hour}>{hour}</span>
              ))}
            </div>
          </div>
        </div>
        <div class="row between wrap">
          <Legend />
          <span class="small muted">On for {Math.round(share(week, isOn) * 100)} % of the last week</span>
        </div>
      </div>
    </Card>
  );
}

const isOn = (power: number) => power === 1 || power === 7;
const isAsleep = (power: number) => power >= 2 && power <= 5;

/** The same hour `n` days ago; a day with a change of the clock has 23 or 25. */
function dayBefore(today: number, n: number): number {
  const date = new Date(today);
  date.setDate(date.getDate() - n);
  return date.getTime();
}

function Day({ day, stretches }: { day: number; stretches: Stretch[] }) {
  const end = dayBefore(day, -1);
  const x = (at: number) => ((Math.max(day, Math.min(end, at)) - day) / (end - day)) * 1000;
  const within = stretches.filter(({ from, to }) => to > day && from < end);
  const label = new Date(day).toLocaleDateString("en-GB", {
    weekday: "short",
    day: "numeric",
    month: "short",
  });
  const share =
    within.reduce((sum, { from, to, power }) => sum + (isOn(power) ? x(to) - x(from) : 0), 0) / 10;
  return (
    <div class="power-day">
      <span class="small muted">{label}</span>
      <div class="bar">
        <svg
          viewBox="0 0 1000 10"
          preserveAspectRatio="none"
          role="img"
          aria-label={`${label}: on for ${Math.round(share)} % of the day`}
        >
          {within.map(({ from, to, power }) => (
            <rect
              key={from}
              class={isOn(power) ? "power-on" : isAsleep(power) ? "power-sleep" : "power-off"}
              x={x(from)}
              width={Math.max(1, x(to) - x(from))}
              height="10"
            >
              <title>{`${powerWords(power)}, ${clock(from)} to ${clock(to)}`}</title>
            </rect>
          ))}
        </svg>
      </div>
    </div>
  );
}

function Legend() {
  return (
    <div class="legend">
      <span>
        <i class="dot on" /> On
      </span>
      <span>
        <i class="dot sleep" /> Asleep
      </span>
      <span>
        <i class="dot off" /> Off or unknown
      </span>
    </div>
  );
}
