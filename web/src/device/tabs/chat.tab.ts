import type { DeviceTab } from "../../app/registry.ts";
import { has, Right } from "../../model/rights.ts";
import { lazy } from "../../parts/lazy.tsx";

export default {
  path: "chat",
  title: "Chat",
  order: 45,
  visible: (device, rights) => (device.mtype ?? 2) === 2 && has(rights, Right.chat),
  show: lazy(() => import("./chat.tsx")),
} satisfies DeviceTab;
