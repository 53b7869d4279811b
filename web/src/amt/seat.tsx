// What every session with firmware has on the page: its socket, and what is said while there is none.

import { useEffect, useRef } from "preact/hooks";

import { client } from "../app/state.ts";
import { page } from "../control/address.ts";
import { plain } from "../model/format.ts";
import { Button, Icon } from "../parts/basic.tsx";
import { askForConsent } from "./consent.tsx";
import { Console, CONSENT } from "./console.ts";

/** A session that lives as long as the component. `path` is the page, `query` what it is asked. */
export function useConsole(
  path: string,
  query: Record<string, string>,
  begin: (socket: WebSocket) => () => void,
): Console<WebSocket> {
  const held = useRef<Console<WebSocket> | null>(null);
  const latest = useRef(begin);
  latest.current = begin;
  held.current ??= new Console({
    async address() {
      const { cookie } = await client.ask("authcookie");
      if (typeof cookie !== "string") throw new Error("The server gives no way to the device.");
      return page(path, new URLSearchParams({ ...query, auth: cookie }).toString());
    },
    open: (address) => new WebSocket(address),
    begin: (socket) => latest.current(socket),
    after(ms, run) {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
  });
  const current = held.current;
  useEffect(() => () => current.stop(), []);
  return current;
}

/** What is said instead of a picture; nothing while there is one. */
export function Curtain(props: { session: Console<WebSocket>; nodeid: string; name: string; icon: string }) {
  const { session, nodeid, name } = props;
  const state = session.state.value;
  if (state.is === "open") return null;
  const waits = state.is === "opening";
  const words = waits ? `Reaching Intel AMT of ${plain(name)}…` : state.is === "ended" ? state.words : "";
  return (
    <div class="curtain" role="status">
      {waits ? <span class="spinner" /> : <Icon name={props.icon} />}
      <p>{words}</p>
      {waits ? (
        <Button onClick={() => session.stop()}>Cancel</Button>
      ) : (
        <>
          {state.is === "ended" && state.code === CONSENT && (
            <Consent session={session} nodeid={nodeid} name={name} />
          )}
          <Button kind="primary" onClick={() => session.start()}>
            {state.is === "idle" ? "Connect" : "Connect again"}
          </Button>
        </>
      )}
    </div>
  );
}

/** The way on when the person at the device has a word in it. */
export function Consent(props: { session: Console<WebSocket>; nodeid: string; name: string }) {
  const ask = async () => {
    if (await askForConsent(props.nodeid, props.name)) props.session.start();
  };
  return (
    <Button icon="user" onClick={() => void ask()}>
      Ask for consent
    </Button>
  );
}

/** The button that begins and ends a session. */
export function Switch({ session, icon }: { session: Console<WebSocket>; icon: string }) {
  const { is } = session.state.value;
  return is === "open" ? (
    <Button icon="stop" onClick={() => session.stop()}>
      Disconnect
    </Button>
  ) : (
    <Button icon={icon} kind="primary" disabled={is === "opening"} onClick={() => session.start()}>
      Connect
    </Button>
  );
}
