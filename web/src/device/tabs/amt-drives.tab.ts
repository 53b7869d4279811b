import type { DeviceTab } from "../../app/registry.ts";
import { hasAmt } from "../../model/amt.ts";
import { has, limited, Right } from "../../model/rights.ts";
import { lazy } from "../../parts/lazy.tsx";

export default {
  path: "amt-drives",
  title: "AMT drives",
  order: 88,
  visible: (device, rights) =>
    hasAmt(device) &&
    has(rights, Right.remoteControl) &&
    !limited(rights, Right.noAmt) &&
    !limited(rights, Right.viewOnly) &&
    !limited(rights, Right.limitedInput),
  show: lazy(() => import("./amt-drives.tsx")),
} satisfies DeviceTab;
