// The serial line of a device through its firmware: a terminal of fixed size, as the line has none.

import { useEffect, useRef, useState } from "preact/hooks";

import type { Device } from "../control/wire.ts";
import { Badge, Button, Icon } from "../parts/basic.tsx";
import { toast } from "../parts/dialog.tsx";
import { Menu, type Item } from "../parts/menu.tsx";
import { makeScreen, type Screen } from "../terminal/screen.ts";
import { decoder, functionKey, typed, USUAL, type CodePage, type FunctionKeys } from "./line.ts";
import { Curtain, Switch, useConsole } from "./seat.tsx";

const SIZES = [
  { cols: 80, rows: 25 },
  { cols: 100, rows: 31 },
];
const PAGES: [CodePage, string][] = [
  ["utf-8", "Letters as UTF-8"],
  ["cp437", "Letters as code page 437"],
];
const SCHEMES: [FunctionKeys, string][] = [
  ["vt100", "Function keys as VT100+"],
  ["intel", "Function keys as Intel's"],
  ["digits", "Function keys as Escape and a digit"],
];

export default function SerialView({ device, viewOnly }: { device: Device; viewOnly: boolean }) {
  const whole = useRef<HTMLDivElement>(null);
  const place = useRef<HTMLDivElement>(null);
  const screen = useRef<Screen | null>(null);
  const socket = useRef<WebSocket | null>(null);
  const [choice, setChoice] = useState(USUAL);
  const [size, setSize] = useState(SIZES[0]);
  const current = useRef(choice);
  current.current = choice;
  const decode = useRef(decoder(choice.codePage));
  useEffect(() => void (decode.current = decoder(choice.codePage)), [choice.codePage]);

  const session = useConsole("amtconsole.ashx", { host: device._id, p: "1" }, (made) => {
    socket.current = made;
    screen.current?.terminal.reset();
    made.addEventListener("message", ({ data }) => {
      if (data instanceof ArrayBuffer) screen.current?.terminal.write(decode.current(new Uint8Array(data)));
    });
    return () => {
      if (socket.current === made) socket.current = null;
    };
  });
  const send = (text: string) => {
    if (!viewOnly && socket.current?.readyState === WebSocket.OPEN)
      socket.current.send(new TextEncoder().encode(text));
  };

  useEffect(() => {
    const root = document.documentElement;
    const system = matchMedia("(prefers-color-scheme: dark)");
    const dark = () =>
      root.dataset["theme"] === undefined ? system.matches : root.dataset["theme"] === "dark";
    const made = makeScreen(place.current as HTMLElement, dark(), SIZES[0]);
    screen.current = made;
    // Every key is the line's, Tab too; these three together are the way out for who has no mouse.
    made.terminal.attachCustomKeyEventHandler(({ type, ctrlKey, altKey, shiftKey, key }) => {
      const leaves = ctrlKey && altKey && shiftKey && ["Control", "Alt", "Shift"].includes(key);
      if (type === "keydown" && leaves) whole.current?.querySelector<HTMLElement>(".toolbar button")?.focus();
      return !leaves;
    });
    made.terminal.onData((text) => send(typed(text, current.current)));
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
  useEffect(() => {
    if (size) screen.current?.terminal.resize(size.cols, size.rows);
  }, [size]);

  const open = session.state.value.is === "open";
  useEffect(() => {
    if (open) screen.current?.terminal.focus();
  }, [open]);
  const choices: Item[] = [
    ...PAGES.map(([codePage, words]) => ({
      words,
      checked: choice.codePage === codePage,
      run: () => setChoice({ ...choice, codePage }),
    })),
    "line",
    ...SCHEMES.map(([functionKeys, words]) => ({
      words,
      checked: choice.functionKeys === functionKeys,
      run: () => setChoice({ ...choice, functionKeys }),
    })),
    "line",
    {
      words: "Backspace as Ctrl+H",
      checked: choice.backspace,
      run: () => setChoice({ ...choice, backspace: !choice.backspace }),
    },
    {
      words: "Enter with a line feed",
      checked: choice.lineFeed,
      run: () => setChoice({ ...choice, lineFeed: !choice.lineFeed }),
    },
    "line",
    ...SIZES.map((one) => ({
      words: `${one.cols} columns, ${one.rows} rows`,
      checked: size === one,
      run: () => setSize(one),
    })),
  ];
  const keys: Item[] = Array.from({ length: 12 }, (_, n) => ({
    words: `F${n + 1}`,
    run: () => {
      const key = functionKey(n + 1, choice.functionKeys);
      if (key === "") toast("This way of sending function keys does not have it.");
      send(key);
      screen.current?.terminal.focus();
    },
  }));
  const copy = async () => {
    const text = screen.current?.terminal.getSelection() ?? "";
    if (text === "") return toast("Nothing is selected.");
    await navigator.clipboard.writeText(text).then(
      () => toast("Copied"),
      () => toast("This browser does not let the page copy."),
    );
  };
  return (
    <div class="session terminal serial" ref={whole}>
      <div class="toolbar">
        <Switch session={session} icon="console" />
        {open && !viewOnly && <Menu label="Keys" icon="keyboard" words="Keys" start items={keys} />}
        {viewOnly && (
          <Badge>
            <Icon name="eye" /> View only
          </Badge>
        )}
        <span class="grow" />
        <Menu label="How the line is understood" icon="tag" words="Line" items={choices} />
        <Button icon="copy" kind="plain" label="Copy the selection" onClick={() => void copy()} />
        <Button icon="trash" kind="plain" label="Clear" onClick={() => screen.current?.terminal.clear()} />
      </div>
      <div class="stage">
        <div
          class="place"
          ref={place}
          role="region"
          aria-label={`Serial line of ${device.name.slice(0, 80)}; Ctrl, Alt and Shift together give the keyboard back`}
          inert={!open}
        />
        <Curtain session={session} nodeid={device._id} name={device.name} icon="console" />
      </div>
    </div>
  );
}
