// What a serial line carries: bytes of some code page one way, keys as some terminal sends them the
// other. BIOSes agree on neither, so a person chooses.

/** Upper half of code page 437, by the letter; the lower half is ASCII. */
const UPPER =
  "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0";

/** Text of code page 437. Control characters stay what they are. */
export function fromCp437(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte < 0x80 ? String.fromCharCode(byte) : UPPER[byte - 0x80];
  return text;
}

export type CodePage = "utf-8" | "cp437";
/** How function keys are sent: as a PC's terminal, as Intel has it, as digits behind Escape. */
export type FunctionKeys = "vt100" | "intel" | "digits";

export interface LineChoice {
  codePage: CodePage;
  functionKeys: FunctionKeys;
  /** Backspace is sent as 0x08, not 0x7F. */
  backspace: boolean;
  /** Enter is sent as carriage return and line feed. */
  lineFeed: boolean;
}

export const USUAL: LineChoice = {
  codePage: "utf-8",
  functionKeys: "vt100",
  backspace: false,
  lineFeed: false,
};

/** What xterm.js sends for F1 to F12. */
const SENT = [
  "\x1bOP",
  "\x1bOQ",
  "\x1bOR",
  "\x1bOS",
  "\x1b[15~",
  "\x1b[17~",
  "\x1b[18~",
  "\x1b[19~",
  "\x1b[20~",
  "\x1b[21~",
  "\x1b[23~",
  "\x1b[24~",
];

const SCHEMES: Record<FunctionKeys, string[]> = {
  vt100: [..."PQRSTUVWXYZ["].map((letter) => `\x1bO${letter}`),
  intel: [..."PQwxtuqrpM"].map((letter) => `\x1bO${letter}`),
  digits: [..."1234567890!@"].map((letter) => `\x1b${letter}`),
};

/** What goes over the line for a function key, F1 is 1. What a scheme does not have is not sent. */
export function functionKey(number: number, scheme: FunctionKeys): string {
  return SCHEMES[scheme][number - 1] ?? "";
}

/** What goes over the line for what xterm.js says was typed. */
export function typed(text: string, choice: LineChoice): string {
  const key = SENT.indexOf(text);
  if (key >= 0) return functionKey(key + 1, choice.functionKeys);
  if (text === "\x7f") return choice.backspace ? "\b" : text;
  return choice.lineFeed ? text.replaceAll("\r", "\r\n") : text;
}

/** Decodes what comes in pieces. */
export function decoder(page: CodePage): (bytes: Uint8Array) => string {
  if (page === "cp437") return fromCp437;
  const utf8 = new TextDecoder();
  return (bytes) => utf8.decode(bytes, { stream: true });
}
