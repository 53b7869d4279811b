import type { GroupSection } from "../app/registry.ts";
import { feature } from "../app/state.ts";
import Lan from "../amt/lan.tsx";
import { has, Right } from "../model/rights.ts";

/** Bit of `features`: no devices in the local network. */
const WAN_ONLY = 1;

export default {
  order: 16,
  visible: (group, rights) => group.mtype === 1 && has(rights, Right.manageDevices) && !feature(WAN_ONLY),
  show: Lan,
} satisfies GroupSection;
