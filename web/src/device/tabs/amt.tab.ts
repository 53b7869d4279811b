import type { DeviceTab } from "../../app/registry.ts";
import { hasAmt } from "../../model/amt.ts";
import { lazy } from "../../parts/lazy.tsx";

export default {
  path: "amt",
  title: "Intel AMT",
  order: 85,
  visible: hasAmt,
  show: lazy(async () => ({ default: (await import("../../amt/index.ts")).Tab })),
} satisfies DeviceTab;
