// How somebody likes the page. Kept in this browser; nothing here is secret.

import { effect, signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";
export type Density = "comfortable" | "compact";

interface Prefs {
  theme: Theme;
  density: Density;
  view: "list" | "tiles";
  sort: "name" | "state" | "system" | "seen";
  /** Groups folded up in the device list. */
  folded: string[];
}

const KEY = "meshboard";
const DEFAULTS: Prefs = { theme: "auto", density: "comfortable", view: "list", sort: "name", folded: [] };

function kept(): Partial<Prefs> {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}

export const prefs = signal<Prefs>({ ...DEFAULTS, ...kept() });

export function setPrefs(change: Partial<Prefs>): void {
  prefs.value = { ...prefs.value, ...change };
  try {
    localStorage.setItem(KEY, JSON.stringify(prefs.value));
  } catch {
    // A browser that keeps nothing: the choice lasts as long as the page.
  }
}

/** Puts theme and density into force, now and after each change. */
export function applyPrefs(): void {
  effect(() => {
    const { theme, density } = prefs.value;
    const { dataset } = document.documentElement;
    if (theme === "auto") delete dataset["theme"];
    else dataset["theme"] = theme;
    dataset["density"] = density;
  });
}
