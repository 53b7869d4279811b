// The authenticator app and the backup codes.

import { useEffect, useState } from "preact/hooks";

import { client } from "../app/state.ts";
import type { User } from "../control/wire.ts";
import { count } from "../model/format.ts";
import { Badge, Button, Card, Waiting } from "../parts/basic.tsx";
import { copy, CopyBox, Qr } from "../parts/copy.tsx";
import { attempt, confirm, dialog } from "../parts/dialog.tsx";
import { Failure, Form, Input } from "../parts/field.tsx";

export function Authenticator({ user }: { user: User }) {
  const on = Boolean(user.otpsecret);
  const enrol = () => dialog("Authenticator app", (close) => <Enrol close={close} />);
  const codes = () => dialog("Backup codes", (close) => <Codes close={close} />);
  const remove = () =>
    confirm(
      "Remove the authenticator app?",
      <p>From then on your password alone is enough.</p>,
      "Remove",
      async () => {
        const frame = await client.ask("otpauth-clear", {}, { check: false });
        if (frame["success"] !== true) throw new Error("The server refused.");
      },
    );
  return (
    <Card
      title="Second step"
      tools={on ? <Badge kind="ok">on</Badge> : <Badge>off</Badge>}
      foot={
        on ? (
          <>
            <Button kind="danger" onClick={() => void remove()}>
              Remove
            </Button>
            <Button icon="list" onClick={codes}>
              Backup codes
            </Button>
          </>
        ) : (
          <Button kind="primary" icon="shield" onClick={enrol}>
            Set up
          </Button>
        )
      }
    >
      <p class="muted">
        {on
          ? `After the password you are asked for a code of your app.${user.otpkeys ? ` ${count(user.otpkeys, "backup code")} left.` : " You have no backup codes."}`
          : "An app on your phone makes a code every 30 seconds. A stolen password alone is then of no use."}
      </p>
    </Card>
  );
}

function Enrol({ close }: { close(): void }) {
  const [offer, setOffer] = useState<{ secret: string; url: string } | null>(null);
  const [failure, setFailure] = useState("");
  const [code, setCode] = useState("");
  useEffect(() => {
    client.ask("otpauth-request", {}, { check: false }).then(
      (frame) => {
        const { secret, url } = frame as { secret?: string; url?: string };
        if (secret && url) setOffer({ secret, url });
        else setFailure("The server does not allow this.");
      },
      (error: Error) => setFailure(error.message),
    );
  }, []);
  if (failure) return <Failure text={failure} />;
  if (!offer) return <Waiting />;
  return (
    <Form
      action="Switch on"
      disabled={!/^\d{6}$/.test(code.trim())}
      onCancel={close}
      onSubmit={async () => {
        const frame = await client.ask(
          "otpauth-setup",
          { secret: offer.secret, token: code.trim() },
          { check: false },
        );
        if (frame["success"] !== true)
          throw new Error("That code is not right. Is the clock of the phone set?");
        close();
        void dialog("Backup codes", (close) => <Codes close={close} fresh />);
      }}
    >
      <p class="muted">Scan this with an authenticator app, then enter the code it shows.</p>
      <div class="row wrap" style={{ alignItems: "flex-start", gap: "1rem" }}>
        <Qr text={offer.url} label="Secret for the authenticator app, as a QR code" />
        <div class="grow stack" style={{ minWidth: "12rem" }}>
          <span class="small muted">Or type this into the app:</span>
          <CopyBox text={offer.secret} label="the secret" />
          <Input
            label="Code"
            class="code-input"
            inputMode="numeric"
            autocomplete="one-time-code"
            maxLength={6}
            value={code}
            onValue={setCode}
            autoFocus
          />
        </div>
      </div>
    </Form>
  );
}

interface Code {
  p: number;
  u: boolean;
}

function Codes({ close, fresh }: { close(): void; fresh?: boolean }) {
  const [codes, setCodes] = useState<Code[] | null>(null);
  const load = async (subaction: number) => {
    const frame = await client.ask("otpauth-getpasswords", { subaction }, { check: false });
    setCodes(Array.isArray(frame["passwords"]) ? (frame["passwords"] as Code[]) : []);
  };
  useEffect(() => void attempt(() => load(fresh ? 1 : 0)), []);
  if (codes === null) return <Waiting />;
  const unused = codes.filter(({ u }) => u).map(({ p }) => String(p).padStart(8, "0"));
  return (
    <div class="stack">
      <p class="muted">
        Each of these works once, when the phone is not at hand. Keep them where only you find them.
      </p>
      {unused.length > 0 ? (
        <ul class="codes mono">
          {unused.map((code) => (
            <li key={code}>
              {code.slice(0, 4)} {code.slice(4)}
            </li>
          ))}
        </ul>
      ) : (
        <p>There are none.</p>
      )}
      <div class="actions">
        {unused.length > 0 && (
          <Button icon="copy" onClick={() => void copy(unused.join("\n"))}>
            Copy
          </Button>
        )}
        <Button icon="restart" onClick={() => void attempt(() => load(1))}>
          Make new ones
        </Button>
        <Button kind="primary" onClick={close}>
          Done
        </Button>
      </div>
    </div>
  );
}
