// What every session shows beside its picture: how it is, why it is not, how to begin again.

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { plain } from "../model/format.ts";
import { Badge, Button, Icon } from "../parts/basic.tsx";
import { tunnel } from "./open.ts";
import type { Speaker, Tunnel, TunnelState, Way } from "./tunnel.ts";

/** Whom a session is with, and what may be done in it. */
export interface Seat {
  way: Way;
  name: string;
  /** The agent is there now. */
  online: boolean;
  windows: boolean;
  apple: boolean;
  /** Look, but do not touch. */
  viewOnly: boolean;
  /** No special keys. */
  limited: boolean;
  /** Numbers of the protocols that are allowed; everything without it. */
  only?: number[];
  /** The way to the remote clipboard, for who has a control channel. */
  clipboard?: { read(): Promise<string>; write(text: string): Promise<void> };
}

/** Pauses before a broken session is tried again; after the last one a person has to ask. */
const PAUSES = [1_000, 2_000, 4_000, 8_000, 15_000];

/** A tunnel that lives as long as the component, and is opened again when it breaks. */
export function useTunnel(
  way: Way,
  speaker: Speaker,
  start: (tunnel: Tunnel) => void,
  online: boolean,
): Tunnel {
  const held = useRef<Tunnel | null>(null);
  held.current ??= tunnel(way, speaker);
  const current = held.current;
  const tries = useSignal(0);
  const { value: state } = current.state;
  useEffect(() => () => current.stop(), []);
  useEffect(() => {
    if (state.is === "open") {
      const steady = setTimeout(() => (tries.value = 0), 20_000);
      return () => clearTimeout(steady);
    }
    if (state.is !== "ended" || state.why !== "lost" || !online) return;
    const pause = PAUSES[tries.peek()];
    if (pause === undefined) return;
    const timer = setTimeout(() => {
      tries.value += 1;
      start(current);
    }, pause);
    return () => clearTimeout(timer);
  }, [state, online]);
  return current;
}

/** What is said instead of a picture; `null` while there is one. */
export function Curtain(props: {
  tunnel: Tunnel;
  seat: Seat;
  icon: string;
  action: string;
  start(): void;
  children?: ComponentChildren;
}) {
  const { tunnel, seat } = props;
  const state = tunnel.state.value;
  if (state.is === "open") return null;
  const waits = state.is === "opening" || state.is === "asking";
  return (
    <div class="curtain" role="status">
      {waits ? <span class="spinner" /> : <Icon name={props.icon} />}
      <p>{words(state, seat)}</p>
      {waits ? (
        <Button onClick={() => tunnel.stop()}>Cancel</Button>
      ) : (
        <>
          {props.children}
          <Button kind="primary" disabled={!seat.online} onClick={props.start}>
            {state.is === "idle" ? props.action : "Connect again"}
          </Button>
        </>
      )}
    </div>
  );
}

function words(state: TunnelState, { name, online }: Seat): string {
  const device = plain(name);
  switch (state.is) {
    case "idle":
      return online ? "" : `${device} is offline.`;
    case "opening":
      return `Reaching ${device}…`;
    case "asking":
      return `The person at ${device} is asked for permission.`;
    case "open":
      return "";
    case "ended":
      break;
  }
  switch (state.why) {
    case "left":
      return "Disconnected.";
    case "closed":
      return "The session has ended.";
    case "lost":
      return online ? "The connection broke." : `The connection broke: ${device} is offline.`;
    case "refused":
      return online ? `The server refuses: ${plain(state.words)}` : `${device} is offline.`;
    case "denied":
      return /denied|rejected|refused/i.test(state.words)
        ? `The person at ${device} refused.`
        : plain(state.words);
    case "absent":
      return `The agent of ${device} did not come.`;
  }
}

/** Marks that belong to every open session. */
export function Marks({ tunnel }: { tunnel: Tunnel }) {
  const state = tunnel.state.value;
  const people = Object.entries(tunnel.watchers.value);
  const windows = people.reduce((sum, [, count]) => sum + (Number(count) || 0), 0);
  if (state.is !== "open") return null;
  return (
    <>
      {state.recorded && (
        <Badge kind="bad">
          <span class="dot rec" /> Recorded
        </Badge>
      )}
      {windows > 1 && (
        <span title={people.map(([id]) => plain(id.split("/")[2] ?? id)).join(", ")}>
          <Badge kind="accent">
            <Icon name="users" /> {windows}
          </Badge>
        </span>
      )}
      {tunnel.rtt.value !== null && <span class="small faint rtt">{tunnel.rtt.value} ms</span>}
    </>
  );
}
