import type { DeviceTab } from "../../app/registry.ts";
import { has, limited, Right } from "../../model/rights.ts";
import { lazy } from "../../parts/lazy.tsx";

export default {
  path: "terminal",
  title: "Terminal",
  order: 30,
  visible: (device, rights) =>
    (device.mtype ?? 2) === 2 &&
    has(rights, Right.remoteControl) &&
    !limited(rights, Right.noTerminal) &&
    !limited(rights, Right.viewOnly),
  show: lazy(() => import("./terminal.tsx")),
} satisfies DeviceTab;
