// The frame around every page: navigation, the state of the connection, dialogs.

import { useEffect } from "preact/hooks";

import { Avatar, Button, Icon, Words } from "../parts/basic.tsx";
import { Dialogs, Toasts } from "../parts/dialog.tsx";
import { Fence } from "../parts/lazy.tsx";
import { Menu } from "../parts/menu.tsx";
import { now } from "../parts/clock.ts";
import { grouped } from "../model/format.ts";
import { isAdministrator, siteSummary } from "../model/rights.ts";
import Login from "../pages/gate/login.tsx";
import Setup from "../pages/gate/setup.tsx";
import { pages } from "../pages/index.ts";
import { useKeys } from "./keys.ts";
import { prefs, setPrefs } from "./prefs.ts";
import type { Page } from "./registry.ts";
import { go, route, to } from "./router.ts";
import { showShortcuts } from "./shortcuts.tsx";
import { client, ended, leave, link, me, phase, server, store, trouble } from "./state.ts";

export function App() {
  return (
    <>
      <Fence>
        <Face />
      </Fence>
      <Dialogs />
      <Toasts />
    </>
  );
}

function Face() {
  switch (phase.value) {
    case "starting":
      return <Starting />;
    case "setup":
      return <Setup />;
    case "login":
      return <Login note={ended.value ? endedWords() : ""} />;
    case "in":
      return <Shell />;
  }
}

function endedWords(): string {
  const state = link.value;
  const why = state.state === "stopped" ? state.why : "";
  return why ? `The server ended your session: ${why}.` : "Your session has ended. Please log in again.";
}

function Starting() {
  return (
    <p class="boot" role="status">
      {trouble.value ? `The server cannot be reached. ${trouble.value}` : "Connecting…"}
    </p>
  );
}

function Shell() {
  const { page: path, rest, query } = route.value;
  const page = pages.find((page) => page.path === path && page.visible?.() !== false);
  const keys = Object.fromEntries(shown().map(({ nav, path }) => [nav.key, () => go(path)] as const));
  useKeys({ ...keys, "?": showShortcuts, "/": focusSearch });
  useEffect(() => {
    document.title = `${page?.title ?? "Not found"} · ${server.value?.title || "meshboard"}`;
    document.querySelector("main")?.scrollTo(0, 0);
  }, [page?.path, rest[0]]);
  return (
    <div class="shell">
      <a class="skip" href="#main" onClick={skip}>
        Skip to content
      </a>
      <Side current={path} />
      <LinkBar />
      <main id="main" tabIndex={-1}>
        <Fence key={path}>{page ? <page.show rest={rest} query={query} /> : <Lost />}</Fence>
      </main>
    </div>
  );
}

function skip(event: Event): void {
  // The address belongs to the pages.
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function focusSearch(): void {
  document.querySelector<HTMLInputElement>("input[type=search]")?.focus();
}

function Lost() {
  return (
    <div class="page">
      <h1>There is no such page</h1>
      <p>
        <a href={to("devices")}>To the devices</a>
      </p>
    </div>
  );
}

type Shown = Page & { nav: NonNullable<Page["nav"]> };

function shown(): Shown[] {
  const visible = pages.filter((page): page is Shown => page.nav !== undefined && page.visible?.() !== false);
  return visible.sort((a, b) => a.nav.order - b.nav.order);
}

function Side({ current }: { current: string }) {
  return (
    <header class="side">
      <a class="brand" href={to("devices")}>
        <Icon name="mark" />
        <span class="ellipsis">{server.value?.title || "meshboard"}</span>
      </a>
      <nav class="nav" aria-label="Pages">
        {shown().map(({ path, title, nav }) => (
          <a key={path} href={to(path)} aria-current={isWithin(current, path) ? "page" : undefined}>
            <Icon name={nav.icon} />
            <span>{title}</span>
            {path === "devices" && (
              <span class="count">{store.devices.size > 0 && grouped(store.devices.size)}</span>
            )}
          </a>
        ))}
      </nav>
      <div class="foot">
        <Who />
      </div>
    </header>
  );
}

/** Pages that belong to another one in the navigation. */
const PARENTS: Record<string, string> = {
  device: "devices",
  add: "devices",
  group: "groups",
  user: "users",
  usergroup: "users",
};

function isWithin(current: string, path: string): boolean {
  return current === path || PARENTS[current] === path;
}

function Who() {
  const user = me();
  const { theme, density } = prefs.value;
  const themed = (value: typeof theme, words: string, icon: string) => ({
    words,
    icon,
    checked: theme === value,
    run: () => setPrefs({ theme: value }),
  });
  const items = [
    { words: "My account", icon: "user", href: to("account") },
    "line" as const,
    themed("auto", "Theme of the system", "auto"),
    themed("light", "Light", "sun"),
    themed("dark", "Dark", "moon"),
    "line" as const,
    {
      words: "Compact",
      icon: "density",
      checked: density === "compact",
      run: () => setPrefs({ density: density === "compact" ? "comfortable" : "compact" }),
    },
    { words: "Keyboard shortcuts", icon: "help", run: showShortcuts },
    "line" as const,
    { words: "Log out", icon: "logout", run: () => void leave() },
  ];
  return (
    <Menu
      label="Account and appearance"
      items={items}
      start
      up
      trigger={(open, toggle) => (
        <button type="button" class="who" aria-haspopup="menu" aria-expanded={open} onClick={toggle}>
          <Avatar name={user.realname || user.name} />
          <span class="names grow">
            <Words text={user.realname || user.name} class="ellipsis" />
            <span class="role small faint ellipsis">
              {isAdministrator(user) ? "Administrator" : siteSummary(user.siteadmin ?? 0)}
            </span>
          </span>
        </button>
      )}
    />
  );
}

function LinkBar() {
  const state = link.value;
  if (state.state === "open") return null;
  const seconds =
    state.state === "waiting" ? Math.ceil((state.until - Math.max(now.value, Date.now())) / 1000) : 0;
  return (
    <div class="link-bar" role="status">
      <span class="spinner" />
      <span>
        The connection to the server is lost.{" "}
        {state.state === "waiting" && seconds > 3 ? "It is tried again soon." : "Connecting…"}
      </span>
      {state.state === "waiting" && (
        <Button small onClick={() => client.hurry()}>
          Try now
        </Button>
      )}
    </div>
  );
}
