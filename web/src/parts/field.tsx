// Fields of forms, and forms that say what went wrong.

import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";

import { Button, Icon } from "./basic.tsx";

interface FieldProps {
  label: string;
  hint?: ComponentChildren;
  /** The label is for screen readers only. */
  quiet?: boolean;
}

interface InputProps extends FieldProps {
  value: string;
  onValue(value: string): void;
  type?: "text" | "password" | "number" | "email" | "search" | "datetime-local";
  name?: string;
  class?: string;
  autocomplete?: string;
  placeholder?: string;
  maxLength?: number;
  inputMode?: "numeric" | "decimal";
  min?: number;
  max?: number;
  required?: boolean;
  disabled?: boolean;
  autoFocus?: boolean;
}

function Frame({
  label,
  hint,
  quiet,
  id,
  children,
}: FieldProps & { id: string; children: ComponentChildren }) {
  return (
    <div class="field">
      <label class={quiet ? "hidden-text" : "label"} for={id}>
        {label}
      </label>
      {children}
      {hint && (
        <span class="hint" id={`${id}-hint`}>
          {hint}
        </span>
      )}
    </div>
  );
}

export function Input({ label, hint, quiet, value, onValue, autoFocus, class: extra, ...rest }: InputProps) {
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (autoFocus) input.current?.focus();
  }, []);
  return (
    <Frame id={id} label={label} {...given({ hint, quiet })}>
      <input
        ref={input}
        id={id}
        class={`input ${extra ?? ""}`}
        value={value}
        aria-describedby={hint ? `${id}-hint` : undefined}
        onInput={(event) => onValue(event.currentTarget.value)}
        {...(rest as object)}
      />
    </Frame>
  );
}

export function TextArea(
  props: FieldProps & {
    value: string;
    onValue(value: string): void;
    rows?: number;
    class?: string;
    placeholder?: string;
    maxLength?: number;
    readOnly?: boolean;
  },
) {
  const { label, hint, quiet, value, onValue, class: extra, ...rest } = props;
  const id = useId();
  return (
    <Frame id={id} label={label} {...given({ hint, quiet })}>
      <textarea
        id={id}
        class={`input ${extra ?? ""}`}
        value={value}
        onInput={(event) => onValue(event.currentTarget.value)}
        {...rest}
      />
    </Frame>
  );
}

export function Select<T extends string>(
  props: FieldProps & { value: T; options: [NoInfer<T>, string][]; onValue(value: NoInfer<T>): void },
) {
  const { label, hint, quiet, value, options, onValue } = props;
  const id = useId();
  return (
    <Frame id={id} label={label} {...given({ hint, quiet })}>
      <select
        id={id}
        class="input"
        value={value}
        onChange={(event) => onValue(event.currentTarget.value as T)}
      >
        {options.map(([option, words]) => (
          <option key={option} value={option} selected={option === value}>
            {words}
          </option>
        ))}
      </select>
    </Frame>
  );
}

export function Check(props: {
  label: ComponentChildren;
  hint?: ComponentChildren;
  checked: boolean;
  onValue(checked: boolean): void;
  disabled?: boolean;
  /** The label is for screen readers only. */
  quiet?: boolean;
  mixed?: boolean;
}) {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (input.current) input.current.indeterminate = props.mixed ?? false;
  }, [props.mixed]);
  return (
    <label class="check">
      <input
        ref={input}
        type="checkbox"
        checked={props.checked}
        disabled={props.disabled ?? false}
        onChange={(event) => props.onValue(event.currentTarget.checked)}
      />
      <span class={props.quiet ? "hidden-text" : undefined}>
        {props.label}
        {props.hint && <span class="hint">{props.hint}</span>}
      </span>
    </label>
  );
}

/** One of a few, side by side. */
export function Segments<T extends string>(props: {
  label: string;
  value: T;
  options: { value: NoInfer<T>; icon?: string; words?: string; label?: string }[];
  onValue(value: NoInfer<T>): void;
}) {
  return (
    <div class="segments" role="group" aria-label={props.label}>
      {props.options.map(({ value, icon, words, label }) => (
        <Button
          key={value}
          icon={icon}
          label={label}
          aria-pressed={value === props.value}
          onClick={() => props.onValue(value)}
        >
          {words}
        </Button>
      ))}
    </div>
  );
}

/** A form that does something slow: the button waits, a failure is told in its place. */
export function Form(props: {
  /** What the button does; no button without it. */
  action: string;
  kind?: "primary" | "danger";
  onSubmit(): Promise<void> | void;
  onCancel?: () => void;
  /** What the way back is called. */
  cancel?: string;
  disabled?: boolean;
  wide?: boolean;
  children?: ComponentChildren;
}) {
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setFailure(null);
    try {
      await props.onSubmit();
    } catch (error) {
      setFailure(error instanceof Error ? error.message : String(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <form onSubmit={submit}>
      {props.children}
      {failure && <Failure text={failure} />}
      <div class="actions">
        {props.onCancel && <Button onClick={props.onCancel}>{props.cancel ?? "Cancel"}</Button>}
        <Button
          type="submit"
          kind={props.kind ?? "primary"}
          busy={busy}
          disabled={props.disabled}
          {...(props.wide ? { style: { flex: 1 } } : {})}
        >
          {props.action}
        </Button>
      </div>
    </form>
  );
}

export function Failure({ text }: { text: string }) {
  return (
    <p class="form-error" role="alert">
      <Icon name="warn" />
      <span>{text}</span>
    </p>
  );
}

/** A set of bits as boxes to tick. */
export function Bits(props: {
  bits: { bit: number; words: string; hint?: string }[];
  value: number;
  onValue(value: number): void;
  disabled?: boolean;
}) {
  return (
    <div class="checks">
      {props.bits.map(({ bit, words, hint }) => (
        <Check
          key={bit}
          label={words}
          hint={hint}
          checked={(props.value & bit) !== 0}
          disabled={props.disabled ?? false}
          onValue={(on) => props.onValue((on ? props.value | bit : props.value & ~bit) >>> 0)}
        />
      ))}
    </div>
  );
}

/** Leaves out what is undefined. */
function given<T extends object>(members: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never;
}
