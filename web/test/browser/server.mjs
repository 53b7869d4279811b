// Scenarios against the real server. The test that starts it (tests/web_ui.rs) does what a person
// beside the browser would do: `ask` names it, the answer is what came of it.

import { createHmac } from "node:crypto";

import { accessible, check, open } from "./browser.mjs";
import { ADMIN, ask, inside, logIn, makeGroup, row, URL_ } from "./person.mjs";

/** From the setup code to a device that connects, is renamed and goes. */
export async function from_the_setup_code_to_a_device() {
  const { page, context, close } = await open();
  await page.goto(URL_);
  await page.getByRole("heading", { name: "Welcome" }).waitFor();
  await accessible(page, "setup");
  const fill = async (code) => {
    await page.getByLabel("Setup code").fill(code);
    await page.getByLabel("Password", { exact: true }).fill(ADMIN.password);
    await page.getByLabel("Password once more").fill(ADMIN.password);
    await page.getByRole("button", { name: "Make the first account" }).click();
  };
  await fill("AAAA-AAAA-AAAA-AAAA");
  await page.getByRole("alert").getByText("Wrong setup code").waitFor();
  await fill(await ask("code"));
  await inside(page);
  await page.getByText("No devices yet").waitFor();
  await accessible(page, "no devices");

  const group = await makeGroup(page, "Workshop");
  await accessible(page, "group");
  await page.getByRole("button", { name: "Add device" }).click();
  await page.getByText("Waiting for the device to connect").waitFor();
  await accessible(page, "add a device");
  const command = await page.getByText("meshinstall.sh", { exact: false }).first().textContent();
  check(command.includes(`'${group}'`), `the command names the group: ${command}`);

  const device = await ask("join", 0, group);
  await page.getByText("is here.").waitFor();

  // Another page of the same person sees everything as it happens.
  const other = await context.newPage();
  await other.goto(URL_);
  await row(other, device).getByText("Online").waitFor();

  await page.getByRole("link", { name: device }).first().click();
  await page.getByRole("button", { name: device }).click();
  await page.getByRole("dialog").getByLabel("Name").fill("lathe");
  await page.getByRole("button", { name: "Rename", exact: true }).click();
  await page.getByRole("heading", { name: "lathe" }).waitFor();
  await row(other, "lathe").waitFor();
  check((await other.locator(".device-row").count()) === 1, "renamed, not doubled");

  const parts = page.getByRole("navigation", { name: "Parts of this device" });
  for (const tab of await parts.getByRole("link").allTextContents()) {
    await parts.getByRole("link", { name: tab, exact: true }).click();
    await page.waitForLoadState("networkidle");
    await accessible(page, `device, ${tab}`);
  }
  await parts.getByRole("link", { name: "Details" }).click();
  await page.getByText("192.0.2.17").waitFor();

  await ask("leave", 0);
  await row(other, "lathe")
    .getByText(/just now|Offline/)
    .waitFor();
  await ask("join", 0, group);
  await row(other, "lathe").getByText("Online").waitFor();

  await other.getByLabel("Actions for lathe").click();
  await other.getByRole("menuitem", { name: "Remove…" }).click();
  await accessible(other, "removal");
  await other.getByText("Only forget here").click();
  await other.getByRole("button", { name: "Remove", exact: true }).click();
  await page.getByText("This device is not here").waitFor();
  await close();
}

/** Every page of an administrator, on a wide screen and on a phone of 360 pixels. */
export async function every_page_fits_and_is_accessible() {
  const group = await ask("group", "Home");
  await ask("join", 0, group);
  for (const options of [
    {},
    { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, colorScheme: "dark" },
  ]) {
    const { page, close } = await open(options);
    await page.goto(URL_);
    await page.getByRole("heading", { name: "Log in" }).waitFor();
    await accessible(page, "login");
    await logIn(page);
    await inside(page);
    for (const address of [
      "#/devices",
      "#/add",
      "#/groups",
      `#/group/${encodeURIComponent(group)}`,
      "#/users",
      "#/users/groups",
      "#/user/admin",
      "#/events",
      "#/account",
      "#/server",
      "#/amt",
    ]) {
      await page.goto(URL_ + address);
      await page.getByRole("heading", { level: 1 }).waitFor();
      await page.waitForLoadState("networkidle");
      await accessible(page, address);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      check(wide <= 0, `${address}: ${wide} pixels too wide`);
    }
    await close();
  }
}

/** What is wrong is told; a forced change is made; a session ends when it is told to. */
export async function logins_end_as_they_should() {
  const { page, close } = await open();
  await logIn(page, { name: ADMIN.name, password: "wrong" });
  await page.getByRole("alert").getByText("User name or password is wrong").waitFor();
  await page.getByLabel("Password").fill(ADMIN.password);
  await page.keyboard.press("Enter");
  await inside(page);

  await page.getByRole("link", { name: "Users" }).click();
  await page.getByRole("button", { name: "New account" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("User name").fill("carol");
  await dialog.getByLabel("Password").fill("First-Word-1");
  await page.getByRole("button", { name: "Make the account" }).click();
  await page.getByRole("link", { name: "carol" }).waitFor();

  const other = await open();
  await logIn(other.page, { name: "carol", password: "First-Word-1" });
  await other.page.getByRole("heading", { name: "New password" }).waitFor();
  await accessible(other.page, "forced change");
  await other.page.getByLabel("New password").fill("Second-Word-2");
  await other.page.getByLabel("Once more").fill("Second-Word-2");
  await other.page.getByRole("button", { name: "Change the password" }).click();
  await inside(other.page);
  await other.page.reload();
  await inside(other.page);

  // An account without rights sees neither accounts nor the server.
  const nav = await other.page.getByRole("navigation", { name: "Pages" }).getByRole("link").allTextContents();
  check(!nav.some((name) => /Users|Server/.test(name)), `its pages: ${nav}`);
  await other.page.goto(`${URL_}#/server`);
  await other.page.getByText("There is no such page").waitFor();

  await other.page.getByRole("button", { name: /carol/ }).click();
  await other.page.getByRole("menuitem", { name: "Log out" }).click();
  await other.page.getByRole("heading", { name: "Log in" }).waitFor();
  await other.page.reload();
  await other.page.getByRole("heading", { name: "Log in" }).waitFor();
  await other.close();

  const kept = await page.evaluate(() =>
    JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]),
  );
  check(!/Word|Horse|session|~t:/.test(kept), `kept in the browser: ${kept}`);
  await close();
}

/** The code of an authenticator app. */
function code(secret, time = Date.now()) {
  const bits = [...secret]
    .map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0"))
    .join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(time / 30_000)));
  const mac = createHmac("sha1", key).update(counter).digest();
  const number = mac.readUInt32BE(mac[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

/** The second step is set up with a QR code and asked for afterwards; a remembered device is not. */
export async function a_second_step_is_set_up_and_asked_for() {
  const { page, close } = await open();
  await logIn(page);
  await inside(page);
  await page.goto(`${URL_}#/account`);
  await page.getByRole("button", { name: "Set up" }).click();
  await page.getByRole("img", { name: /QR code/ }).waitFor();
  await accessible(page, "second step");
  const secret = (await page.getByRole("dialog").locator("code").first().textContent()).trim();
  await page.getByRole("dialog").getByLabel("Code", { exact: true }).fill(code(secret));
  await page.getByRole("button", { name: "Switch on" }).click();
  const codes = page.locator(".codes li");
  await codes.first().waitFor();
  const backup = (await codes.first().textContent()).trim();
  await page.getByRole("button", { name: "Done" }).click();

  const other = await open();
  await logIn(other.page);
  await other.page.getByRole("heading", { name: "Second step" }).waitFor();
  await accessible(other.page, "second step of a login");
  await other.page.getByLabel("Code").fill("000000");
  await other.page.getByRole("button", { name: "Confirm" }).click();
  await other.page.getByRole("alert").getByText("That code is not right").waitFor();
  await other.page.getByLabel("Code").fill(backup);
  await other.page.getByLabel(/Do not ask on this device/).check();
  await other.page.getByRole("button", { name: "Confirm" }).click();
  await inside(other.page);
  await other.page.getByRole("button", { name: /admin/ }).click();
  await other.page.getByRole("menuitem", { name: "Log out" }).click();
  await other.page.getByRole("heading", { name: "Log in" }).waitFor();
  await logIn(other.page);
  await inside(other.page);
  await other.close();
  await close();
}

/** A security key is registered, and opens the account. */
export async function a_security_key_opens_the_account() {
  const { page, context, close } = await open();
  const key = await context.newCDPSession(page);
  await key.send("WebAuthn.enable");
  await key.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      transport: "usb",
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  await logIn(page);
  await inside(page);
  await page.goto(`${URL_}#/account`);
  const card = page.locator(".card").filter({ hasText: "Security keys" });
  await card.getByRole("button", { name: "Add" }).click();
  await page.getByRole("dialog").getByLabel("Name").fill("Blue key");
  await page.getByRole("button", { name: "Touch the key" }).click();
  await card.getByText("Blue key").waitFor();
  await page.getByRole("button", { name: /admin/ }).click();
  await page.getByRole("menuitem", { name: "Log out" }).click();
  await logIn(page);
  await page.getByRole("button", { name: "Use the security key" }).click();
  await inside(page);
  await close();
}

/** Somebody with few rights sees one group, and nothing that would be refused. */
export async function few_rights_show_few_things() {
  const mine = await ask("group", "Shared");
  const other = await ask("group", "Private");
  const name = await ask("join", 0, mine);
  const hidden = await ask("join", 1, other);
  const { page, close } = await open();
  await logIn(page);
  await inside(page);
  await page.goto(`${URL_}#/group/${encodeURIComponent(mine)}`);
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await page.getByRole("dialog").getByLabel("Who").selectOption({ label: "bob" });
  await accessible(page, "rights of a member");
  await page.getByRole("dialog").getByRole("button", { name: "Add", exact: true }).click();
  await page.locator(".items li").filter({ hasText: "bob" }).waitFor();

  const bob = await open();
  await logIn(bob.page, { name: "bob", password: "Bobs-Word-1" });
  await row(bob.page, name).waitFor();
  check((await bob.page.getByText(hidden).count()) === 0, "the other group's device is not there");
  check((await bob.page.getByRole("button", { name: "Add device" }).count()) === 0, "bob adds no devices");
  await row(bob.page, name).getByRole("link").click();
  await bob.page.getByRole("heading", { name, level: 1 }).waitFor();
  const tabs = await bob.page
    .getByRole("navigation", { name: "Parts of this device" })
    .getByRole("link")
    .allTextContents();
  check(!tabs.includes("Console") && !tabs.includes("Sharing") && tabs.includes("Notes"), `tabs: ${tabs}`);
  check((await bob.page.getByRole("button", { name: "Rename" }).count()) === 0, "bob renames nothing");
  await accessible(bob.page, "device with few rights");

  // A right that is given, and one that is taken away, show at once.
  await page.getByRole("button", { name: "Rights of bob" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Operate" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
  await bob.page.getByRole("link", { name: "Console" }).waitFor();
  await page.getByRole("button", { name: "Remove bob" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Take away" }).click();
  await bob.page.getByText("This device is not here").waitFor();
  await bob.close();
  await close();
}

/** Names that an agent or a person makes up stay text. */
export async function hostile_devices_are_harmless() {
  const group = await ask("group", "<b>bold</b>");
  const name = await ask("join", 0, group);
  const { page, close } = await open();
  await logIn(page);
  await row(page, name).waitFor();
  const markup = `<img src=x onerror="globalThis.owned=1">`;
  for (const hostile of [
    markup,
    `\u202Eexe.gpj \u2066`,
    "x".repeat(10_240),
    `"><svg/onload=globalThis.owned=1>`,
  ]) {
    await ask("say", 0, {
      action: "coreinfo",
      osdesc: hostile,
      value: hostile,
      caps: 31,
      users: [hostile],
      name: hostile,
    });
    await page.goto(`${URL_}#/device/${encodeURIComponent((await ask("node", 0)).slice(6))}`);
    await page
      .getByText(
        hostile
          .slice(0, 12)
          .replace(/[\u202a-\u2069]/g, "")
          .trim(),
        { exact: false },
      )
      .first()
      .waitFor();
    await page.locator("h1 button").click();
    await page.getByRole("dialog").getByLabel("Name").fill(hostile.slice(0, 120));
    await page.getByRole("button", { name: "Rename", exact: true }).click();
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await page.goto(`${URL_}#/devices`);
    await page.locator(".device-row").waitFor();
    check(!(await page.evaluate(() => "owned" in globalThis)), `${hostile.slice(0, 30)} ran`);
    check(
      (await page.locator("#app img, #app script, #app b").count()) === 0,
      `${hostile.slice(0, 30)} became markup`,
    );
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    check(wide <= 0, `${hostile.slice(0, 30)}: ${wide} pixels too wide`);
  }
  await page.goto(`${URL_}#/groups`);
  await page.getByText("<b>bold</b>").waitFor();
  await close();
}

/** The server tells how it is, and makes a backup when asked. */
export async function the_server_page_tells_how_it_is() {
  const { page, close } = await open();
  await logIn(page);
  await page.goto(`${URL_}#/server`);
  const card = (title) => page.locator(".card", { has: page.getByRole("heading", { name: title }) });
  await card("Certificates").getByText("what browsers and agents see").waitFor();
  await card("Certificates").getByText("until", { exact: false }).first().waitFor();
  await card("Agent package").getByText("None is installed").waitFor();
  await page.getByRole("button", { name: "Memory" }).click();
  await card("Memory of the server").waitFor();
  await page.getByRole("button", { name: "Disk", exact: true }).click();
  await card("Written to disk since the start").waitFor();
  await page.getByText("memory of the server", { exact: true }).waitFor();
  await page.getByText("written to disk", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Back up now" }).click();
  await page.getByRole("status").getByText("Backup written to").waitFor();
  await accessible(page, "server");
  await close();
}

/** "Why is my agent offline": an agent nobody knows is named, with the reason and what helps. */
export async function why_an_agent_is_not_let_in_is_told_with_what_helps() {
  const { page, close } = await open();
  await logIn(page);
  await inside(page);
  // Of a group that is not here: it was removed, or the agent belongs to another server.
  const name = await ask("knock", 0, "A".repeat(64));
  await page.goto(`${URL_}#/server`);
  const card = page.locator(".card", {
    has: page.getByRole("heading", { name: "Agents that are not let in" }),
  });
  const again = async () => {
    await page.reload();
    await page.getByRole("heading", { name: "Server", level: 1 }).waitFor();
    await page.getByText("memory of the server", { exact: true }).waitFor();
  };
  for (let tries = 0; tries < 20 && (await card.count()) === 0; tries++) await again();
  await card.getByText("Because neither the device nor its group is known here").waitFor();
  await card.getByText("install it again from here", { exact: false }).waitFor();
  await card.getByText("at 127.0.0.1", { exact: false }).waitFor();
  await card.getByText("waits").waitFor();
  check(!(await page.getByRole("link", { name }).count()), "it is no device");
  await accessible(page, "agents that are not let in");

  // The safe fix: installed again, from a group of this server.
  await ask("leave", 0);
  await ask("join", 0, await ask("group", "Home"));
  await page.goto(`${URL_}#/devices`);
  await row(page, name).getByText("Online").waitFor();
  await close();
}

/** An administrator brings the file, sees how far it is, and agents are there; nonsense changes nothing. */
export async function the_agent_package_is_installed_from_the_page() {
  const { page, close } = await open();
  await logIn(page);
  await page.goto(`${URL_}#/server`);
  const card = page.locator(".card", { has: page.getByRole("heading", { name: "Agent package" }) });
  const dialog = page.getByRole("dialog");
  await card.getByRole("button", { name: "Install…" }).click();
  await dialog.getByText("npm pack").waitFor();
  await accessible(page, "installing agents");
  for (const name of ["Windows", "Linux", "macOS"]) await dialog.getByLabel(name, { exact: true }).uncheck();
  const file = dialog.getByLabel("File of the package");
  await file.setInputFiles({
    name: "x.tgz",
    mimeType: "application/gzip",
    buffer: Buffer.from("no package"),
  });
  await dialog.getByRole("alert").waitFor();
  await card.getByText("None is installed").waitFor();

  await file.setInputFiles(await ask("package"));
  await dialog.getByRole("progressbar").waitFor();
  await page.getByText("Installed: 2 agents of 1.1.55").waitFor();
  await card.getByText("1.1.55").waitFor();
  await card.getByRole("button", { name: "Update…" }).waitFor();
  await close();
}

/** What a restart would stumble over is told while the server runs, with its place. */
export async function a_configuration_is_checked_before_a_restart() {
  const { page, close } = await open();
  await logIn(page);
  await page.goto(`${URL_}#/server`);
  const card = page.locator(".card", { has: page.getByRole("heading", { name: "Configuration" }) });
  const checked = async (text) => {
    await ask("configure", text);
    await card.getByRole("button", { name: "Check config.json" }).click();
  };
  await checked("{}");
  await card.getByText("Nothing is wrong with it.").waitFor();
  await checked('{"settings": {"noSuchThing": 1}}');
  await card.getByText("config.json:1:", { exact: false }).waitFor();
  await card.getByText("noSuchThing", { exact: false }).waitFor();
  await checked('{"settings": {"port": "many"}}');
  await card.getByText("With this file the server does not start").waitFor();
  await accessible(page, "configuration");
  await close();
}

/** The most that may come before the first content: requests, and bytes as they travel. */
const FIRST = { requests: 12, bytes: 100_000 };

/** A cold cache: what comes before the first content is counted; how long it takes is printed. */
export async function the_first_page_is_small_and_comes_in_few_requests() {
  const { page, context, close } = await open();
  const tools = await context.newCDPSession(page);
  await tools.send("Network.enable");
  const visit = async (address, content) => {
    await tools.send("Network.clearBrowserCache");
    const seen = { requests: 0, bytes: 0 };
    const asked = () => (seen.requests += 1);
    const came = ({ encodedDataLength }) => (seen.bytes += encodedDataLength);
    tools.on("Network.requestWillBeSent", asked);
    tools.on("Network.loadingFinished", came);
    await page.goto("about:blank");
    Object.assign(seen, { requests: 0, bytes: 0 });
    await page.goto(address);
    await content.waitFor();
    tools.off("Network.requestWillBeSent", asked);
    tools.off("Network.loadingFinished", came);
    const paint = await page.evaluate(
      () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0,
    );
    const words = `${seen.requests} requests, ${seen.bytes} bytes`;
    console.log(`first content after ${Math.round(paint)} ms: ${words}`);
    check(seen.requests <= FIRST.requests && seen.bytes <= FIRST.bytes, words);
    check(seen.bytes > 10_000 && paint > 0, `nothing was measured: ${words}`);
  };
  await visit(URL_, page.getByRole("heading", { name: "Log in" }));
  await logIn(page);
  await inside(page);
  await visit(URL_, page.getByRole("heading", { name: "Devices", level: 1 }));
  await close();
}

/** A server that goes and comes back is noticed; the page says so, and goes on where it was. */
export async function a_restart_is_shown_and_heals() {
  const group = await ask("group", "Home");
  const { page, close } = await open();
  await logIn(page, ADMIN, `#/group/${encodeURIComponent(group)}`);
  await page.getByRole("heading", { name: "Home", level: 1 }).waitFor();
  await ask("stop");
  await page.getByText("The connection to the server is lost").waitFor();
  await page.getByRole("heading", { name: "Home", level: 1 }).waitFor();
  await accessible(page, "while the connection is lost");
  await ask("start");
  // A restart ends browser sessions.
  await page.getByText("Your session has ended").waitFor();
  await page.getByLabel("User name").fill(ADMIN.name);
  await page.getByLabel("Password").fill(ADMIN.password);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Home", level: 1 }).waitFor();
  await close();
}

/** Everything from the login to a renamed device with no pointer at all. */
export async function the_keyboard_is_enough() {
  const group = await ask("group", "Keys");
  const names = [await ask("join", 0, group), await ask("join", 1, group)].sort();
  const { page, close } = await open();
  const press = async (...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  const focused = () =>
    page.evaluate(
      () => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent ?? "",
    );
  await page.goto(URL_);
  await page.getByRole("heading", { name: "Log in" }).waitFor();
  await page.keyboard.type(ADMIN.name);
  await press("Tab");
  await page.keyboard.type(ADMIN.password);
  await press("Enter");
  for (const name of names) await row(page, name).waitFor();
  await press("Tab");
  check(
    (await focused()) === "Skip to content",
    `first comes the way past the navigation: ${await focused()}`,
  );
  await press("Enter");
  check((await page.evaluate(() => document.activeElement?.id)) === "main", "the way leads to the page");
  await press("j", "j", "x");
  await page.getByRole("toolbar", { name: "Selected devices" }).waitFor();
  await press("Escape");
  await page.getByRole("toolbar", { name: "Selected devices" }).waitFor({ state: "detached" });
  await press("/");
  await page.keyboard.type(names[1]);
  await page.getByText("1 of 2 devices").waitFor();
  await press("Enter", "j", "Enter");
  await page.getByRole("heading", { name: names[1], level: 1 }).waitFor();
  await press("]");
  await page.waitForFunction(
    () => !location.hash.endsWith("general") && location.hash.split("/").length === 4,
  );
  await press("[", "?");
  await page.getByRole("dialog", { name: "Keyboard" }).waitFor();
  await press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  const rename = page.locator("h1 button");
  while (!(await rename.evaluate((button) => button === document.activeElement))) await press("Tab");
  await press("Enter");
  const field = page.getByRole("dialog").getByLabel("Name");
  await field.waitFor();
  await page.waitForFunction((field) => field === document.activeElement, await field.elementHandle());
  await press("Control+a");
  await page.keyboard.type("by keys");
  await page.waitForFunction((field) => field.value === "by keys", await field.elementHandle());
  await press("Enter");
  await page.getByRole("heading", { name: "by keys" }).waitFor();
  const menu = page.getByRole("button", { name: "More actions" });
  while (!(await menu.evaluate((button) => button === document.activeElement))) await press("Tab");
  await press("Enter", "ArrowDown", "ArrowDown", "Escape");
  check(
    await menu.evaluate((button) => button === document.activeElement),
    "the focus comes back from a menu",
  );
  await press("g");
  await page.getByRole("heading", { name: "Groups" }).waitFor();
  await close();
}
