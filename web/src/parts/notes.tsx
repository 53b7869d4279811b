// A text kept on the server with something: a device, a group, an account.

import { useEffect, useState } from "preact/hooks";

import { client } from "../app/state.ts";
import { Button, Empty, Waiting } from "./basic.tsx";
import { toast } from "./dialog.tsx";
import { TextArea } from "./field.tsx";

export function Notes({ id, words, readOnly }: { id: string; words: string; readOnly?: boolean }) {
  const [kept, setKept] = useState<string | null>(null);
  const [text, setText] = useState("");
  const [failure, setFailure] = useState("");
  useEffect(() => {
    let current = true;
    client.ask("getNotes", { id }).then(
      (frame) => {
        if (!current) return;
        const notes = decode(frame["notes"]);
        setKept(notes);
        setText(notes);
      },
      (error: Error) => current && setFailure(error.message),
    );
    return () => void (current = false);
  }, [id]);
  if (failure) {
    return (
      <Empty icon="notes" title="The notes cannot be read">
        <p>{failure}</p>
      </Empty>
    );
  }
  if (kept === null) return <Waiting />;
  const save = () => {
    if (client.tell("setNotes", { id, notes: encodeURIComponent(text) })) {
      setKept(text);
      toast("Notes saved");
    } else {
      toast("There is no connection to the server. Nothing was saved.");
    }
  };
  return (
    <div class="stack">
      <TextArea
        label="Notes"
        quiet
        class="notes-text"
        value={text}
        onValue={setText}
        readOnly={readOnly ?? false}
      />
      <div class="row between wrap">
        <span class="small faint">{words}</span>
        {!readOnly && (
          <span class="row">
            {text !== kept && <Button onClick={() => setText(kept)}>Undo</Button>}
            <Button kind="primary" disabled={text === kept} onClick={save}>
              Save
            </Button>
          </span>
        )}
      </div>
    </div>
  );
}

function decode(notes: unknown): string {
  if (typeof notes !== "string") return "";
  try {
    return decodeURIComponent(notes);
  } catch {
    return notes;
  }
}
