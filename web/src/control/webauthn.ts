// Security keys: between the browser's buffers and the texts the server speaks.

import type { KeyRequest } from "./session.ts";

function bytes(text: string): ArrayBuffer {
  const plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(plain, (letter) => letter.charCodeAt(0)).buffer;
}

function base64(buffer: ArrayBuffer): string {
  return btoa(String.fromCharCode(...new Uint8Array(buffer)));
}

/** Asks for a touch of a registered key; the `hwtoken` for the login. */
export async function assertion(request: KeyRequest): Promise<string> {
  const credential = await navigator.credentials.get({
    publicKey: {
      challenge: bytes(request.challenge),
      allowCredentials: (request.keyIds ?? []).map((id) => ({ type: "public-key", id: bytes(id) })),
      timeout: request.timeout ?? 60_000,
      userVerification: request.userVerification ?? "discouraged",
    },
  });
  if (!(credential instanceof PublicKeyCredential)) throw new Error("No key was touched.");
  const response = credential.response as AuthenticatorAssertionResponse;
  return JSON.stringify({
    id: base64(credential.rawId),
    authenticatorData: base64(response.authenticatorData),
    clientDataJSON: base64(response.clientDataJSON),
    signature: base64(response.signature),
    userHandle: response.userHandle ? base64(response.userHandle) : "",
  });
}

export interface Registration {
  challenge: string;
  rp: { name: string; id?: string };
  user: { id: string; name: string; displayName: string };
  pubKeyCredParams: { type: "public-key"; alg: number }[];
  timeout?: number;
  attestation?: AttestationConveyancePreference;
  excludeCredentials?: { id: string }[];
}

/** Makes a key known; the `response` for `webauthn-endregister`. */
export async function registration(request: Registration): Promise<object> {
  const credential = await navigator.credentials.create({
    publicKey: {
      ...request,
      challenge: bytes(request.challenge),
      user: { ...request.user, id: bytes(request.user.id) },
      excludeCredentials: (request.excludeCredentials ?? []).map(({ id }) => ({
        type: "public-key",
        id: bytes(id),
      })),
    },
  });
  if (!(credential instanceof PublicKeyCredential)) throw new Error("No key was touched.");
  const response = credential.response as AuthenticatorAttestationResponse;
  return {
    id: credential.id,
    rawId: base64(credential.rawId),
    type: credential.type,
    response: {
      attestationObject: base64(response.attestationObject),
      clientDataJSON: base64(response.clientDataJSON),
    },
  };
}
