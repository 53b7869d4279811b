import type { DeviceTab } from "../../app/registry.ts";
import Power from "./power.tsx";

export default {
  path: "power",
  title: "Power",
  order: 100,
  visible: () => true,
  show: Power,
} satisfies DeviceTab;
