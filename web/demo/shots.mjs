// Takes pictures of every page, light, dark and on a phone: `npm run shots [NAME…]`.
//
// They go to target/shots. The browser is Debian's chromium, or what CHROMIUM names.

import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { bundle } from "../build.mjs";
import { serve } from "./server.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const target = join(here, "../../target/shots");
const LOOKS = {
  light: { colorScheme: "light", viewport: { width: 1280, height: 820 } },
  dark: { colorScheme: "dark", viewport: { width: 1280, height: 820 } },
  phone: {
    colorScheme: "light",
    viewport: { width: 390, height: 780 },
    deviceScaleFactor: 2,
    isMobile: true,
    hasTouch: true,
  },
};

const device = (n) => (world) => `#/device/${encodeURIComponent(world.devices[n]._id.slice(6))}`;
const tab = (n, path) => (world) => `${device(n)(world)}/${path}`;
const group = (n) => (world) => `#/group/${encodeURIComponent(world.groups[n]._id.slice(6))}`;
const open = (name) => (page) => page.getByRole("button", { name }).first().click();

/** Name, face, address, what to do before the picture. */
const PAGES = [
  ["setup", "setup", () => ""],
  ["login", "login", () => ""],
  ["login-factor", "login", () => "", factor],
  ["devices", "in", () => "#/devices"],
  ["devices-tiles", "in", () => "#/devices", open("Tiles")],
  ["devices-search", "in", () => "#/devices?filter=agent%3Aonline%20tag%3Aboard"],
  ["devices-bulk", "in", () => "#/devices", select],
  ["devices-many", "many", () => "#/devices"],
  ["device", "in", device(0)],
  ["device-menu", "in", device(5), open("More actions")],
  ["device-details", "in", tab(5, "details")],
  ["device-events", "in", tab(0, "events")],
  ["device-power", "in", tab(6, "power")],
  ["device-notes", "in", tab(5, "notes")],
  ["device-console", "in", tab(5, "console"), say],
  ["device-processes", "in", tab(5, "processes")],
  ["device-sharing", "in", tab(0, "sharing")],
  ["device-chat", "in", tab(0, "chat"), talk],
  ["device-desktop", "in", tab(0, "desktop"), connect],
  ["device-terminal", "in", tab(5, "terminal"), connect],
  ["device-files", "in", tab(5, "files"), (page) => page.getByText("notes.md").first().waitFor()],
  ["device-amt", "in", tab(0, "amt")],
  ["device-amt-hardware", "in", tab(0, "amt"), asked("Hardware", "Ask")],
  ["device-amt-logs", "in", tab(0, "amt"), asked("Logs of the firmware", "Ask")],
  ["device-amt-settings", "in", tab(0, "amt"), asked("Settings of the firmware", "Ask for the settings")],
  ["device-amt-users", "in", tab(0, "amt"), asked("Users of the firmware", "Ask for the users")],
  ["device-amt-user", "in", tab(0, "amt"), user],
  ["device-run", "in", device(5), run],
  ["add", "in", () => "#/add"],
  ["groups", "in", () => "#/groups"],
  ["group", "in", group(1)],
  ["group-policy", "in", group(0), open("Choose the policy…")],
  ["group-member", "in", group(1), open("Rights of tom")],
  ["group-invite", "in", group(1), invite],
  ["users", "in", () => "#/users"],
  ["user", "in", () => "#/user/tom"],
  ["usergroups", "in", () => "#/users/groups"],
  ["events", "in", () => "#/events"],
  ["account", "in", () => "#/account"],
  ["account-codes", "in", () => "#/account", open("Backup codes")],
  ["server", "in", () => "#/server"],
  [
    "server-more",
    "in",
    () => "#/server",
    (page) => page.getByText("Check config.json").scrollIntoViewIfNeeded(),
  ],
  ["server-activations", "in", () => "#/server", open("What was activated")],
  ["server-agents", "in", () => "#/server", open("Update…")],
  ["keyboard", "in", () => "#/devices", (page) => page.keyboard.press("?")],
  ["amt", "in", () => "#/amt"],
  ["nowhere", "in", () => "#/nowhere"],
  ["guest", "in", () => "sharing?c=x"],
  ["guest-over", "in", () => "sharing"],
  ["chat", "in", () => "messenger?id=x&c=x", answer],
  ["chat-over", "in", () => "messenger?id=x"],
  ["offline", "cut", () => "#/devices"],
];

async function connect(page) {
  await page.getByRole("button", { name: "Connect" }).first().click();
  await page.getByRole("button", { name: "Disconnect" }).waitFor();
  await page.waitForTimeout(500);
}

/** Asks for what a card of the firmware shows. */
function asked(title, button) {
  return async (page) => {
    const card = page
      .locator("section.card")
      .filter({ has: page.getByRole("heading", { name: title, exact: true }) });
    await card.getByRole("button", { name: button, exact: true }).click();
    await card.locator(".facts, .items, .event-list").first().waitFor();
    await card.scrollIntoViewIfNeeded();
  };
}

async function user(page) {
  await asked("Users of the firmware", "Ask for the users")(page);
  await page.getByRole("button", { name: "Add a user" }).click();
}

async function factor(page) {
  await page.getByLabel("User name").fill("admin");
  await page.getByLabel("Password").fill("factor");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByLabel("Code").waitFor();
}

async function select(page) {
  for (const name of ["reception", "till-1", "label-printer"]) {
    const box = page.getByLabel(`Select ${name}`, { exact: true });
    if (await box.isVisible()) await box.check();
  }
}

async function say(page) {
  await page.getByLabel("Command for the agent").fill("info");
  await page.keyboard.press("Enter");
}

async function run(page) {
  await page.getByRole("button", { name: "More actions" }).click();
  await page.getByRole("menuitem", { name: "Run command…" }).click();
  await page.getByLabel("Command", { exact: true }).fill("uptime");
  await page.getByRole("button", { name: "Run", exact: true }).click();
}

async function answer(page) {
  await page.getByText("is here.").waitFor();
  await page.getByLabel("Message").fill("It is. Are you in the building?");
  await page.keyboard.press("Enter");
  await page.getByLabel("Message").fill("I will be back in ten minutes");
  await page.getByText("is writing").waitFor();
}

async function talk(page) {
  await page.getByRole("button", { name: "Ask to talk" }).click();
  await answer(page);
}

async function invite(page) {
  await page.getByRole("button", { name: "Make a link" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Make the link" }).click();
}

/** An invented desktop: what a remote computer may show. */
async function desktop() {
  const page = await browser.newPage({ viewport: { width: 1280, height: 720 } });
  await page.setContent(await readFile(join(here, "desktop.html"), "utf8"));
  const picture = await page.screenshot({ type: "jpeg", quality: 90 });
  await page.close();
  return picture;
}

const wanted = process.argv.slice(2);
const dist = join(here, "out");
await bundle({ out: dist });
await mkdir(target, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--force-color-profile=srgb"],
});
const picture = await desktop();
const problems = [];
for (const [look, options] of Object.entries(LOOKS)) {
  for (const [name, face, address, act] of PAGES) {
    if (
      wanted.length > 0 &&
      !wanted.some((word) => `${name}-${look}` === word || name === word || look === word)
    )
      continue;
    const devices = face === "many" ? 2000 : 0;
    const demo = await serve({
      dist,
      face: ["setup", "login"].includes(face) ? face : "in",
      devices,
      picture,
    });
    const context = await browser.newContext({ ...options, reducedMotion: "reduce", locale: "en-GB" });
    const page = await context.newPage();
    page.on(
      "console",
      (message) =>
        message.type() === "error" &&
        !/WebSocket|40[14]/.test(message.text()) &&
        problems.push(`${name}: ${message.text()}`),
    );
    page.on("pageerror", (error) => problems.push(`${name}: ${error}`));
    await page.goto(demo.url + address(demo.world));
    await page.locator("h1").first().waitFor();
    await page.waitForTimeout(150);
    try {
      await act?.(page);
      if (face === "cut") {
        demo.state.face = "setup";
        demo.cut();
        demo.close();
        await page.getByText("connection to the server is lost").waitFor();
      }
      await page.waitForTimeout(250);
    } catch (error) {
      problems.push(`${name}-${look}: ${error.message.split("\n")[0]}`);
    }
    await page.screenshot({ path: join(target, `${name}-${look}.png`) });
    await context.close();
    if (face !== "cut") demo.close();
  }
}
await browser.close();
for (const problem of new Set(problems)) console.log(problem);
process.exit(0);
