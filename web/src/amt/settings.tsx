// Settings of the firmware of a device: what it lets others do, whom it asks, its clock and name.

import { useState } from "preact/hooks";

import type { Device } from "../control/wire.ts";
import { PASSWORD_RULE, passwordFault } from "../model/activation.ts";
import { dateTime, plain } from "../model/format.ts";
import { Badge, Button, Card, Facts, Waiting } from "../parts/basic.tsx";
import { attempt, dialog, toast } from "../parts/dialog.tsx";
import { Check, Form, Input, Select } from "../parts/field.tsx";
import { read, set } from "./ask.ts";
import {
  aheadWords,
  CONSENT_WORDS,
  FEATURES,
  settingsIn,
  triggerWords,
  type ConsentFor,
  type Settings,
} from "./known.ts";
import { Unasked } from "./unasked.tsx";

export function SettingsCard({ device, mayChange }: { device: Device; mayChange: boolean }) {
  const [settings, setSettings] = useState<Settings | null>(null);
  const [busy, setBusy] = useState(false);
  const nodeid = device._id;
  const look = async () => {
    setBusy(true);
    await attempt(async () => setSettings(settingsIn(await read(nodeid, "settings"))));
    setBusy(false);
  };
  /** Shows a dialog, and how things are when it has changed something. */
  const change = async (title: string, body: (close: (done?: boolean) => void) => preact.JSX.Element) => {
    if (await dialog<boolean>(title, body)) await look();
  };
  const setClock = async () => {
    if (await attempt(() => set(nodeid, "clock"), "The clock is set")) await look();
  };
  return (
    <Card
      title="Settings of the firmware"
      tools={
        settings && (
          <Button
            kind="plain"
            small
            icon="restart"
            label="Ask again"
            busy={busy}
            onClick={() => void look()}
          />
        )
      }
      foot={
        mayChange && (
          <div class="row wrap">
            {settings && (
              <>
                <Button
                  icon="edit"
                  onClick={() =>
                    void change("Features and consent", (close) => (
                      <Features nodeid={nodeid} settings={settings} close={close} />
                    ))
                  }
                >
                  Features and consent…
                </Button>
                <Button
                  icon="tag"
                  onClick={() =>
                    void change("Name in the firmware", (close) => (
                      <Name nodeid={nodeid} settings={settings} close={close} />
                    ))
                  }
                >
                  Name…
                </Button>
                <Button onClick={() => void setClock()}>Set the clock</Button>
              </>
            )}
            <Button
              icon="key"
              onClick={() =>
                void dialog<void>("Password of the firmware's administrator", (close) => (
                  <Password nodeid={nodeid} close={close} />
                ))
              }
            >
              Password…
            </Button>
          </div>
        )
      }
    >
      {busy && settings === null ? (
        <Waiting />
      ) : settings === null ? (
        <Unasked words="Ask for the settings" ask={() => void look()} />
      ) : (
        <Shown settings={settings} />
      )}
    </Card>
  );
}

const onOff = (is: boolean) => <Badge kind={is ? "ok" : undefined}>{is ? "on" : "off"}</Badge>;

function Shown({ settings }: { settings: Settings }) {
  const { features, consent, consentTimeout, ahead, clock, hostname, domain, tls, cira, wireless } = settings;
  const ways = tls && [
    tls.remote && "from the network",
    tls.local && "at the computer",
    tls.mutual && "both sides prove themselves",
  ];
  return (
    <Facts
      facts={[
        ...FEATURES.map(([name, words]): [string, preact.ComponentChildren] | false => {
          const is = features[name];
          return is !== undefined && [words, onOff(is)];
        }),
        consent && [
          "Consent",
          CONSENT_WORDS[consent] +
            (consent !== "none" && consentTimeout ? `, within ${consentTimeout} s` : ""),
        ],
        clock !== undefined && ahead !== undefined && ["Clock", `${dateTime(clock)}, ${aheadWords(ahead)}`],
        [
          "Name",
          [hostname, domain]
            .filter(Boolean)
            .map((part) => plain(part ?? ""))
            .join("."),
        ],
        ways && ["TLS", ways.filter(Boolean).join(", ") || "off"],
        cira && ["Calls (CIRA)", cira.servers.map(plain).join(", ") || "nobody"],
        cira &&
          cira.servers.length > 0 && [
            "When",
            cira.triggers.map((one) => plain(triggerWords(one))).join(", "),
          ],
        cira && ["At home in", cira.home.map(plain).join(", ")],
        wireless &&
          wireless.length > 0 && [
            "Wireless",
            wireless.map(({ name, words }) => (
              <div key={name}>{[name, words].filter(Boolean).map(plain).join(": ")}</div>
            )),
          ],
      ]}
    />
  );
}

interface Props {
  nodeid: string;
  settings: Settings;
  close(done?: boolean): void;
}

function Features({ nodeid, settings, close }: Props) {
  const [features, setFeatures] = useState(settings.features);
  const [consent, setConsent] = useState<ConsentFor>(settings.consent ?? "none");
  const changed = FEATURES.filter(([name]) => features[name] !== settings.features[name]);
  const asks = settings.consent !== undefined && consent !== settings.consent;
  return (
    <Form
      action="Save"
      disabled={changed.length === 0 && !asks}
      onCancel={() => close()}
      onSubmit={async () => {
        if (changed.length > 0) {
          await set(nodeid, "features", Object.fromEntries(changed.map(([name]) => [name, features[name]])));
        }
        if (asks) await set(nodeid, "consent", { require: consent });
        toast("Saved in the firmware");
        close(true);
      }}
    >
      <fieldset class="stack tight">
        <legend class="small muted">What the firmware carries</legend>
        {FEATURES.filter(([name]) => settings.features[name] !== undefined).map(([name, words]) => (
          <Check
            key={name}
            label={words}
            checked={features[name] ?? false}
            onValue={(is) => setFeatures({ ...features, [name]: is })}
          />
        ))}
      </fieldset>
      {settings.consent !== undefined && (
        <Select
          label="Whoever sits at the computer is asked"
          hint="In client control mode the firmware always asks."
          value={consent}
          options={Object.entries(CONSENT_WORDS) as [ConsentFor, string][]}
          onValue={setConsent}
        />
      )}
    </Form>
  );
}

function Name({ nodeid, settings, close }: Props) {
  const [hostname, setHostname] = useState(settings.hostname ?? "");
  const [domain, setDomain] = useState(settings.domain ?? "");
  return (
    <Form
      action="Save"
      disabled={hostname === settings.hostname && domain === settings.domain}
      onCancel={() => close()}
      onSubmit={async () => {
        await set(nodeid, "name", { hostname: hostname.trim(), domain: domain.trim() });
        toast("Saved in the firmware");
        close(true);
      }}
    >
      <Input label="Host name" value={hostname} onValue={setHostname} maxLength={63} autoFocus />
      <Input label="Domain" value={domain} onValue={setDomain} maxLength={192} />
    </Form>
  );
}

function Password({ nodeid, close }: { nodeid: string; close(): void }) {
  const [pass, setPass] = useState("");
  const fault = passwordFault(pass);
  return (
    <Form
      action="Change"
      disabled={fault !== null}
      onCancel={close}
      onSubmit={async () => {
        await set(nodeid, "admin", { pass });
        toast("The password is changed, in the firmware and here");
        close();
      }}
    >
      <p class="muted">
        The server logs in with the new one as soon as the firmware has taken it. It is shown to nobody
        afterwards.
      </p>
      <Input
        label="New password"
        hint={pass === "" ? PASSWORD_RULE : (fault ?? "Firmware takes it.")}
        type="password"
        autocomplete="new-password"
        maxLength={32}
        value={pass}
        onValue={setPass}
        autoFocus
      />
    </Form>
  );
}
