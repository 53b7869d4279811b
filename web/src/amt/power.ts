// What can be asked of the power of a computer through its firmware, and how.

import { Right } from "../model/rights.ts";

export interface PowerChoice {
  id: string;
  words: string;
  action: "poweraction" | "amtpower" | "amtboot";
  body: object;
  right: number;
  /** CIM's number of the state, where the firmware says whether it offers it. */
  state?: number;
}

const state = (id: string, words: string, number: number): PowerChoice => ({
  id,
  words,
  action: "amtpower",
  body: { state: number },
  right: Right.power,
  state: number,
});

const start = (target: string, words: string): PowerChoice => ({
  id: target,
  words,
  action: "amtboot",
  body: { target },
  right: Right.power,
});

export const SWITCH_ON: PowerChoice = {
  id: "on",
  words: "Switch on",
  action: "poweraction",
  body: { actiontype: 302 },
  right: Right.wake,
  state: 2,
};

export const SWITCH_OFF = state("off", "Switch off", 8);
export const RESET = state("reset", "Reset", 10);

/** What more firmware may offer in the state it is in. */
export const STATES: PowerChoice[] = [
  state("soft-off", "Shut down the system", 12),
  state("soft-reset", "Restart the system", 14),
  state("sleep", "Sleep", 4),
  state("hibernate", "Hibernate", 7),
  state("cycle", "Power cycle", 5),
  state("interrupt", "Interrupt the system (NMI)", 11),
];

/** Where a computer can be started from. */
export const STARTS: PowerChoice[] = [
  start("setup", "Start with the setup"),
  start("setup-serial", "Start with the setup on the serial line"),
  start("network", "Start from the network"),
  start("disk", "Start from the disk"),
  start("optical", "Start from the CD-ROM"),
];

/** Everything, for many computers at a time. */
export const ALL: PowerChoice[] = [SWITCH_ON, SWITCH_OFF, RESET, ...STATES, ...STARTS];

/** What is sent for one device. */
export function request(choice: PowerChoice, nodeid: string): [action: string, body: object] {
  const whom = choice.action === "poweraction" ? { nodeids: [nodeid] } : { nodeid };
  return [choice.action, { ...whom, ...choice.body }];
}

/** Whether to offer it; firmware that says nothing may be asked for everything. */
export const offers = (offered: number[], { state }: PowerChoice): boolean =>
  state === undefined || offered.length === 0 || offered.includes(state);

/** Why an address is none to start from; empty if it is one. */
export function addressFault(address: string): string {
  if (address.trim() === "") return "An address";
  try {
    const { protocol, hostname, username, password } = new URL(address.trim());
    if (username !== "" || password !== "") return "The address may not contain a login.";
    if (protocol !== "https:" || hostname === "") return "The address has to begin with https://";
  } catch {
    return "This is no address.";
  }
  return address.trim().length > 300 ? "The address is too long: firmware takes 300 characters." : "";
}
