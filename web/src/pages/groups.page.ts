import type { Page } from "../app/registry.ts";
import Groups from "./groups.tsx";

export default {
  path: "groups",
  title: "Groups",
  nav: { icon: "groups", order: 20, key: "g" },
  show: Groups,
} satisfies Page;
