// What Intel AMT is activated with, and until when.

import type { Activation } from "../model/health.ts";
import { Button, Card, Words } from "../parts/basic.tsx";
import { dialog } from "../parts/dialog.tsx";
import { lazy } from "../parts/lazy.tsx";
import { Expiry } from "./expiry.tsx";

const History = lazy(async () => ({ default: (await import("../amt/index.ts")).History }));

export function ActivationCard(props: { activation: Activation | undefined; administrator: boolean }) {
  const { certificates, warnings } = props.activation ?? { certificates: [], warnings: [] };
  const show = () => void dialog<void>("Activations", (close) => <History close={close} />, { wide: true });
  return (
    <Card
      title="Intel AMT activation"
      flush
      foot={
        props.administrator && (
          <Button icon="events" onClick={show}>
            What was activated
          </Button>
        )
      }
    >
      <ul class="items">
        {certificates.length === 0 && (
          <li>
            <span class="muted">
              No activation certificate is in force: there is no admin control mode. It is set by
              AmtAcmActivation in config.json.
            </span>
          </li>
        )}
        {certificates.map(({ name, domain, notAfter, root }) => (
          <Expiry
            key={`${name} ${root}`}
            name={name}
            words={`for computers of ${domain}, root ${root.slice(0, 16)}…`}
            end={Date.parse(notAfter)}
          />
        ))}
        {warnings.map((words) => (
          <li key={words} class="bad">
            <Words text={words} />
          </li>
        ))}
      </ul>
    </Card>
  );
}
