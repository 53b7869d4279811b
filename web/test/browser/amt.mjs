// Intel AMT in the browser, against the real server; tests/web_amt.rs starts it and is the computer.

import { readFile } from "node:fs/promises";

import { accessible, check, open } from "./browser.mjs";
import { ask, inside, logIn, row, URL_ } from "./person.mjs";

/** Whoever opens the port of Intel AMT in a browser reads what it is for. */
export async function the_port_says_what_it_is_for() {
  const { page, close } = await open();
  const answer = await page.goto(URL_);
  check(answer.status() === 200, `status ${answer.status()}`);
  const text = await page.locator("body").innerText();
  check(
    text.trim() === "MeshCentral2 MPS server.\nIntel® AMT computers should connect here.",
    `it says ${JSON.stringify(text)}`,
  );
  await close();
}

/** From a new group to a computer that is there, is gone, and says why. */
export async function a_computer_joins_goes_and_says_why() {
  const { page, close } = await open({ acceptDownloads: true });
  await page.goto(URL_);
  await logIn(page);
  await inside(page);
  await page.goto(`${URL_}#/groups`);
  await page
    .getByRole("button", { name: /New group|first group/ })
    .first()
    .click();
  await page.getByRole("dialog").getByLabel("Name").fill("Firmware");
  await page.getByRole("dialog").getByLabel("Kind").selectOption("1");
  await page.getByRole("button", { name: "Make the group" }).click();
  await page.getByRole("heading", { name: "Firmware" }).waitFor();

  await page.getByRole("button", { name: "Show what to enter" }).click();
  const value = async (name) => {
    const box = page.locator(".copy-box").filter({ has: page.getByLabel(`Copy ${name}`) });
    return (await box.locator("code").textContent()).trim();
  };
  const setup = {
    server: await value("server"),
    port: Number(await value("port")),
    user: await value("user name"),
    password: await value("password"),
  };
  await accessible(page, "group");
  const download = async (press) => {
    const [file] = await Promise.all([page.waitForEvent("download"), press()]);
    return { name: file.suggestedFilename(), content: await readFile(await file.path()) };
  };
  const root = await download(() => page.getByRole("link", { name: "Root certificate" }).click());
  check(root.content[0] === 0x30, "the certificate is DER");
  const script = await download(() => page.getByRole("button", { name: "Script" }).click());
  check(script.name === "cira_setup.mescript", script.name);
  const { scriptText } = JSON.parse(script.content.toString());
  check(scriptText.includes(setup.user), "the script names the group");

  await ask("call", setup);
  await page.goto(`${URL_}#/devices`);
  await row(page, "127.0.0.1").click();
  await page.getByRole("link", { name: "Intel AMT", exact: true }).last().click();
  await page.getByText("by itself (CIRA)").waitFor();
  await page.getByText(await ask("uuid"), { exact: true }).waitFor();
  await accessible(page, "connected");

  await ask("leave");
  await page.getByRole("heading", { name: "Why is it offline?" }).waitFor();
  await ask("call", { ...setup, password: "Wr0ng!pass" });
  await page.getByRole("button", { name: "Look again" }).click();
  await page.getByText("The password is not the one").waitFor();
  await page.getByLabel("What happened").first().click();
  await page.getByRole("dialog").getByText("refused: wrong password").waitFor();
  await accessible(page, "what happened");
  await page.keyboard.press("Escape");

  await page.goto(`${URL_}#/amt`);
  await page.getByRole("heading", { name: "Intel AMT" }).waitFor();
  await page.getByRole("button", { name: "Failed" }).click();
  await page.getByText("refused: wrong password").waitFor();
  await accessible(page, "journal");
  await close();
}

/** Computers on the local network are found by a scan, added, and present. */
export async function the_network_is_scanned_and_a_computer_added() {
  const { page, close } = await open();
  await page.goto(URL_);
  await logIn(page);
  await inside(page);
  await page.goto(`${URL_}#/groups`);
  await page
    .getByRole("button", { name: /New group|first group/ })
    .first()
    .click();
  await page.getByRole("dialog").getByLabel("Name").fill("Office");
  await page.getByRole("dialog").getByLabel("Kind").selectOption("1");
  await page.getByRole("button", { name: "Make the group" }).click();
  await page.getByRole("heading", { name: "Office" }).waitFor();
  const { range, address, other } = await ask("network");

  await page.getByRole("button", { name: "Scan network" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Addresses").fill("127.0.0.0/8");
  await dialog.getByRole("button", { name: "Scan", exact: true }).click();
  await dialog.getByText("are too many").waitFor();
  await dialog.getByLabel("Addresses").fill(range);
  await dialog.getByRole("button", { name: "Scan", exact: true }).click();
  await dialog.getByRole("progressbar").waitFor();
  await dialog.getByText("One computer answered.").waitFor();
  await dialog.getByText("activated", { exact: true }).waitFor();
  await accessible(page, "scan");
  await dialog.getByRole("button", { name: "Add one computer" }).click();
  await dialog.waitFor({ state: "detached" });

  await page.getByRole("button", { name: "Add local" }).click();
  await dialog.getByLabel("Address", { exact: true }).fill(other);
  await dialog.getByLabel("Name", { exact: true }).fill("Reception");
  await dialog.getByLabel("Password of Intel AMT").fill("P@ssw0rd");
  await dialog.getByLabel("Encrypted (TLS)").uncheck();
  await accessible(page, "add local");
  await dialog.getByRole("button", { name: "Add", exact: true }).click();
  await dialog.waitFor({ state: "detached" });

  await page.goto(`${URL_}#/devices`);
  for (const name of [address, "Reception"]) {
    await row(page, name).locator(".dot.seen").waitFor();
  }
  await close();
}
