// People without an account: guests of a device, and who sits at a device and is talked to; and two
// accounts that talk. tests/web_visits.rs starts the server and the agents.

import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { accessible, check, open } from "./browser.mjs";
import { ADMIN, ask, logIn, row, URL_ } from "./person.mjs";

const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };

const wide = (page) => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

/** Presses Tab until what has the focus has this name. */
async function tabTo(page, role, name) {
  const wanted = page.getByRole(role, { name, exact: true }).and(page.locator(":focus"));
  for (let n = 0; n < 60; n++) {
    if ((await wanted.count()) > 0) return;
    await page.keyboard.press("Tab");
  }
  throw new Error(`the keyboard does not reach ${name}`);
}

/** A guest has what is shared, by keyboard alone, and not a moment longer. */
export async function a_guest_has_what_is_shared_until_it_is_withdrawn() {
  const { page, close } = await open();
  await page.goto(await ask("share", "--type", "terminal,files", "--duration", "30", "--consent", "none"));
  await page.getByRole("heading", { level: 1, name: await ask("device") }).waitFor();
  await page.getByText("admin lets you in as Gus").waitFor();
  await accessible(page, "guest");
  const parts = page.getByRole("navigation", { name: "Parts of this device" });
  check(
    (await parts.getByRole("link").allInnerTexts()).join() === "Terminal,Files",
    "what is shared is there",
  );
  await tabTo(page, "button", "Connect");
  await page.keyboard.press("Enter");
  const text = page.locator(".xterm-rows");
  await text.getByText("#").first().waitFor();
  await page.keyboard.type("printf 'forty-%s\\n' $((6*7))\n");
  await text.getByText("forty-42").waitFor();
  await accessible(page, "guest's terminal");
  await parts.getByRole("link", { name: "Files" }).focus();
  await page.keyboard.press("Enter");
  await page.locator(".file-row").first().waitFor();
  await accessible(page, "guest's files");
  await ask("withdraw");
  await page.getByRole("heading", { name: "This invitation has ended" }).waitFor();
  await accessible(page, "invitation that has ended");
  await page.reload();
  await page.getByRole("heading", { name: "This invitation has ended" }).waitFor();
  await close();
}

/** On a phone, one who may only look sees the desktop and has no hands. */
export async function a_guest_who_may_only_look_has_a_phone() {
  const { page, close } = await open(PHONE);
  await page.goto(
    await ask("share", "--type", "desktop", "--viewonly", "--duration", "30", "--consent", "none"),
  );
  await page.getByRole("button", { name: "Connect", exact: true }).first().tap();
  await page.getByRole("button", { name: "Disconnect" }).waitFor();
  await page.waitForFunction(() => document.querySelector("canvas")?.width === 640);
  await page.getByText("Looking only").waitFor();
  await accessible(page, "guest's desktop on a phone");
  check((await wide(page)) <= 0, "the page is too wide");
  const before = await ask("pointer");
  await page.locator("canvas").tap();
  check((await page.getByRole("button", { name: "Only look" }).count()) === 0, "there is a choice");
  check(JSON.stringify(await ask("pointer")) === JSON.stringify(before), "the pointer moved");
  await close();
}

const status = (page) => page.locator(".chat [role=status]");
const said = (page) => page.getByRole("log");

async function say(page, words) {
  await page.getByLabel("Message").fill(words);
  await page.keyboard.press("Enter");
}

/** The person at a device and somebody with an account: words, files, coming and going. */
export async function a_device_and_an_account_talk() {
  const folder = await mkdtemp(join(tmpdir(), "visits-"));
  const content = randomBytes(200_000);
  await writeFile(join(folder, "sent.bin"), content);
  const { page, close } = await open({ acceptDownloads: true });
  const visitor = await open(PHONE);
  const there = visitor.page;
  await logIn(page);
  await row(page, await ask("device")).click();
  await page.getByRole("link", { name: "Chat", exact: true }).click();
  await accessible(page, "chat that has not begun");
  await page.getByRole("button", { name: "Ask to talk" }).click();
  const link = await ask("called");
  await status(page).getByText("Waiting for").waitFor();
  await ask("nobody");
  await page.getByText("The page could not be opened there").waitFor();

  await there.goto(link);
  await there.getByRole("heading", { name: `Chat with ${ADMIN.name}` }).waitFor();
  await status(there).getByText(`${ADMIN.name} is here.`).waitFor();
  await status(page).getByText("is here.").waitFor();
  check(!there.url().includes("c="), "the token stays in the address");
  await say(page, "hello <b>there</b>\u202e!");
  await said(there).getByText("hello <b>there</b>!").waitFor();
  await there.getByLabel("Message").pressSequentially("wel");
  await page.getByText("is writing…").waitFor();
  await there.getByLabel("Message").pressSequentially("l\n");
  await said(page).getByText("well").waitFor();
  await page.getByText("is writing…").waitFor({ state: "detached" });
  await accessible(page, "chat");
  await accessible(there, "chat at the device");
  check((await wide(there)) <= 0, "the page is too wide");

  await there.getByLabel("Files to send").setInputFiles(join(folder, "sent.bin"));
  await said(page).getByText("sent.bin").waitFor();
  await accessible(page, "file that is offered");
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Take it" }).click(),
  ]);
  check((await readFile(await download.path())).equals(content), "the file differs");
  await said(there).getByText("done").waitFor();

  // Who looks elsewhere hears of it, and what was said is still there.
  await page.getByRole("link", { name: "General", exact: true }).click();
  await say(there, "are you there?");
  await page.locator(".toast").getByText("are you there?").waitFor();
  await page.getByRole("link", { name: "Chat", exact: true }).click();
  await said(page).getByText("are you there?").waitFor();

  // A page that is loaded again comes back; its link does not.
  await there.reload();
  await status(there).getByText(`${ADMIN.name} is here.`).waitFor();
  await status(page).getByText("is here.").waitFor();
  await say(page, "again");
  await said(there).getByText("again").waitFor();
  const thief = await visitor.context.newPage();
  await thief.goto(link);
  await thief.getByRole("heading", { name: "This conversation is over" }).waitFor();
  await accessible(thief, "chat that is over");
  await there.close();
  await status(page).getByText("has left.").waitFor();
  await page.getByRole("button", { name: "Ask again" }).click();
  const back = await visitor.context.newPage();
  await back.goto(await ask("called"));
  await status(back).getByText(`${ADMIN.name} is here.`).waitFor();
  await close();
  await status(back).getByText(`${ADMIN.name} has left.`).waitFor();
  await visitor.close();
  await rm(folder, { recursive: true });
}

/** One account asks another, who is told, and a third sees nothing. */
export async function two_accounts_talk() {
  const [one, other] = [await open(), await open()];
  await logIn(other.page, { name: "bob", password: "Bobs-Word-1" });
  await other.page.getByRole("navigation", { name: "Pages" }).waitFor();
  await logIn(one.page);
  await one.page.getByRole("navigation", { name: "Pages" }).waitFor();
  await one.page.goto(`${URL_}#/user/bob`);
  const opened = one.context.waitForEvent("page");
  await one.page.getByRole("link", { name: "Chat", exact: true }).click();
  const here = await opened;
  await status(here).getByText("Waiting for bob").waitFor();
  const dialog = other.page.getByRole("dialog", { name: `${ADMIN.name} wants to talk` });
  await dialog.waitFor();
  await accessible(other.page, "request to talk");
  const followed = other.context.waitForEvent("page");
  await dialog.getByRole("link", { name: "Open the chat" }).click();
  const there = await followed;
  await status(there).getByText(`${ADMIN.name} is here.`).waitFor();
  await say(here, "hello bob");
  await said(there).getByText("hello bob").waitFor();
  await say(there, "hello admin");
  await said(here).getByText("hello admin").waitFor();
  // Nobody is led into it without an account; who logs in then, is.
  const stranger = await open();
  await stranger.page.goto(here.url());
  await stranger.page.getByRole("link", { name: "Log in" }).click();
  await there.close();
  await stranger.page.getByLabel("User name").fill("bob");
  await stranger.page.getByLabel("Password").fill("Bobs-Word-1");
  await stranger.page.getByRole("button", { name: "Log in" }).click();
  await status(stranger.page).getByText(`${ADMIN.name} is here.`).waitFor();
  for (const { close } of [one, other, stranger]) await close();
}
