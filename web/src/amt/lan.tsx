// Intel AMT on the server's own network: adding a computer by its address, and looking for them.

import { useEffect, useState } from "preact/hooks";

import type { GroupSectionProps } from "../app/registry.ts";
import { client, store } from "../app/state.ts";
import type { Group } from "../control/wire.ts";
import { begin, follow, written, type Found, type Scan } from "../model/scan.ts";
import { count, plain } from "../model/format.ts";
import { listOf, outcomesOf, type Outcome } from "../model/import.ts";
import { has, Right } from "../model/rights.ts";
import { Badge, Button, Card, Notice } from "../parts/basic.tsx";
import { attempt, dialog, toast } from "../parts/dialog.tsx";
import { Check, Form, Input } from "../parts/field.tsx";

/** Longest user name and password of Intel AMT that the server takes. */
const AMT_MAX = 16;

export default function Lan({ group, rights }: GroupSectionProps) {
  return (
    <Card title="On the local network">
      <div class="stack">
        <p class="muted">
          The server reaches the firmware of these computers by their address, without anything on them having
          to call.
        </p>
        <div class="row wrap">
          <Button
            icon="plus"
            onClick={() => dialog("Add a local computer", (close) => <Add group={group} close={close} />)}
          >
            Add local
          </Button>
          <Button
            icon="search"
            onClick={() => dialog("Scan the network", (close) => <Look group={group} close={close} />)}
          >
            Scan network
          </Button>
          {has(rights, Right.editGroup) && (
            <Button
              icon="upload"
              onClick={() => dialog("Import a list", (close) => <Import group={group} close={close} />)}
            >
              Import
            </Button>
          )}
        </div>
      </div>
    </Card>
  );
}

interface Props {
  group: Group;
  close(): void;
}

/** Asks the server to add one computer. Why not comes under another name. */
async function add(group: Group, name: string, host: string, more: object): Promise<void> {
  const body = { meshid: group._id, devicename: name, hostname: host, ...more };
  await client.ask("addamtdevice", body, { also: ["changeDeviceMesh"] });
}

function Add({ group, close }: Props) {
  const [name, setName] = useState("");
  const [host, setHost] = useState("");
  const [user, setUser] = useState("admin");
  const [password, setPassword] = useState("");
  const [tls, setTls] = useState(true);
  const address = written(host);
  return (
    <Form
      action="Add"
      disabled={address === ""}
      onCancel={close}
      onSubmit={async () => {
        const login = { amtusername: user, amtpassword: password, amttls: tls ? 1 : 0 };
        await add(group, name.trim() || address, address, login);
        toast(`${plain(name.trim() || address)} was added`);
        close();
      }}
    >
      <Input label="Address" hint="A name or an IP address" value={host} onValue={setHost} autoFocus />
      <Input label="Name" hint="The address, if it is empty" value={name} onValue={setName} maxLength={256} />
      <Input
        label="User name of Intel AMT"
        value={user}
        onValue={setUser}
        maxLength={AMT_MAX}
        autocomplete="off"
      />
      <Input
        label="Password of Intel AMT"
        type="password"
        value={password}
        onValue={setPassword}
        maxLength={AMT_MAX}
        autocomplete="new-password"
      />
      <Check
        label="Encrypted (TLS)"
        hint="Without it, what is done there can be read on the network"
        checked={tls}
        onValue={setTls}
      />
    </Form>
  );
}

function Import({ group, close }: Props) {
  const [list, setList] = useState<unknown>(null);
  const [outcomes, setOutcomes] = useState<Outcome[] | null>(null);
  if (outcomes !== null) return <Imported outcomes={outcomes} close={close} />;
  return (
    <Form
      action="Import"
      disabled={list === null}
      onCancel={close}
      onSubmit={async () => {
        const answer = await client.ask("importamtdevices", { meshid: group._id, amtdevices: list });
        setOutcomes(outcomesOf(answer["outcomes"]));
      }}
    >
      <p class="muted">
        A table (CSV) whose first line has the names <code>host</code>, <code>name</code>, <code>user</code>,{" "}
        <code>password</code>, <code>tls</code>, of which only the first is needed; or a JSON file of
        MeshCentral, MeshCommander or Intel's migration tool.
      </p>
      <label class="field">
        <span>File</span>
        <input
          type="file"
          accept=".csv,.json,.txt"
          onChange={(event) => {
            const file = event.currentTarget.files?.[0];
            setList(null);
            if (file) void attempt(async () => setList(listOf(await file.text())));
          }}
        />
      </label>
    </Form>
  );
}

function Imported({ outcomes, close }: { outcomes: Outcome[]; close(): void }) {
  const failed = outcomes.filter(({ result }) => result !== "ok");
  return (
    <div class="stack">
      <p role="status">
        {count(outcomes.length - failed.length, "computer")} added, {failed.length} left out.
      </p>
      {failed.length > 0 && (
        <ul class="small">
          {failed.map(({ entry, host, result }) => (
            <li key={entry}>
              {entry}. {plain(host)}: {plain(result)}
            </li>
          ))}
        </ul>
      )}
      <div>
        <Button kind="primary" onClick={close}>
          Close
        </Button>
      </div>
    </div>
  );
}

function Look({ group, close }: Props) {
  const [range, setRange] = useState("");
  const [scan, setScan] = useState<Scan | null>(null);
  useEffect(() => store.onEvent((event) => setScan((scan) => scan && follow(scan, event))), []);
  // Who closes the dialog does not wait for the scan.
  useEffect(() => () => void client.tell("scanamtdevice", { stop: true }), []);
  const start = () => {
    const typed = written(range);
    if (!client.tell("scanamtdevice", { range: typed, progress: true, tcp: true })) {
      throw new Error("There is no connection to the server.");
    }
    setScan(begin(typed));
  };
  const runs = scan?.state === "runs";
  return (
    <div class="stack">
      <Form
        action="Scan"
        disabled={runs || written(range) === ""}
        onCancel={close}
        cancel="Close"
        onSubmit={start}
      >
        <Input
          label="Addresses"
          hint="192.168.1.0/24 or 192.168.1.10-192.168.1.50, at most 4,096. Firmware from 16.1 on is found among 256 at most."
          value={range}
          onValue={setRange}
          maxLength={256}
          autoFocus
        />
      </Form>
      <div role="status">{scan && <State scan={scan} />}</div>
      {runs && (
        <div>
          <Button icon="stop" onClick={() => client.tell("scanamtdevice", { stop: true })}>
            Stop
          </Button>
        </div>
      )}
      {scan?.state === "done" && scan.found.length > 0 && (
        <Results group={group} found={scan.found} close={close} />
      )}
    </div>
  );
}

function State({ scan }: { scan: Scan }) {
  switch (scan.state) {
    case "failed":
      return scan.why === "stopped" ? (
        <p class="muted">Stopped.</p>
      ) : (
        <Notice kind="warn">{plain(scan.why)}</Notice>
      );
    case "done":
      return scan.found.length === 0 ? (
        <p class="muted">
          Nobody answered. Firmware from 16.1 on answers only where no more than 256 addresses are scanned.
        </p>
      ) : (
        <p>
          {scan.found.length === 1 ? "One computer answered." : `${scan.found.length} computers answered.`}
        </p>
      );
    case "runs": {
      const part = scan.total === 0 ? 0 : scan.asked / scan.total;
      return (
        <div class="stack tight">
          <div
            class="meter"
            role="progressbar"
            aria-label="Progress of the scan"
            aria-valuenow={Math.round(part * 100)}
            aria-valuemin={0}
            aria-valuemax={100}
          >
            <i style={{ width: `${part * 100}%` }} />
          </div>
          <span class="small muted">
            {scan.asked} of {scan.total} asked, {scan.found} found
          </span>
        </div>
      );
    }
  }
}

const STATES = ["not activated", "being activated", "activated"];

function Results({ group, found, close }: { group: Group; found: Found[]; close(): void }) {
  const known = new Set([...store.devices.values()].map(({ host }) => host));
  const [chosen, setChosen] = useState(
    () => new Set(found.map(({ address }) => address).filter((a) => !known.has(a))),
  );
  const choose = (address: string, is: boolean) => {
    const next = new Set(chosen);
    if (is) next.add(address);
    else next.delete(address);
    setChosen(next);
  };
  return (
    <Form
      action={chosen.size === 1 ? "Add one computer" : `Add ${chosen.size} computers`}
      disabled={chosen.size === 0}
      onSubmit={async () => {
        for (const { address, name, version, tls, state } of found.filter(({ address }) =>
          chosen.has(address),
        )) {
          const login = { amtusername: "", amtpassword: "", amttls: tls ? 1 : 0 };
          await add(group, name, address, {
            ...login,
            state,
            ...(version === "0.0" ? {} : { ver: version }),
          });
        }
        toast("Added. Set user name and password on the device's page.");
        close();
      }}
    >
      <div class="stack tight">
        {found.map(({ address, name, version, tls, state }) => (
          <Check
            key={address}
            label={
              <>
                {plain(name)} <Badge>{STATES[state] ?? "unknown"}</Badge>{" "}
                {tls && <Badge kind="ok">TLS</Badge>}
              </>
            }
            hint={`${version === "0.0" ? "Intel AMT" : `Intel AMT ${plain(version)}`}${known.has(address) ? ", is in the list already" : ""}`}
            checked={chosen.has(address)}
            onValue={(is) => choose(address, is)}
          />
        ))}
      </div>
    </Form>
  );
}
