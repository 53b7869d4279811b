// A conversation as people see it: who is there, what was said, a line to write in.

import { useEffect, useRef, useState } from "preact/hooks";

import { sink } from "../files/sink.ts";
import { bytes, plain } from "../model/format.ts";
import { Badge, Button, Icon, Words } from "../parts/basic.tsx";
import { toast } from "../parts/dialog.tsx";
import { LONGEST, type Chat, type Entry, type FileState, type Said, type Transfer } from "./chat.ts";

export function Conversation({ chat, name, again }: { chat: Chat; name: string; again?: () => void }) {
  const [text, setText] = useState("");
  const log = useRef<HTMLDivElement>(null);
  const chooser = useRef<HTMLInputElement>(null);
  const presence = chat.presence.value;
  const entries = chat.entries.value;
  const together = presence.is === "together";
  useEffect(() => {
    log.current?.scrollTo(0, log.current.scrollHeight);
  }, [entries, chat.writing.value]);
  const write = (next: string) => {
    setText(next);
    chat.write(next !== "");
  };
  const send = () => {
    if (chat.say(text)) setText("");
  };
  return (
    <div class="chat">
      <div class="toolbar">
        <span class="state" role="status">
          <span class={together ? "dot on" : "dot off"} />
          <span>{words(chat, plain(name))}</span>
        </span>
        {together && presence.recorded && (
          <Badge kind="bad">
            <span class="dot rec" /> Recorded
          </Badge>
        )}
        <span class="grow" />
        {again && !together && (
          <Button icon="restart" onClick={again}>
            Ask again
          </Button>
        )}
      </div>
      <div class="said" ref={log} role="log" aria-label="Conversation" tabIndex={0}>
        <ol>
          {entries.map((entry) => (
            <li key={entry.id} class={entry.mine ? "mine" : ""}>
              <span class="hidden-text">{entry.mine ? "You" : plain(name)}: </span>
              <Line entry={entry} chat={chat} />
            </li>
          ))}
        </ol>
        {chat.writing.value && <p class="muted small">{plain(name)} is writing…</p>}
      </div>
      <form
        class="write"
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        <textarea
          class="input"
          rows={2}
          maxLength={LONGEST}
          aria-label="Message"
          placeholder={together ? "Message" : ""}
          value={text}
          onInput={(event) => write(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            send();
          }}
        />
        <input
          ref={chooser}
          type="file"
          multiple
          hidden
          aria-label="Files to send"
          onChange={({ currentTarget }) => {
            for (const file of [...(currentTarget.files ?? [])].slice(0, 10)) chat.offer(file);
            currentTarget.value = "";
          }}
        />
        <Button
          icon="file"
          label="Send a file"
          disabled={!together}
          onClick={() => chooser.current?.click()}
        />
        <Button kind="primary" type="submit" disabled={!together || text.trim() === ""}>
          Send
        </Button>
      </form>
    </div>
  );
}

function words({ presence: { value } }: Chat, name: string): string {
  switch (value.is) {
    case "idle":
      return "Nobody is here.";
    case "reaching":
      return "Connecting…";
    case "waiting":
      return value.left ? `${name} has left.` : `Waiting for ${name}…`;
    case "together":
      return `${name} is here.`;
    case "ended":
      return value.words;
  }
}

function Line({ entry, chat }: { entry: Entry; chat: Chat }) {
  return (
    <div class="bubble">
      {entry.kind === "said" ? <Text said={entry} /> : <File file={entry} chat={chat} />}
      <time class="small faint" dateTime={new Date(entry.time).toISOString()}>
        {new Date(entry.time).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" })}
      </time>
    </div>
  );
}

/** Lines stay lines; everything else that is no letter goes. */
function Text({ said }: { said: Said }) {
  return <bdi>{said.text.split("\n").map(plain).join("\n")}</bdi>;
}

const STATES: Record<FileState, string> = {
  offered: "offered",
  runs: "",
  done: "done",
  refused: "refused",
  stopped: "stopped",
  failed: "failed",
};

function File({ file, chat }: { file: Transfer; chat: Chat }) {
  const state = file.state.value;
  const done = file.done.value;
  const part = file.size > 0 ? done / file.size : state === "done" ? 1 : 0;
  const take = async () => {
    try {
      chat.take(file, await sink(file.name, file.size));
    } catch (error) {
      if ((error as Error).name !== "AbortError") toast((error as Error).message);
    }
  };
  return (
    <div class="stack tight">
      <span class="row">
        <Icon name="file" />
        <Words text={file.name} />
      </span>
      <span class="small muted">
        {bytes(file.size)} {STATES[state] && `· ${STATES[state]}`}
      </span>
      {state === "runs" && (
        <div
          class="meter"
          role="progressbar"
          aria-label={`Progress of ${plain(file.name).slice(0, 80)}`}
          aria-valuenow={Math.round(part * 100)}
          aria-valuemin={0}
          aria-valuemax={100}
        >
          <i style={{ width: `${part * 100}%` }} />
        </div>
      )}
      <span class="row">
        {state === "offered" && !file.mine && (
          <>
            <Button small kind="primary" onClick={() => void take()}>
              Take it
            </Button>
            <Button small onClick={() => chat.cancel(file)}>
              Refuse
            </Button>
          </>
        )}
        {(state === "runs" || (state === "offered" && file.mine)) && (
          <Button small onClick={() => chat.cancel(file)}>
            Stop
          </Button>
        )}
      </span>
    </div>
  );
}
