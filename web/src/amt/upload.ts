// A disk image on its way into the files of this account on the server.

import { at } from "../control/address.ts";

const WORDS: Record<number, string> = {
  401: "You may not keep files on this server.",
  404: "The server does not take a file of this name.",
  507: "There is no room left for your files.",
};

/** Whether the server offers a file of this name as a drive. */
export const isImage = (name: string): boolean => /^[^.].*\.(iso|img)$/i.test(name);

/** Sends `file` into the folder `userid`; `cookie` is one of the control channel's. */
export function upload(
  file: File,
  userid: string,
  cookie: string,
  progress: (part: number) => void,
): { done: Promise<void>; stop(): void } {
  const request = new XMLHttpRequest();
  const done = new Promise<void>((resolve, reject) => {
    request.upload.onprogress = ({ loaded, total }) => progress(total > 0 ? loaded / total : 0);
    request.onload = () => {
      if (request.status === 200) resolve();
      else reject(new Error(WORDS[request.status] ?? "The server did not take the file."));
    };
    request.onerror = () => reject(new Error("The connection broke before all of it was sent."));
    request.onabort = () => reject(new Error("It was stopped; nothing of it is kept."));
  });
  // The server reads these in their order: who, where, what.
  const form = new FormData();
  form.append("auth", cookie);
  form.append("link", userid);
  form.append("file", file);
  request.open("POST", at("uploadfile.ashx"));
  request.send(form);
  return { done, stop: () => request.abort() };
}
