import type { Page } from "../app/registry.ts";
import UserGroupPage from "./usergroup.tsx";

export default {
  path: "usergroup",
  title: "User group",
  show: UserGroupPage,
} satisfies Page;
