// The smallest parts: icons, buttons, badges, cards, facts.

import type { ComponentChildren } from "preact";

import { now } from "./clock.ts";
import { ago, dateTime, plain, state, stateWords, system } from "../model/format.ts";
import type { Device } from "../control/wire.ts";

export function Icon({ name, label }: { name: string; label?: string }) {
  const hidden =
    label === undefined ? { "aria-hidden": true as const } : { role: "img" as const, "aria-label": label };
  return (
    <svg class="icon" {...hidden}>
      <use href={`#i-${name}`} />
    </svg>
  );
}

interface ButtonProps {
  icon?: string | undefined;
  kind?: "primary" | "danger" | "plain" | undefined;
  small?: boolean | undefined;
  /** For a button that is only an icon. */
  label?: string | undefined;
  busy?: boolean | undefined;
  children?: ComponentChildren;
  disabled?: boolean | undefined;
  type?: "button" | "submit";
  class?: string;
  style?: Record<string, string | number>;
  onClick?: (event: MouseEvent) => void;
  "aria-pressed"?: boolean;
  "aria-expanded"?: boolean;
  "aria-haspopup"?: "menu";
}

export function Button({
  icon,
  kind,
  small,
  label,
  busy,
  children,
  class: extra,
  disabled,
  ...rest
}: ButtonProps) {
  const classes = ["button", kind, small && "small", children === undefined && "square", extra];
  return (
    <button
      type="button"
      class={classes.filter(Boolean).join(" ")}
      aria-label={label}
      title={label}
      disabled={disabled === true || busy === true}
      aria-busy={busy === true ? true : undefined}
      {...rest}
    >
      {busy ? <span class="spinner" /> : icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

export function Badge({
  kind,
  children,
}: {
  kind?: "ok" | "warn" | "bad" | "accent" | undefined;
  children: ComponentChildren;
}) {
  return <span class={`badge ${kind ?? ""}`}>{children}</span>;
}

/** Words of an agent or a person: never markup, never turning the line round. */
export function Words({ text, class: name }: { text: string | undefined | null; class?: string }) {
  return (
    <bdi class={name} title={name?.includes("ellipsis") ? plain(text ?? "").slice(0, 300) : undefined}>
      {plain(text ?? "")}
    </bdi>
  );
}

export function Card(props: {
  title?: ComponentChildren;
  tools?: ComponentChildren;
  flush?: boolean;
  foot?: ComponentChildren;
  children: ComponentChildren;
}) {
  return (
    <section class="card">
      {props.title !== undefined && (
        <header>
          <h2>{props.title}</h2>
          {props.tools}
        </header>
      )}
      <div class={props.flush ? "body flush" : "body"}>{props.children}</div>
      {props.foot && <footer>{props.foot}</footer>}
    </section>
  );
}

export type Fact = [string, ComponentChildren] | false | null | undefined | "" | 0;

/** Names and values; what has no value is left out. */
export function Facts({ facts }: { facts: Fact[] }) {
  const known = facts.filter((fact): fact is [string, ComponentChildren] => Boolean(fact && fact[1]));
  return (
    <dl class="facts">
      {known.map(([name, value]) => [
        <dt key={`${name}-name`}>{name}</dt>,
        <dd key={`${name}-value`}>{typeof value === "string" ? <Words text={value} /> : value}</dd>,
      ])}
    </dl>
  );
}

export function Empty(props: { icon: string; title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <Icon name={props.icon} />
      <h2>{props.title}</h2>
      {props.children}
    </div>
  );
}

export function Notice(props: {
  kind?: "warn" | "bad" | undefined;
  icon?: string;
  children: ComponentChildren;
}) {
  return (
    <div class={`notice ${props.kind ?? ""}`} role={props.kind ? "alert" : "note"}>
      <Icon name={props.icon ?? (props.kind ? "warn" : "info")} />
      <div class="grow">{props.children}</div>
    </div>
  );
}

export function Waiting({ rows = 3 }: { rows?: number }) {
  return (
    <div class="stack" role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, n) => (
        <div key={n} class="skeleton" style={{ height: "2.4rem", opacity: 1 - n * 0.25 }} />
      ))}
    </div>
  );
}

/** A time that stays true while it is looked at. */
export function Ago({ time }: { time: number | undefined }) {
  if (!time) return null;
  return (
    <time dateTime={new Date(time).toISOString()} title={dateTime(time)}>
      {ago(time, now.value)}
    </time>
  );
}

export function Dot({ device }: { device: Device }) {
  return (
    <span
      class={`dot ${state(device)}`}
      role="img"
      aria-label={stateWords(device)}
      title={stateWords(device)}
    />
  );
}

const SYSTEM_ICONS = {
  windows: "windows",
  linux: "linux",
  apple: "apple",
  phone: "phone",
  unknown: "devices",
};
/** MeshCentral's picture numbers: 1 desktop, 2 laptop, 3 phone, 4 server, 5 disk, 6 router, 7 board, 8 virtual. */
const PICTURES: Record<number, string> = {
  2: "laptop",
  3: "phone",
  4: "rack",
  5: "server",
  6: "router",
  7: "board",
};

/** Picture of a device: the one chosen for it, or that of its system. */
export function Picture({ device }: { device: Device }) {
  return <Icon name={PICTURES[device.icon ?? 1] ?? SYSTEM_ICONS[system(device)]} />;
}

export function SystemIcon({ device }: { device: Device }) {
  const family = system(device);
  return <Icon name={SYSTEM_ICONS[family]} />;
}

export function Avatar({ name }: { name: string }) {
  return (
    <span class="avatar" aria-hidden="true">
      {plain(name).slice(0, 1) || "?"}
    </span>
  );
}

/** How far something has come. */
export function Progress({
  words,
  part,
}: {
  words: string;
  /** 0 to 1; null while nobody knows. */ part: number | null;
}) {
  const percent = part === null ? undefined : Math.round(part * 100);
  return (
    <div class="stack tight" role="status">
      <span class="small muted">{words}</span>
      <div
        class="meter"
        role="progressbar"
        aria-label={words}
        aria-valuenow={percent}
        aria-valuemin={0}
        aria-valuemax={100}
      >
        <i style={{ width: `${percent ?? 100}%` }} />
      </div>
    </div>
  );
}
