// Scenarios against the invented installation, which has what a single test server has not: every
// page filled, and thousands of devices.

import { rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { bundle } from "../../build.mjs";
import { serve } from "../../demo/server.mjs";
import { accessible, check, open } from "./browser.mjs";
import { walk } from "./walk.mjs";

/** Tabs of a device that need no session. */
const TABS = "general console processes details events power notes sharing chat amt".split(" ");
/** Tabs of a device that begin with a button. */
const SESSIONS = "desktop terminal files".split(" ");

/** Every page of the installation. */
function everywhere(world) {
  const key = (id) => encodeURIComponent(id.slice(6));
  const device = key(world.devices[0]._id);
  return [
    "sharing?c=x",
    "sharing",
    "messenger?id=x&c=x",
    "messenger?id=x",
    "#/devices",
    ...TABS.map((tab) => `#/device/${device}/${tab}`),
    ...SESSIONS.map((tab) => `#/device/${device}/${tab}`),
    "#/add",
    "#/groups",
    `#/group/${key(world.groups[1]._id)}`,
    "#/users",
    "#/users/groups",
    "#/user/tom",
    `#/usergroup/${key(Object.keys(world.userGroups)[0])}`,
    "#/events",
    "#/account",
    "#/server",
    "#/amt",
    "#/nowhere",
  ];
}

/** Each run makes the page for itself: several may run at a time. */
const out = join(fileURLToPath(new URL(".", import.meta.url)), `../../demo/out.${process.pid}`);
process.on("exit", () => rmSync(out, { recursive: true, force: true }));

/** axe finds no fault on any page, light, dark and on a phone. */
export async function every_page_is_accessible() {
  await bundle({ out });
  const demo = await serve({ dist: out });
  const phone = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };
  const failures = [];
  for (const [look, options] of Object.entries({
    light: { colorScheme: "light" },
    dark: { colorScheme: "dark" },
    phone,
  })) {
    const { page, close } = await open(options);
    for (const address of everywhere(demo.world)) {
      await page.goto(demo.url + address);
      await page.locator("h1").first().waitFor();
      await page.waitForLoadState("networkidle");
      await accessible(page, `${address}, ${look}`).catch((error) => failures.push(error.message));
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) failures.push(`${address}, ${look}: ${wide} pixels too wide`);
    }
    await page.keyboard.press("?");
    await page.getByRole("dialog").waitFor();
    await accessible(page, `keyboard help, ${look}`).catch((error) => failures.push(error.message));
    for (const [face, heading] of [
      ["login", "Log in"],
      ["setup", "Welcome"],
    ]) {
      demo.state.face = face;
      await page.goto(`${demo.url}?again`);
      await page.getByRole("heading", { name: heading }).waitFor();
      await accessible(page, `${face}, ${look}`).catch((error) => failures.push(error.message));
      demo.state.face = "in";
    }
    await close();
  }
  demo.close();
  check(failures.length === 0, failures.join("\n\n"));
}

/** On every page Tab comes to every control, and the control it comes to looks different from before. */
export async function every_control_is_reached_by_tab_and_seen() {
  await bundle({ out });
  const demo = await serve({ dist: out });
  const { page, close } = await open();
  const faults = [];
  let controls = 0;
  const look = async (where) => {
    await page.waitForLoadState("networkidle");
    const walked = await walk(page, where);
    check(walked.controls > 0 || /sharing$|messenger\?id=x$/.test(where), `${where} has no controls`);
    controls += walked.controls;
    faults.push(...walked.faults);
  };
  for (const address of everywhere(demo.world)) {
    await page.goto("about:blank");
    await page.goto(demo.url + address);
    await page.locator("h1").first().waitFor();
    await look(address);
  }
  for (const [face, heading] of [
    ["login", "Log in"],
    ["setup", "Welcome"],
  ]) {
    demo.state.face = face;
    await page.goto(`${demo.url}?again`);
    await page.getByRole("heading", { name: heading }).waitFor();
    await look(face);
  }
  await close();
  demo.close();
  console.log(`${controls} controls`);
  check(faults.length === 0, faults.join("\n"));
}

/** 2,000 devices: loading, scrolling, filtering and a storm of events, without a long task. */
export async function two_thousand_devices_are_smooth() {
  await bundle({ out });
  const demo = await serve({ dist: out, devices: 2000 });
  const { page, context, close } = await open();
  await page.addInitScript(() => {
    globalThis.longest = 0;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries())
        globalThis.longest = Math.max(globalThis.longest, duration);
    }).observe({ type: "longtask", buffered: true });
  });
  const browser = context.browser();
  await browser.startTracing(page, { categories: ["toplevel", "disabled-by-default-devtools.timeline"] });
  await page.goto(demo.url);
  await page.getByText("of 2,000 online").waitFor();
  const rows = await page.locator(".device-row").count();
  check(rows > 5 && rows < 60, `${rows} of 2,000 rows are in the page`);

  const spilt = await page.evaluate(
    () =>
      [...document.querySelectorAll(".device-row")].filter((row) =>
        [...row.children].some(
          (part) => part.getBoundingClientRect().bottom > row.getBoundingClientRect().bottom,
        ),
      ).length,
  );
  check(spilt === 0, `${spilt} rows do not hold what is in them`);

  let storm = 0;
  const timer = setInterval(() => {
    for (let n = 0; n < 40; n++) {
      const { _id, meshid } = demo.world.devices[(storm++ * 7) % 2000];
      demo.event({
        action: "nodeconnect",
        nodeid: _id,
        meshid,
        conn: storm % 2,
        pwr: storm % 2,
        ct: Date.now(),
        nolog: 1,
      });
    }
  }, 20);
  for (let n = 0; n < 40; n++) {
    await page.mouse.move(700, 500);
    await page.mouse.wheel(0, 900);
  }
  await page.getByRole("searchbox").pressSequentially("tag:floor os:win", { delay: 20 });
  await page.getByText(/^\d+ of 2,000 devices$/).waitFor();
  await page.getByRole("button", { name: "Clear the search" }).click();
  await page.getByRole("button", { name: "Tiles" }).click();
  await page.mouse.wheel(0, 5000);
  clearInterval(timer);
  check(storm > 400, `only ${storm} events came`);
  const trace = JSON.parse((await browser.stopTracing()).toString());
  const seen = await page.evaluate(() => globalThis.longest);
  const touched = await updates(page, demo);
  await close();
  demo.close();
  const longest = longestTask(trace.traceEvents);
  console.log(
    `longest task: ${Math.round(longest)} ms of the processor, ${Math.round(seen)} ms as the page's ` +
      `PerformanceObserver saw it; nodes touched by an update: ${touched.seen} of a device in sight, ` +
      `${touched.hidden} of another`,
  );
  check(touched.seen <= TOUCHED, `an update touches ${touched.seen} nodes`);
  check(touched.hidden <= TOUCHED, `an update out of sight touches ${touched.hidden} nodes`);
  check(longest > 0 && longest <= 100, `a task of ${Math.round(longest)} ms`);
}

/** Most nodes of the page that the update of one device may touch, however many devices there are. */
const TOUCHED = 24;

/** How many nodes of the page the update of one device touches, for one in sight and for one far below. */
async function updates(page, demo) {
  await page.getByRole("button", { name: "List" }).click();
  const named = (name) => demo.world.devices.find((device) => device.name === name);
  const shown = await page.locator(".device-row").nth(3).getByRole("link").innerText();
  const names = new Set(await page.locator(".device-row").getByRole("link").allInnerTexts());
  const hidden = demo.world.devices.findLast(({ name }) => !names.has(name));
  const touched = async ({ _id, meshid }) => {
    const is = (conn) =>
      demo.event({ action: "nodeconnect", nodeid: _id, meshid, conn, pwr: conn, ct: Date.now(), nolog: 1 });
    is(1);
    await page.waitForTimeout(300);
    await page.evaluate(() => {
      const nodes = new Set();
      const watch = new MutationObserver((list) => {
        for (const { target, addedNodes } of list) [target, ...addedNodes].forEach((node) => nodes.add(node));
      });
      watch.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
      globalThis.touched = () => nodes.size;
    });
    is(0);
    await page.waitForFunction(() => globalThis.touched() > 0);
    // Nothing comes after it.
    await page.waitForTimeout(300);
    return page.evaluate(() => globalThis.touched());
  };
  return { seen: await touched(named(shown.trim())), hidden: await touched(hidden) };
}

/** The longest task of a page's main thread, in milliseconds of the processor: how busy the machine is with
 * other things makes no difference. */
function longestTask(events) {
  const names = new Map(
    events
      .filter(({ name }) => name === "thread_name")
      .map(({ pid, tid, args }) => [`${pid} ${tid}`, args.name]),
  );
  const tasks = events.filter(
    ({ name, pid, tid }) => /RunTask$/.test(name) && names.get(`${pid} ${tid}`) === "CrRendererMain",
  );
  return Math.max(...tasks.map(({ tdur = 0 }) => tdur / 1000));
}

/** Names with markup, right-to-left overrides and 10 KB are shown as what they are: text. */
export async function hostile_words_are_text() {
  await bundle({ out });
  const demo = await serve({ dist: out });
  const words = [
    `<img src=x onerror="globalThis.owned=1">`,
    `"><script>globalThis.owned=1</script>`,
    `\u202Eexe.gpj\u202C\u2066\u200B`,
    `{{constructor.constructor("globalThis.owned=1")()}}`,
    `javascript:globalThis.owned=1`,
    `</textarea></title><svg onload=globalThis.owned=1>`,
    "x".repeat(10_240),
    "\u0000\u0007\n\n\n",
  ];
  const hostile = (n) => words[n % words.length];
  demo.world.devices.forEach((device, n) => {
    Object.assign(device, {
      name: hostile(n),
      rname: hostile(n),
      osdesc: hostile(n + 1),
      desc: hostile(n + 2),
      tags: words,
      users: words,
      ip: hostile(n),
    });
  });
  demo.world.groups.forEach((group, n) => Object.assign(group, { name: hostile(n), desc: hostile(n + 3) }));
  demo.world.users
    .slice(1)
    .forEach((user, n) =>
      Object.assign(user, { name: hostile(n), realname: hostile(n + 1), email: hostile(n) }),
    );
  demo.world.events.forEach((event, n) =>
    Object.assign(event, { msg: hostile(n), username: hostile(n + 1) }),
  );
  const { page, close } = await open();
  const device = (n) => `#/device/${encodeURIComponent(demo.world.devices[n]._id.slice(6))}`;
  const group = `#/group/${encodeURIComponent(demo.world.groups[0]._id.slice(6))}`;
  for (const address of [
    "#/devices",
    device(0),
    device(1),
    device(6),
    `${device(2)}/events`,
    "#/groups",
    group,
    "#/users",
    "#/events",
    "#/add",
  ]) {
    await page.goto(demo.url + address);
    await page.locator("h1").first().waitFor();
    await page.waitForLoadState("networkidle");
    check(!(await page.evaluate(() => "owned" in globalThis)), `${address}: a word ran`);
    const made = await page
      .locator("#app script, #app img, #app iframe, #app [onload], #app [onerror]")
      .count();
    check(made === 0, `${address}: a word became markup`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    check(wide <= 0, `${address}: ${wide} pixels too wide`);
    const turned = await page.evaluate(() =>
      /[\u202a-\u202e\u2066-\u2069\u200b]/.test(document.body.innerText),
    );
    check(!turned, `${address}: a word turns the line round`);
  }
  await page.goto(demo.url);
  await page.getByText(words[0], { exact: true }).first().waitFor();
  await close();
  demo.close();
}
