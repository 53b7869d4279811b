// A person without a pointer: goes through a page with Tab and sees where the focus is.

/** More presses than any page has controls. */
const MOST = 400;

/** What is wrong on the way through the page: controls that are not reached, or not seen when they are. */
export async function walk(page, where) {
  await page.evaluate(notice);
  const wrong = new Set();
  let pressed = 0;
  for (; pressed < MOST; pressed++) {
    await page.keyboard.press("Tab");
    const { over, fault } = await page.evaluate(() => globalThis.walked.step());
    if (fault) wrong.add(`${where}: ${fault}`);
    if (over) break;
  }
  if (pressed === MOST) wrong.add(`${where}: the focus never comes round`);
  for (const missed of await page.evaluate(() => globalThis.walked.missed()))
    wrong.add(`${where}: not reached: ${missed}`);
  return { faults: [...wrong], controls: await page.evaluate(() => globalThis.walked.count) };
}

/** In the page: every control that can be seen, and how it looks without the focus. */
function notice() {
  const CONTROLS = "a[href], button, input, select, textarea, summary, [role=button], [contenteditable=true]";
  const looks = (element) =>
    ["", "::before", "::after"].map((part) => {
      const { outlineStyle, outlineWidth, outlineColor, boxShadow, borderColor, backgroundColor } =
        getComputedStyle(element, part || null);
      const outline = outlineStyle === "none" ? "" : `${outlineStyle} ${outlineWidth} ${outlineColor}`;
      return [outline, boxShadow, borderColor, backgroundColor].join("|");
    });
  // Fields show it on their frame.
  const around = (element) => [element, element.parentElement, element.nextElementSibling].filter(Boolean);
  const name = (element) => element.outerHTML.replace(/\s+/g, " ").slice(0, 160);
  const seen = (element) =>
    element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) &&
    element.getBoundingClientRect().width > 2 &&
    !element.closest("[inert], .hidden-text");
  const controls = [...document.querySelectorAll(CONTROLS)].filter(
    (element) => !element.disabled && element.type !== "hidden" && seen(element),
  );
  // The way begins at the top, wherever the page has put the focus.
  document.activeElement?.blur();
  document.body.tabIndex = -1;
  document.body.focus();
  document.body.removeAttribute("tabindex");
  const before = new Map(controls.map((element) => [element, around(element).map(looks).join()]));
  const reached = new Set();
  globalThis.walked = {
    count: controls.length,
    step() {
      const element = document.activeElement;
      if (!element || element === document.body || reached.has(element)) return { over: true };
      reached.add(element);
      const known = before.get(element);
      const fault = (words) => ({ over: false, fault: `${words}: ${name(element)}` });
      if (known !== undefined && around(element).map(looks).join() === known)
        return fault("the focus is not seen");
      const { left, top, right, bottom } = element.getBoundingClientRect();
      const outside = right <= 0 || bottom <= 0 || left >= innerWidth || top >= innerHeight;
      return outside ? fault("the focus is outside of the window") : { over: false };
    },
    missed() {
      // Rows of a long list come and go; one that went has been passed.
      return controls.filter((element) => element.isConnected && !reached.has(element)).map(name);
    },
  };
}
