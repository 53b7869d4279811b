// The documents of the control channel, as far as this page reads them. Everything may be missing:
// another version of the server, or a right that is not there, leaves members out. Texts come from
// agents and people and are shown as text only.

/** One frame, of either direction. */
export interface Frame {
  action: string;
  responseid?: unknown;
  tag?: unknown;
  result?: unknown;
  [member: string]: unknown;
}

export interface ServerInfo {
  name?: string;
  domain?: string;
  domainsuffix?: string;
  port?: number;
  redirport?: number;
  mpsname?: string;
  mpsport?: number;
  serverTime?: number;
  features?: number;
  features2?: number;
  certExpire?: number;
  magenturl?: string;
  manageAllDeviceGroups?: boolean;
  /** Hash of the web certificate, which MeshCmd compares. */
  tlshash?: string;
  /** DNS suffixes for which there is an activation certificate. */
  amtAcmFqdn?: string[];
  timeout?: number;
  version?: string;
}

export interface Link {
  rights: number;
  name?: string;
  notify?: number;
}

export type Links = Record<string, Link>;

/** An account, without its secrets. Times are seconds since 1970. */
export interface User {
  _id: string;
  name: string;
  email?: string;
  emailVerified?: boolean;
  realname?: string;
  siteadmin?: number;
  creation?: number;
  login?: number;
  access?: number;
  /** -1: must be changed at the next login. */
  passchange?: number;
  links?: Links;
  otpsecret?: number;
  otpkeys?: number;
  otphkeys?: number;
  consent?: number;
  removeRights?: number;
  phone?: string;
  groups?: string[];
}

/** A device group (`mesh`). Times are milliseconds since 1970. */
export interface Group {
  _id: string;
  name: string;
  desc?: string;
  /** 1 Intel AMT, 2 agents, 3 local devices, 4 IP-KVM. */
  mtype: number;
  links?: Links;
  creation?: number;
  creatorname?: string;
  flags?: number;
  consent?: number;
  expireDevs?: number;
  invite?: { codes?: string[]; flags?: number };
  amt?: AmtPolicy;
}

/** What is to become of the Intel AMT of a group's computers (`meshamtpolicy`). */
export interface AmtPolicy {
  /** 0 nothing, 1 deactivate, 2 client control mode, 3 admin control mode, 4 fully automatic. */
  type: number;
  /** 1: there is one; a new one on its way in. */
  password?: number | string | null;
  /** 1: what is in client control mode under another password is activated anew. */
  badpass?: number;
  /** 0 leave it, 1 the firmware does not call, 2 it calls this server. */
  cirasetup?: number;
  /** Where admin control mode is impossible: 0 leave it, 1 deactivate, 2 client control mode. */
  ccm?: number;
}

/** A device (`node`). Times are milliseconds since 1970. */
export interface Device {
  _id: string;
  meshid: string;
  name: string;
  rname?: string;
  icon?: number;
  mtype?: number;
  host?: string | null;
  ip?: string;
  osdesc?: string;
  desc?: string;
  tags?: string[];
  users?: string[];
  lusers?: string[];
  agent?: { ver?: number; id?: number; caps?: number; core?: string; root?: boolean };
  /** Bits: 1 agent, 2 CIRA, 4 Intel AMT, 8 Intel AMT by a relay, 16 MQTT. */
  conn?: number;
  /** 0 unknown, 1 on, 2 to 4 sleep, 5 hibernate, 6 soft off, 7 present, 8 off. */
  pwr?: number;
  agct?: number;
  cict?: number;
  firstconnect?: number;
  lastbootuptime?: number;
  consent?: number;
  links?: Links;
  sessions?: Record<string, Record<string, number>>;
  intelamt?: { ver?: string; state?: number; flags?: number; sku?: number; user?: string; uuid?: string };
  av?: { product?: string; enabled?: boolean; updated?: boolean }[];
  defender?: { RealTimeProtection?: boolean; TamperProtected?: boolean };
  wsc?: { firewall?: string; antiVirus?: string; autoUpdate?: string };
}

export interface UserGroup {
  _id: string;
  name: string;
  desc?: string;
  links?: Links;
  consent?: number;
}

/** Something that happened. `time` is an ISO text in stored events and absent in transient ones. */
export interface Happening {
  action: string;
  etype?: string;
  time?: string;
  msg?: string;
  msgid?: number;
  msgArgs?: unknown[];
  userid?: string;
  username?: string;
  nodeid?: string;
  meshid?: string;
  ugrpid?: string;
  nolog?: number;
  [member: string]: unknown;
}

export interface Share {
  publicid: string;
  /** Bits: 1 terminal, 2 desktop, 4 files, 8 HTTP, 16 HTTPS. */
  p: number;
  userid?: string;
  guestName?: string;
  consent?: number;
  port?: number;
  url?: string;
  startTime?: number;
  expireTime?: number;
  duration?: number;
  recurring?: number;
  viewOnly?: boolean;
}

export interface LoginToken {
  name: string;
  tokenUser: string;
  created: number;
  /** Milliseconds since 1970; 0 is never. */
  expire: number;
}

/** The key part of an id: `node//abc` is `abc`. */
export function short(id: string): string {
  return id.slice(id.lastIndexOf("/") + 1);
}

/** The id of the same tenant with another kind and key. */
export function full(kind: "node" | "mesh" | "user" | "ugrp", domain: string, key: string): string {
  return `${kind}/${domain}/${key}`;
}
