// The screen of a device through its firmware: noVNC, as it is published, on plain RFB.

import RFB from "@novnc/novnc";
import { useEffect, useRef, useState } from "preact/hooks";

import type { Device } from "../control/wire.ts";
import { plain } from "../model/format.ts";
import { Badge, Button, Icon } from "../parts/basic.tsx";
import { toast } from "../parts/dialog.tsx";
import { Menu, type Item } from "../parts/menu.tsx";
import { Curtain, Switch, useConsole } from "./seat.tsx";

/** Keys a browser or its system keeps for itself, by their X11 numbers. */
const KEYS: [string, number][] = [
  ["Escape", 0xff1b],
  ["Tab", 0xff09],
  ["Delete", 0xffff],
  ...Array.from({ length: 12 }, (_, n): [string, number] => [`F${n + 1}`, 0xffbe + n]),
];

export default function ScreenView({ device, viewOnly }: { device: Device; viewOnly: boolean }) {
  const whole = useRef<HTMLDivElement>(null);
  const place = useRef<HTMLDivElement>(null);
  const screen = useRef<RFB | null>(null);
  const [fit, setFit] = useState(true);
  const [looking, setLooking] = useState(viewOnly);
  const [full, setFull] = useState(false);
  const name = device.name.slice(0, 80);

  /** Hands the socket to noVNC, which finds the line open and the firmware's greeting next. */
  const show = (socket: WebSocket) => {
    const made = new RFB(place.current as HTMLElement, socket, { shared: true });
    made.background = "transparent";
    made.viewOnly = now.current.looking;
    made.scaleViewport = now.current.fit;
    made.addEventListener("connect", () => {
      const canvas = place.current?.querySelector("canvas");
      canvas?.setAttribute("role", "img");
      canvas?.setAttribute("aria-label", `Screen of ${name}`);
      made.focus({ preventScroll: true });
    });
    made.addEventListener("disconnect", () => {
      if (screen.current === made) screen.current = null;
    });
    made.addEventListener("securityfailure", (event) => {
      const { reason } = (event as CustomEvent<{ reason?: string }>).detail;
      if (reason) toast(`Intel AMT says: ${plain(reason)}`);
    });
    screen.current = made;
  };
  const now = useRef({ fit, looking });
  now.current = { fit, looking };
  const session = useConsole("amtconsole.ashx", { host: device._id, p: "2" }, (socket) => {
    // The first frame is empty and says that the screen is there.
    socket.addEventListener("message", () => place.current && show(socket), { once: true });
    return () => {};
  });
  useEffect(() => {
    if (!screen.current) return;
    screen.current.scaleViewport = fit;
    screen.current.viewOnly = looking;
  }, [fit, looking]);
  useEffect(() => {
    const changed = () => setFull(document.fullscreenElement === whole.current && whole.current !== null);
    document.addEventListener("fullscreenchange", changed);
    return () => document.removeEventListener("fullscreenchange", changed);
  }, []);

  const open = session.state.value.is === "open";
  const press = (key: number) => {
    screen.current?.sendKey(key, null);
    screen.current?.focus();
  };
  const keys: Item[] = [
    { words: "Ctrl+Alt+Delete", run: () => screen.current?.sendCtrlAltDel() },
    "line",
    ...KEYS.map(([words, key]) => ({ words, run: () => press(key) })),
  ];
  const goFull = () => (full ? document.exitFullscreen() : whole.current?.requestFullscreen());
  /** The way out for who has no mouse, before the screen takes the key. */
  const leave = (event: KeyboardEvent) => {
    const { ctrlKey, altKey, shiftKey, key } = event;
    if (!ctrlKey || !altKey || !shiftKey || !["Control", "Alt", "Shift"].includes(key)) return;
    event.preventDefault();
    event.stopPropagation();
    // noVNC lets all keys go when the window loses the focus; here it is only the screen that does.
    window.dispatchEvent(new Event("blur"));
    screen.current?.blur();
    whole.current?.querySelector<HTMLElement>(".toolbar button")?.focus();
  };
  return (
    <div class={`session firmware ${full ? "full" : ""}`} ref={whole}>
      <div class="toolbar">
        <Switch session={session} icon="desktop" />
        {open && !looking && <Menu label="Keys" icon="keyboard" words="Keys" start items={keys} />}
        {viewOnly && (
          <Badge>
            <Icon name="eye" /> View only
          </Badge>
        )}
        <span class="grow" />
        {!viewOnly && (
          <Button
            icon="eye"
            kind="plain"
            label="Only look"
            aria-pressed={looking}
            onClick={() => setLooking(!looking)}
          />
        )}
        <Button
          icon="auto"
          kind="plain"
          label="Fit into the window"
          aria-pressed={fit}
          onClick={() => setFit(!fit)}
        />
        <Button
          icon="full"
          kind="plain"
          label="Full screen"
          aria-pressed={full}
          onClick={() => void goFull()}
        />
      </div>
      <div class="stage">
        <div
          class="place"
          ref={place}
          role="region"
          aria-label={`Screen of ${name} through Intel AMT. Ctrl, Alt and Shift together give the keyboard back.`}
          onKeyDownCapture={leave}
        />
        <Curtain session={session} nodeid={device._id} name={device.name} icon="desktop" />
      </div>
    </div>
  );
}
