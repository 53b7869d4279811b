// Logging in: password, second factor, a change that is due, an account of one's own.

import { useState } from "preact/hooks";

import { client, look, server } from "../../app/state.ts";
import { changePassword, login, makeAccount, type Outcome } from "../../control/session.ts";
import { assertion } from "../../control/webauthn.ts";
import { Button, Notice } from "../../parts/basic.tsx";
import { Check, Form, Input } from "../../parts/field.tsx";
import { Gate } from "./frame.tsx";

type Refused = Extract<Outcome, { result: "refused" }>;
type Step = "password" | "factor" | "change" | "register";

export default function Login({ note }: { note: string }) {
  const [step, setStep] = useState<Step>("password");
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  const [token, setToken] = useState("");
  const [asked, setAsked] = useState<Refused | null>(null);

  const goOn = async (outcome: Outcome) => {
    if (outcome.result === "ok") {
      client.start();
      return;
    }
    setAsked(outcome);
    const next = followUp(outcome, step);
    if (next === null) throw new Error(refusal(outcome));
    setStep(next);
  };
  const back = () => {
    setStep("password");
    setPassword("");
    setToken("");
  };

  return (
    <Gate>
      {step === "password" && (
        <Form
          action="Log in"
          wide
          onSubmit={async () => goOn(await login({ username, password }))}
        >
          <h1>Log in</h1>
          {note && <Notice>{note}</Notice>}
          <Input label="User name" name="username" autocomplete="username" value={username} onValue={setUsername} autoFocus required />
          <Input label="Password" name="password" type="password" autocomplete="current-password" value={password} onValue={setPassword} required />
          {server.value?.register && (
            <p class="small muted">
              No account yet?{" "}
              <a href="#/" onClick={(event) => (event.preventDefault(), setStep("register"))}>
                Make one
              </a>
            </p>
          )}
        </Form>
      )}
      {step === "factor" && asked && (
        <Factor
          asked={asked}
          onBack={back}
          onSubmit={(factor) => {
            setToken(factor.token ?? "");
            return login({ username, password, ...factor }).then(goOn);
          }}
        />
      )}
      {step === "change" && (
        <Change
          onBack={back}
          onSubmit={async (newpassword) => {
            const changed = await changePassword({ username, password, newpassword, ...(token && { token }) });
            if (changed.result === "refused") throw new Error(refusal(changed));
            await goOn(await login({ username, password: newpassword }));
          }}
        />
      )}
      {step === "register" && <Register onBack={back} />}
    </Gate>
  );
}

function followUp(outcome: Refused, step: Step): Step | null {
  if (outcome.cause === "tokenrequired" && step === "password") return "factor";
  if (outcome.cause === "passwordchange" && step !== "change") return "change";
  return null;
}

function refusal({ cause, msg, wait }: Refused): string {
  const later = wait ? ` Try again in ${Math.ceil(wait / 60)} min.` : " Try again later.";
  switch (cause) {
    case "noauth":
      return "User name or password is wrong.";
    case "tokenrequired":
      return "That code is not right. Codes change every 30 seconds.";
    case "locked":
      return "This account is locked. Ask the administrator.";
    case "banned":
    case "http-429":
      return `Too many attempts failed from your network.${later}`;
    case "busy":
    case "http-503":
      return "The server is busy. Try again in a moment.";
    case "passwordrules":
      return msg || "That password is too weak.";
    case "http-404":
      return "This server has no login page yet.";
    default:
      return msg || `The server refuses the login (${cause}).`;
  }
}

interface FactorAnswer {
  token?: string;
  hwtoken?: string;
  remember: boolean;
}

function Factor(props: { asked: Refused; onBack(): void; onSubmit(answer: FactorAnswer): Promise<void> }) {
  const { webauthn, ways = [], twoFactorCookieDays: days = 0 } = props.asked;
  const [code, setCode] = useState("");
  const [remember, setRemember] = useState(false);
  const [failure, setFailure] = useState("");
  const useKey = async () => {
    setFailure("");
    try {
      if (webauthn) await props.onSubmit({ hwtoken: await assertion(webauthn), remember });
    } catch (error) {
      setFailure(error instanceof Error ? error.message : String(error));
    }
  };
  const send = (way: string) => props.onSubmit({ token: `**${way}**`, remember });
  return (
    <Form
      action="Confirm"
      cancel="Back"
      wide
      onCancel={props.onBack}
      disabled={code.trim().length < 6}
      onSubmit={() => props.onSubmit({ token: code.replace(/\s/g, ""), remember })}
    >
      <div>
        <h1>Second step</h1>
        <p class="muted">Enter the code of your authenticator app, or a backup code.</p>
      </div>
      {failure && <Notice kind="bad">{failure}</Notice>}
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
      {days > 0 && (
        <Check label={`Do not ask on this device for ${days} days`} checked={remember} onValue={setRemember} />
      )}
      {webauthn && (
        <Button icon="key" onClick={useKey}>
          Use a security key
        </Button>
      )}
      {ways.filter((way) => ["email", "sms", "msg"].includes(way)).map((way) => (
        <Button key={way} icon="message" onClick={() => void send(way).catch(() => undefined)}>
          Send a code by {way === "msg" ? "message" : way}
        </Button>
      ))}
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
      <Input label="New password" type="password" autocomplete="new-password" value={first} onValue={setFirst} autoFocus />
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
        await login({ username: name, password });
        await look();
        client.start();
      }}
    >
      <h1>New account</h1>
      <Input label="User name" autocomplete="username" value={name} onValue={setName} autoFocus />
      <Input label="Password" type="password" autocomplete="new-password" value={password} onValue={setPassword} />
    </Form>
  );
}
