import type { GroupSection } from "../app/registry.ts";
import { Feature, feature } from "../app/state.ts";
import Lan from "../amt/lan.tsx";
import { has, Right } from "../model/rights.ts";

export default {
  order: 16,
  visible: (group, rights) =>
    group.mtype === 1 && has(rights, Right.manageDevices) && !feature(Feature.wanOnly),
  show: Lan,
} satisfies GroupSection;
