// The last connections of Intel AMT: why does mine not connect?

import { useState } from "preact/hooks";

import { Journal } from "../amt/journal.tsx";
import { useAsk } from "../app/hooks.ts";
import { client } from "../app/state.ts";
import { attempts, outcome } from "../model/amt.ts";
import { Button, Card, Empty, Waiting } from "../parts/basic.tsx";
import { Segments } from "../parts/field.tsx";

type Shown = "all" | "failed";

export default function Amt() {
  const [shown, setShown] = useState<Shown>("all");
  const asked = useAsk("mpsjournal", {}, []);
  const list = attempts(asked.frame?.["journal"]);
  const wanted = shown === "all" ? list : list.filter((attempt) => outcome(attempt) === "failed");
  const { mpsname, mpsport } = client.greeting.value?.server ?? {};
  return (
    <div class="page">
      <div class="page-head">
        <h1 class="grow">Intel AMT</h1>
        <Segments
          label="Which connections"
          value={shown}
          onValue={setShown}
          options={[
            { value: "all", words: "All" },
            { value: "failed", words: "Failed" },
          ]}
        />
        <Button icon="restart" onClick={asked.again}>
          Look again
        </Button>
      </div>
      <p class="muted">
        Computers call {mpsname} at port {mpsport}. What to enter into their firmware is on the page of each
        group.
      </p>
      {asked.failure ? (
        <Empty icon="board" title="The journal cannot be read">
          <p>{asked.failure}</p>
        </Empty>
      ) : asked.frame === null ? (
        <Waiting rows={6} />
      ) : wanted.length === 0 ? (
        <Empty icon="board" title={shown === "all" ? "Nothing has called yet" : "Nothing has failed"}>
          {shown === "all" && <Silence />}
        </Empty>
      ) : (
        <Card flush>
          <Journal list={wanted} />
        </Card>
      )}
    </div>
  );
}

/** Nothing arrives: what may keep firmware from calling. */
export function Silence() {
  return (
    <>
      <p>
        Is the port open in routers and firewalls? A browser that opens it by https gets two lines of text.
      </p>
      <p>
        Firmware with a fixed address, or that believes to be at home, does not call. After failures it pauses
        for hours: pull its network cable once.
      </p>
    </>
  );
}
