import type { GroupSection } from "../app/registry.ts";
import { Feature, feature } from "../app/state.ts";
import Invitations from "./invitations.tsx";

export default {
  order: 40,
  // On the local network alone people would not find the server's page.
  visible: (group) => group.mtype === 2 && !feature(Feature.lanOnly),
  show: Invitations,
} satisfies GroupSection;
