import type { Page } from "../app/registry.ts";
import { me } from "../app/state.ts";
import { Site, siteHas } from "../model/rights.ts";
import Users from "./users.tsx";

export default {
  path: "users",
  title: "Users",
  nav: { icon: "users", order: 30, key: "u" },
  visible: () => siteHas(me(), Site.manageUsers) || siteHas(me(), Site.userGroups),
  show: Users,
} satisfies Page;
