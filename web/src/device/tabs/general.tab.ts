import type { DeviceTab } from "../../app/registry.ts";
import General from "./general.tsx";

export default {
  path: "general",
  title: "General",
  order: 10,
  visible: () => true,
  show: General,
} satisfies DeviceTab;
