// One's own account: password, second factors, login tokens, sessions, and how the page looks.

import { useState } from "preact/hooks";

import { useAsk } from "../app/hooks.ts";
import { prefs, setPrefs } from "../app/prefs.ts";
import { client, feature2, Feature, leave, me } from "../app/state.ts";
import { Authenticator } from "../account/authenticator.tsx";
import { SecurityKeys } from "../account/keys.tsx";
import { Tokens } from "../account/tokens.tsx";
import { browserName, dateTime, plain } from "../model/format.ts";
import { limited, Site } from "../model/rights.ts";
import { strength } from "../model/password.ts";
import { Badge, Button, Card, Facts, Icon, Notice } from "../parts/basic.tsx";
import { attempt, confirm, dialog } from "../parts/dialog.tsx";
import { Form, Input, Segments } from "../parts/field.tsx";
import { Logins } from "./user.tsx";

export default function Account() {
  const user = me();
  // A session of a login token may not touch the account it belongs to.
  const byToken = feature2(Feature.tokenSession);
  const fixed = byToken || limited(user.siteadmin ?? 0, Site.lockSettings);
  return (
    <div class="page">
      <div class="page-head">
        <h1>My account</h1>
      </div>
      {fixed && (
        <Notice>
          {byToken
            ? "You are logged in with a login token. It may not change the account."
            : "Your account's settings are kept by the administrator."}
        </Notice>
      )}
      <div class="cards">
        <Me fixed={fixed} />
        <Appearance />
        {!fixed && <Authenticator user={user} />}
        {!fixed && <SecurityKeys />}
        {!fixed && feature2(Feature.loginTokens) && <Tokens />}
        <Sessions />
        <Logins />
      </div>
    </div>
  );
}

function Me({ fixed }: { fixed: boolean }) {
  const user = me();
  const change = () => dialog("Change the password", (close) => <Password close={close} />);
  return (
    <Card
      title={plain(user.name)}
      foot={
        !fixed && (
          <Button icon="key" onClick={change}>
            Change the password
          </Button>
        )
      }
    >
      <Facts
        facts={[
          ["Name", user.realname],
          ["E-mail", user.email],
          ["Since", dateTime((user.creation ?? 0) * 1000)],
          ["Password of", user.passchange && user.passchange > 0 ? dateTime(user.passchange * 1000) : ""],
        ]}
      />
    </Card>
  );
}

function Password({ close }: { close(): void }) {
  const [old, setOld] = useState("");
  const [first, setFirst] = useState("");
  const [second, setSecond] = useState("");
  return (
    <Form
      action="Change"
      disabled={old === "" || first === "" || first !== second}
      onCancel={close}
      onSubmit={async () => {
        await changed(old, first);
        close();
      }}
    >
      <Input
        label="Password now"
        type="password"
        autocomplete="current-password"
        value={old}
        onValue={setOld}
        autoFocus
      />
      <Input
        label="New password"
        type="password"
        autocomplete="new-password"
        value={first}
        onValue={setFirst}
        hint={first && strength(first)}
      />
      <Input
        label="Once more"
        type="password"
        autocomplete="new-password"
        value={second}
        onValue={setSecond}
        hint={second !== "" && second !== first && <span class="bad">The two differ.</span>}
      />
    </Form>
  );
}

/** The answer to `changepassword` is a notification: 20 is good, others tell what is wrong. */
function changed(oldpass: string, newpass: string): Promise<void> {
  const problems: Record<number, string> = {
    17: "That password was used before.",
    18: "That password is too common.",
    21: "The password now is not right.",
  };
  return new Promise((resolve, reject) => {
    const end = (run: () => void) => {
      off();
      clearTimeout(timer);
      run();
    };
    const off = client.on("msg", (frame) => {
      if (frame["type"] !== "notify" || frame["titleid"] !== 4) return;
      const id = Number(frame["msgid"]);
      const words =
        problems[id] ??
        (typeof frame["value"] === "string" ? frame["value"] : "The password was not changed.");
      end(() => (id === 20 ? resolve() : reject(new Error(words))));
    });
    const timer = setTimeout(() => end(() => reject(new Error("The server did not answer."))), 15_000);
    if (!client.tell("changepassword", { oldpass, newpass, hint: "" }))
      end(() => reject(new Error("There is no connection to the server.")));
  });
}

function Appearance() {
  const { theme, density } = prefs.value;
  return (
    <Card title="Appearance">
      <div class="stack">
        <Segments
          label="Theme"
          value={theme}
          onValue={(theme) => setPrefs({ theme })}
          options={[
            { value: "auto", icon: "auto", words: "System" },
            { value: "light", icon: "sun", words: "Light" },
            { value: "dark", icon: "moon", words: "Dark" },
          ]}
        />
        <Segments
          label="Density"
          value={density}
          onValue={(density) => setPrefs({ density })}
          options={[
            { value: "comfortable", words: "Comfortable" },
            { value: "compact", words: "Compact" },
          ]}
        />
        <p class="small faint">Kept in this browser.</p>
      </div>
    </Card>
  );
}

interface WebSession {
  id: string;
  ip: string;
  agent?: string;
  since: number;
  current: boolean;
}

function Sessions() {
  const asked = useAsk("websessions", {}, [], { check: false, timeout: 5_000 });
  const list = asked.frame?.["sessions"];
  const sessions = Array.isArray(list) ? (list as WebSession[]) : [];
  const everywhere = () =>
    confirm(
      "Log out everywhere?",
      <p>
        All your other sessions end, on every device. Login cookies and remembered devices are forgotten.
      </p>,
      "Log out everywhere",
      () => client.ask("logoutall"),
    );
  const end = (session: WebSession) =>
    attempt(async () => {
      await client.ask("endwebsession", { id: session.id });
      asked.again();
    }, "The session has ended");
  return (
    <Card
      title="Sessions"
      flush={sessions.length > 0}
      foot={
        <>
          <Button kind="danger" onClick={() => void everywhere()}>
            Log out everywhere
          </Button>
          <Button icon="logout" onClick={() => void attempt(leave)}>
            Log out
          </Button>
        </>
      }
    >
      {sessions.length === 0 && <p class="muted">You are logged in on this page.</p>}
      <ul class="items">
        {sessions.map((session) => (
          <li key={session.id}>
            <Icon name="devices" />
            <div class="what">
              <strong class="ellipsis">{browserName(session.agent ?? "")}</strong>
              <span class="small muted">
                {plain(session.ip)}, since {dateTime(session.since)}
              </span>
            </div>
            {session.current ? (
              <Badge kind="ok">this one</Badge>
            ) : (
              <Button
                kind="plain"
                small
                icon="close"
                label="End this session"
                onClick={() => void end(session)}
              />
            )}
          </li>
        ))}
      </ul>
    </Card>
  );
}
