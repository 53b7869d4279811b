// What a device group wants of the Intel AMT of its computers, and how those without an agent come
// to it.

import { useState } from "preact/hooks";

import type { GroupSectionProps } from "../app/registry.ts";
import { to } from "../app/router.ts";
import { client, feature, me, store } from "../app/state.ts";
import type { AmtPolicy, Group } from "../control/wire.ts";
import {
  activates,
  AMT_ADMIN_MODE,
  BAD_PASSWORD_WORDS,
  CCM_WORDS,
  CIRA_WORDS,
  isComplete,
  NO_CIRA,
  PASSWORD_RULE,
  passwordFault,
  POLICY_CONDITIONS,
  POLICY_NAMES,
  policyBody,
  policyChoices,
  policyFacts,
  policyForm,
  policyType,
  type PasswordChoice,
  type PolicyForm,
} from "../model/activation.ts";
import { plain } from "../model/format.ts";
import { has, isAdministrator, Right } from "../model/rights.ts";
import { Button, Card, Facts, Notice } from "../parts/basic.tsx";
import { dialog, toast } from "../parts/dialog.tsx";
import { Form, Input, Select } from "../parts/field.tsx";
import { Command } from "./activate.tsx";

/** Time within which the server tells of a change it made. */
const CHANGE = 10_000;

export default function Policy({ group, rights }: GroupSectionProps) {
  const type = policyType(group.amt);
  const hasCertificate = feature(AMT_ADMIN_MODE);
  const edit = () => dialog("Intel AMT policy", (close) => <Edit group={group} close={close} />);
  return (
    <Card
      title="Intel AMT policy"
      foot={
        has(rights, Right.editGroup) && (
          <Button icon="edit" onClick={() => void edit()}>
            Choose the policy…
          </Button>
        )
      }
    >
      <div class="stack">
        <Facts facts={[["Policy", POLICY_NAMES[type]], ...policyFacts(group.amt)]} />
        <p class="small muted">{POLICY_CONDITIONS[type]}</p>
        {!hasCertificate && <WithoutCertificate lapsed={type === "3"} />}
        {group.mtype === 1 && type !== "0" && <Begin group={group} hasCertificate={hasCertificate} />}
        {group.mtype === 2 && type !== "0" && (
          <p class="small muted">
            Agents look after it by themselves: now, whenever they connect, and when a computer is moved here.
          </p>
        )}
      </div>
    </Card>
  );
}

/** Why something is missing, and where an administrator finds what to do. */
function WithoutCertificate({ lapsed }: { lapsed: boolean }) {
  const words = lapsed
    ? "The server has no activation certificate in force any more: no computer comes to admin control mode."
    : "The server has no activation certificate in force, so neither Simple Admin Control Mode nor its activation is offered.";
  return (
    <Notice kind={lapsed ? "warn" : undefined}>
      {words}{" "}
      {isAdministrator(me()) && (
        <>
          It is set by AmtAcmActivation in config.json; the <a href={to("server")}>server page</a> shows it.
        </>
      )}
    </Notice>
  );
}

/** The way to the command. Only what the policy and the certificate allow is called activation. */
function Begin({ group, hasCertificate }: { group: Group; hasCertificate: boolean }) {
  const type = policyType(group.amt);
  if (type === "3" && !hasCertificate) return null;
  const words = !activates(type) ? "Deactivation" : hasCertificate ? "Activation" : "Client control mode";
  return (
    <div>
      <Button
        icon="play"
        onClick={() =>
          void dialog(words, () => <Command group={group} hasCertificate={hasCertificate} />, { wide: true })
        }
      >
        {words}
      </Button>
    </div>
  );
}

function Edit({ group, close }: { group: Group; close(): void }) {
  const hasPort = !feature(NO_CIRA);
  const [form, setForm] = useState(() => policyForm(group.amt, hasPort));
  const set = (part: Partial<PolicyForm>) => setForm({ ...form, ...part });
  const hasCertificate = feature(AMT_ADMIN_MODE);
  const choices = policyChoices(hasCertificate);
  const lapsed: typeof choices = form.type === "3" && !hasCertificate ? [["3", POLICY_NAMES["3"]]] : [];
  const isSimple = form.type === "2" || form.type === "3";
  return (
    <Form
      action="Save"
      disabled={!isComplete(form)}
      onCancel={close}
      onSubmit={async () => {
        await change(group, policyBody(form, hasPort));
        toast(`${plain(group.name)}: ${POLICY_NAMES[form.type]}`);
        close();
      }}
    >
      <Select
        label="Policy"
        hint={POLICY_CONDITIONS[form.type]}
        value={form.type}
        options={[...choices, ...lapsed]}
        onValue={(type) => set({ type })}
      />
      {!hasCertificate && <WithoutCertificate lapsed={false} />}
      {isSimple && <Password group={group} form={form} set={set} />}
      {form.type === "3" && (
        <Select
          label="Where admin control mode is impossible"
          value={form.ccm}
          options={options(CCM_WORDS)}
          onValue={(ccm) => set({ ccm })}
        />
      )}
      {(form.type === "2" || (form.type === "3" && form.ccm !== "1")) && (
        <Select
          label="When the password of a computer is unknown"
          value={form.badpass}
          options={options(BAD_PASSWORD_WORDS)}
          onValue={(badpass) => set({ badpass })}
        />
      )}
      {isSimple && hasPort && (
        <Select
          label="Calls of the firmware (CIRA)"
          hint="Firmware calls wherever it does not see the network its environment detection names."
          value={form.cirasetup}
          options={options(CIRA_WORDS)}
          onValue={(cirasetup) => set({ cirasetup })}
        />
      )}
    </Form>
  );
}

function Password(props: { group: Group; form: PolicyForm; set(part: Partial<PolicyForm>): void }) {
  const { group, form, set } = props;
  const choices: [PasswordChoice, string][] = [["random", "One of its own for each"]];
  if (group.amt?.password === 1) choices.push(["keep", "Keep the one for all"]);
  choices.push(["new", "A new one for all"]);
  return (
    <>
      <Select
        label="Password of the firmware's administrator"
        value={form.secret}
        options={choices}
        onValue={(secret) => set({ secret })}
      />
      {form.secret === "new" && (
        <Input
          label="New password"
          hint={form.password === "" ? PASSWORD_RULE : (passwordFault(form.password) ?? "Firmware takes it.")}
          type="password"
          autocomplete="new-password"
          maxLength={32}
          value={form.password}
          onValue={(password) => set({ password })}
        />
      )}
    </>
  );
}

const options = <T extends string>(words: Record<T, string>): [T, string][] =>
  (Object.entries(words) as [T, string][]).map(([value, text]) => [
    value,
    text.charAt(0).toUpperCase() + text.slice(1),
  ]);

/** Asks for a policy; the server answers by the event that it holds. */
function change(group: Group, amtpolicy: AmtPolicy): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (run: () => void) => {
      off();
      clearTimeout(timer);
      run();
    };
    const off = store.onEvent((event) => {
      if (event.action !== "meshchange" || event.meshid !== group._id || event["amt"] === undefined) return;
      end(resolve);
    });
    const fail = (words: string) => end(() => reject(new Error(words)));
    const timer = setTimeout(() => fail("The server did not take it. You may lack the right."), CHANGE);
    if (!client.tell("meshamtpolicy", { meshid: group._id, amtpolicy })) {
      fail("There is no connection to the server.");
    }
  });
}
