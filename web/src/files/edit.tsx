// A text file, read, edited and written back.

import { useEffect, useState } from "preact/hooks";
import type { VNode } from "preact";

import { Waiting } from "../parts/basic.tsx";
import { Failure, Form, TextArea } from "../parts/field.tsx";
import type { Files } from "./session.ts";
import { gather, give } from "./sink.ts";
import { join } from "./wire.ts";

/** Largest file that is edited in the page. */
export const EDITED = 1024 * 1024;

export function edit(
  files: Files,
  folder: string,
  name: string,
  size: number,
  close: () => void,
  saved: () => void,
): VNode {
  return <Editor {...{ files, folder, name, size, close, saved }} />;
}

function Editor(props: {
  files: Files;
  folder: string;
  name: string;
  size: number;
  close(): void;
  saved(): void;
}) {
  const { files, folder, name, close } = props;
  const [text, setText] = useState<string | null>(null);
  const [kept, setKept] = useState<Kept | null>(null);
  const [failure, setFailure] = useState("");
  useEffect(() => {
    const stop = new AbortController();
    const memory = gather(EDITED);
    files
      .download(join(folder, name), memory, () => {}, stop.signal)
      .then(
        async () => {
          const blob = new Blob(memory.parts);
          const read = decode(await blob.arrayBuffer());
          setKept({ blob, ...read });
          setText(read.text);
        },
        (error: Error) => setFailure(error.message),
      );
    return () => stop.abort();
  }, []);
  if (failure) return <Failure text={failure} />;
  if (text === null || kept === null) return <Waiting />;
  const changed = kept.editable && text !== kept.text;
  const save = async () => {
    if (!changed) {
      give(kept.blob, name);
      close();
      return;
    }
    const content = kept.mark + (kept.returns ? text.replace(/\r?\n/g, "\r\n") : text);
    const blob = new Blob([content]);
    const source = { name, size: blob.size, slice: (from: number, to: number) => blob.slice(from, to) };
    await files.upload(folder, source, 0, () => {}, new AbortController().signal);
    props.saved();
    close();
  };
  return (
    <Form action={changed ? "Save" : "Download"} onCancel={close} onSubmit={save}>
      {kept.editable ? (
        <TextArea label="Text" quiet class="mono edited" value={text} onValue={setText} rows={20} />
      ) : (
        <p class="muted">This is no text that could be edited here.</p>
      )}
    </Form>
  );
}

interface Kept {
  blob: Blob;
  text: string;
  editable: boolean;
  /** Lines end as on Windows. */
  returns: boolean;
  /** A byte order mark, which is put back. */
  mark: string;
}

function decode(buffer: ArrayBuffer): Omit<Kept, "blob"> {
  try {
    const whole = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(buffer);
    const mark = whole.startsWith("\ufeff") ? "\ufeff" : "";
    const lines = whole.slice(mark.length);
    const returns = lines.includes("\r\n");
    // A field of a page knows one end of a line; a file with both, or with zeros, would come back changed.
    const text = returns ? lines.replace(/\r\n/g, "\n") : lines;
    return {
      text,
      returns,
      mark,
      editable: !/[\u0000\r]/.test(text) && !(returns && /(^|[^\r])\n/.test(lines)),
    };
  } catch {
    return { text: "", returns: false, mark: "", editable: false };
  }
}
