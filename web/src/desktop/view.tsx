// The desktop of a device: its picture, and keyboard and pointer for who may use them.

import { useComputed, useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { give } from "../files/sink.ts";
import { bytes, plain } from "../model/format.ts";
import { Badge, Button, Icon } from "../parts/basic.tsx";
import { dialog, toast } from "../parts/dialog.tsx";
import { Menu, type Item } from "../parts/menu.tsx";
import { Curtain, Marks, useTunnel, type Seat } from "../tunnel/hooks.tsx";
import { Protocol, type Speaker, type Tunnel } from "../tunnel/tunnel.ts";
import { Clipboard } from "./clipboard.tsx";
import { Keyboard } from "./keys.ts";
import { watchPointer } from "./mouse.ts";
import { LEAST, Pace } from "./pace.ts";
import { Picture, type Rate } from "./picture.ts";
import type { Told } from "./screen.ts";
import {
  ALL,
  askDisplays,
  ctrlAltDel,
  lockInput,
  quality,
  refresh,
  select,
  shortQuality,
  type Bytes,
} from "./wire.ts";

interface Quality {
  words: string;
  percent: number;
  scale: number;
  /** Milliseconds the agent rests between two pictures, at least. */
  pause: number;
}

const BALANCED: Quality = { words: "Balanced", percent: 55, scale: 1024, pause: LEAST };
const QUALITIES: Quality[] = [
  { words: "Sharp", percent: 85, scale: 1024, pause: LEAST },
  BALANCED,
  { words: "Light", percent: 25, scale: 768, pause: 120 },
];

export default function DesktopView({ seat }: { seat: Seat }) {
  const place = useRef<HTMLDivElement>(null);
  const sink = useRef<HTMLTextAreaElement>(null);
  const whole = useRef<HTMLDivElement>(null);
  const picture = useRef<Picture | null>(null);
  const live = useRef<Tunnel | null>(null);
  const size = useSignal({ width: 0, height: 0 });
  const displays = useSignal<{ ids: number[]; selected: number }>({ ids: [], selected: 0 });
  const locked = useSignal(false);
  const rate = useSignal<Rate>({ images: 0, bytes: 0 });
  const [looking, setLooking] = useState(seat.viewOnly);
  const [fit, setFit] = useState(true);
  const [statistics, setStatistics] = useState(false);
  const [chosen, setChosen] = useState(BALANCED);
  const [full, setFull] = useState(false);
  const keyboard = useMemo(() => new Keyboard(), []);
  const pace = useMemo(() => new Pace(BALANCED.pause), []);
  const hands = useRef(!looking);
  hands.current = !looking && !seat.viewOnly;

  const speaker = useMemo<Speaker>(
    () => ({
      opened: () => {
        size.value = { width: 0, height: 0 };
        pace.begin(current.current.pause);
      },
      data: (data) => picture.current?.take(data),
      measured: (rtt) => void (pace.measured(rtt) && ready() && tell()),
      ended: () => keyboard.release(),
    }),
    [],
  );
  const start = (tunnel: Tunnel) => {
    picture.current?.close();
    picture.current = show(place.current as HTMLElement);
    void tunnel.start(Protocol.desktop);
  };
  const tunnel = useTunnel(seat.way, speaker, start, seat.online);
  live.current = tunnel;
  const say = (...all: Bytes[]) => all.forEach((one) => live.current?.send(one));
  const use = (...all: Bytes[]) => hands.current && say(...all);

  const current = useRef(chosen);
  const ready = () => size.peek().width > 0;
  /** Tells the agent what is wanted of it now. */
  const tell = () => {
    const { percent, scale } = current.current;
    say(seat.apple ? shortQuality(percent) : quality(percent, scale, pace.pause));
  };
  const setQuality = (one: Quality) => {
    setChosen(one);
    current.current = one;
    pace.begin(one.pause);
    if (ready()) tell();
  };

  /** A canvas can be handed to a worker once: each session gets its own. */
  const show = (parent: HTMLElement): Picture => {
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Desktop of ${seat.name.slice(0, 80)}`);
    parent.replaceChildren(canvas);
    watchPointer(
      canvas,
      () => size.value,
      (said) => {
        use(said);
      },
    );
    canvas.addEventListener(
      "pointerdown",
      ({ pointerType }) =>
        hands.current && pointerType !== "touch" && sink.current?.focus({ preventScroll: true }),
    );
    const told = (one: Told) => {
      switch (one.is) {
        case "size": {
          const first = size.value.width === 0;
          size.value = one;
          // Not before: an agent that is not ready forgets what it is told.
          if (first) {
            tell();
            say(askDisplays());
          }
          return;
        }
        case "displays":
          displays.value = one;
          return;
        case "selected":
          displays.value = { ...displays.value, selected: one.display };
          return;
        case "cursor":
          // With "none" the pointer is in the picture; a person still wants to see where the own one is.
          canvas.style.cursor = one.css === "none" ? "default" : one.css;
          return;
        case "input":
          locked.value = one.locked;
          return;
        case "words":
          if (one.alert && !one.words.startsWith(".")) toast(plain(one.words));
          return;
        case "behind":
          if (pace.behind()) tell();
          say(refresh());
          return;
        default:
          return;
      }
    };
    return new Picture(canvas, told, (one) => (rate.value = one));
  };

  useEffect(() => {
    const changed = () => setFull(document.fullscreenElement === whole.current && whole.current !== null);
    document.addEventListener("fullscreenchange", changed);
    return () => {
      document.removeEventListener("fullscreenchange", changed);
      picture.current?.close();
      picture.current = null;
    };
  }, []);
  const goFull = async () => {
    if (full) return document.exitFullscreen();
    await whole.current?.requestFullscreen();
    // Where the browser can, even Escape and Alt+Tab go to the device.
    const { keyboard: system } = navigator as { keyboard?: { lock?(): Promise<void> } };
    await system?.lock?.().catch(() => undefined);
    sink.current?.focus();
    return;
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (!tunnel.isOpen || !hands.current || event.isComposing) return;
    if (event.ctrlKey && event.altKey && event.shiftKey && ["Control", "Alt", "Shift"].includes(event.key)) {
      // The way out for who has no mouse.
      sink.current?.blur();
      whole.current?.querySelector<HTMLElement>(".toolbar button")?.focus();
      return;
    }
    const said = keyboard.down({
      code: event.code,
      key: event.key,
      ctrlKey: event.ctrlKey,
      altKey: event.altKey,
      metaKey: event.metaKey,
      shiftKey: event.shiftKey,
      capsLock: event.getModifierState("CapsLock"),
      altGraph:
        event.getModifierState("AltGraph") ||
        (/Mac/.test(navigator.platform) && event.altKey && !event.ctrlKey && !event.metaKey),
    });
    if (said === null) return;
    event.preventDefault();
    event.stopPropagation();
    use(...said);
  };
  const onInput = (event: InputEvent) => {
    if (event.isComposing) return;
    const field = event.currentTarget as HTMLTextAreaElement;
    if (event.inputType === "deleteContentBackward") use(...keyboard.chord("Backspace"));
    else if (event.inputType === "insertLineBreak") use(...keyboard.chord("Enter"));
    else if (field.value !== "") use(...keyboard.type(field.value));
    field.value = "";
  };

  const { is } = tunnel.state.value;
  const open = is === "open";
  const chord = (words: string, ...keys: string[]): Item => ({
    words,
    run: () => void use(...keyboard.chord(...keys)),
  });
  const keys: Item[] = [
    {
      words: "Ctrl+Alt+Del",
      run: () =>
        void use(...(seat.windows ? [ctrlAltDel()] : keyboard.chord("ControlLeft", "AltLeft", "Delete"))),
    },
    chord("Windows key", "MetaLeft"),
    chord("Win+R", "MetaLeft", "KeyR"),
    chord("Win+L", "MetaLeft", "KeyL"),
    chord("Alt+Tab", "AltLeft", "Tab"),
    chord("Alt+F4", "AltLeft", "F4"),
    chord("Ctrl+Shift+Esc", "ControlLeft", "ShiftLeft", "Escape"),
    chord("Ctrl+W", "ControlLeft", "KeyW"),
    chord("Escape", "Escape"),
    chord("Print Screen", "PrintScreen"),
    "line",
    seat.windows && {
      words: "Lock the keyboard there",
      checked: locked.value,
      run: () => void use(lockInput(!locked.value)),
    },
    { words: "Lock the screen", icon: "lock", run: () => tunnel.tell("lock") },
  ];
  const choices: Item[] = [...displays.value.ids]
    .sort((a, b) => a - b)
    .map((id) => ({
      words: id === ALL ? "All displays" : `Display ${id}`,
      checked: id === displays.value.selected,
      run: () => say(select(id)),
    }));
  const showClipboard = () =>
    void dialog("Clipboard", (close) => (
      <Clipboard
        clipboard={seat.clipboard}
        type={hands.current ? (text) => use(...keyboard.type(text)) : undefined}
        close={() => close()}
      />
    ));
  const snapshot = async () => {
    const blob = await picture.current?.snapshot();
    if (blob) give(blob, `${seat.name.replace(/[^\w.-]+/g, "_")}.png`);
  };
  return (
    <div class={full ? "session desktop full" : "session desktop"} ref={whole}>
      <div class="toolbar">
        {open ? (
          <Button icon="stop" onClick={() => tunnel.stop()}>
            Disconnect
          </Button>
        ) : (
          <Button
            icon="desktop"
            kind="primary"
            disabled={!seat.online || is === "opening" || is === "asking"}
            onClick={() => start(tunnel)}
          >
            Connect
          </Button>
        )}
        {open && choices.length > 1 && (
          <Menu
            label="Display"
            icon="devices"
            words={displays.value.selected === ALL ? "All" : displays.value.selected}
            start
            items={choices}
          />
        )}
        <Menu
          label="Quality"
          icon="gauge"
          words={chosen.words}
          start
          items={QUALITIES.map((one) => ({
            words: one.words,
            checked: one === chosen,
            run: () => setQuality(one),
          }))}
        />
        <Marks tunnel={tunnel} />
        {locked.value && <Badge kind="warn">Keyboard there is locked</Badge>}
        {(looking || seat.viewOnly) && <Badge>Looking only</Badge>}
        <span class="grow" />
        {!seat.viewOnly && (
          <Button
            icon="eye"
            kind="plain"
            label="Only look"
            aria-pressed={looking}
            onClick={() => setLooking(!looking)}
          />
        )}
        {!looking && !seat.limited && open && (
          <Menu label="Special keys" icon="keyboard" kind="plain" items={keys} />
        )}
        {!looking && open && (
          <Button icon="edit" kind="plain" label="Type" class="touch" onClick={() => sink.current?.focus()} />
        )}
        {open && !looking && <Button icon="paste" kind="plain" label="Clipboard" onClick={showClipboard} />}
        <Menu
          label="View"
          icon="more"
          kind="plain"
          items={[
            { words: "Fit the picture in", checked: fit, run: () => setFit(!fit) },
            { words: "Statistics", checked: statistics, run: () => setStatistics(!statistics) },
            "line",
            open && { words: "Send everything again", icon: "restart", run: () => say(refresh()) },
            open && { words: "Keep this picture", icon: "camera", run: () => void snapshot() },
          ]}
        />
        <Button
          icon="full"
          kind="plain"
          label={full ? "Leave full screen" : "Full screen"}
          aria-pressed={full}
          onClick={() => void goFull()}
        />
      </div>
      <div class="stage">
        <div class={fit ? "place fit" : "place"} ref={place} tabIndex={fit ? -1 : 0} />
        <textarea
          ref={sink}
          class="sink"
          aria-label="Keyboard of the device; Ctrl, Alt and Shift together give it back"
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          tabIndex={open && !looking ? 0 : -1}
          onKeyDown={onKeyDown}
          onKeyUp={(event) => {
            event.preventDefault();
            use(...keyboard.up(event.code));
          }}
          onInput={onInput}
          onCompositionEnd={(event) => {
            use(...keyboard.type(event.data));
            event.currentTarget.value = "";
          }}
          onBlur={() => use(...keyboard.release())}
        />
        {statistics && open && <Statistics size={size} rate={rate} tunnel={tunnel} />}
        <Curtain tunnel={tunnel} seat={seat} icon="desktop" action="Connect" start={() => start(tunnel)} />
      </div>
    </div>
  );
}

function Statistics(props: {
  size: { value: { width: number; height: number } };
  rate: { value: Rate };
  tunnel: Tunnel;
}) {
  const words = useComputed(() => {
    const { width, height } = props.size.value;
    const { images, bytes: received } = props.rate.value;
    return [
      `${width} × ${height}`,
      `${images} images/s`,
      `${bytes(received)}/s`,
      props.tunnel.rtt.value === null ? "" : `${props.tunnel.rtt.value} ms`,
    ].filter(Boolean);
  });
  return (
    <div class="statistics small">
      <Icon name="gauge" />
      {words.value.map((one) => (
        <span key={one}>{one}</span>
      ))}
    </div>
  );
}
