import type { DeviceTab } from "../../app/registry.ts";
import { has, limited, Right } from "../../model/rights.ts";
import Sharing from "./sharing.tsx";

export default {
  path: "sharing",
  title: "Sharing",
  order: 120,
  visible: (_device, rights) =>
    has(rights, Right.remoteControl) &&
    has(rights, Right.guestSharing) &&
    !limited(rights, Right.limitedInput),
  show: Sharing,
} satisfies DeviceTab;
