// What the firmware of a device is asked and told while its system may be down: power and where it
// starts from.

import { useState } from "preact/hooks";

import type { Device } from "../control/wire.ts";
import { powerWords } from "../model/format.ts";
import { has, Right } from "../model/rights.ts";
import { Button, Card, Facts } from "../parts/basic.tsx";
import { attempt, confirm, dialog, toast } from "../parts/dialog.tsx";
import { Form, Input } from "../parts/field.tsx";
import { order, read } from "./ask.ts";
import {
  addressFault,
  offers,
  request,
  RESET,
  STARTS,
  STATES,
  SWITCH_OFF,
  SWITCH_ON,
  type PowerChoice,
} from "./power.ts";
import { powerIn, type Power } from "./told.ts";

/** Power as the firmware sees it. Only what it offers in its state is shown. */
export function PowerCard({ device, rights }: { device: Device; rights: number }) {
  const [power, setPower] = useState<Power | null>(null);
  const [busy, setBusy] = useState(false);
  const nodeid = device._id;
  const look = async () => {
    setBusy(true);
    await attempt(async () => setPower(powerIn(await read(nodeid, "power"))));
    setBusy(false);
  };
  const run = (choice: PowerChoice) => order(...request(choice, nodeid));
  const sure = (choice: PowerChoice) =>
    confirm(
      `${choice.words}?`,
      <p>What is not saved there may be lost: the firmware does it, whatever runs.</p>,
      choice.words,
      () => run(choice),
    );
  const offered = (choice: PowerChoice) => offers(power?.offered ?? [], choice);
  const may = has(rights, Right.power);
  const address = () =>
    void dialog<void>("Start from an address", (close) => <Address nodeid={nodeid} close={close} />);
  return (
    <Card
      title="Power"
      tools={
        has(rights, Right.details) && (
          <Button
            kind="plain"
            small
            icon="restart"
            label="Ask for the state"
            busy={busy}
            onClick={() => void look()}
          />
        )
      }
    >
      <div class="stack">
        {power && <Facts facts={[["State", powerWords(power.shown)]]} />}
        <div class="toolbar">
          {has(rights, Right.wake) && offered(SWITCH_ON) && (
            <Button icon="power" onClick={() => void attempt(() => run(SWITCH_ON), "Switched on")}>
              {SWITCH_ON.words}
            </Button>
          )}
          {may && offered(SWITCH_OFF) && (
            <Button icon="stop" onClick={() => void sure(SWITCH_OFF)}>
              {SWITCH_OFF.words}
            </Button>
          )}
          {may && offered(RESET) && (
            <Button icon="restart" onClick={() => void sure(RESET)}>
              {RESET.words}
            </Button>
          )}
          {/* What few computers do is offered where the firmware says so. */}
          {may &&
            power !== null &&
            STATES.filter(({ state }) => power.offered.includes(state ?? 0)).map((choice) => (
              <Button key={choice.id} onClick={() => void sure(choice)}>
                {choice.words}
              </Button>
            ))}
        </div>
        {may && (
          <div class="toolbar">
            {STARTS.map((choice) => (
              <Button key={choice.id} small onClick={() => void sure(choice)}>
                {choice.words}
              </Button>
            ))}
            <Button small onClick={address}>
              Start from an address…
            </Button>
          </div>
        )}
      </div>
    </Card>
  );
}

/** Starting from a file that the firmware fetches by HTTPS. */
function Address({ nodeid, close }: { nodeid: string; close(): void }) {
  const [address, setAddress] = useState("");
  const fault = addressFault(address);
  return (
    <Form
      action="Start"
      kind="danger"
      disabled={fault !== ""}
      onCancel={close}
      onSubmit={async () => {
        await order("amtboot", { nodeid, target: "https", url: address.trim() });
        toast("It starts from there");
        close();
      }}
    >
      <p class="muted">
        The firmware fetches an EFI program or an image by itself. It has to trust the certificate of the
        address, and be version 15 or newer. What is not saved on the computer is lost.
      </p>
      <Input
        label="Address"
        hint={address === "" || fault === "" ? "https://…" : fault}
        value={address}
        onValue={setAddress}
        maxLength={320}
        autoFocus
      />
    </Form>
  );
}
