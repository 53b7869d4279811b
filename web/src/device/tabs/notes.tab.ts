import type { DeviceTab } from "../../app/registry.ts";
import { has, Right } from "../../model/rights.ts";
import DeviceNotes from "./notes.tsx";

export default {
  path: "notes",
  title: "Notes",
  order: 110,
  visible: (_device, rights) => has(rights, Right.notes),
  show: DeviceNotes,
} satisfies DeviceTab;
