// How the group behaves, and what is agreed with the people at its devices.

import { useState } from "preact/hooks";

import type { GroupSectionProps } from "../app/registry.ts";
import { client } from "../app/state.ts";
import { CONSENT, GROUP_FLAGS } from "../model/rights.ts";
import { Button, Card } from "../parts/basic.tsx";
import { attempt } from "../parts/dialog.tsx";
import { Bits, Input } from "../parts/field.tsx";

export default function Policies({ group }: GroupSectionProps) {
  const [consent, setConsent] = useState(group.consent ?? 0);
  const [flags, setFlags] = useState(group.flags ?? 0);
  const [days, setDays] = useState(String(group.expireDevs ?? 0));
  const changed =
    consent !== (group.consent ?? 0) ||
    flags !== (group.flags ?? 0) ||
    Number(days) !== (group.expireDevs ?? 0);
  const save = () =>
    attempt(
      () => client.ask("editmesh", { meshid: group._id, consent, flags, expireDevs: Number(days) || 0 }),
      "Saved",
    );
  return (
    <Card
      title="Consent and behaviour"
      foot={
        changed && (
          <Button kind="primary" onClick={() => void save()}>
            Save
          </Button>
        )
      }
    >
      <div class="stack">
        <fieldset class="stack tight">
          <legend class="small muted">With the person at the device</legend>
          <Bits bits={CONSENT} value={consent} onValue={setConsent} />
        </fieldset>
        <fieldset class="stack tight">
          <legend class="small muted">Devices</legend>
          <Bits bits={GROUP_FLAGS} value={flags} onValue={setFlags} />
        </fieldset>
        <Input
          label="Forget devices not seen for so many days"
          hint="0: never"
          type="number"
          min={0}
          max={2000}
          value={days}
          onValue={setDays}
        />
      </div>
    </Card>
  );
}
