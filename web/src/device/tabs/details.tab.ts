import type { DeviceTab } from "../../app/registry.ts";
import { has, Right } from "../../model/rights.ts";
import Details from "./details.tsx";

export default {
  path: "details",
  title: "Details",
  order: 80,
  visible: (_device, rights) => has(rights, Right.details),
  show: Details,
} satisfies DeviceTab;
