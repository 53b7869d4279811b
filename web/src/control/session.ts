// What happens over plain HTTP: looking whether the server is new, logging in and out.
//
// Passwords go into request bodies and nowhere else. Source: docs/web-sessions.md.

import { at } from "./address.ts";

/** What the server says to everybody. */
export interface Welcome {
  /** There is no account yet: the setup code is asked for. */
  setup: boolean;
  /** People may make accounts themselves. */
  register: boolean;
  /** Name of this server or tenant. */
  title: string;
  subtitle: string;
  version: string;
}

/** What came of a login. */
export interface Outcome {
  /** `ok`, or why not: `tokenrequired`, `wrongtoken`, `passwordchange`, `noauth`, `locked`, `banned`, … */
  result: string;
  /** Second factors there are: `app`, `backup`, `key`. */
  ways?: string[];
  /** Proof of the step that was passed; goes into the next one. */
  hwstate?: string;
  /** What a browser needs to ask a security key. */
  hkey?: KeyRequest;
  /** Days a device is remembered; 0: not at all. */
  twoFactorCookieDays?: number;
  msg?: string;
}

export interface KeyRequest {
  challenge: string;
  keyIds?: string[];
  timeout?: number;
  userVerification?: UserVerificationRequirement;
}

export async function welcome(): Promise<Welcome> {
  const answer = await fetch(at("welcome"), { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(`The server answers ${answer.status}.`);
  return (await answer.json()) as Welcome;
}

/** The first step: name and password. */
export function login(username: string, password: string): Promise<Outcome> {
  return post("login", { username, password });
}

/** The second step, after `tokenrequired`: a code, or the answer of a security key. */
export function secondStep(body: {
  hwstate: string;
  token?: string;
  hwtoken?: string;
  remembertoken?: boolean;
}): Promise<Outcome> {
  return post("login", body);
}

/** Sets another password where the old one must not be used any longer (`passwordchange`). */
export function changePassword(hwstate: string, password: string, rpassword1: string): Promise<Outcome> {
  return post("password", { hwstate, password, rpassword1, rpassword2: rpassword1 });
}

export async function logout(): Promise<void> {
  await post("logout", {});
}

/** Makes the first account, or one's own. */
export async function makeAccount(
  kind: "setup" | "register",
  fields: { code?: string; name: string; password: string },
): Promise<{ ok: boolean; message: string }> {
  const answer = await fetch(at(kind), {
    method: "POST",
    headers: { accept: "application/json" },
    body: new URLSearchParams(fields as Record<string, string>),
  });
  const body = (await answer.json().catch(() => ({}))) as { message?: string };
  return { ok: answer.ok, message: body.message ?? `The server answers ${answer.status}.` };
}

async function post(path: string, body: object): Promise<Outcome> {
  const answer = await fetch(at(path), {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify(body),
  });
  const outcome = (await answer.json().catch(() => null)) as Outcome | null;
  if (outcome !== null && typeof outcome === "object" && typeof outcome.result === "string") return outcome;
  return { result: answer.ok ? "unknown" : `http-${answer.status}` };
}
