// The first visit: the code from the console, the first account, and a look at the address agents
// will be told.

import { useState } from "preact/hooks";

import { client, look } from "../../app/state.ts";
import { login, makeAccount } from "../../control/session.ts";
import { Icon, Notice } from "../../parts/basic.tsx";
import { Form, Input } from "../../parts/field.tsx";
import { strength } from "../../model/password.ts";
import { Gate } from "./frame.tsx";

export default function Setup() {
  const [code, setCode] = useState("");
  const [name, setName] = useState("admin");
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const weak = strength(password);
  return (
    <Gate wide>
      <Form
        action="Make the first account"
        wide
        disabled={
          code.replace(/[^a-z0-9]/gi, "").length < 16 || name === "" || password === "" || password !== again
        }
        onSubmit={async () => {
          const { ok, message } = await makeAccount("setup", { code, name, password });
          if (!ok) throw new Error(sentence(message));
          await login(name, password);
          await look();
          client.start();
        }}
      >
        <div>
          <h1>Welcome</h1>
          <p class="muted">
            This server has no account yet. Its setup code is on the console, in the journal, and in the
            output of <code>meshboard status</code>.
          </p>
        </div>
        <Input
          label="Setup code"
          class="code-input"
          placeholder="XXXX-XXXX-XXXX-XXXX"
          autocomplete="off"
          maxLength={24}
          value={code}
          onValue={setCode}
          autoFocus
        />
        <Input label="User name" autocomplete="username" value={name} onValue={setName} />
        <Input
          label="Password"
          type="password"
          autocomplete="new-password"
          value={password}
          onValue={setPassword}
          hint={password && weak}
        />
        <Input
          label="Password once more"
          type="password"
          autocomplete="new-password"
          value={again}
          onValue={setAgain}
          hint={again !== "" && again !== password && <span class="bad">The two differ.</span>}
        />
        <Address />
      </Form>
    </Gate>
  );
}

function sentence(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1) + (words.endsWith(".") ? "" : ".");
}

/** Agents are told the name that stands in the address bar now; some names will not do. */
function Address() {
  const { hostname, host } = location;
  const local = hostname === "localhost" || hostname === "127.0.0.1" || hostname === "[::1]";
  const number = /^\d+\.\d+\.\d+\.\d+$/.test(hostname);
  if (local) {
    return (
      <Notice kind="warn">
        You reach this server as <strong>{host}</strong>, a name only this machine knows. Add devices from an
        address they can reach, or set <code>cert</code> in <code>config.json</code>.
      </Notice>
    );
  }
  return (
    <div class="row small muted">
      <Icon name={number ? "info" : "check"} />
      <span>
        Devices will be told to connect to <strong>{host}</strong>.
        {number &&
          " If that number may change, give the server a name first: agents keep what they are told."}
      </span>
    </div>
  );
}
