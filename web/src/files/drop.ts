// Files and folders that are dropped onto the page.

import { isPlainName } from "./wire.ts";

export interface Dropped {
  /** Folders between the place of the drop and the file. */
  folders: string[];
  file: File;
}

/** Most files of one drop. */
const MOST = 5_000;

/** All files of a drop, those in folders too. The entries must be taken while the event runs. */
export async function dropped(transfer: DataTransfer): Promise<Dropped[]> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.() ?? null);
  if (entries.every((entry) => entry === null))
    return [...transfer.files].map((file) => ({ folders: [], file }));
  const found: Dropped[] = [];
  for (const entry of entries) if (entry) await walk(entry, [], found);
  return found;
}

async function walk(entry: FileSystemEntry, folders: string[], found: Dropped[]): Promise<void> {
  if (found.length >= MOST || !isPlainName(entry.name)) return;
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    );
    found.push({ folders, file });
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (some.length === 0) return;
    for (const inner of some) await walk(inner, [...folders, entry.name], found);
  }
}
