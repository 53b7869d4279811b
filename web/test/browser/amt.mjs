// Intel AMT in the browser, against the real server; tests/web_amt.rs starts it and is the computer.

import { readFile } from "node:fs/promises";

import { accessible, check, open } from "./browser.mjs";
import { ask, inside, logIn, row, URL_ } from "./person.mjs";

const wide = (page) => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

/** Makes a group for Intel AMT; its page is shown then. */
async function makeGroup(page, name) {
  await page.goto(`${URL_}#/groups`);
  await page
    .getByRole("button", { name: /New group|first group/ })
    .first()
    .click();
  await page.getByRole("dialog").getByLabel("Name").fill(name);
  await page.getByRole("dialog").getByLabel("Kind").selectOption("1");
  await page.getByRole("button", { name: "Make the group" }).click();
  await page.getByRole("heading", { name }).waitFor();
}

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
  await makeGroup(page, "Firmware");

  // Without a certificate there is no admin control mode to choose, nor its activation, and why is said.
  await page.getByText("no activation certificate in force").waitFor();
  const policy = page.getByRole("dialog").getByLabel("Policy", { exact: true });
  await page.getByRole("button", { name: "Choose the policy…" }).click();
  const offered = await policy.locator("option").allTextContents();
  check(
    offered.join() === "No policy,Deactivate,Simple Client Control Mode,Fully automatic",
    `it offers ${offered}`,
  );
  await policy.selectOption("2");
  await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
  await page.getByRole("button", { name: "Client control mode", exact: true }).click();
  await page.getByRole("dialog").getByText("whoever sits there has to agree").waitFor();
  await page.keyboard.press("Escape");
  check((await page.getByRole("button", { name: "Activation" }).count()) === 0, "activation is offered");

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
  await makeGroup(page, "Office");
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

/** A group wants admin control mode: its command, its certificate, and what was activated. */
export async function a_group_is_activated_by_a_command() {
  const { page, close } = await open({ colorScheme: "dark" });
  await page.goto(URL_);
  await logIn(page);
  await inside(page);
  await makeGroup(page, "Vault");
  const id = decodeURIComponent(new URL(page.url()).hash.split("/")[2]);
  check((await page.getByRole("button", { name: "Activation" }).count()) === 0, "nothing is wanted yet");

  // By keyboard alone.
  await page.getByRole("button", { name: "Choose the policy…" }).focus();
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Policy", { exact: true }).selectOption("3");
  await dialog.getByLabel("Password of the firmware's administrator").selectOption("new");
  await dialog.getByLabel("New password").fill("short");
  check(await dialog.getByRole("button", { name: "Save" }).isDisabled(), "a short password is taken");
  await accessible(page, "policy");
  await dialog.getByLabel("New password").fill("P@ssw0rd1");
  await dialog.getByText("Firmware takes it.").waitFor();
  await dialog.getByLabel("Where admin control mode is impossible").selectOption("2");
  await page.setViewportSize({ width: 360, height: 700 });
  check((await wide(page)) <= 0, "the page is wider than a phone");
  await dialog.getByRole("button", { name: "Save" }).focus();
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "detached" });
  await page.getByText("Simple Admin Control Mode", { exact: true }).waitFor();
  await page.getByText("activate in client control mode", { exact: true }).waitFor();
  const wanted = await ask("policy", id);
  const { type, password, badpass, ccm } = wanted;
  check([type, password, badpass, ccm].join() === "3,1,0,2", `it wants ${JSON.stringify(wanted)}`);

  await page.getByRole("button", { name: "Activation" }).click();
  await dialog.getByText("example.com", { exact: true }).waitFor();
  const { port } = new URL(URL_);
  const command = `amtconfig --url wss://127.0.0.1:${port}/apf.ashx --id '${id}' --serverhttpshash `;
  const shown = async () => (await dialog.locator(".copy-box code").allTextContents()).join("\n");
  const whole = (await shown()).split(command)[1] ?? "";
  check(/^[0-9A-F]{96}\b/.test(whole), `for Windows: ${await shown()}`);
  await accessible(page, "activation");
  check((await wide(page)) <= 0, "the command is wider than a phone");
  await dialog.getByRole("button", { name: "Linux" }).click();
  check((await shown()).includes(`sudo ./meshcmd ${command}`), `for Linux: ${await shown()}`);
  const link = await dialog.getByRole("link", { name: "MeshCmd, x86-64" }).getAttribute("href");
  check(link === "/meshagents?meshcmd=6", `the link is ${link}`);
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });

  // Another policy keeps the password; the one after it has none.
  await page.getByRole("button", { name: "Choose the policy…" }).click();
  check(
    (await dialog.getByLabel("Password of the firmware's administrator").inputValue()) === "keep",
    "kept",
  );
  await dialog.getByLabel("Policy", { exact: true }).selectOption("1");
  await dialog.getByRole("button", { name: "Save" }).click();
  await page.getByRole("button", { name: "Deactivation" }).waitFor();

  await page.setViewportSize({ width: 1280, height: 900 });
  await page.goto(`${URL_}#/server`);
  await page.getByText("for computers of example.com").waitFor();
  await accessible(page, "server");
  await ask("activate");
  await page.getByRole("button", { name: "What was activated" }).click();
  await dialog.getByText("Admin control mode").first().waitFor();
  await dialog.getByText("done", { exact: true }).waitFor();
  const text = await dialog.innerText();
  check(text.includes("reception-pc") && !text.includes("S3cret"), `it says ${text}`);
  await accessible(page, "activations");
  await close();
}
