import type { Page } from "../app/registry.ts";
import Devices from "./devices.tsx";

export default {
  path: "devices",
  title: "Devices",
  nav: { icon: "devices", order: 10, key: "d" },
  show: Devices,
} satisfies Page;
