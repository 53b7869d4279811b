// The stock agents: which are here, and how newer ones come. The server fetches nothing by itself:
// the file comes from whoever looks after it.

import { useEffect, useRef, useState } from "preact/hooks";

import { count, plain } from "../model/format.ts";
import { Button, Card, Facts, Progress } from "../parts/basic.tsx";
import { CopyBox } from "../parts/copy.tsx";
import { dialog, toast } from "../parts/dialog.tsx";
import { Check, Failure } from "../parts/field.tsx";
import { upload, type News } from "./upload.ts";

export function AgentPackage(props: { version: string | null; installs: boolean; installed(): void }) {
  const { version, installs } = props;
  const open = () =>
    void dialog<boolean>(version === null ? "Install the agents" : "Update the agents", (close) => (
      <Install
        close={() => {
          close();
          props.installed();
        }}
      />
    ));
  return (
    <Card
      title="Agent package"
      foot={
        installs && (
          <Button icon="upload" kind={version === null ? "primary" : undefined} onClick={open}>
            {version === null ? "Install…" : "Update…"}
          </Button>
        )
      }
    >
      {version === null ? (
        <p class="muted">
          None is installed: there is nothing to download for new devices, and agents are not updated.
        </p>
      ) : (
        <Facts facts={[["Version", version || "unknown"]]} />
      )}
    </Card>
  );
}

const SYSTEMS: [string, string][] = [
  ["windows", "Windows"],
  ["linux", "Linux"],
  ["macos", "macOS"],
  ["bsd", "FreeBSD and OpenBSD"],
];

function Install({ close }: { close(): void }) {
  const [systems, setSystems] = useState(new Set(SYSTEMS.map(([name]) => name)));
  const [news, setNews] = useState<News | null>(null);
  const file = useRef<HTMLInputElement>(null);
  const running = useRef<{ stop(): void } | null>(null);
  const mounted = useRef(true);
  // Closing the dialog stops what is still on its way; what the server has begun it ends.
  useEffect(
    () => () => {
      mounted.current = false;
      running.current?.stop();
    },
    [],
  );
  const send = (chosen: File) => {
    const all = systems.size === SYSTEMS.length;
    running.current = upload(chosen, all ? [] : [...systems], (one) => {
      if (!mounted.current) return;
      setNews(one);
      if (one.is !== "installed") return;
      toast(`Installed: ${count(one.agents, "agent")}${one.version && ` of ${plain(one.version)}`}`);
      close();
    });
  };
  const busy = news?.is === "step";
  return (
    <div class="stack">
      <p>
        The agents are part of the package <code>meshcentral</code> of the npm registry. This fetches its file
        on any computer with npm:
      </p>
      <CopyBox text="npm pack meshcentral@1.1.55" label="the command" />
      <fieldset class="stack tight" disabled={busy}>
        <legend class="small muted">Agents for</legend>
        {SYSTEMS.map(([name, words]) => (
          <Check
            key={name}
            label={words}
            checked={systems.has(name)}
            disabled={busy}
            onValue={(on) => {
              const next = new Set(systems);
              if (on) next.add(name);
              else next.delete(name);
              setSystems(next);
            }}
          />
        ))}
      </fieldset>
      {news?.is === "failed" && <Failure text={plain(news.words)} />}
      {busy && <Progress words={`${news.words}…`} part={news.part} />}
      <input
        ref={file}
        type="file"
        class="hidden-text"
        tabIndex={-1}
        aria-label="File of the package"
        accept=".tgz,.gz,application/gzip"
        onChange={({ currentTarget }) => {
          const [chosen] = currentTarget.files ?? [];
          if (chosen) send(chosen);
          currentTarget.value = "";
        }}
      />
      <div class="actions">
        <Button onClick={close}>{busy ? "Hide" : "Cancel"}</Button>
        <Button
          kind="primary"
          icon="upload"
          busy={busy}
          disabled={systems.size === 0}
          onClick={() => file.current?.click()}
        >
          Choose the file…
        </Button>
      </div>
    </div>
  );
}
