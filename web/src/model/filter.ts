// The filter language of the device list.
//
//   web server        both words, anywhere: name, host name, tags, address, users, group, system
//   tag:prod          a tag that begins so; also group: os: user: ip: name: desc:
//   agent:offline     or agent:online; power:on|sleep|off; has:amt|notes|session
//   "two words"       as they stand;   -tag:old  none of those;   a or b  either side
//
// Nothing is an error: an unknown key is a word like any other, so that typing never blanks the list.

import type { Device } from "../control/wire.ts";

export interface Context {
  groupName(device: Device): string;
}

type Test = (device: Device, context: Context) => boolean;

/** The keys, for help and completion. */
export const KEYS: [string, string][] = [
  ["name:", "its name or host name"],
  ["tag:", "one of its tags"],
  ["group:", "its device group"],
  ["os:", "its operating system"],
  ["user:", "somebody logged in at it"],
  ["ip:", "its address"],
  ["agent:offline", "or agent:online"],
  ["power:sleep", "or on, off"],
  ["has:session", "or has:amt, has:desc, has:tag"],
];

/** Turns a text into a test. */
export function compile(text: string): Test {
  const alternatives: Test[][] = [[]];
  for (const token of tokens(text)) {
    if (token.word.toLowerCase() === "or" && !token.quoted) alternatives.push([]);
    else alternatives.at(-1)?.push(test(token));
  }
  const filled = alternatives.filter((tests) => tests.length > 0);
  if (filled.length === 0) return () => true;
  return (device, context) => filled.some((tests) => tests.every((test) => test(device, context)));
}

interface Token {
  word: string;
  negated: boolean;
  quoted: boolean;
}

function tokens(text: string): Token[] {
  const found = text.matchAll(/(-?)((?:[^\s":]+:)?)(?:"([^"]*)"?|(\S+))/g);
  return [...found].map(([, minus, key, quoted, plain]) => ({
    negated: minus === "-",
    quoted: quoted !== undefined,
    word: `${key ?? ""}${quoted ?? plain ?? ""}`,
  }));
}

function test({ word, negated }: Token): Test {
  const plain = word.toLowerCase();
  const colon = plain.indexOf(":");
  const by = colon > 0 ? keyed(plain.slice(0, colon), plain.slice(colon + 1)) : null;
  const positive = by ?? anywhere(plain);
  return negated ? (device, context) => !positive(device, context) : positive;
}

/** The test of `key:value`; `null` if there is no such key. */
function keyed(key: string, value: string): Test | null {
  const within = (text: string | null | undefined) => text?.toLowerCase().includes(value) ?? false;
  const among = (texts: string[] | undefined) => texts?.some(within) ?? false;
  switch (key) {
    case "name":
    case "n":
      return (device) => within(device.name) || within(device.rname);
    case "tag":
    case "t":
      return (device) => device.tags?.some((tag) => tag.toLowerCase().startsWith(value)) ?? false;
    case "group":
    case "g":
      return (device, context) => within(context.groupName(device));
    case "os":
    case "o":
      return (device) => within(device.osdesc);
    case "user":
    case "u":
      return (device) => among(device.users) || among(device.lusers);
    case "ip":
      return (device) => within(device.ip) || within(device.host);
    case "desc":
      return (device) => within(device.desc);
    case "agent":
      return stated(value, {
        online: (d) => ((d.conn ?? 0) & 1) !== 0,
        offline: (d) => ((d.conn ?? 0) & 1) === 0,
      });
    case "power":
      return stated(value, {
        on: (d) => d.pwr === 1,
        sleep: (d) => d.pwr !== undefined && d.pwr >= 2 && d.pwr <= 5,
        off: (d) => d.pwr === 6 || d.pwr === 8 || !d.conn,
      });
    case "has":
      return stated(value, {
        amt: (d) => d.intelamt !== undefined,
        session: (d) => d.sessions !== undefined && Object.keys(d.sessions).length > 0,
        desc: (d) => Boolean(d.desc),
        tag: (d) => (d.tags?.length ?? 0) > 0,
      });
    default:
      return null;
  }
}

/** The state whose name begins with `value`; while nothing fits, everything does: it is being typed. */
function stated(value: string, states: Record<string, (device: Device) => boolean>): Test {
  const names = Object.keys(states).filter((name) => name.startsWith(value));
  const [only] = names;
  return names.length === 1 && only !== undefined ? (states[only] as Test) : () => true;
}

function anywhere(word: string): Test {
  const within = (text: string | null | undefined) => text?.toLowerCase().includes(word) ?? false;
  return (device, context) =>
    within(device.name) ||
    within(device.rname) ||
    within(device.ip) ||
    within(device.host) ||
    within(device.osdesc) ||
    within(device.desc) ||
    (device.tags?.some(within) ?? false) ||
    (device.users?.some(within) ?? false) ||
    within(context.groupName(device));
}
