// A terminal on a device: a shell of the system or of the person there.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { Button, Icon } from "../parts/basic.tsx";
import { confirm, toast } from "../parts/dialog.tsx";
import { Menu, type Item } from "../parts/menu.tsx";
import { Curtain, Marks, useTunnel, type Seat } from "../tunnel/hooks.tsx";
import { Protocol, type Speaker, type Tunnel } from "../tunnel/tunnel.ts";
import { makeScreen, PASTE_ASKS, type Screen } from "./screen.ts";

interface Shell {
  words: string;
  protocol: number;
  login?: boolean;
}

const SHELLS: Shell[] = [
  { words: "Root shell", protocol: Protocol.shell },
  { words: "Shell of the person there", protocol: Protocol.userShell },
  { words: "Log in with name and password", protocol: Protocol.shell, login: true },
];

const WINDOWS_SHELLS: Shell[] = [
  { words: "Command prompt", protocol: Protocol.shell },
  { words: "PowerShell", protocol: Protocol.powerShell },
  { words: "Command prompt of the person there", protocol: Protocol.userShell },
  { words: "PowerShell of the person there", protocol: Protocol.userPowerShell },
];

export default function TerminalView({ seat }: { seat: Seat }) {
  const shells = (seat.windows ? WINDOWS_SHELLS : SHELLS).filter(
    ({ protocol }) => !seat.only || seat.only.includes(protocol),
  );
  const [shell, setShell] = useState(shells[0] as Shell);
  const [searching, setSearching] = useState(false);
  const whole = useRef<HTMLDivElement>(null);
  const place = useRef<HTMLDivElement>(null);
  const screen = useRef<Screen | null>(null);
  const speaker = useMemo<Speaker>(
    () => ({
      data: (data) => screen.current?.terminal.write(new Uint8Array(data)),
      // Some agents speak in text.
      text: (text) => screen.current?.terminal.write(text),
    }),
    [],
  );
  const start = (tunnel: Tunnel, chosen = shell) => {
    const terminal = screen.current?.terminal;
    screen.current?.fit();
    terminal?.reset();
    const size = { cols: terminal?.cols ?? 80, rows: terminal?.rows ?? 25 };
    void tunnel.start(chosen.protocol, {
      ...size,
      xterm: true,
      ...(chosen.login ? { requireLogin: true } : {}),
    });
  };
  const tunnel = useTunnel(seat.way, speaker, start, seat.online);
  const { is } = tunnel.state.value;
  const open = is === "open";
  useEffect(() => {
    if (open) screen.current?.terminal.focus();
  }, [open]);

  useEffect(() => {
    const root = document.documentElement;
    const system = matchMedia("(prefers-color-scheme: dark)");
    const dark = () =>
      root.dataset["theme"] === undefined ? system.matches : root.dataset["theme"] === "dark";
    const made = makeScreen(place.current as HTMLElement, dark());
    screen.current = made;
    const { terminal } = made;
    const encoder = new TextEncoder();
    const leave = () => whole.current?.querySelector<HTMLElement>(".toolbar button")?.focus();
    terminal.onData((text) => tunnel.send(encoder.encode(text)));
    terminal.onBinary((text) => tunnel.send(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
    terminal.onResize(({ cols, rows }) => tunnel.isOpen && tunnel.tell("termsize", { cols, rows }));
    terminal.attachCustomKeyEventHandler((event) => keys(event, made, setSearching, leave));
    const paint = () => made.paint(dark());
    const themed = new MutationObserver(paint);
    themed.observe(root, { attributeFilter: ["data-theme"] });
    system.addEventListener("change", paint);
    return () => {
      themed.disconnect();
      system.removeEventListener("change", paint);
      screen.current = null;
      made.close();
    };
  }, []);

  const paste = async () => {
    const text = await navigator.clipboard.readText().catch(() => "");
    if (text === "") toast("The clipboard is empty, or this browser keeps it closed: press Ctrl+V.");
    else if (text.length <= PASTE_ASKS) screen.current?.terminal.paste(text);
    else
      await confirm(
        "Paste this much?",
        <p>{`These are ${text.length.toLocaleString("en-GB")} letters.`}</p>,
        "Paste",
        () => screen.current?.terminal.paste(text),
        "primary",
      );
    screen.current?.terminal.focus();
  };
  const copy = async () => {
    const text = screen.current?.terminal.getSelection() ?? "";
    if (text === "") toast("Nothing is selected.");
    else
      await navigator.clipboard.writeText(text).then(
        () => toast("Copied"),
        () => toast("This browser does not let the page copy."),
      );
    screen.current?.terminal.focus();
  };
  const choices: Item[] = shells.map((one) => ({
    words: one.words,
    checked: one === shell,
    run: () => {
      setShell(one);
      if (open) start(tunnel, one);
    },
  }));
  return (
    <div class="session terminal" ref={whole}>
      <div class="toolbar">
        {open ? (
          <Button icon="stop" onClick={() => tunnel.stop()}>
            Disconnect
          </Button>
        ) : (
          <Button
            icon="terminal"
            kind="primary"
            disabled={!seat.online || is === "opening" || is === "asking"}
            onClick={() => start(tunnel)}
          >
            Connect
          </Button>
        )}
        {shells.length > 1 && <Menu label="Shell" icon="down" words={shell.words} start items={choices} />}
        <Marks tunnel={tunnel} />
        <span class="grow" />
        <Button
          icon="search"
          kind="plain"
          label="Search"
          aria-pressed={searching}
          onClick={() => setSearching(!searching)}
        />
        <Button icon="copy" kind="plain" label="Copy the selection" onClick={() => void copy()} />
        <Button icon="paste" kind="plain" label="Paste" disabled={!open} onClick={() => void paste()} />
        <Button icon="trash" kind="plain" label="Clear" onClick={() => screen.current?.terminal.clear()} />
      </div>
      {searching && (
        <Search
          screen={screen.current}
          close={() => (setSearching(false), screen.current?.terminal.focus())}
        />
      )}
      <div class="stage">
        <div
          class="place"
          ref={place}
          role="region"
          aria-label={`Terminal of ${seat.name.slice(0, 80)}; Ctrl, Alt and Shift together give the keyboard back`}
          inert={!open}
        />
        <Curtain tunnel={tunnel} seat={seat} icon="terminal" action="Connect" start={() => start(tunnel)} />
      </div>
    </div>
  );
}

/** Ctrl+Shift+C copies, Ctrl+Shift+F searches, Ctrl, Alt and Shift together are the way out for who has
 * no mouse; everything else is the shell's, Tab too. */
function keys(
  event: KeyboardEvent,
  { terminal }: Screen,
  search: (on: boolean) => void,
  leave: () => void,
): boolean {
  if (event.type !== "keydown" || !event.ctrlKey || !event.shiftKey) return true;
  if (event.altKey && ["Control", "Alt", "Shift"].includes(event.key)) {
    leave();
    return false;
  }
  switch (event.code) {
    case "KeyC":
      event.preventDefault();
      void navigator.clipboard.writeText(terminal.getSelection()).catch(() => undefined);
      return false;
    case "KeyF":
      event.preventDefault();
      search(true);
      return false;
    default:
      return true;
  }
}

function Search({ screen, close }: { screen: Screen | null; close(): void }) {
  const [text, setText] = useState("");
  const [found, setFound] = useState(true);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => input.current?.focus(), []);
  const find = (back: boolean, wanted = text) => {
    if (!screen || wanted === "") return;
    setFound(back ? screen.search.findPrevious(wanted) : screen.search.findNext(wanted));
  };
  return (
    <form
      class="toolbar"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        find(true);
      }}
    >
      <div class="search">
        <Icon name="search" />
        <input
          ref={input}
          type="search"
          class="input"
          aria-label="Search in the terminal"
          aria-invalid={!found}
          value={text}
          onInput={({ currentTarget: { value } }) => {
            setText(value);
            find(true, value);
          }}
          onKeyDown={(event) => event.key === "Escape" && (event.stopPropagation(), close())}
        />
      </div>
      <Button icon="up" label="Further up" onClick={() => find(true)} />
      <Button icon="down" label="Further down" onClick={() => find(false)} />
      <Button icon="close" kind="plain" label="Close the search" onClick={close} />
    </form>
  );
}
