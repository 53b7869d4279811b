// The agent package on its way into the server: first the file, then what the server says of its
// work, a line of JSON for each step.

import { at } from "../control/address.ts";

export type News =
  /** `part` is between 0 and 1, `null` while nobody knows. */
  | { is: "step"; words: string; part: number | null }
  | { is: "installed"; version: string; agents: number }
  | { is: "failed"; words: string };

/** Takes what has come of the answer so far, again and again; tells each whole line once. */
export class Lines {
  #read = 0;

  take(text: string): News[] {
    const end = text.lastIndexOf("\n") + 1;
    const lines = text.slice(this.#read, end).split("\n");
    this.#read = Math.max(this.#read, end);
    return lines.map(news).filter((one): one is News => one !== null);
  }
}

function news(line: string): News | null {
  let said: Record<string, unknown>;
  try {
    said = Object(JSON.parse(line)) as Record<string, unknown>;
  } catch {
    return null;
  }
  const { step, installed, failed } = said;
  const [number, count] = [Number(said["number"]), Number(said["count"])];
  const part = count > 0 && number >= 0 ? Math.min(1, number / count) : null;
  if (typeof failed === "string") return { is: "failed", words: failed };
  if (typeof installed === "object" && installed !== null) {
    const { version, agents } = installed as { version?: unknown; agents?: unknown };
    return {
      is: "installed",
      version: typeof version === "string" ? version : "",
      agents: Number(agents) || 0,
    };
  }
  switch (step) {
    case "reading":
      return { is: "step", words: "Reading the package", part };
    case "agent":
      return { is: "step", words: `Preparing agent ${number} of ${count}`, part };
    case "cores":
      return { is: "step", words: "Preparing the cores", part: null };
    default:
      return null;
  }
}

const REFUSALS: Record<number, string> = {
  401: "Only administrators who are logged in with their password install agents.",
  409: "A package is being installed already.",
  413: "No agent package is that large.",
  507: "There is no room for the file on the server.",
};

/** Sends the file; `systems` limits whose agents are taken, without any all are. */
export function upload(file: Blob, systems: string[], tell: (news: News) => void): { stop(): void } {
  const request = new XMLHttpRequest();
  const address = at("agentpackage.ashx");
  const query = systems.length === 0 ? "" : `${address.includes("?") ? "&" : "?"}arch=${systems.join(",")}`;
  const lines = new Lines();
  let over = false;
  const say = (one: News) => {
    over ||= one.is !== "step";
    tell(one);
  };
  request.upload.onprogress = ({ loaded, total }) =>
    say({ is: "step", words: "Sending the file", part: total > 0 ? loaded / total : null });
  request.onprogress = () => request.status === 200 && lines.take(request.responseText).forEach(say);
  request.onloadend = () => {
    if (request.status === 200) lines.take(request.responseText).forEach(say);
    if (over) return;
    const words = REFUSALS[request.status] ?? "The connection broke; look whether the package is there.";
    say({ is: "failed", words });
  };
  request.open("POST", address + query);
  request.setRequestHeader("content-type", "application/gzip");
  request.send(file);
  return { stop: () => request.abort() };
}
