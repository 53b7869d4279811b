// Firmware of a simulated computer, through the real server: tests/web_consoles.rs starts both and
// says what the computer saw.

import { accessible, check, open, PATIENCE } from "./browser.mjs";
import { ask, logIn, row } from "./person.mjs";

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
  await page.getByRole("button", { name: "Connect" }).first().click();
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
  await page.getByRole("button", { name: "Connect" }).first().click();
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
  await page.getByRole("button", { name: "Connect" }).first().click();
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

/** Images become drives, which are read whole. */
export async function a_computer_reads_what_it_is_lent() {
  const { page, close } = await open();
  await sit(page, "AMT drives");
  await page.getByLabel("CD-ROM").selectOption("small.iso");
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
