// Asking the person at a device: Intel AMT shows a code there, which is read out and typed here.

import { useEffect, useState } from "preact/hooks";

import { client } from "../app/state.ts";
import { plain } from "../model/format.ts";
import { Waiting } from "../parts/basic.tsx";
import { dialog } from "../parts/dialog.tsx";
import { Form, Input } from "../parts/field.tsx";

/** How it stands, by the firmware's numbers: 2 the code is on the screen, 3 given, 4 in use. */
interface Consent {
  required: number;
  state: number;
}

/** Pause between two looks whether the code is on the screen. */
const LOOK = 1_500;

/** Says something about consent; how it stands then. */
async function say(nodeid: string, verb: "ask" | "give" | "end", code?: string): Promise<Consent> {
  const body = code === undefined ? { nodeid, verb } : { nodeid, verb, code };
  const { result, consent } = await client.ask("amtconsent", body);
  if (result !== undefined && result !== "ok") throw new Error(plain(String(result)));
  return consent as unknown as Consent;
}

/** Asks for consent; true if it was given. */
export async function askForConsent(nodeid: string, name: string): Promise<boolean> {
  const given = await dialog<boolean>("Ask for consent", (close) => (
    <Ask nodeid={nodeid} name={name} close={close} />
  ));
  // Whoever thinks better of it leaves no code on somebody's screen.
  if (given !== true) void say(nodeid, "end").catch(() => undefined);
  return given === true;
}

function Ask({ nodeid, name, close }: { nodeid: string; name: string; close(given?: boolean): void }) {
  const [shown, setShown] = useState(false);
  const [failure, setFailure] = useState("");
  const [code, setCode] = useState("");
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let gone = false;
    const look = () =>
      say(nodeid, "ask").then(
        ({ state }) => {
          if (gone) return;
          if (state >= 3) close(true);
          else if (state === 2) setShown(true);
          else timer = setTimeout(look, LOOK);
        },
        (error: Error) => !gone && setFailure(error.message),
      );
    void look();
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, []);
  const give = async () => {
    const { state } = await say(nodeid, "give", code);
    if (state < 3) throw new Error("This is not the code.");
    close(true);
  };
  return (
    <Form action="Go on" disabled={!shown || !/^\d{6}$/.test(code)} onCancel={() => close()} onSubmit={give}>
      {failure !== "" ? (
        <p class="form-error" role="alert">
          {failure}
        </p>
      ) : shown ? (
        <>
          <p class="muted">{`Six digits are on the screen of ${plain(name)}. Ask whoever sits there for them.`}</p>
          <Input
            label="Code"
            value={code}
            onValue={(text) => setCode(text.replace(/\D/g, "").slice(0, 6))}
            autoFocus
            inputMode="numeric"
            autocomplete="one-time-code"
          />
        </>
      ) : (
        <>
          <p class="muted">{`Intel AMT of ${plain(name)} is asked to show a code.`}</p>
          <Waiting rows={1} />
        </>
      )}
    </Form>
  );
}
