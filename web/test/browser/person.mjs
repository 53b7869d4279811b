// What every person at the browser does: logging in, making a group, and asking the test that started
// the server for what is done beside the browser.

import { createInterface } from "node:readline";

export const URL_ = process.env.MESHBOARD_URL;
export const ADMIN = { name: "admin", password: "Correct-Horse-8" };

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Asks the test to do something outside of the browser. */
export async function ask(...words) {
  console.log(`@${JSON.stringify(words)}`);
  const { value } = await answers.next();
  return JSON.parse(value);
}

export async function logIn(page, { name, password } = ADMIN, address = "") {
  await page.goto(URL_ + address);
  await page.getByLabel("User name").fill(name);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
}

export async function inside(page) {
  await page.getByRole("navigation", { name: "Pages" }).waitFor();
}

/** Makes a group by the page; its short id. */
export async function makeGroup(page, name) {
  await page.getByRole("link", { name: "Groups" }).click();
  await page
    .getByRole("button", { name: /New group|first group/ })
    .first()
    .click();
  await page.getByRole("dialog").getByLabel("Name").fill(name);
  await page.getByRole("button", { name: "Make the group" }).click();
  await page.getByRole("heading", { name, level: 1 }).waitFor();
  return decodeURIComponent(new URL(page.url()).hash.split("/")[2]);
}

/** One row of the device list. */
export const row = (page, name) => page.locator(".device-row").filter({ hasText: name });
