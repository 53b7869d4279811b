// The keys, told.

import { dialog } from "../parts/dialog.tsx";
import { KEYS } from "../model/filter.ts";
import { pages } from "../pages/index.ts";

const SHORTCUTS: [string, string][] = [
  ["/", "Search"],
  ["j", "Next device"],
  ["k", "Device before"],
  ["Enter", "Open the device"],
  ["x", "Select it"],
  ["Esc", "Clear the selection, the search"],
  ["[", "Tab before"],
  ["]", "Next tab"],
  ["?", "This help"],
];

export function showShortcuts(): void {
  const navigation = pages.flatMap((page) =>
    page.nav && page.visible?.() !== false ? [[page.nav.key, page.title] as const] : [],
  );
  void dialog(
    "Keyboard",
    () => (
      <div class="stack wide">
        <div class="shortcuts">
          {[...SHORTCUTS, ...navigation].map(([key, words]) => (
            <div key={key}>
              <kbd>{key}</kbd>
              <span>{words}</span>
            </div>
          ))}
        </div>
        <div class="stack">
          <h3>Searching devices</h3>
          <p class="muted small">
            Words are looked for everywhere; several must all be there. “or” stands between alternatives, a
            minus before a word excludes it, quotes keep words together.
          </p>
          <div class="shortcuts words">
            {KEYS.map(([key, words]) => (
              <div key={key}>
                <code>{key}</code>
                <span class="muted">{words}</span>
              </div>
            ))}
          </div>
        </div>
      </div>
    ),
    { wide: true },
  );
}
