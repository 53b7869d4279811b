import type { GroupSection } from "../app/registry.ts";
import { has, Right } from "../model/rights.ts";
import GroupNotes from "./notes.tsx";

export default {
  order: 60,
  visible: (_group, rights) => has(rights, Right.editGroup),
  show: GroupNotes,
} satisfies GroupSection;
