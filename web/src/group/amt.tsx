// What an administrator enters into the firmware of a computer so that it calls here and joins the
// group.

import { useState } from "preact/hooks";

import type { GroupSectionProps } from "../app/registry.ts";
import { client } from "../app/state.ts";
import type { Group } from "../control/wire.ts";
import type { Setup } from "../model/amt.ts";
import { plain } from "../model/format.ts";
import { Button, Card, Icon } from "../parts/basic.tsx";
import { CopyBox } from "../parts/copy.tsx";
import { attempt } from "../parts/dialog.tsx";
import { save } from "../parts/save.ts";

export default function Amt({ group }: GroupSectionProps) {
  const [setup, setSetup] = useState<Setup | null>(null);
  const show = () =>
    attempt(async () => {
      const frame = await client.ask("mpssetup", { meshid: group._id });
      setSetup(frame["setup"] as Setup);
    });
  return (
    <Card title="Intel AMT">
      <div class="stack">
        <p class="muted">
          {group.mtype === 1
            ? "Computers join this group when their firmware calls: no software is installed on them."
            : "The firmware of these computers may call, too, also when they are switched off. Each stays one device."}
        </p>
        {setup ? (
          <Values setup={setup} group={group} />
        ) : (
          <div>
            <Button icon="key" onClick={() => void show()}>
              Show what to enter
            </Button>
          </div>
        )}
      </div>
    </Card>
  );
}

function Values({ setup, group }: { setup: Setup; group: Group }) {
  const rows: [string, string][] = [
    ["Server", setup.host],
    ["Port", String(setup.port)],
    ["User name", setup.user],
    ["Password", setup.password],
  ];
  return (
    <>
      {rows.map(([words, value]) => (
        <div class="stack tight" key={words}>
          <span class="small muted">{words}</span>
          <CopyBox text={plain(value)} label={words.toLowerCase()} />
        </div>
      ))}
      <div class="row wrap">
        <a class="button" href={setup.root} download>
          <Icon name="download" />
          Root certificate
        </a>
        <Script group={group} />
      </div>
      <p class="small muted">
        The firmware must trust the root certificate. Add the server under Remote access, with a periodic
        policy, and set the environment detection to a name that no network of yours has.
      </p>
    </>
  );
}

/** The same as a script for MeshCommander. */
function Script({ group }: { group: Group }) {
  const take = () =>
    attempt(async () => {
      const frame = await client.ask("mpsscript", { meshid: group._id });
      save("cira_setup.mescript", "application/json", String(frame["script"]));
    });
  return (
    <Button icon="download" onClick={() => void take()}>
      Script
    </Button>
  );
}
