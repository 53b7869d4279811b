// The question what happens to files that are there already.

import { count, plain } from "../model/format.ts";
import { Button } from "../parts/basic.tsx";
import { dialog } from "../parts/dialog.tsx";
import type { Clash } from "./queue.ts";

export function askClash(names: string[]): Promise<Clash | undefined> {
  const [first = ""] = names;
  const title =
    names.length === 1
      ? `${plain(first)} is there already`
      : `${count(names.length, "file")} are there already`;
  return dialog<Clash>(title, (close) => (
    <div class="stack">
      <p class="muted">
        Going on keeps what is there if it is the beginning of the same file, and sends the rest.
      </p>
      <div class="actions">
        <Button onClick={() => close("skip")}>Leave it</Button>
        <Button onClick={() => close("resume")}>Go on</Button>
        <Button kind="danger" onClick={() => close("replace")}>
          Replace
        </Button>
      </div>
    </div>
  ));
}
