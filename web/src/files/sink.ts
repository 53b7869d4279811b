// Where downloads go: straight into a file where the browser can, else into memory and from there
// to the browser's own downloads.

import type { Sink } from "./session.ts";

/** From this size on a file is written as it comes, where the browser can do that. */
const LARGE = 32 * 1024 * 1024;
/** Largest file that is gathered in memory. */
export const GATHERED = 1024 * 1024 * 1024;

export type Closing = Sink & { close(): Promise<void> };

interface Picker {
  showSaveFilePicker?(options: { suggestedName: string }): Promise<{ createWritable(): Promise<Writable> }>;
}

interface Writable {
  write(data: Uint8Array<ArrayBuffer>): Promise<void>;
  close(): Promise<void>;
}

/** Must be called where a person asked for it: the browser may want to know where the file goes. */
export async function sink(name: string, size: number): Promise<Closing> {
  const picker = (window as Picker).showSaveFilePicker;
  if (size >= LARGE && picker) {
    const handle = await picker.call(window, { suggestedName: safe(name) });
    const file = await handle.createWritable();
    return { write: (data) => file.write(data), close: () => file.close() };
  }
  if (size > GATHERED) throw new Error("This browser cannot keep a file this large.");
  const memory = gather();
  return {
    ...memory,
    close: async () => give(new Blob(memory.parts, { type: "application/octet-stream" }), name),
  };
}

/** Keeps what comes. */
export function gather(limit = GATHERED): Sink & { parts: Uint8Array<ArrayBuffer>[] } {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  return {
    parts,
    write: (data) => {
      size += data.length;
      if (size > limit) throw new Error("The file is larger than it was said to be.");
      parts.push(data);
    },
  };
}

/** Hands something to the browser's downloads. */
export function give(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = safe(name);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** A name that hides nothing and goes nowhere. */
function safe(name: string): string {
  return (
    name
      .replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff/\\:*?"<>|]/g, "_")
      .slice(-200) || "file"
  );
}
