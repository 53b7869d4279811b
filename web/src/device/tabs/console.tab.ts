import type { DeviceTab } from "../../app/registry.ts";
import { has, Right } from "../../model/rights.ts";
import Console from "./console.tsx";

export default {
  path: "console",
  title: "Console",
  order: 50,
  visible: (device, rights) => device.mtype !== 3 && has(rights, Right.agentConsole),
  show: Console,
} satisfies DeviceTab;
