import type { GroupSection } from "../app/registry.ts";
import { has, Right } from "../model/rights.ts";
import Policies from "./policies.tsx";

export default {
  order: 30,
  visible: (_group, rights) => has(rights, Right.editGroup),
  show: Policies,
} satisfies GroupSection;
