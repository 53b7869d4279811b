// From the pointer on the picture to what the agent does with its own: a mouse as it is, a finger as
// people use it: tap to click, press long for the other button, drag with one, scroll with two.

import { Button, pointer, wheel, type Bytes } from "./wire.ts";

/** A finger that rests this long (milliseconds) presses the right button. */
const LONG = 550;
/** Pixels of the page a finger may tremble. */
const TREMBLE = 10;
/** Pixels that two fingers move for one notch of the wheel. */
const NOTCH = 30;

const BUTTONS: [down: number, up: number][] = [
  [Button.leftDown, Button.leftUp],
  [Button.middleDown, Button.middleUp],
  [Button.rightDown, Button.rightUp],
];

interface Finger {
  x: number;
  y: number;
}

/** Watches `canvas`; `size` is the desktop's, in its own pixels. The result ends it. */
export function watchPointer(
  canvas: HTMLCanvasElement,
  size: () => { width: number; height: number },
  send: (bytes: Bytes) => void,
): () => void {
  const fingers = new Map<number, Finger>();
  let begun: Finger | null = null;
  let dragging = false;
  let scrolled = 0;
  let rest = 0;
  let moving: { x: number; y: number } | null = null;
  let frame = 0;
  const pressed = new Set<number>();

  const place = ({ clientX, clientY }: MouseEvent) => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    const desktop = size();
    const scale = (at: number, from: number, length: number, pixels: number) =>
      Math.max(0, Math.min(pixels - 1, Math.floor(((at - from) / Math.max(1, length)) * pixels)));
    return { x: scale(clientX, left, width, desktop.width), y: scale(clientY, top, height, desktop.height) };
  };
  // A mouse moves more often than a picture changes.
  const move = (event: MouseEvent) => {
    moving = place(event);
    if (frame === 0) frame = requestAnimationFrame(flush);
  };
  const flush = () => {
    cancelAnimationFrame(frame);
    frame = 0;
    if (moving) send(pointer(moving.x, moving.y));
    moving = null;
  };
  const change = (event: MouseEvent, button: number) => {
    flush();
    const { x, y } = place(event);
    send(pointer(x, y));
    send(pointer(x, y, button));
  };

  const touchDown = (event: PointerEvent) => {
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    clearTimeout(rest);
    if (fingers.size > 1) {
      if (dragging) change(event, Button.leftUp);
      dragging = false;
      begun = null;
      return;
    }
    begun = { x: event.clientX, y: event.clientY };
    scrolled = 0;
    rest = window.setTimeout(() => {
      if (!begun || dragging) return;
      begun = null;
      change(event, Button.rightDown);
      change(event, Button.rightUp);
    }, LONG);
  };
  const touchMove = (event: PointerEvent) => {
    const finger = fingers.get(event.pointerId);
    if (!finger) return;
    if (fingers.size === 2) {
      scrolled += (event.clientY - finger.y) / 2;
      while (Math.abs(scrolled) >= NOTCH) {
        const { x, y } = place(event);
        send(wheel(x, y, scrolled > 0 ? 120 : -120));
        scrolled -= Math.sign(scrolled) * NOTCH;
      }
    } else if (begun) {
      const far = Math.hypot(event.clientX - begun.x, event.clientY - begun.y) > TREMBLE;
      if (far && !dragging) {
        clearTimeout(rest);
        dragging = true;
        change(event, Button.leftDown);
      }
      if (dragging) move(event);
    }
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  };
  const touchUp = (event: PointerEvent) => {
    fingers.delete(event.pointerId);
    clearTimeout(rest);
    if (dragging) {
      change(event, Button.leftUp);
    } else if (begun && event.type === "pointerup") {
      change(event, Button.leftDown);
      change(event, Button.leftUp);
    }
    dragging = false;
    begun = null;
  };

  const down = (event: PointerEvent) => {
    canvas.setPointerCapture(event.pointerId);
    event.preventDefault();
    if (event.pointerType === "touch") return touchDown(event);
    const button = BUTTONS[event.button];
    if (!button) return;
    pressed.add(event.button);
    change(event, button[0]);
  };
  const moved = (event: PointerEvent) => {
    if (event.pointerType === "touch") return touchMove(event);
    // A second button goes down or up with a move.
    if (event.button >= 0 && BUTTONS[event.button]) {
      const held = pressed.has(event.button);
      if (held) pressed.delete(event.button);
      else pressed.add(event.button);
      return change(event, (BUTTONS[event.button] as [number, number])[held ? 1 : 0]);
    }
    move(event);
  };
  const up = (event: PointerEvent) => {
    if (event.pointerType === "touch") return touchUp(event);
    for (const held of pressed) change(event, (BUTTONS[held] as [number, number])[1]);
    pressed.clear();
  };
  const turned = (event: WheelEvent) => {
    event.preventDefault();
    flush();
    const { x, y } = place(event);
    // Lines and pages to pixels; a notch of most mice is 100 of them.
    const pixels = event.deltaY * ([1, 33, 400][event.deltaMode] ?? 1);
    if (pixels !== 0)
      send(wheel(x, y, Math.sign(-pixels) * Math.max(30, Math.min(600, Math.abs(pixels) * 1.2))));
  };
  const menu = (event: Event) => event.preventDefault();

  canvas.addEventListener("pointerdown", down);
  canvas.addEventListener("pointermove", moved);
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("wheel", turned, { passive: false });
  canvas.addEventListener("contextmenu", menu);
  return () => {
    clearTimeout(rest);
    cancelAnimationFrame(frame);
    canvas.removeEventListener("pointerdown", down);
    canvas.removeEventListener("pointermove", moved);
    canvas.removeEventListener("pointerup", up);
    canvas.removeEventListener("pointercancel", up);
    canvas.removeEventListener("wheel", turned);
    canvas.removeEventListener("contextmenu", menu);
  };
}
