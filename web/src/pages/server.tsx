// How the server is.

import { useEffect, useRef, useState } from "preact/hooks";

import { useFrames } from "../app/hooks.ts";
import { client, me, server, store, tryAsk } from "../app/state.ts";
import { bytes, grouped, plain, span } from "../model/format.ts";
import { refusals, type Certificate, type Health } from "../model/health.ts";
import { isAdministrator } from "../model/rights.ts";
import { Badge, Button, Card, Icon, Notice, Words } from "../parts/basic.tsx";
import { attempt } from "../parts/dialog.tsx";
import { ActivationCard } from "../server/activation.tsx";
import { Configuration } from "../server/configuration.tsx";
import { HeldAgents } from "../server/held.tsx";
import { Expiry } from "../server/expiry.tsx";
import { AgentPackage } from "../server/package.tsx";
import { Measurements } from "../server/measurements.tsx";

export default function Server() {
  const [health, setHealth] = useState<Health | null>(null);
  const ask = () =>
    void tryAsk("serverhealth").then((frame) => frame && setHealth(frame as unknown as Health));
  useEffect(() => {
    ask();
    const timer = setInterval(ask, 30_000);
    return () => clearInterval(timer);
  }, []);
  const administrator = isAdministrator(me());
  return (
    <div class="page">
      <div class="page-head">
        <h1 class="grow">Server</h1>
        <span class="muted">
          meshboard {health?.version ?? server.value?.version}
          {health?.uptime !== undefined && `, up for ${span(health.uptime * 1000)}`}
        </span>
      </div>
      {health?.store?.degraded && (
        <Notice kind="bad">
          <strong>The disk refuses writes.</strong> Changes are kept in memory only:{" "}
          {plain(health.store.degraded)}
        </Notice>
      )}
      <Warnings />
      {health?.held && health.held.length > 0 && <HeldAgents held={health.held} />}
      <Now health={health} />
      <Measurements />
      <div class="cards">
        {health?.refused && <Refusals refused={health.refused} />}
        <Certificates health={health} />
        {(health?.activation || [...store.groups.values()].some(({ amt }) => amt?.type)) && (
          <ActivationCard activation={health?.activation} administrator={administrator} />
        )}
        {health?.agentPackage !== undefined && (
          <AgentPackage version={health.agentPackage} installs={administrator} installed={ask} />
        )}
        {administrator && <Backup />}
        {administrator && <Configuration />}
      </div>
      {administrator && <Console />}
    </div>
  );
}

function told(number: number | undefined): string | undefined {
  return number === undefined ? undefined : grouped(number);
}

interface Stats {
  totalmem?: number;
  freemem?: number;
  availablemem?: number;
  cpuavg?: number[];
  values?: { ServerState?: Record<string, number> };
}

function Now({ health }: { health: Health | null }) {
  const [stats, setStats] = useState<Stats | null>(null);
  useFrames("serverstats", (frame) => setStats(frame as Stats), []);
  useEffect(() => {
    const off = client.onOpen(() => client.tell("serverstats", { interval: 10_000 }));
    return () => {
      off();
      client.tell("serverstats", {});
    };
  }, []);
  const state = stats?.values?.ServerState ?? {};
  const online = state["AgentSessions"] ?? health?.agents;
  const free = stats?.availablemem ?? stats?.freemem;
  const used = stats?.totalmem && free !== undefined ? 1 - free / stats.totalmem : undefined;
  const load = stats?.cpuavg?.[0];
  const numbers: [string, string | undefined][] = [
    ["agents online", told(online)],
    ["devices", told(health?.devices ?? store.devices.size)],
    ["people here", told(state["ConnectedUsers"] ?? health?.sessions)],
    ["tunnels", told(state["RelaySessions"])],
    ["memory of the server", health?.memory && bytes(health.memory.resident)],
    ["written to disk", health?.store && bytes(health.store.bytesWritten)],
    ["memory of the machine used", used === undefined ? undefined : `${Math.round(used * 100)} %`],
    ["load", load?.toFixed(2)],
  ];
  return (
    <Card>
      <div class="stats" style={{ paddingTop: "0.5rem" }}>
        {numbers
          .filter(([, value]) => value !== undefined)
          .map(([words, value]) => (
            <div class="stat" key={words}>
              <strong>{value}</strong>
              <span>{words}</span>
            </div>
          ))}
      </div>
    </Card>
  );
}

/** What was refused since the start, and the safe way to mend it. */
function Refusals({ refused }: { refused: Record<string, number> }) {
  const list = refusals(refused);
  return (
    <Card title="Refused since the start" flush={list.length > 0}>
      {list.length === 0 && <p class="muted">Nothing and nobody.</p>}
      <ul class="items">
        {list.map(({ cause, words, fix, number }) => (
          <li key={cause}>
            <div class="what">
              <strong>{words}</strong>
              <span class="small muted">{fix}</span>
            </div>
            <Badge kind={cause.startsWith("agent") ? "warn" : undefined}>{grouped(number)}</Badge>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Certificates({ health }: { health: Health | null }) {
  const web = client.greeting.value?.server.certExpire;
  const list: Certificate[] = health?.certificates ?? [];
  if (list.length === 0 && web === undefined) return null;
  return (
    <Card title="Certificates" flush>
      <ul class="items">
        {list.length === 0 && web !== undefined && (
          <Expiry name="Web" words="what browsers and agents see" end={web} />
        )}
        {list.map(({ role, subject, notAfter }) => (
          <Expiry
            key={role}
            name={ROLES[role]?.[0] ?? role}
            words={ROLES[role]?.[1] ?? subject}
            end={Date.parse(notAfter)}
          />
        ))}
        {health?.certificateErrors?.map((words) => (
          <li key={words} class="bad">
            <Words text={words} />
          </li>
        ))}
      </ul>
    </Card>
  );
}

const ROLES: Record<string, [string, string]> = {
  web: ["Web", "what browsers and agents see"],
  agentserver: ["Agent server", "what agents trust for ever"],
  mps: ["Intel AMT", "what Intel AMT sees"],
  root: ["Root", "issues the others"],
};

function Backup() {
  const [answer, setAnswer] = useState("");
  const run = () =>
    attempt(async () => {
      const frame = await client.ask("serverBackup", {}, { check: false, timeout: 60_000, also: ["msg"] });
      const words = frame.result ?? frame["value"];
      setAnswer(typeof words === "string" ? words : "Done.");
    });
  return (
    <Card
      title="Backup"
      foot={
        <Button icon="download" onClick={() => void run()}>
          Back up now
        </Button>
      }
    >
      <p class="muted">
        Everything is in the data folder. Keep a copy of it elsewhere: agents trust its keys for ever.
      </p>
      {answer && <p role="status">{plain(answer)}</p>}
    </Card>
  );
}

interface Warning {
  msg?: string;
}

const warnings = { list: [] as Warning[] };
client.on("serverwarnings", (frame) => {
  warnings.list = Array.isArray(frame["warnings"]) ? (frame["warnings"] as Warning[]) : [];
});

function Warnings() {
  const words = warnings.list.map(({ msg }) => msg).filter((msg): msg is string => Boolean(msg));
  if (words.length === 0) return null;
  return (
    <Notice kind="warn">
      {words.slice(0, 20).map((text) => (
        <p key={text}>{plain(text)}</p>
      ))}
    </Notice>
  );
}

/** The server's own console. */
function Console() {
  const [lines, setLines] = useState<{ mine: boolean; text: string }[]>([]);
  const [text, setText] = useState("");
  const out = useRef<HTMLDivElement>(null);
  useEffect(() => out.current?.scrollTo(0, out.current.scrollHeight), [lines]);
  const say = async (value: string) => {
    setText("");
    const answer = await tryAsk("serverconsole", { value }, 15_000);
    const words = typeof answer?.["value"] === "string" ? answer["value"] : "No answer.";
    setLines((lines) => [...lines, { mine: true, text: value }, { mine: false, text: words }].slice(-400));
  };
  return (
    <div class="stack">
      <h2>Console</h2>
      <div class="console" style={{ height: "18rem" }}>
        <div class="out" ref={out} role="log" aria-label="Console of the server" tabIndex={0}>
          {lines.length === 0 && <span class="faint">Type “help” for what there is.</span>}
          {lines.map((line, n) => (
            <div key={n} class={line.mine ? "mine" : undefined}>
              {line.mine ? `› ${line.text}` : line.text}
            </div>
          ))}
        </div>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            if (text.trim()) void say(text.trim());
          }}
        >
          <Icon name="right" />
          <input
            class="input"
            aria-label="Command for the server"
            autocomplete="off"
            spellcheck={false}
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
          />
          <Button type="submit" small disabled={text.trim() === ""}>
            Send
          </Button>
        </form>
      </div>
    </div>
  );
}
