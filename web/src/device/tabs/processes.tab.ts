import type { DeviceTab } from "../../app/registry.ts";
import { has, Right } from "../../model/rights.ts";
import Processes from "./processes.tsx";

export default {
  path: "processes",
  title: "Processes",
  order: 60,
  visible: (device, rights) => ((device.conn ?? 0) & 1) !== 0 && has(rights, Right.remoteControl),
  show: Processes,
} satisfies DeviceTab;
