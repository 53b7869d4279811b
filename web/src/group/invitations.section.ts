import type { GroupSection } from "../app/registry.ts";
import Invitations from "./invitations.tsx";

export default {
  order: 40,
  visible: (group) => group.mtype === 2,
  show: Invitations,
} satisfies GroupSection;
