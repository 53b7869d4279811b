// Sessions with a stock agent, through the real server: tests/web_sessions.rs starts both and an X
// server, and says what is seen there.

import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { accessible, check, open, PATIENCE } from "./browser.mjs";
import { ask, logIn, row } from "./person.mjs";

/** JPEG of a good quality is this close to the original, on average per colour. */
const CLOSE = 4;

/** Logs in and opens a tab of the device. */
async function sit(page, tab, who) {
  await logIn(page, who);
  await row(page, await ask("device")).click();
  await page.getByRole("link", { name: tab, exact: true }).click();
}

/** Asks until the answer is as wanted. */
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

/** A shell answers, follows the window's size, is searched, ends, and comes again. */
export async function a_terminal_answers_is_resized_searched_and_opened_again() {
  const { page, close } = await open();
  await sit(page, "Terminal");
  const text = page.locator(".xterm-rows");
  await page.getByRole("button", { name: "Connect", exact: true }).first().click();
  await text.getByText("#").first().waitFor();
  await accessible(page, "terminal");
  await page.keyboard.type("printf 'forty-%s \\033[38;2;255;120;0mtrue\\033[0m\\n' $((6*7))\n");
  await text.getByText("forty-42").waitFor();
  const size = async () => {
    const mark = randomBytes(3).toString("hex");
    await page.keyboard.type(`echo ${mark.slice(0, 3)}''${mark.slice(3)} $(stty size)\n`);
    const line = text.getByText(new RegExp(`${mark} \\d+ \\d+`));
    await line.waitFor();
    return /(\d+) (\d+)\s*$/
      .exec((await line.innerText()).trim())
      ?.slice(1)
      .map(Number);
  };
  const before = await size();
  await page.setViewportSize({ width: 900, height: 700 });
  await until("the shell has fewer columns", async () => (await size())[1] < before[1]);
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByLabel("Search in the terminal").fill("forty-42");
  await until("it is found", () =>
    page
      .locator(".xterm-selection div")
      .count()
      .then((n) => n > 0),
  );
  await page.getByLabel("Search in the terminal").fill("fifty-43");
  await page.locator("[aria-label='Search in the terminal'][aria-invalid=true]").waitFor();
  await page.keyboard.press("Escape");
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.press("Control+Alt+Shift");
  const disconnect = page.getByRole("button", { name: "Disconnect" });
  check(
    await disconnect.evaluate((button) => button === document.activeElement),
    "the keyboard comes out of the terminal",
  );
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.type("exit\n");
  await page.getByText("The session has ended.").waitFor();
  await page.getByRole("button", { name: "Connect again" }).click();
  await text.getByText("#").first().waitFor();
  await close();
}

/** Goes into a folder, name by name. */
async function enter(page, folder) {
  await page.getByRole("button", { name: "/", exact: true }).click();
  for (const name of folder.split("/").filter(Boolean)) {
    await page.getByLabel("Filter this folder").fill(name);
    await page.locator(".file-row").getByRole("button", { name, exact: true }).click();
  }
}

/** Files go up and come down unchanged; what was begun is gone on with; names are only names. */
export async function files_come_back_as_they_went() {
  const folder = await mkdtemp(join(tmpdir(), "sessions-"));
  const there = join(folder, "there");
  await mkdir(there);
  const hostile = `<img src=x onerror="globalThis.owned=1">\u202egnp.exe`;
  await writeFile(join(there, hostile), "harmless");
  await writeFile(join(there, "notes.txt"), "alpha\r\nbeta\r\n");
  const content = randomBytes(1_500_000);
  for (let at = 0; at < content.length; at += 65_535) content[at] = at % 2 ? 0 : 0x7b;
  await writeFile(join(folder, "large.bin"), content);
  const hash = (data) => createHash("sha384").update(data).digest("hex");

  const { page, close } = await open({ acceptDownloads: true });
  await sit(page, "Files");
  await enter(page, there);
  await page.getByRole("button", { name: "notes.txt" }).waitFor();
  check(!(await page.evaluate(() => "owned" in globalThis)), "a name ran");
  check(!/[\u202a-\u202e]/.test(await page.locator(".stage").innerText()), "a name turns the line round");
  await accessible(page, "files");

  const done = (number) =>
    page
      .locator(".transfers")
      .getByText("Done")
      .nth(number - 1)
      .waitFor();
  await page.getByLabel("Files to upload").setInputFiles(join(folder, "large.bin"));
  await done(1);
  check(hash(await readFile(join(there, "large.bin"))) === hash(content), "the upload differs");

  // Half of it is there: the rest is added.
  await writeFile(join(there, "large.bin"), content.subarray(0, 700_001));
  await page.getByRole("button", { name: "More", exact: true }).click();
  await page.getByRole("menuitem", { name: "Read again" }).click();
  await page.locator(".file-row").getByText("700 KB").waitFor();
  await page.getByLabel("Files to upload").setInputFiles(join(folder, "large.bin"));
  await page.getByRole("button", { name: "Go on" }).click();
  await done(2);
  check(hash(await readFile(join(there, "large.bin"))) === hash(content), "the upload that went on differs");

  // Reading the folder again, as every upload does a moment later, leaves what a person has begun.
  await page.getByLabel("Select large.bin").check();
  await page.getByLabel("Filter this folder").fill("a");
  await writeFile(join(there, "later.txt"), "later");
  await page.getByRole("button", { name: "More", exact: true }).click();
  await page.getByRole("menuitem", { name: "Read again" }).click();
  await page.getByRole("button", { name: "later.txt" }).waitFor();
  check(await page.getByLabel("Select large.bin").isChecked(), "what was chosen is not any more");
  check((await page.getByLabel("Filter this folder").inputValue()) === "a", "the filter is gone");
  await page.getByLabel("Filter this folder").fill("");
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Download", exact: true }).click(),
  ]);
  check(hash(await readFile(await download.path())) === hash(content), "the download differs");

  await page.getByRole("button", { name: "notes.txt" }).click();
  await page.getByLabel("Text", { exact: true }).fill("alpha\ngamma ✓\n");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  const saved = await readFile(join(there, "notes.txt"), "utf8");
  check(saved === "alpha\r\ngamma ✓\r\n", `the text is ${JSON.stringify(saved)}`);

  const more = async (words) => {
    await page.getByRole("button", { name: "More", exact: true }).click();
    await page.getByRole("menuitem", { name: words }).click();
  };
  await page.getByLabel("Select later.txt").check();
  await page.getByLabel("Select large.bin").uncheck();
  await page.getByRole("button", { name: "Rename" }).click();
  await page.getByRole("dialog").getByLabel("Name").fill("sooner.txt");
  await page.getByRole("dialog").getByRole("button", { name: "Rename" }).click();
  await page.getByRole("button", { name: "sooner.txt" }).waitFor();
  check(!existsSync(join(there, "later.txt")), "the old name is still there");

  await page.getByLabel("Select sooner.txt").check();
  await page.getByLabel("Select large.bin").check();
  await more("Pack into a zip…");
  await page.getByRole("dialog").getByLabel("Name of the archive").fill("both.zip");
  await page.getByRole("button", { name: "Pack", exact: true }).click();
  await page.getByRole("button", { name: "both.zip" }).waitFor();
  const list = execFileSync("python3", ["-m", "zipfile", "-l", join(there, "both.zip")], {
    encoding: "utf8",
  });
  check(/sooner\.txt/.test(list) && /large\.bin +.* 1500000/.test(list), `packed: ${list}`);

  await page.getByRole("button", { name: "New folder" }).click();
  await page.getByRole("dialog").getByLabel("Name").fill("new one");
  await page.getByRole("button", { name: "Make it" }).click();
  await page.getByRole("button", { name: "new one" }).waitFor();
  await page.getByLabel("Select new one").check();
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await until("the folder is gone", async () => !existsSync(join(there, "new one")));
  await close();
  await rm(folder, { recursive: true });
}

/** The samples of the page's picture, as the X server's are taken. */
async function seen(page) {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page
      .getByRole("button", { name: "View" })
      .click()
      .then(() => page.getByRole("menuitem", { name: "Keep this picture" }).click()),
  ]);
  const png = await readFile(await download.path());
  return page.evaluate(async (text) => {
    const bitmap = await createImageBitmap(
      new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))]),
    );
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    const pixels = [];
    for (let y = 4; y < bitmap.height; y += 8)
      for (let x = 4; x < bitmap.width; x += 8)
        pixels.push([...data.subarray((y * bitmap.width + x) * 4, (y * bitmap.width + x) * 4 + 3)]);
    return pixels;
  }, png.toString("base64"));
}

function distance(ours, theirs) {
  if (ours.length !== theirs.length) return 255;
  return (
    ours.reduce(
      (sum, pixel, n) => sum + pixel.reduce((part, value, c) => part + Math.abs(value - theirs[n][c]), 0),
      0,
    ) /
    (ours.length * 3)
  );
}

async function sameAsScreen(page, what) {
  await until(what, async () => {
    const apart = distance(await seen(page), await ask("screen"));
    return apart < CLOSE || apart;
  });
}

async function connect(page) {
  await page.getByRole("button", { name: "Connect", exact: true }).first().click();
  await page.getByRole("button", { name: "Disconnect" }).waitFor();
  await until("there is a picture", () => page.locator("canvas").evaluate(({ width }) => width === 640));
}

/** Where a pixel of the desktop is in the window. */
async function at(page, x, y) {
  const box = await page.locator("canvas").boundingBox();
  return [box.x + ((x + 0.5) / 640) * box.width, box.y + ((y + 0.5) / 480) * box.height];
}

/** What is seen is what the X server shows, and what changes there changes here; hands reach it. */
export async function the_desktop_is_what_the_x_server_shows() {
  const { page, close } = await open({ acceptDownloads: true });
  await sit(page, "Desktop");
  await connect(page);
  await page.getByRole("button", { name: "Balanced" }).click();
  await page.getByRole("menuitemradio", { name: "Sharp" }).click();
  await sameAsScreen(page, "the picture is the X server's");
  await ask("fill", 0x101010);
  await sameAsScreen(page, "the change is seen");
  await accessible(page, "desktop");

  const pointer = (x, y, mask) =>
    until(`the pointer is at ${x}, ${y} with ${mask}`, async () => {
      const [atX, atY, held] = await ask("pointer");
      return (Math.abs(atX - x) <= 1 && Math.abs(atY - y) <= 1 && held === mask) || [atX, atY, held];
    });
  await page.mouse.move(...(await at(page, 200, 150)));
  await pointer(200, 150, 0);
  await page.mouse.move(...(await at(page, 300, 200)));
  await page.mouse.down();
  await pointer(300, 200, 0x100);
  await page.mouse.up();
  await pointer(300, 200, 0);
  await page.keyboard.down("Shift");
  await pointer(300, 200, 1);
  await page.keyboard.up("Shift");
  await pointer(300, 200, 0);
  // Who has no mouse gets the keyboard back.
  await page.keyboard.press("Control+Alt+Shift");
  await page.getByRole("button", { name: "Disconnect" }).and(page.locator(":focus")).waitFor();
  await pointer(300, 200, 0);
  await page.getByRole("button", { name: "Only look" }).click();
  await page.mouse.move(...(await at(page, 20, 20)));
  await page.getByRole("button", { name: "Only look" }).click();
  await pointer(300, 200, 0);
  await page.mouse.move(...(await at(page, 40, 40)));
  await pointer(40, 40, 0);
  await close();
}

/** A guest of the desktop, by right: sees it, has no hands, no terminal, no files. */
export async function who_may_only_look_only_looks() {
  const { page, close } = await open({ acceptDownloads: true });
  await sit(page, "Desktop", { name: "bob", password: "Bobs-Word-1" });
  check(
    (await page.getByRole("link", { name: "Terminal", exact: true }).count()) === 0,
    "there is a terminal",
  );
  check((await page.getByRole("link", { name: "Files", exact: true }).count()) === 0, "there are files");
  const before = await ask("pointer");
  await connect(page);
  await page.getByText("Looking only").waitFor();
  await page.mouse.click(...(await at(page, 77, 88)));
  await page.keyboard.press("a");
  await sameAsScreen(page, "the picture is the X server's");
  check(JSON.stringify(await ask("pointer")) === JSON.stringify(before), "the pointer moved");
  await close();
}

/** Everything is there at 360 pixels, and a finger is enough. */
export async function sessions_fit_on_a_phone() {
  const { page, close } = await open({
    viewport: { width: 360, height: 740 },
    isMobile: true,
    hasTouch: true,
  });
  await sit(page, "Terminal");
  await page.getByRole("button", { name: "Connect", exact: true }).first().tap();
  await page.locator(".xterm-rows").getByText("#").first().waitFor();
  await accessible(page, "terminal on a phone");
  check((await wide(page)) <= 0, "the terminal is too wide");
  await page.getByRole("link", { name: "Files", exact: true }).tap();
  await page.locator(".file-row").first().waitFor();
  await accessible(page, "files on a phone");
  check((await wide(page)) <= 0, "the files are too wide");
  await page.getByRole("link", { name: "Desktop", exact: true }).tap();
  await connect(page);
  await accessible(page, "desktop on a phone");
  check((await wide(page)) <= 0, "the desktop is too wide");
  await page.touchscreen.tap(...(await at(page, 320, 240)));
  await until("the finger moved the pointer", async () => {
    const [x, y] = await ask("pointer");
    return (Math.abs(x - 320) <= 2 && Math.abs(y - 240) <= 2) || [x, y];
  });
  await close();
}
