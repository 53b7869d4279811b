// A button with a list of things to do. Arrow keys move, Escape closes, the focus comes back.

import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

import { Button, Icon } from "./basic.tsx";

export type Item =
  | { words: string; icon?: string; danger?: boolean; href?: string; checked?: boolean; run?(): void }
  | "line"
  | false
  | null
  | undefined;

export function Menu(props: {
  label: string;
  icon?: string;
  items: Item[];
  start?: boolean;
  up?: boolean;
  small?: boolean;
  kind?: "plain" | "primary";
  /** What stands on the button; only the icon without it. */
  words?: ComponentChildren;
  /** Instead of the usual button. */
  trigger?: (open: boolean, toggle: () => void) => ComponentChildren;
}) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const items = props.items.filter((item): item is Exclude<Item, false | null | undefined> => Boolean(item));

  const close = (focus: boolean) => {
    setOpen(false);
    if (focus) root.current?.querySelector<HTMLElement>("button")?.focus();
  };
  // With the menu itself, not a moment later: a key that follows at once must find the focus there.
  useLayoutEffect(() => {
    if (!open) return;
    root.current?.querySelector<HTMLElement>("[role^=menuitem]")?.focus();
    const away = (event: Event) => !root.current?.contains(event.target as Node) && setOpen(false);
    addEventListener("pointerdown", away, true);
    return () => removeEventListener("pointerdown", away, true);
  }, [open]);

  const onKeyDown = (event: KeyboardEvent) => {
    if (!open) return;
    const entries = [...(root.current?.querySelectorAll<HTMLElement>("[role^=menuitem]") ?? [])];
    const at = entries.indexOf(document.activeElement as HTMLElement);
    const move = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (event.key === "Escape") close(true);
    else if (event.key === "Tab") setOpen(false);
    else if (move !== undefined) entries.at(move % entries.length)?.focus();
    else return;
    if (event.key !== "Tab") event.preventDefault();
    event.stopPropagation();
  };
  const toggle = () => setOpen(!open);
  const classes = ["menu", props.start && "start", props.up && "up"].filter(Boolean).join(" ");
  if (items.length === 0) return null;
  return (
    <div class={classes} ref={root} onKeyDown={onKeyDown}>
      {props.trigger?.(open, toggle) ?? (
        <Button
          icon={props.icon ?? "more"}
          kind={props.kind}
          small={props.small}
          label={props.words === undefined ? props.label : undefined}
          aria-haspopup="menu"
          aria-expanded={open}
          onClick={toggle}
        >
          {props.words}
        </Button>
      )}
      {open && (
        <div class="panel" role="menu" aria-label={props.label}>
          {items.map((item, n) =>
            item === "line" ? <hr key={n} /> : <Entry key={n} item={item} done={() => close(!item.href)} />,
          )}
        </div>
      )}
    </div>
  );
}

function Entry({ item, done }: { item: Exclude<Item, string | false | null | undefined>; done(): void }) {
  const pick = () => {
    done();
    if (item.href) location.hash = item.href;
    item.run?.();
  };
  const checked = item.checked === undefined ? {} : { "aria-checked": item.checked };
  return (
    <button
      type="button"
      role={item.checked === undefined ? "menuitem" : "menuitemradio"}
      {...checked}
      class={item.danger ? "danger" : undefined}
      tabIndex={-1}
      onClick={pick}
    >
      {item.icon && <Icon name={item.icon} />}
      <span class="grow">{item.words}</span>
      {item.checked && <Icon name="check" />}
    </button>
  );
}
