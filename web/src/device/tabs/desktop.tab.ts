import type { DeviceTab } from "../../app/registry.ts";
import { has, limited, Right } from "../../model/rights.ts";
import { lazy } from "../../parts/lazy.tsx";

/** Bit of an agent's abilities: it was built with a desktop. */
const DESKTOP = 1;

export default {
  path: "desktop",
  title: "Desktop",
  order: 20,
  visible: (device, rights) =>
    (device.mtype ?? 2) === 2 &&
    ((device.agent?.caps ?? DESKTOP) & DESKTOP) !== 0 &&
    (has(rights, Right.remoteControl) || has(rights, Right.viewOnly)) &&
    !limited(rights, Right.noDesktop),
  show: lazy(() => import("./desktop.tsx")),
} satisfies DeviceTab;
