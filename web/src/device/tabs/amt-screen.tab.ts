import type { DeviceTab } from "../../app/registry.ts";
import { hasAmt } from "../../model/amt.ts";
import { has, limited, Right } from "../../model/rights.ts";
import { lazy } from "../../parts/lazy.tsx";

export default {
  path: "amt-screen",
  title: "AMT screen",
  order: 86,
  visible: (device, rights) =>
    hasAmt(device) &&
    has(rights, Right.remoteControl) &&
    !limited(rights, Right.noAmt) &&
    !limited(rights, Right.noDesktop),
  show: lazy(() => import("./amt-screen.tsx")),
} satisfies DeviceTab;
