// The seat of somebody who is logged in, at one device.

import { useMemo } from "preact/hooks";

import { client } from "../app/state.ts";
import type { Device } from "../control/wire.ts";
import { system } from "../model/format.ts";
import { limited, Right } from "../model/rights.ts";
import type { Seat } from "./hooks.tsx";
import { byAccount } from "./open.ts";

/** Longest clipboard that is sent; the control channel takes messages of this size. */
const CLIPBOARD = 60_000;
/** Time for the agent to tell what is in its clipboard. */
const PATIENCE = 8_000;

export function useSeat(device: Device, rights: number): Seat {
  const { _id: nodeid } = device;
  const way = useMemo(() => byAccount(client, nodeid), [nodeid]);
  return {
    way,
    name: device.name,
    online: ((device.conn ?? 0) & 1) !== 0,
    windows: system(device) === "windows",
    apple: system(device) === "apple",
    viewOnly: limited(rights, Right.viewOnly),
    limited: limited(rights, Right.limitedInput),
    clipboard: {
      read: () => readClipboard(nodeid),
      write: async (text) => {
        if (text.length > CLIPBOARD) throw new Error("This is too much for the clipboard of a device.");
        await client.ask("msg", { type: "setclip", nodeid, data: text }, { bare: false });
      },
    },
  };
}

/** The agent's answer comes as a message of its own, after the server's. */
function readClipboard(nodeid: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const end = () => {
      off();
      clearTimeout(timer);
    };
    const off = client.on("msg", (frame) => {
      if (frame["type"] !== "getclip" || frame["nodeid"] !== nodeid || typeof frame["data"] !== "string")
        return;
      end();
      resolve(frame["data"]);
    });
    const timer = setTimeout(() => {
      end();
      reject(new Error("The clipboard of the device is empty or cannot be read."));
    }, PATIENCE);
    client.ask("msg", { type: "getclip", nodeid, tag: 1 }, { bare: false }).catch((error: Error) => {
      end();
      reject(error);
    });
  });
}
