import type { GroupSection } from "../app/registry.ts";
import { has, Right } from "../model/rights.ts";
import { lazy } from "../parts/lazy.tsx";

export default {
  order: 17,
  visible: (group, rights) =>
    (group.mtype === 1 || group.mtype === 2) &&
    (has(rights, Right.editGroup) || (group.mtype === 1 && has(rights, Right.manageDevices))),
  show: lazy(async () => ({ default: (await import("../amt/index.ts")).Policy })),
} satisfies GroupSection;
