import type { Page } from "../app/registry.ts";
import GroupPage from "./group.tsx";

export default {
  path: "group",
  title: "Group",
  show: GroupPage,
} satisfies Page;
