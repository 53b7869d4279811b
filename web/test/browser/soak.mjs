// The desktop for minutes, for `cargo bench --bench desktop`: prints what is seen, and fails when the
// page or the server grows.

import { check, open } from "./browser.mjs";
import { ask, logIn, row } from "./person.mjs";

/** Most that the page's memory may grow from the second tenth of the time to the end. */
const GROWTH = 16 * 2 ** 20;

export async function a_moving_desktop_is_followed_in_constant_memory() {
  const { page, context, close } = await open({ viewport: { width: 1600, height: 1000 } });
  context.setDefaultTimeout(120_000);
  await logIn(page);
  await row(page, await ask("device")).click();
  await page.getByRole("link", { name: "Desktop", exact: true }).click();
  await page.getByRole("button", { name: "Connect", exact: true }).first().click();
  await page.locator("canvas").waitFor();
  await page.waitForFunction(() => document.querySelector("canvas")?.width === 1280);
  await page.evaluate(watch);

  const minutes = await ask("minutes");
  const tools = await context.newCDPSession(page);
  const rows = [];
  const rounds = 10;
  for (let round = 0; round < rounds; round++) {
    const before = await page.evaluate(() => globalThis.seen.start());
    const painted = await ask("painted");
    await new Promise((resolve) => setTimeout(resolve, (minutes * 60_000) / rounds));
    const { frames, seconds, longest } = await page.evaluate((at) => globalThis.seen.since(at), before);
    const passed = ((await ask("painted")) - painted + 65536) % 65536;
    await tools.send("HeapProfiler.collectGarbage");
    const { usedSize } = await tools.send("Runtime.getHeapUsage");
    const { resident, cpu, agent } = await ask("server");
    const mib = (bytes) => (bytes / 2 ** 20).toFixed(1);
    rows.push({ usedSize, resident });
    console.log(
      `${(((round + 1) * minutes) / rounds).toFixed(1)} min: ${(frames / seconds).toFixed(1)} frames/s seen of ` +
        `${(passed / seconds).toFixed(1)} painted, longest task ${Math.round(longest)} ms; ` +
        `page ${mib(usedSize)} MiB, server ${mib(resident)} MiB and ${cpu.toFixed(1)} s, ` +
        `agent ${mib(agent)} MiB`,
    );
    check(frames > 0, "the picture stands still");
  }
  const grown = rows.at(-1).usedSize - rows[1].usedSize;
  check(grown < GROWTH, `the page grew by ${grown} bytes`);
  const server = rows.at(-1).resident - rows[1].resident;
  check(server < GROWTH, `the server grew by ${server} bytes`);
  await close();
}

/** In the page: reads the number of each picture that is shown. */
function watch() {
  const strip = document.createElement("canvas");
  [strip.width, strip.height] = [512, 32];
  const pen = strip.getContext("2d", { willReadFrequently: true });
  const state = { frames: 0, last: -1, longest: 0 };
  const look = () => {
    const canvas = document.querySelector("canvas");
    if (canvas) {
      pen.drawImage(canvas, 0, 0, 512, 32, 0, 0, 512, 32);
      const { data } = pen.getImageData(0, 16, 512, 1);
      let number = 0;
      for (let bit = 0; bit < 16; bit++) if (data[(bit * 32 + 16) * 4] > 127) number |= 1 << bit;
      if (number !== state.last) [state.last, state.frames] = [number, state.frames + 1];
    }
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) state.longest = Math.max(state.longest, duration);
  }).observe({ type: "longtask" });
  globalThis.seen = {
    start: () => ((state.longest = 0), { frames: state.frames, at: performance.now() }),
    since: ({ frames, at }) => ({
      frames: state.frames - frames,
      seconds: (performance.now() - at) / 1000,
      longest: state.longest,
    }),
  };
}
