import type { GroupSection } from "../app/registry.ts";
import { client } from "../app/state.ts";
import { has, Right } from "../model/rights.ts";
import Amt from "./amt.tsx";

export default {
  order: 15,
  visible: (group, rights) =>
    (group.mtype === 1 || group.mtype === 2) &&
    has(rights, Right.editGroup) &&
    (client.greeting.value?.server.mpsport ?? 0) !== 0,
  show: Amt,
} satisfies GroupSection;
