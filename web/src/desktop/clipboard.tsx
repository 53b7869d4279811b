// The clipboard there and the one here, brought together by hand: neither goes over by itself.

import { useEffect, useState } from "preact/hooks";

import { Button } from "../parts/basic.tsx";
import { attempt, toast } from "../parts/dialog.tsx";
import { TextArea } from "../parts/field.tsx";
import type { Seat } from "../tunnel/hooks.tsx";

export function Clipboard(props: {
  clipboard: Seat["clipboard"];
  type?: ((text: string) => void) | undefined;
  close(): void;
}) {
  const { clipboard, type, close } = props;
  const [text, setText] = useState("");
  const [note, setNote] = useState(clipboard ? "Reading…" : "");
  useEffect(() => {
    clipboard?.read().then(
      (text) => {
        setText(text);
        setNote("This is in the clipboard of the device.");
      },
      (error: Error) => setNote(error.message),
    );
  }, []);
  const fetchHere = () =>
    navigator.clipboard.readText().then(
      (text) => {
        setText(text);
        setNote("This is in the clipboard here.");
      },
      () => toast("This browser keeps its clipboard closed: press Ctrl+V in the field."),
    );
  return (
    <div class="stack">
      <TextArea label="Text" quiet rows={8} value={text} onValue={setText} />
      <p class="small muted" role="status">
        {note}
      </p>
      <div class="actions">
        <Button onClick={() => void fetchHere()}>Take mine</Button>
        <Button onClick={() => void attempt(() => navigator.clipboard.writeText(text), "Copied")}>
          Copy here
        </Button>
        {type && (
          <Button
            disabled={text === ""}
            onClick={() => {
              close();
              type(text);
            }}
          >
            Type it there
          </Button>
        )}
        {clipboard && (
          <Button
            kind="primary"
            disabled={text === ""}
            onClick={() => void attempt(() => clipboard.write(text), "Sent").then((sent) => sent && close())}
          >
            Send
          </Button>
        )}
      </div>
    </div>
  );
}
