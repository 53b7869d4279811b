import type { DeviceTab } from "../../app/registry.ts";
import { has, limited, Right } from "../../model/rights.ts";
import { lazy } from "../../parts/lazy.tsx";

export default {
  path: "files",
  title: "Files",
  order: 40,
  visible: (device, rights) =>
    (device.mtype ?? 2) === 2 &&
    has(rights, Right.remoteControl) &&
    !limited(rights, Right.noFiles) &&
    !limited(rights, Right.viewOnly),
  show: lazy(() => import("./files.tsx")),
} satisfies DeviceTab;
