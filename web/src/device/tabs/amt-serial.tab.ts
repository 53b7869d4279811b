import type { DeviceTab } from "../../app/registry.ts";
import { hasAmt } from "../../model/amt.ts";
import { has, limited, Right } from "../../model/rights.ts";
import { lazy } from "../../parts/lazy.tsx";

export default {
  path: "amt-serial",
  title: "AMT serial",
  order: 87,
  visible: (device, rights) =>
    hasAmt(device) &&
    has(rights, Right.remoteControl) &&
    !limited(rights, Right.noAmt) &&
    !limited(rights, Right.noTerminal),
  show: lazy(() => import("./amt-serial.tsx")),
} satisfies DeviceTab;
