// The button that brings a disk image from this computer to the server.

import { useEffect, useRef, useState } from "preact/hooks";

import { client, me } from "../app/state.ts";
import { bytes, plain } from "../model/format.ts";
import { Button, Progress } from "../parts/basic.tsx";
import { confirm, toast } from "../parts/dialog.tsx";
import { Failure } from "../parts/field.tsx";
import { isImage, upload } from "./upload.ts";

/** `there` are names that are taken; `sent` is told of what has come. */
export function SendImage({ there, sent }: { there: string[]; sent(name: string): void }) {
  const [part, setPart] = useState<{ name: string; size: number; done: number } | null>(null);
  const [failure, setFailure] = useState("");
  const input = useRef<HTMLInputElement>(null);
  const running = useRef<{ stop(): void } | null>(null);
  // Whoever leaves the page stops what is on its way.
  useEffect(() => () => running.current?.stop(), []);
  const send = async (file: File) => {
    setFailure("");
    const { name, size } = file;
    try {
      if (!isImage(name)) throw new Error("The name of an image ends in .iso or .img.");
      const { cookie } = await client.ask("authcookie");
      const show = (done: number) => setPart({ name, size, done });
      show(0);
      const sending = upload(file, me()._id, String(cookie), show);
      running.current = sending;
      await sending.done;
      toast(`${plain(name)} is on the server`);
      sent(name);
    } catch (error) {
      setFailure((error as Error).message);
    } finally {
      running.current = null;
      setPart(null);
    }
  };
  const choose = async (file: File) => {
    if (!there.includes(file.name)) return send(file);
    const words = <p>There is an image of this name already; the new one takes its place.</p>;
    if (await confirm(`Replace ${plain(file.name)}?`, words, "Replace", () => {})) await send(file);
  };
  return (
    <div class="stack">
      {failure !== "" && <Failure text={failure} />}
      {part && <Progress words={`Sending ${plain(part.name)}, ${bytes(part.size)}`} part={part.done} />}
      <input
        ref={input}
        type="file"
        class="hidden-text"
        tabIndex={-1}
        aria-label="Image file"
        accept=".iso,.img"
        onChange={({ currentTarget }) => {
          const [chosen] = currentTarget.files ?? [];
          if (chosen) void choose(chosen);
          currentTarget.value = "";
        }}
      />
      <div>
        {part ? (
          <Button icon="stop" onClick={() => running.current?.stop()}>
            Stop sending
          </Button>
        ) : (
          <Button icon="upload" onClick={() => input.current?.click()}>
            Upload an image…
          </Button>
        )}
      </div>
    </div>
  );
}
