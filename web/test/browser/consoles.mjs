// Firmware of a simulated computer, through the real server: tests/web_consoles.rs starts both and
// says what the computer saw.

import { readFile } from "node:fs/promises";

import { accessible, check, open, PATIENCE } from "./browser.mjs";
import { ask, logIn, row, URL_ } from "./person.mjs";

async function sit(page, tab) {
  await logIn(page);
  await row(page, "pc").click();
  await page.getByRole("link", { name: tab, exact: true }).click();
}

async function until(what, wanted) {
  const end = Date.now() + PATIENCE;
  let last;
  do {
    last = await wanted();
    if (last === true) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  } while (Date.now() < end);
  throw new Error(`never: ${what}; at last ${JSON.stringify(last)}`);
}

const wide = (page) => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

/** Colours of noVNC's own canvas at these places of the computer's screen. */
const colours = (page, places) =>
  page
    .locator(".firmware canvas")
    .evaluate(
      (canvas, places) =>
        places.map(([x, y]) => [...canvas.getContext("2d").getImageData(x, y, 1, 1).data.slice(0, 3)]),
      places,
    );

/** The computer's picture is shown, what is typed arrives there, and a lost session comes again. */
export async function the_screen_is_shown_and_typed_into() {
  const { page, close } = await open();
  await sit(page, "AMT screen");
  await accessible(page, "screen before");
  await page.getByRole("button", { name: "Connect", exact: true }).first().click();
  const { places, pixels } = await ask("pattern");
  await page.locator(".firmware canvas").waitFor();
  const shown = async () => JSON.stringify(await colours(page, places)) === JSON.stringify(pixels);
  await until("the pattern is shown", async () => (await shown()) || colours(page, places));
  await accessible(page, "screen");

  await page.locator(".firmware canvas").click({ position: { x: 20, y: 20 } });
  await page.keyboard.type("aZ");
  await until("letters arrive", () => ask("typed", [0x61, 0x5a]));
  await until("the pointer arrives", () => ask("pointed"));
  await page.getByRole("button", { name: "Keys" }).click();
  await page.getByRole("menuitem", { name: "F2", exact: true }).click();
  await until("F2 arrives", () => ask("typed", [0xffbf]));
  // A square for each key is on the screen there, and here.
  const after = await ask("pattern");
  await until(
    "the keys are drawn",
    async () => JSON.stringify(await colours(page, after.places)) === JSON.stringify(after.pixels),
  );

  // Ctrl, Alt and Shift give the keyboard back.
  await page.locator(".firmware canvas").focus();
  await page.keyboard.press("Control+Alt+Shift");
  await until("the keyboard is given back", () =>
    page.evaluate(() => document.activeElement?.closest(".toolbar") !== null),
  );
  await ask("restart");
  await page.locator(".firmware canvas").waitFor();
  await until("it comes again", () => ask("sessions", 2));

  await page.setViewportSize({ width: 360, height: 700 });
  check((await wide(page)) <= 0, "the page is wider than a phone");
  await page.getByRole("button", { name: "Disconnect" }).click();
  await page.getByText("Disconnected.").waitFor();
  await close();
}

/** What the firmware refuses is said, and consent is asked for. */
export async function consent_is_asked_for_and_given() {
  const { page, close } = await open({ colorScheme: "dark" });
  await sit(page, "AMT screen");
  await page.getByRole("button", { name: "Connect", exact: true }).first().click();
  await page.getByRole("button", { name: "Ask for consent" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Code").waitFor();
  await accessible(page, "consent");
  await dialog.getByLabel("Code").fill("000000");
  await dialog.getByRole("button", { name: "Go on" }).click();
  await dialog.getByRole("alert").waitFor();
  await dialog.getByLabel("Code").fill(await ask("code"));
  await page.keyboard.press("Enter");
  await page.locator(".firmware canvas").waitFor();
  await close();
}

/** The serial line types and echoes. */
export async function the_serial_line_echoes() {
  const { page, close } = await open();
  await sit(page, "AMT serial");
  await page.getByRole("button", { name: "Connect", exact: true }).first().click();
  const text = page.locator(".xterm-rows");
  await text.getByText("Hello SOL").waitFor();
  await accessible(page, "serial");
  await page.keyboard.type("echo ");
  await page.keyboard.press("Enter");
  await until("it was typed", () => ask("line", "echo \r"));
  await page.keyboard.press("Control+Alt+Shift");
  await until("the keyboard is given back", () =>
    page.evaluate(() => document.activeElement?.closest(".toolbar") !== null),
  );
  await page.getByRole("button", { name: "Line", exact: true }).click();
  await page.getByRole("menuitemradio", { name: "Function keys as Intel's" }).click();
  await page.getByRole("button", { name: "Keys" }).click();
  await page.getByRole("menuitem", { name: "F3", exact: true }).click();
  await until("F3 went as Intel has it", () => ask("line", "echo \r\u001bOw"));
  await page.setViewportSize({ width: 360, height: 700 });
  check((await wide(page)) <= 0, "the page is wider than a phone");
  await close();
}

/** Images come to the server, become drives with those of a group, and are read whole. */
export async function a_computer_reads_what_it_is_lent() {
  const { page, close } = await open();
  await sit(page, "AMT drives");
  await page.getByRole("button", { name: "Upload an image…" }).waitFor();
  const send = async (name, buffer) => {
    await page.getByLabel("Image file").setInputFiles({ name, mimeType: "", buffer });
  };
  await send("notes.txt", Buffer.from("no image"));
  await page.getByRole("alert").getByText(".iso or .img").waitFor();
  // Larger than one piece, so that there is something to show on the way.
  const disc = Buffer.concat(Array.from({ length: 100 }, (_, sector) => Buffer.alloc(2048, sector)));
  await send("small.iso", disc);
  await page.getByText("small.iso is on the server").waitFor();
  const chosen = async () => (await page.getByLabel("CD-ROM").inputValue()) === "small.iso";
  await until("what has come is chosen", chosen);
  // What is there is not replaced without a word.
  await send("small.iso", Buffer.alloc(512));
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  await page.getByLabel("Floppy disk").selectOption({ label: "amt: tools.img (1.5 KB)" });
  await accessible(page, "drives");
  await page.getByRole("button", { name: "Lend to the device" }).click();
  await page.getByText("The device has the drives.").waitFor();
  await until("it has read all of it", () => ask("read"));
  await page.getByText("sector 99 of 100").waitFor();
  await accessible(page, "drives that are read");
  await page.setViewportSize({ width: 360, height: 700 });
  check((await wide(page)) <= 0, "the page is wider than a phone");
  await page.getByRole("button", { name: "Take back" }).click();
  await page.getByRole("button", { name: "Begin again" }).waitFor();
  await close();
}

/** What the firmware knows is shown and taken home; many computers are switched, each with its outcome. */
export async function the_panel_tells_and_switches() {
  const { page, close } = await open({ acceptDownloads: true });
  await sit(page, "Intel AMT");
  const card = (title) =>
    page.locator("section.card").filter({ has: page.getByRole("heading", { name: title }) });

  const hardware = card("Hardware");
  await hardware.getByRole("button", { name: "Ask" }).click();
  await hardware.getByRole("heading", { name: "Mainboard" }).waitFor();
  await hardware.getByRole("button", { name: "Network" }).click();
  await hardware.getByText("00:BE:43:D8:22:A4").waitFor();
  await accessible(page, "hardware");

  const logs = card("Logs of the firmware");
  const exported = async (name) => {
    const [file] = await Promise.all([
      page.waitForEvent("download"),
      logs.getByRole("button", { name: "Export as CSV" }).click(),
    ]);
    check(file.suggestedFilename() === name, file.suggestedFilename());
    const [head, ...lines] = (await readFile(await file.path(), "utf8")).trimEnd().split("\r\n");
    check(head === "Time,Number,Severity,Event,Initiator,Address,Data", head);
    return lines;
  };
  await logs.getByRole("button", { name: "Ask" }).click();
  const shown = logs.locator(".event-list > li");
  await shown.first().waitFor();
  const events = await exported("pc-events.csv");
  check(events.length === (await shown.count()), `${events.length} lines`);
  await logs.getByRole("button", { name: "Audit log" }).click();
  await logs.getByText("Firmware updated").first().waitFor();
  const audit = await exported("pc-audit.csv");
  check(
    audit.some((line) => line.includes(",Firmware updated,")),
    audit.join(),
  );
  await accessible(page, "logs");
  await page.setViewportSize({ width: 360, height: 700 });
  check((await wide(page)) <= 0, "the panel is wider than a phone");
  await page.setViewportSize({ width: 1280, height: 900 });

  const power = card("Power");
  await power.getByRole("button", { name: "Ask for the state" }).click();
  await power.getByRole("button", { name: "Power cycle" }).waitFor();
  await power.getByRole("button", { name: "Start from an address…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Address").fill("http://boot.example.com/x.efi");
  await dialog.getByText("has to begin with https").waitFor();
  check(await dialog.getByRole("button", { name: "Start" }).isDisabled(), "it takes http");
  await accessible(page, "start from an address");
  await page.keyboard.press("Escape");

  // Two computers, of which one is not there.
  await page.goto(`${URL_}#/devices`);
  for (const name of ["pc", "ghost"]) await row(page, name).getByLabel(`Select ${name}`).check();
  await page.getByRole("toolbar", { name: "Selected devices" }).getByRole("button", { name: "More" }).click();
  await page.getByRole("menuitem", { name: "Intel AMT power…" }).click();
  await dialog.getByLabel("What").selectOption("cycle");
  await accessible(page, "power of many");
  await dialog.getByRole("button", { name: "Power cycle" }).click();
  await dialog.getByText("Done on 1 device, failed on 1").waitFor();
  const outcome = dialog.locator(".outcomes > li");
  await outcome.filter({ hasText: "pc" }).getByRole("img", { name: "done" }).waitFor();
  await outcome.filter({ hasText: "ghost" }).getByRole("img", { name: "failed" }).waitFor();
  await accessible(page, "outcomes");
  await until("it was asked for a power cycle", () => ask("power", 5));
  await close();
}

/** Settings, users and alarms are read, changed, and shown as the firmware has them then. */
export async function settings_are_changed_in_the_firmware() {
  const { page, close } = await open();
  await sit(page, "Intel AMT");
  const card = (title) =>
    page.locator("section.card").filter({ has: page.getByRole("heading", { name: title, exact: true }) });
  const dialog = page.getByRole("dialog");
  const done = () => dialog.waitFor({ state: "detached" });

  const settings = card("Settings of the firmware");
  await settings.getByRole("button", { name: "Ask for the settings" }).click();
  await settings.getByText("Serial line (SOL)").waitFor();
  await settings.getByText("behind the server's").waitFor();
  await settings.getByRole("button", { name: "Set the clock" }).click();
  await settings.getByText("as the server's").waitFor();
  await settings.getByRole("button", { name: "Features and consent…" }).click();
  await dialog.getByLabel("Serial line (SOL)").uncheck();
  await dialog.getByLabel("Whoever sits at the computer is asked").selectOption("desktop");
  await accessible(page, "features");
  await dialog.getByRole("button", { name: "Save" }).click();
  await done();
  await settings.getByText("For the screen").waitFor();
  await settings.locator(".badge").getByText("off", { exact: true }).waitFor();
  await settings.getByRole("button", { name: "Name…" }).click();
  await dialog.getByLabel("Host name").fill("reception");
  await dialog.getByLabel("Domain").fill("example.com");
  await dialog.getByRole("button", { name: "Save" }).click();
  await done();
  await settings.getByText("reception.example.com").waitFor();
  await accessible(page, "settings");
  await settings.getByRole("button", { name: "Password…" }).click();
  await dialog.getByLabel("New password").fill("N3w!secret");
  await dialog.getByRole("button", { name: "Change" }).click();
  await done();

  const users = card("Users of the firmware");
  await users.getByRole("button", { name: "Ask for the users" }).click();
  await users.getByText("as whom this server logs in").waitFor();
  await users.getByRole("button", { name: "Add a user" }).click();
  await dialog.getByLabel("Name").fill("helpdesk");
  await dialog.getByLabel("Password").fill("P@ssw0rd2");
  await dialog.getByLabel("Logs in").selectOption("network");
  await dialog.getByLabel("Event log").check();
  await accessible(page, "add a user");
  await dialog.getByRole("button", { name: "Add" }).click();
  await done();
  await users.getByText("from the network, 1 part of the firmware").waitFor();
  await users.getByRole("button", { name: "Change helpdesk" }).click();
  await dialog.getByLabel("Audit log").check();
  await dialog.getByLabel("May log in").uncheck();
  await dialog.getByRole("button", { name: "Save" }).click();
  await done();
  await users.getByText("from the network, 2 parts of the firmware").waitFor();
  await users.getByText("off", { exact: true }).waitFor();
  await accessible(page, "users");
  await users.getByRole("button", { name: "Remove helpdesk" }).click();
  await dialog.getByRole("button", { name: "Remove" }).click();
  await users.getByText("helpdesk").waitFor({ state: "detached" });

  const alarms = card("Alarm clocks");
  await alarms.getByRole("button", { name: "Ask for the alarms" }).click();
  await alarms.getByRole("button", { name: "Add an alarm" }).click();
  await dialog.getByLabel("Name").fill("Nightly");
  await dialog.getByLabel("Switches the computer on at").fill("2090-01-01T03:30");
  await dialog.getByLabel("Again").selectOption("86400");
  await accessible(page, "add an alarm");
  await dialog.getByRole("button", { name: "Add" }).click();
  await done();
  await alarms.getByText("03:30, every day").waitFor();
  await page.setViewportSize({ width: 360, height: 700 });
  check((await wide(page)) <= 0, "the panel is wider than a phone");
  await alarms.getByRole("button", { name: "Remove Nightly" }).click();
  await alarms.getByText("None is set.").waitFor();
  await card("Power").getByRole("button", { name: "Start from an address…" }).click();
  await dialog.getByLabel("Address").fill("https://boot.example.com/x.efi");
  await dialog.getByRole("button", { name: "Start" }).click();
  const refusal = await dialog.getByRole("alert").innerText();
  check(/cannot start from/.test(refusal), refusal);
  await page.keyboard.press("Escape");
  const hardware = card("Hardware");
  await hardware.getByRole("button", { name: "Changes" }).click();
  await hardware.getByText("Nothing has changed since it is known").waitFor();
  await close();
}
