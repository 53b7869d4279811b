// Adding a device: which group, which system, then the two or three things to do there.

import { useState } from "preact/hooks";

import type { PageProps } from "../app/registry.ts";
import { go, to } from "../app/router.ts";
import { domain, Feature, feature, store } from "../app/state.ts";
import { groupsWith } from "../app/visible.ts";
import { full, short, type Group } from "../control/wire.ts";
import { Invite } from "../group/invitations.tsx";
import { installers, type Installer, type Target } from "../model/install.ts";
import { plain } from "../model/format.ts";
import { Right } from "../model/rights.ts";
import { Button, Card, Empty, Icon, Notice, Waiting, Words } from "../parts/basic.tsx";
import { CopyBox } from "../parts/copy.tsx";
import { dialog } from "../parts/dialog.tsx";
import { Select } from "../parts/field.tsx";

const TARGETS: { target: Target; words: string; icon: string }[] = [
  { target: "linux", words: "Linux", icon: "linux" },
  { target: "windows", words: "Windows", icon: "windows" },
  { target: "macos", words: "macOS", icon: "apple" },
  { target: "bsd", words: "FreeBSD", icon: "rack" },
];

export default function Add({ rest: [key] }: PageProps) {
  const groups = groupsWith(Right.manageDevices);
  const [chosen, setChosen] = useState(key ? full("mesh", domain(), key) : "");
  const [target, setTarget] = useState<Target>("linux");
  if (!store.loaded.value) {
    return (
      <div class="page">
        <Waiting />
      </div>
    );
  }
  const group = groups.find(({ _id }) => _id === chosen) ?? groups[0];
  if (!group) {
    return (
      <div class="page">
        <Empty icon="groups" title="First a group">
          <p>Every device belongs to a group, and you may add devices to none yet.</p>
          <Button kind="primary" onClick={() => go("groups")}>
            To the groups
          </Button>
        </Empty>
      </div>
    );
  }
  return (
    <div class="page">
      <div class="stack tight">
        <a class="crumb" href={to("devices")}>
          <Icon name="back" /> Devices
        </a>
        <h1>Add a device</h1>
      </div>
      <LocalName />
      <ol class="steps">
        <Step number={1} title="Group">
          <Select
            quiet
            label="Group"
            value={group._id}
            onValue={setChosen}
            options={groups.map((group): [string, string] => [group._id, plain(group.name)])}
          />
        </Step>
        <Step number={2} title="System">
          <div class="choices" role="radiogroup" aria-label="System">
            {TARGETS.map(({ target: value, words, icon }) => (
              <button
                key={value}
                type="button"
                class="choice"
                role="radio"
                aria-checked={value === target}
                onClick={() => setTarget(value)}
              >
                <Icon name={icon} />
                {words}
              </button>
            ))}
          </div>
        </Step>
        <Step number={3} title="Install the agent">
          <Install group={group} target={target} />
        </Step>
        {!feature(Feature.lanOnly) && (
          <Step number={4} title="Or let somebody else do it">
            <p class="muted">
              A link, for a person who has the device at hand; or a QR code for one who stands before it.
            </p>
            <div>
              <Button
                icon="link"
                onClick={() => dialog("Invite by a link", (close) => <Invite group={group} close={close} />)}
              >
                Make a link
              </Button>
            </div>
          </Step>
        )}
      </ol>
      <Arrived group={group} />
    </div>
  );
}

function Step({
  number,
  title,
  children,
}: {
  number: number;
  title: string;
  children: preact.ComponentChildren;
}) {
  return (
    <li>
      <span class="number" aria-hidden="true">
        {number}
      </span>
      <div class="stack">
        <h2>{title}</h2>
        {children}
      </div>
    </li>
  );
}

function LocalName() {
  if (!["localhost", "127.0.0.1", "[::1]"].includes(location.hostname)) return null;
  return (
    <Notice kind="warn">
      You reach this server as <strong>{location.host}</strong>. Other machines cannot. Open this page by a
      name or address they can reach, or the commands below will not work there.
    </Notice>
  );
}

function Install({ group, target }: { group: Group; target: Target }) {
  const base = new URL(".", location.href);
  const ways = installers(target, base, short(group._id));
  return (
    <div class="cards">
      {ways.map((way) => (
        <Way key={way.title} way={way} />
      ))}
    </div>
  );
}

function Way({ way }: { way: Installer }) {
  return (
    <Card title={way.title}>
      <div class="stack">
        <p class="small muted">{way.words}</p>
        {way.command && <CopyBox text={way.command} label="the command" />}
        {way.downloads && (
          <div class="row wrap">
            {way.downloads.map(({ words, href }) => (
              <a key={href} class="button" href={href} download>
                <Icon name="download" />
                {words}
              </a>
            ))}
          </div>
        )}
      </div>
    </Card>
  );
}

/** Devices of the group that came while this page was open. */
function Arrived({ group }: { group: Group }) {
  const [opened] = useState(Date.now());
  const fresh = [...store.devices.values()].filter(
    ({ meshid, firstconnect, agct }) =>
      meshid === group._id && Math.max(firstconnect ?? 0, agct ?? 0) > opened,
  );
  return (
    <div role="status">
      {fresh.length === 0 ? (
        <p class="row muted">
          <span class="spinner" /> Waiting for the device to connect…
        </p>
      ) : (
        <Notice icon="check">
          {fresh.map((device) => (
            <p key={device._id}>
              <a href={to("device", short(device._id))}>
                <Words text={device.name} />
              </a>{" "}
              is here.
            </p>
          ))}
        </Notice>
      )}
    </div>
  );
}
