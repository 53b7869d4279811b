import type { Page } from "../app/registry.ts";
import { me } from "../app/state.ts";
import { isAdministrator, Site, siteHas } from "../model/rights.ts";
import Server from "./server.tsx";

export default {
  path: "server",
  title: "Server",
  nav: { icon: "server", order: 50, key: "s" },
  visible: () => isAdministrator(me()) || siteHas(me(), Site.update),
  show: Server,
} satisfies Page;
