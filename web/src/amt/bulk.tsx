// Power of many computers through their firmware, each with what became of it.

import { useState } from "preact/hooks";

import type { Device } from "../control/wire.ts";
import type { onEach, rightsOn } from "../device/actions.tsx";
import { count, plain } from "../model/format.ts";
import { has } from "../model/rights.ts";
import { dialog } from "../parts/dialog.tsx";
import { Form, Select } from "../parts/field.tsx";
import { order } from "./ask.ts";
import { ALL, request, SWITCH_ON } from "./power.ts";

/** How rights are found and outcomes shown; given, as both belong to what is there from the start. */
interface Means {
  rightsOn: typeof rightsOn;
  onEach: typeof onEach;
}

export function askPower(devices: Device[], means: Means): void {
  const [only] = devices;
  const whom = devices.length === 1 && only ? plain(only.name) : count(devices.length, "device");
  void dialog(`Power of ${whom} by Intel AMT`, (close) => (
    <Choose devices={devices} means={means} close={close} />
  ));
}

function Choose(props: { devices: Device[]; means: Means; close(): void }) {
  const { devices, close } = props;
  const { rightsOn, onEach } = props.means;
  const choices = ALL.filter(({ right }) => devices.some((device) => has(rightsOn(device), right)));
  const [id, setId] = useState(choices[0]?.id ?? "");
  const choice = choices.find((choice) => choice.id === id);
  const isHarmless = choice === SWITCH_ON;
  return (
    <Form
      action={choice?.words ?? ""}
      kind={isHarmless ? "primary" : "danger"}
      disabled={choice === undefined}
      onCancel={close}
      onSubmit={() => {
        if (choice === undefined) return;
        close();
        const step = async ({ _id }: Device) => {
          await order(...request(choice, _id));
          return "Done";
        };
        void onEach(choice.words, devices, step, choice.right);
      }}
    >
      <Select
        label="What"
        hint="Firmware does what it offers in the state the computer is in."
        value={id}
        options={choices.map(({ id, words }): [string, string] => [id, words])}
        onValue={setId}
      />
      {!isHarmless && <p class="muted">What is not saved on these computers may be lost.</p>}
    </Form>
  );
}
