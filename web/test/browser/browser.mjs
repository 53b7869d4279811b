// Debian's chromium, driven by playwright-core, and what every scenario watches: that the page
// throws nothing, breaks no policy, and that axe finds no fault.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

import { chromium } from "playwright-core";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** How long anything may take. Far above what it takes. */
export const PATIENCE = 60_000;

/** Opens a browser; a page of it throws nothing or the scenario fails at `close`. */
export async function open(options = {}) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox"],
  });
  const context = await browser.newContext({
    ignoreHTTPSErrors: true,
    viewport: { width: 1280, height: 900 },
    reducedMotion: "reduce",
    ...options,
  });
  context.setDefaultTimeout(PATIENCE);
  const problems = [];
  const watch = (page) => {
    page.on("pageerror", (error) => problems.push(`thrown: ${error}`));
    page.on("console", (message) => {
      const expected = /WebSocket connection|Failed to load resource|ERR_CONNECTION/.test(message.text());
      if (message.type() === "error" && !expected) problems.push(`console: ${message.text()}`);
    });
    page.on("request", (request) => {
      const own = request.url().startsWith(process.env.MESHBOARD_URL ?? "http://127.0.0.1:");
      if (!own && !/^(data|blob|about):/.test(request.url()))
        problems.push(`asked elsewhere: ${request.url()}`);
    });
  };
  context.on("page", watch);
  return {
    context,
    page: await context.newPage(),
    problems,
    close: async () => {
      await browser.close();
      if (problems.length > 0) throw new Error(problems.join("\n"));
    },
  };
}

/** Looks at the page as axe does. It is evaluated from outside, so the page's policy stays as it is. */
export async function accessible(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() =>
    globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] }),
  );
  if (violations.length === 0) return;
  const words = violations.map(
    ({ id, help, nodes }) =>
      `${id}: ${help}\n  ${nodes
        .slice(0, 3)
        .map(
          ({ html, failureSummary }) => `${html.slice(0, 200)}\n    ${failureSummary.replace(/\n\s*/g, " ")}`,
        )
        .join("\n  ")}`,
  );
  throw new Error(`${where}:\n${words.join("\n")}`);
}

/** Fails with words unless `condition`. */
export function check(condition, words) {
  if (!condition) throw new Error(words);
}
