// Logging in: password, second factor, a change that is due, an account of one's own.

import { useState } from "preact/hooks";

import { loginFailed } from "../../app/router.ts";
import { client, look, server } from "../../app/state.ts";
import { changePassword, login, makeAccount, secondStep, type Outcome } from "../../control/session.ts";
import { assertion } from "../../control/webauthn.ts";
import { Button, Notice } from "../../parts/basic.tsx";
import { Check, Form, Input } from "../../parts/field.tsx";
import { strength } from "../../model/password.ts";
import { Gate } from "./frame.tsx";

type Step = "password" | "factor" | "change" | "register";

export default function Login({ note }: { note: string }) {
  const [step, setStep] = useState<Step>("password");
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  const [last, setLast] = useState<Outcome>({ result: "" });

  const goOn = (outcome: Outcome) => {
    if (outcome.result === "ok") {
      loginFailed.value = "";
      client.start();
      return;
    }
    // A wrong code brings a fresh challenge and proof along.
    setLast({ ...last, ...outcome });
    if (outcome.result === "expired") back();
    if (outcome.result === "tokenrequired" && step === "password") setStep("factor");
    else if (outcome.result === "passwordchange" && step !== "change") setStep("change");
    else throw new Error(refusal(outcome));
  };
  const back = () => {
    setStep("password");
    setPassword("");
  };
  const state = last.hwstate ?? "";
  return (
    <Gate>
      {step === "password" && (
        <Form action="Log in" wide onSubmit={async () => goOn(await login(username, password))}>
          <h1>Log in</h1>
          {note && <Notice>{note}</Notice>}
          {!note && loginFailed.value && (
            <Notice kind="warn">{refusal({ result: loginFailed.value })}</Notice>
          )}
          <Input
            label="User name"
            name="username"
            autocomplete="username"
            value={username}
            onValue={setUsername}
            autoFocus
            required
          />
          <Input
            label="Password"
            name="password"
            type="password"
            autocomplete="current-password"
            value={password}
            onValue={setPassword}
            required
          />
          {server.value?.register && (
            <Button kind="plain" onClick={() => setStep("register")}>
              Make an account
            </Button>
          )}
        </Form>
      )}
      {step === "factor" && (
        <Factor
          asked={last}
          onBack={back}
          onSubmit={async (answer) => goOn(await secondStep({ hwstate: state, ...answer }))}
        />
      )}
      {step === "change" && (
        <Change
          onBack={back}
          onSubmit={async (fresh) => goOn(await changePassword(state, password, fresh))}
        />
      )}
      {step === "register" && <Register onBack={back} />}
    </Gate>
  );
}

function refusal({ result, msg }: Outcome): string {
  switch (result) {
    case "noauth":
      return "User name or password is wrong.";
    case "tokenrequired":
    case "wrongtoken":
      return "That code is not right. Codes change every 30 seconds and work once.";
    case "expired":
      return "That took too long, or the link was used before. Log in again.";
    case "locked":
      return "This account is locked. Ask the administrator.";
    case "banned":
    case "http-429":
      return "Too many attempts failed. Try again in some minutes.";
    case "busy":
    case "http-503":
      return "The server is busy. Try again in a moment.";
    case "badpassword":
      return msg ? `${msg.charAt(0).toUpperCase()}${msg.slice(1)}.` : "That password is too weak.";
    case "usedpassword":
      return "That password was used before.";
    case "invalidorigin":
      return "The server does not know the address of this page. Open it by the server's own name.";
    case "http-403":
      return "Logins are not allowed from your address.";
    default:
      return msg || `The server refuses the login (${result}).`;
  }
}

interface FactorAnswer {
  token?: string;
  hwtoken?: string;
  remembertoken: boolean;
}

function Factor(props: { asked: Outcome; onBack(): void; onSubmit(answer: FactorAnswer): Promise<void> }) {
  const { hkey, ways = ["app"], twoFactorCookieDays: days = 0 } = props.asked;
  const [code, setCode] = useState("");
  const [remember, setRemember] = useState(false);
  const [failure, setFailure] = useState("");
  const byCode = ways.includes("app") || ways.includes("backup");
  const touch = async () => {
    setFailure("");
    if (!hkey) return;
    try {
      await props.onSubmit({ hwtoken: await assertion(hkey), remembertoken: remember });
    } catch (error) {
      setFailure(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <Form
      action={byCode ? "Confirm" : "Use the security key"}
      cancel="Back"
      wide
      onCancel={props.onBack}
      disabled={byCode && code.trim().length < 6}
      onSubmit={() =>
        byCode ? props.onSubmit({ token: code.replace(/\s/g, ""), remembertoken: remember }) : touch()
      }
    >
      <div>
        <h1>Second step</h1>
        <p class="muted">
          {byCode
            ? "Enter the code of your authenticator app, or a backup code."
            : "Have your security key at hand, and touch it when it blinks."}
        </p>
      </div>
      {failure && <Notice kind="bad">{failure}</Notice>}
      {byCode && (
        <Input
          label="Code"
          name="token"
          class="code-input"
          inputMode="numeric"
          autocomplete="one-time-code"
          value={code}
          onValue={setCode}
          autoFocus
        />
      )}
      {days > 0 && (
        <Check
          label={`Do not ask on this device for ${days} days`}
          checked={remember}
          onValue={setRemember}
        />
      )}
      {byCode && hkey && (
        <Button icon="key" onClick={() => void touch()}>
          Use a security key
        </Button>
      )}
    </Form>
  );
}

function Change(props: { onBack(): void; onSubmit(password: string): Promise<void> }) {
  const [first, setFirst] = useState("");
  const [second, setSecond] = useState("");
  return (
    <Form
      action="Change the password"
      cancel="Back"
      wide
      onCancel={props.onBack}
      disabled={first === "" || first !== second}
      onSubmit={() => props.onSubmit(first)}
    >
      <div>
        <h1>New password</h1>
        <p class="muted">Your password must be changed before you go on.</p>
      </div>
      <Input
        label="New password"
        type="password"
        autocomplete="new-password"
        value={first}
        onValue={setFirst}
        hint={first && strength(first)}
        autoFocus
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

function Register({ onBack }: { onBack(): void }) {
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  return (
    <Form
      action="Make the account"
      cancel="Back"
      wide
      onCancel={onBack}
      disabled={name === "" || password === ""}
      onSubmit={async () => {
        const { ok, message } = await makeAccount("register", { name, password });
        if (!ok) throw new Error(message);
        await login(name, password);
        await look();
        client.start();
      }}
    >
      <h1>New account</h1>
      <Input label="User name" autocomplete="username" value={name} onValue={setName} autoFocus />
      <Input
        label="Password"
        type="password"
        autocomplete="new-password"
        value={password}
        onValue={setPassword}
        hint={password && strength(password)}
      />
    </Form>
  );
}
