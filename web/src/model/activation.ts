// Activating Intel AMT: what a device group wants of its computers, the command that is run on them,
// and what the activation log says.
//
// Source: docs/activation.md; the documents are those of `meshamtpolicy` and `amtactivations`.

import type { AmtPolicy, ServerInfo } from "../control/wire.ts";

/** Bits of `features`. */
export const AMT_ADMIN_MODE = 0x10_0000;
export const NO_CIRA = 0x400;
export const LAN_ONLY = 0x2;

export type PolicyType = "0" | "1" | "2" | "3" | "4";

export const POLICY_NAMES: Record<PolicyType, string> = {
  "0": "No policy",
  "1": "Deactivate",
  "2": "Simple Client Control Mode",
  "3": "Simple Admin Control Mode",
  "4": "Fully automatic",
};

/** What each does, and what it needs. */
export const POLICY_CONDITIONS: Record<PolicyType, string> = {
  "0": "The server changes nothing in the firmware of these computers.",
  "1": "Computers in client control mode are deactivated. Admin control mode stays: it is undone in the firmware's own menu, or by “meshboard amt deactivate” on the server.",
  "2": "Needs nothing but a program on the computer. Whoever sits there has to agree before the screen is seen or the computer is started from elsewhere.",
  "3": "Nobody has to agree at the computer. It needs the activation certificate of this server, whose domain must be the DNS suffix that the computer gets on a wired network or has in its firmware.",
  "4": "Admin control mode where the certificate fits, else client control mode. Every computer gets a password of its own, and its firmware calls this server.",
};

/** Whether the computers are given an administrator. */
export const activates = (type: PolicyType): boolean => type === "2" || type === "3" || type === "4";

/** The choices there are. Without a certificate nobody can choose admin control mode. */
export function policyChoices(hasCertificate: boolean): [PolicyType, string][] {
  const all = Object.entries(POLICY_NAMES) as [PolicyType, string][];
  return all.filter(([type]) => type !== "3" || hasCertificate);
}

/** The type of a policy; of none, and of what this page does not know, "0". */
export function policyType(policy: AmtPolicy | undefined): PolicyType {
  const type = String(policy?.type ?? 0);
  return Object.hasOwn(POLICY_NAMES, type) ? (type as PolicyType) : "0";
}

export type PasswordChoice = "random" | "keep" | "new";

/** What is chosen in the form. Numbers are those of the document. */
export interface PolicyForm {
  type: PolicyType;
  secret: PasswordChoice;
  password: string;
  badpass: "0" | "1";
  ccm: "0" | "1" | "2";
  cirasetup: "0" | "1" | "2";
}

const one = <T extends string>(value: number | undefined, choices: readonly T[], usual: T): T =>
  choices.find((choice) => choice === String(value)) ?? usual;

/** The form as it is for a group. `hasPort`: firmware can call this server. */
export function policyForm(policy: AmtPolicy | undefined, hasPort: boolean): PolicyForm {
  const three = ["0", "1", "2"] as const;
  return {
    type: policyType(policy),
    secret: policy?.password === 1 ? "keep" : "random",
    password: "",
    badpass: one(policy?.badpass, ["0", "1"] as const, "0"),
    ccm: one(policy?.ccm, three, "0"),
    cirasetup: one(policy?.cirasetup, three, hasPort ? "2" : "0"),
  };
}

/** What is sent, as MeshCentral's page sends it. */
export function policyBody(form: PolicyForm, hasPort: boolean): AmtPolicy {
  const type = Number(form.type);
  if (type !== 2 && type !== 3) return { type };
  const password = { random: "", keep: null, new: form.password }[form.secret];
  return {
    type,
    password,
    badpass: Number(form.badpass),
    ...(type === 3 && { ccm: Number(form.ccm) }),
    cirasetup: hasPort ? Number(form.cirasetup) : 1,
  };
}

/** Whether the form may be sent. */
export function isComplete(form: PolicyForm): boolean {
  const isAsked = (form.type === "2" || form.type === "3") && form.secret === "new";
  return !isAsked || passwordFault(form.password) === null;
}

export const PASSWORD_RULE =
  "8 to 32 characters: a digit, a small and a capital letter, a special character; no “:”, “,” or quotation mark.";

/** Why firmware would not take a password; `null` if it does. */
export function passwordFault(password: string): string | null {
  const wanted = [/\d/, /[a-z]/, /[A-Z]/, /[^\w\s]/];
  const isPrintable = /^[ -~]{8,32}$/.test(password) && !/[:,"]/.test(password);
  return isPrintable && wanted.every((class_) => class_.test(password)) ? null : PASSWORD_RULE;
}

/** The options of a policy in words. */
export function policyFacts(policy: AmtPolicy | undefined): [string, string][] {
  const type = policyType(policy);
  if (type !== "2" && type !== "3") return [];
  const { password, badpass, ccm, cirasetup } = policy as AmtPolicy;
  const facts: [string, string][] = [
    ["Password", password === 1 ? "the same for all, as it was entered" : "each computer gets its own"],
  ];
  if (type === "3") facts.push(["Otherwise", CCM_WORDS[one(ccm, ["0", "1", "2"] as const, "0")]]);
  if (badpass === 1) facts.push(["Unknown password", BAD_PASSWORD_WORDS["1"]]);
  facts.push(["Calls (CIRA)", CIRA_WORDS[one(cirasetup, ["0", "1", "2"] as const, "0")]]);
  return facts;
}

export const CCM_WORDS = {
  "0": "leave the computer as it is",
  "1": "deactivate client control mode",
  "2": "activate in client control mode",
} as const;

export const BAD_PASSWORD_WORDS = {
  "0": "leave the computer as it is",
  "1": "activate client control mode anew",
} as const;

export const CIRA_WORDS = {
  "0": "leave as it is",
  "1": "the firmware does not call",
  "2": "the firmware calls this server",
} as const;

export type Platform = "windows" | "linux";

export interface MeshCmd {
  downloads: { words: string; href: string }[];
  /** Fetches MeshCmd and runs it. */
  fetch: string;
  /** For where MeshCmd is already. */
  run: string;
}

/** Where MeshCmd is and how it is run. `base` is where the page is, `key` what is asked of every
 * request (`loginKey`), `group` the short id of the group. */
export function meshCmd(
  platform: Platform,
  info: ServerInfo,
  base: URL,
  key: string | null,
  group: string,
): MeshCmd {
  // A bare name, or none, is known in one network only: whoever reads this came by a better one.
  const isKnown = (info.name ?? "").includes(".") && ((info.features ?? 0) & LAN_ONLY) === 0;
  const port = info.port === undefined || info.port === 443 ? "" : `:${info.port}`;
  const host = isKnown ? `${info.name}${port}` : base.host;
  const query = key === null ? "" : `&key=${encodeURIComponent(key)}`;
  const file = (number: number) => `meshagents?meshcmd=${number}${query}`;
  const hash = info.tlshash ? ` --serverhttpshash ${info.tlshash}` : "";
  const run = `amtconfig --url wss://${host}${base.pathname}apf.ashx --id '${group}'${hash}`;
  const from = (number: number) => `"https://${host}${base.pathname}${file(number)}"`;
  switch (platform) {
    case "windows":
      return {
        downloads: [
          { words: "64 bits", href: base.pathname + file(4) },
          { words: "32 bits", href: base.pathname + file(3) },
        ],
        fetch: `curl.exe -k -L -o meshcmd.exe ${from(4)}; .\\meshcmd.exe ${run}`,
        run: `meshcmd ${run}`,
      };
    case "linux":
      return {
        downloads: [
          { words: "x86-64", href: base.pathname + file(6) },
          { words: "x86, 32 bits", href: base.pathname + file(5) },
        ],
        fetch: `curl -k -L -o meshcmd ${from(6)} && chmod 755 meshcmd && sudo ./meshcmd ${run}`,
        run: `sudo ./meshcmd ${run}`,
      };
  }
}

/** A line of the activation log. */
export interface Activation {
  /** Milliseconds since 1970. */
  time: number;
  what: string;
  state: "begun" | "done" | "failed";
  computer: string;
  uuid: string;
  /** The DNS suffix of the computer. */
  suffix: string;
  from: string;
  nodeid: string;
}

const WHAT: Record<string, string> = {
  acmactivate: "Admin control mode",
  ccmactivate: "Client control mode",
  amtpassword: "Password taken over",
  setupbin: "File setup.bin",
};

/** Lines of an answer, newest first. The words in them are the computers' own. */
export function activationsIn(value: unknown): Activation[] {
  if (!Array.isArray(value)) return [];
  const lines = value.map((line): Activation => {
    const text = (name: string): string => {
      const found = (Object(line) as Record<string, unknown>)[name];
      return typeof found === "string" ? found.slice(0, 200) : "";
    };
    const [, what = "", outcome] = /^(.*?)(?:-(success|failed))?$/.exec(text("action")) ?? [];
    return {
      time: Date.parse(text("time")) || 0,
      what: WHAT[what] ?? what,
      // What is not done to a computer is done when it is written down.
      state:
        outcome === "success" || what === "setupbin" ? "done" : outcome === "failed" ? "failed" : "begun",
      computer: text("computerName"),
      uuid: text("amtUuid"),
      suffix: text("amtFqdn") || text("dns"),
      from: text("ipport"),
      nodeid: text("nodeid"),
    };
  });
  // What came of it is a line that says less of the computer than the one at the beginning.
  const named = new Map(lines.filter(({ nodeid }) => nodeid !== "").map((line) => [line.uuid, line]));
  return lines.map((line) => {
    const known = named.get(line.uuid);
    if (line.state === "begun" || known === undefined) return line;
    const { computer, nodeid, suffix } = known;
    return { ...line, computer, nodeid, suffix: line.suffix || suffix };
  });
}
