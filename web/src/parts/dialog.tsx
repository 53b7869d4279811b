// Dialogs and toasts. A dialog is opened by a call and closed by what it returns; the browser's own
// <dialog> keeps the focus in and gives it back.

import { signal } from "@preact/signals";
import type { ComponentChildren, VNode } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";

import { Button } from "./basic.tsx";
import { Form, Input } from "./field.tsx";

interface Open {
  id: number;
  title: ComponentChildren;
  wide: boolean;
  body: () => VNode;
  end(): void;
}

const open = signal<Open[]>([]);
let next = 0;

/** Shows a dialog until `close` is called or it is dismissed. */
export function dialog<T>(
  title: ComponentChildren,
  body: (close: (value?: T) => void) => VNode,
  options: { wide?: boolean } = {},
): Promise<T | undefined> {
  return new Promise((resolve) => {
    const id = ++next;
    const close = (value?: T) => {
      open.value = open.value.filter((entry) => entry.id !== id);
      resolve(value);
    };
    const entry = { id, title, wide: options.wide ?? false, body: () => body(close), end: () => close() };
    open.value = [...open.value, entry];
  });
}

/** Asks before something is done, and does it while the dialog waits. */
export function confirm(
  title: string,
  words: ComponentChildren,
  action: string,
  run: () => Promise<unknown> | void,
  kind: "primary" | "danger" = "danger",
): Promise<boolean | undefined> {
  return dialog<boolean>(title, (close) => (
    <Form
      action={action}
      kind={kind}
      onCancel={() => close()}
      onSubmit={async () => {
        await run();
        close(true);
      }}
    >
      <div class="stack muted">{words}</div>
    </Form>
  ));
}

/** Asks for one line. */
export function prompt(
  title: string,
  label: string,
  value: string,
  action: string,
  run: (value: string) => Promise<unknown> | void,
): Promise<boolean | undefined> {
  return dialog<boolean>(title, (close) => <Prompt {...{ label, value, action, run, close }} />);
}

function Prompt(props: {
  label: string;
  value: string;
  action: string;
  run: (value: string) => Promise<unknown> | void;
  close(value?: boolean): void;
}) {
  const [text, setText] = useState(props.value);
  return (
    <Form
      action={props.action}
      onCancel={() => props.close()}
      disabled={text.trim() === ""}
      onSubmit={async () => {
        await props.run(text.trim());
        props.close(true);
      }}
    >
      <Input label={props.label} value={text} onValue={setText} autoFocus />
    </Form>
  );
}

export function Dialogs() {
  return (
    <>
      {open.value.map((entry) => (
        <Dialog key={entry.id} {...entry} />
      ))}
    </>
  );
}

function Dialog({ title, wide, body, end }: Open) {
  const element = useRef<HTMLDialogElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const heading = useId();
  // Before the effects of fields, which may take the focus from here.
  useLayoutEffect(() => {
    const shown = element.current;
    shown?.showModal();
    content.current?.focus();
    return () => shown?.close();
  }, []);
  return (
    <dialog
      ref={element}
      class={wide ? "wide" : undefined}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault();
        end();
      }}
      onClick={(event) => event.target === element.current && end()}
    >
      <div class="box">
        <header>
          <h2 id={heading}>{title}</h2>
          <Button icon="close" kind="plain" small label="Close" onClick={end} />
        </header>
        <div class="content" ref={content} tabIndex={0}>
          {body()}
        </div>
      </div>
    </dialog>
  );
}

interface Toast {
  id: number;
  words: string;
}

const toasts = signal<Toast[]>([]);

/** Says something that needs no answer. */
export function toast(words: string): void {
  const id = ++next;
  toasts.value = [...toasts.value.slice(-2), { id, words }];
  setTimeout(() => unsay(id), 5_000);
}

function unsay(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map(({ id, words }) => (
        <div key={id} class="toast">
          <span>{words}</span>
          <Button icon="close" kind="plain" small label="Dismiss" onClick={() => unsay(id)} />
        </div>
      ))}
    </div>
  );
}

/** Runs something and says how it went. */
export async function attempt(run: () => Promise<unknown>, done?: string): Promise<boolean> {
  try {
    await run();
    if (done) toast(done);
    return true;
  } catch (error) {
    toast(error instanceof Error ? error.message : String(error));
    return false;
  }
}
