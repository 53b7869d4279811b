// What a restart would say of config.json as it is now, asked before somebody restarts.

import { useState } from "preact/hooks";

import { client } from "../app/state.ts";
import { plain } from "../model/format.ts";
import { configuration, type Remarks } from "../model/health.ts";
import { Button, Card } from "../parts/basic.tsx";
import { attempt } from "../parts/dialog.tsx";

export function Configuration() {
  const [remarks, setRemarks] = useState<Remarks | null>(null);
  const check = () =>
    attempt(async () => {
      const frame = await client.ask("serverconfig", {}, { check: false });
      const told = configuration(frame["check"]);
      if (told === null) throw new Error("This server does not tell.");
      setRemarks(told);
    });
  return (
    <Card
      title="Configuration"
      foot={
        <Button icon="check" onClick={() => void check()}>
          Check config.json
        </Button>
      }
    >
      <p class="muted">Changes come into force when the server reads the file again or is restarted.</p>
      {remarks && (
        <div role="status" class="stack tight">
          {remarks.problems.length > 0 && (
            <strong class="bad">With this file the server does not start:</strong>
          )}
          {remarks.problems.length === 0 && remarks.warnings.length === 0 && <p>Nothing is wrong with it.</p>}
          {remarks.problems.length === 0 && remarks.warnings.length > 0 && (
            <strong>It works, but not all of it does something:</strong>
          )}
          <ul class="remarks small">
            {[...remarks.problems, ...remarks.warnings].map((words) => (
              <li key={words}>{plain(words)}</li>
            ))}
          </ul>
        </div>
      )}
    </Card>
  );
}
