// Text to take away: copied by a button, or read by a phone.

import { useState } from "preact/hooks";
import { encode } from "uqr";

import { Button } from "./basic.tsx";
import { toast } from "./dialog.tsx";

export async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied");
  } catch {
    toast("This browser does not let the page copy. Select the text instead.");
  }
}

export function CopyBox({ text, label }: { text: string; label: string }) {
  const [done, setDone] = useState(false);
  const take = async () => {
    await copy(text);
    setDone(true);
    setTimeout(() => setDone(false), 2_000);
  };
  return (
    <div class="copy-box">
      <code>{text}</code>
      <Button icon={done ? "check" : "copy"} kind="plain" small label={`Copy ${label}`} onClick={take} />
    </div>
  );
}

/** A QR code, drawn as one path. */
export function Qr({ text, label }: { text: string; label: string }) {
  const { data, size } = encode(text, { ecc: "M", border: 1 });
  const cells: string[] = [];
  data.forEach((line, y) => line.forEach((dark, x) => dark && cells.push(`M${x} ${y}h1v1h-1z`)));
  return (
    <div class="qr" role="img" aria-label={label}>
      <svg viewBox={`0 0 ${size} ${size}`} shape-rendering="crispEdges">
        <path d={cells.join("")} fill="currentColor" />
      </svg>
    </div>
  );
}
