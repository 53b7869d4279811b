import type { Page } from "../app/registry.ts";
import DevicePage from "./device.tsx";

export default {
  path: "device",
  title: "Device",
  show: DevicePage,
} satisfies Page;
