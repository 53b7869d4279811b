import type { Page } from "../app/registry.ts";
import Events from "./events.tsx";

export default {
  path: "events",
  title: "Events",
  nav: { icon: "events", order: 40, key: "e" },
  show: Events,
} satisfies Page;
