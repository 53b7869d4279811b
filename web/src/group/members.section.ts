import type { GroupSection } from "../app/registry.ts";
import Members from "./members.tsx";

export default {
  order: 20,
  visible: () => true,
  show: Members,
} satisfies GroupSection;
