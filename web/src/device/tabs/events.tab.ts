import type { DeviceTab } from "../../app/registry.ts";
import Events from "./events.tsx";

export default {
  path: "events",
  title: "Events",
  order: 90,
  visible: () => true,
  show: Events,
} satisfies DeviceTab;
