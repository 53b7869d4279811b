import type { Page } from "../app/registry.ts";
import { client, me } from "../app/state.ts";
import { lazy } from "../parts/lazy.tsx";
import { isAdministrator } from "../model/rights.ts";

export default {
  path: "amt",
  title: "Intel AMT",
  nav: { icon: "board", order: 45, key: "i" },
  visible: () => isAdministrator(me()) && (client.greeting.value?.server.mpsport ?? 0) !== 0,
  show: lazy(async () => ({ default: (await import("../amt/index.ts")).Page })),
} satisfies Page;
