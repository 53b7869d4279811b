// The terminal's picture: xterm.js in the page's own colours.

import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { Terminal, type ITheme } from "@xterm/xterm";

import { allowStyles } from "./paper.ts";

/** Lines that can be scrolled back to. */
const SCROLLBACK = 5_000;
/** Longest text that is pasted without a question. */
export const PASTE_ASKS = 4_000;

export interface Screen {
  terminal: Terminal;
  search: SearchAddon;
  fit(): void;
  paint(dark: boolean): void;
  close(): void;
}

/** A terminal that fills `parent`, or has a size of its own. */
export function makeScreen(
  parent: HTMLElement,
  dark: boolean,
  size?: { cols: number; rows: number },
): Screen {
  allowStyles();
  const fit = new FitAddon();
  const search = new SearchAddon();
  const terminal = new Terminal({
    allowProposedApi: true,
    cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
    fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
    fontSize: 13,
    lineHeight: 1.15,
    scrollback: SCROLLBACK,
    minimumContrastRatio: 4.5,
    screenReaderMode: false,
    theme: theme(dark),
    ...size,
  });
  terminal.loadAddon(fit);
  terminal.loadAddon(search);
  terminal.open(parent);
  const watch = new ResizeObserver(() => fit.fit());
  if (size === undefined) {
    fit.fit();
    watch.observe(parent);
  }
  return {
    terminal,
    search,
    fit: () => fit.fit(),
    paint: (dark) => (terminal.options.theme = theme(dark)),
    close: () => {
      watch.disconnect();
      terminal.dispose();
    },
  };
}

function theme(dark: boolean): ITheme {
  const common = { selectionBackground: dark ? "#2f5d6d" : "#bfe0ea" };
  if (dark) {
    return {
      ...common,
      background: "#0b0e11",
      foreground: "#dfe4e8",
      cursor: "#66c8e1",
      cursorAccent: "#0b0e11",
      black: "#1e242a",
      red: "#f58d85",
      green: "#56c98a",
      yellow: "#e5ad4f",
      blue: "#7ab0f5",
      magenta: "#cf9df0",
      cyan: "#66c8e1",
      white: "#dfe4e8",
      brightBlack: "#7f8a95",
      brightRed: "#ffaaa4",
      brightGreen: "#7fe0ab",
      brightYellow: "#ffd089",
      brightBlue: "#a5cbff",
      brightMagenta: "#e2bfff",
      brightCyan: "#96e2f5",
      brightWhite: "#ffffff",
    };
  }
  return {
    ...common,
    background: "#ffffff",
    foreground: "#14181d",
    cursor: "#0d5f78",
    cursorAccent: "#ffffff",
    black: "#14181d",
    red: "#ab231c",
    green: "#17713f",
    yellow: "#8a5200",
    blue: "#1f55a8",
    magenta: "#7a3a9c",
    cyan: "#0d5f78",
    white: "#c9ced3",
    brightBlack: "#5f6873",
    brightRed: "#c9362e",
    brightGreen: "#1f8a4e",
    brightYellow: "#a56400",
    brightBlue: "#2f6cc4",
    brightMagenta: "#9450b8",
    brightCyan: "#147995",
    brightWhite: "#e6e9ec",
  };
}
