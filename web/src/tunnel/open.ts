// Tunnels with the browser's sockets, by the ways there are to an agent.

import { relay } from "../control/address.ts";
import type { ControlClient } from "../control/client.ts";
import { Tunnel, type Speaker, type Surroundings, type Way } from "./tunnel.ts";

export const browser: Surroundings = {
  open(url, events) {
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => events.opened();
    socket.onmessage = ({ data }) =>
      typeof data === "string" ? events.text(data) : events.data(data as ArrayBuffer);
    socket.onclose = ({ code }) => events.closed(code !== 1006);
    return {
      send: (data) => socket.readyState === WebSocket.OPEN && socket.send(data),
      close: () => socket.close(),
      waiting: () => socket.bufferedAmount,
    };
  },
  now: Date.now,
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

export function tunnel(way: Way, speaker: Speaker): Tunnel {
  return new Tunnel(browser, way, speaker);
}

/** With an account: the control channel gives proofs for both ends and sends the agent. */
export function byAccount(client: ControlClient, nodeid: string): Way {
  let sender = "";
  const query = (id: string, protocol: number) =>
    `p=${protocol}&nodeid=${encodeURIComponent(nodeid)}&id=${id}`;
  return {
    async address(id, protocol) {
      const { cookie, rcookie } = await client.ask("authcookie");
      if (typeof cookie !== "string" || typeof rcookie !== "string")
        throw new Error("The server gives no way to the device.");
      sender = rcookie;
      return relay(`browser=1&${query(id, protocol)}&auth=${encodeURIComponent(cookie)}`);
    },
    async send(id, protocol) {
      // The agent gets this address as it is; `nodeid` stays bare, as all viewers have it.
      const value = `*/meshrelay.ashx?p=${protocol}&nodeid=${nodeid}&id=${id}&rauth=${sender}`;
      await client.ask("msg", { type: "tunnel", nodeid, value, usage: protocol }, { bare: false });
    },
  };
}
