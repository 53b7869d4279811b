// What happens over plain HTTP: looking whether the server is new, logging in and out.
//
// Paths are relative: the page may be that of a tenant below `/`. Passwords go into request bodies
// and nowhere else.

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
export type Outcome =
  | { result: "ok" }
  | {
      result: "refused";
      /** `tokenrequired`, `passwordchange`, `noauth`, `locked`, `banned`, `busy`, … */
      cause: string;
      /** Further ways for the second factor. */
      ways?: string[];
      /** Seconds until it is worth to try again. */
      wait?: number;
      /** WebAuthn request options, when a security key may be used. */
      webauthn?: WebAuthnRequest;
      /** Days a device is remembered; 0: not at all. */
      twoFactorCookieDays?: number;
      msg?: string;
    };

export interface WebAuthnRequest {
  challenge: string;
  keyIds?: string[];
  rpId?: string;
  timeout?: number;
}

export interface Login {
  username: string;
  password: string;
  token?: string;
  hwtoken?: string;
  remember?: boolean;
}

export async function welcome(): Promise<Welcome> {
  const answer = await fetch("welcome", { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(`The server answers ${answer.status}.`);
  return (await answer.json()) as Welcome;
}

export function login(body: Login): Promise<Outcome> {
  return post("login", body);
}

/** Sets another password where the old one must not be used any longer. */
export function changePassword(body: {
  username: string;
  password: string;
  newpassword: string;
  token?: string;
}): Promise<Outcome> {
  return post("password", body);
}

export async function logout(): Promise<void> {
  await post("logout", {});
}

/** Makes the first account, or one's own. */
export async function makeAccount(
  kind: "setup" | "register",
  fields: { code?: string; name: string; password: string },
): Promise<{ ok: boolean; message: string }> {
  const answer = await fetch(kind, {
    method: "POST",
    headers: { accept: "application/json" },
    body: new URLSearchParams(fields as Record<string, string>),
  });
  const body = (await answer.json().catch(() => ({}))) as { message?: string };
  return { ok: answer.ok, message: body.message ?? `The server answers ${answer.status}.` };
}

async function post(path: string, body: object): Promise<Outcome> {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify(body),
  });
  const outcome = (await answer.json().catch(() => null)) as Outcome | null;
  if (outcome !== null && typeof outcome === "object" && "result" in outcome) return outcome;
  return { result: "refused", cause: answer.ok ? "unknown" : `http-${answer.status}` };
}
