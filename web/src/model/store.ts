// What the page knows of the server, kept as it is by events. Frames go in with `apply`, pages read
// maps and a counter per kind; the counters change at most once per beat, however many events come.

import { signal, type Signal } from "@preact/signals";

import type { Device, Frame, Group, Happening, Link, User, UserGroup } from "../control/wire.ts";

export type Kind = "devices" | "groups" | "users" | "userGroups" | "events" | "me";

/** Live events kept. */
export const EVENTS_KEPT = 500;

export class Store {
  readonly #devices = new Map<string, Device>();
  readonly #groups = new Map<string, Group>();
  readonly #users = new Map<string, User>();
  readonly #userGroups = new Map<string, UserGroup>();
  readonly #sessions = new Map<string, number>();
  readonly #lastSeen = new Map<string, number>();
  #events: Happening[] = [];
  #me: User | null = null;
  /** Whether the first lists have come. */
  readonly loaded = signal(false);
  readonly changes: Record<Kind, Signal<number>> = {
    devices: signal(0),
    groups: signal(0),
    users: signal(0),
    userGroups: signal(0),
    events: signal(0),
    me: signal(0),
  };
  #changed = new Set<Kind>();
  #listeners = new Set<(event: Happening) => void>();

  /** `schedule` calls its argument once, soon; `reload` asks the server for all lists again. */
  constructor(
    private readonly schedule: (run: () => void) => void,
    private readonly reload: () => void,
    private readonly now: () => number = Date.now,
  ) {}

  // Whoever reads while drawing draws again when it changes.

  get devices(): ReadonlyMap<string, Device> {
    this.changes.devices.value;
    return this.#devices;
  }

  get groups(): ReadonlyMap<string, Group> {
    this.changes.groups.value;
    return this.#groups;
  }

  get users(): ReadonlyMap<string, User> {
    this.changes.users.value;
    return this.#users;
  }

  get userGroups(): ReadonlyMap<string, UserGroup> {
    this.changes.userGroups.value;
    return this.#userGroups;
  }

  /** Sessions of each account that is here now. */
  get sessions(): ReadonlyMap<string, number> {
    this.changes.users.value;
    return this.#sessions;
  }

  /** When a device was last here, milliseconds since 1970. */
  get lastSeen(): ReadonlyMap<string, number> {
    this.changes.devices.value;
    return this.#lastSeen;
  }

  /** Newest first. */
  get events(): readonly Happening[] {
    this.changes.events.value;
    return this.#events;
  }

  get me(): User | null {
    this.changes.me.value;
    return this.#me;
  }

  /** Calls `listener` with every event, after it was applied. */
  onEvent(listener: (event: Happening) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  setMe(user: User): void {
    this.#me = user;
    this.#touch("me");
  }

  clear(): void {
    for (const map of [this.#devices, this.#groups, this.#users, this.#userGroups, this.#sessions])
      map.clear();
    this.#lastSeen.clear();
    this.#events = [];
    this.#me = null;
    this.loaded.value = false;
    for (const kind of Object.keys(this.changes) as Kind[]) this.#touch(kind);
  }

  /** Takes a list the server sent, or an event. */
  apply(frame: Frame): void {
    switch (frame.action) {
      case "meshes":
        replace(this.#groups, list<Group>(frame["meshes"]));
        this.#touch("groups");
        break;
      case "nodes":
        this.#setDevices(record<Device[]>(frame["nodes"]));
        break;
      case "users":
        replace(this.#users, list<User>(frame["users"]));
        this.#touch("users");
        break;
      case "usergroups":
        replace(
          this.#userGroups,
          Object.entries(record<UserGroup>(frame["ugroups"])).map(([_id, group]) => ({ ...group, _id })),
        );
        this.#touch("userGroups");
        break;
      case "wssessioncount":
        fill(this.#sessions, record<number>(frame["wssessions"]));
        this.#touch("users");
        break;
      case "lastconnects":
        fill(this.#lastSeen, record<number>(frame["lastconnects"]));
        this.#touch("devices");
        break;
      case "event":
        this.#happened(frame["event"] as Happening);
        break;
    }
  }

  #setDevices(groups: Record<string, Device[]>): void {
    this.#devices.clear();
    for (const [meshid, devices] of Object.entries(groups)) {
      for (const device of list<Device>(devices)) this.#devices.set(device._id, { ...device, meshid });
    }
    this.loaded.value = true;
    this.#touch("devices");
  }

  #happened(event: Happening): void {
    if (typeof event !== "object" || event === null) return;
    this.#reduce(event);
    if (event.msg && !event.nolog) {
      const time = event.time ?? new Date(this.now()).toISOString();
      this.#events = [{ ...event, time }, ...this.#events.slice(0, EVENTS_KEPT - 1)];
      this.#touch("events");
    }
    for (const listener of this.#listeners) listener(event);
  }

  #reduce(event: Happening): void {
    switch (event.action) {
      case "nodeconnect":
        this.#connected(event);
        break;
      case "addnode":
      case "changenode":
      case "nodemeshchange":
        this.#changedDevice(event);
        break;
      case "removenode":
        if (this.#devices.delete(event.nodeid ?? "")) this.#touch("devices");
        break;
      case "devicesessions":
        this.#patch(event.nodeid, { sessions: record(event["sessions"]) });
        break;
      case "createmesh":
        this.#setGroup(event["mesh"] as Group);
        break;
      case "meshchange":
        this.#changedGroup(event);
        break;
      case "deletemesh":
        this.#removeGroup(event.meshid ?? "");
        break;
      case "accountcreate":
      case "accountchange":
        this.#changedAccount(event["account"] as User | undefined);
        break;
      case "accountremove":
        if (this.#users.delete(event.userid ?? "")) this.#touch("users");
        break;
      case "createusergroup":
      case "usergroupchange":
        this.#changedUserGroup(event);
        break;
      case "deleteusergroup":
        if (this.#userGroups.delete(event.ugrpid ?? "")) this.#touch("userGroups");
        break;
      case "wssessioncount":
        this.#counted(event);
        break;
      case "resync":
        this.reload();
        break;
    }
  }

  #connected(event: Happening): void {
    const id = event.nodeid ?? "";
    const device = this.#devices.get(id);
    if (!device) return;
    const conn = number(event["conn"]) ?? 0;
    const next = { ...device };
    delete next.conn;
    delete next.pwr;
    if (conn !== 0) {
      next.conn = conn;
      next.pwr = number(event["pwr"]) ?? 0;
      const before = device.conn ?? 0;
      if (conn & 1 && !(before & 1)) next.agct = number(event["ct"]) ?? this.now();
      if (conn & 2 && !(before & 2)) next.cict = number(event["ct"]) ?? this.now();
    } else if (device.conn) {
      this.#lastSeen.set(id, this.now());
      delete next.sessions;
    }
    this.#devices.set(id, next);
    this.#touch("devices");
  }

  /** A device document in an event is whole, but says nothing of the connection. */
  #changedDevice(event: Happening): void {
    const node = event["node"] as Partial<Device> | undefined;
    if (!node?._id) return;
    const known = this.#devices.get(node._id);
    const meshid = (event["newMeshId"] as string | undefined) ?? node.meshid ?? event.meshid ?? known?.meshid;
    if (meshid === undefined) return;
    const device = { ...node, meshid } as Device;
    if (known) {
      for (const member of ["conn", "pwr", "agct", "cict", "sessions"] as const) {
        if (device[member] === undefined && known[member] !== undefined) {
          Object.assign(device, { [member]: known[member] });
        }
      }
    }
    // A device that went to a group of somebody else is gone from here.
    if (event.action === "nodemeshchange" && !this.#groups.has(meshid) && this.#groups.size > 0) {
      this.#devices.delete(device._id);
    } else {
      this.#devices.set(device._id, device);
    }
    this.#touch("devices");
  }

  #patch(id: string | undefined, change: Partial<Device>): void {
    const device = this.#devices.get(id ?? "");
    if (!device) return;
    this.#devices.set(device._id, { ...device, ...change });
    this.#touch("devices");
  }

  #setGroup(group: Group | undefined): void {
    if (!group?._id) return;
    this.#groups.set(group._id, group);
    this.#touch("groups");
  }

  #changedGroup(event: Happening): void {
    const id = event.meshid ?? "";
    const known = this.#groups.get(id);
    const next = { ...known, _id: id } as Record<string, unknown>;
    for (const member of [
      "name",
      "mtype",
      "desc",
      "links",
      "consent",
      "flags",
      "expireDevs",
      "invite",
      "amt",
    ]) {
      if (event[member] !== undefined) next[member] = event[member];
    }
    const group = next as unknown as Group;
    const mine = this.#me !== null && this.#sees(group);
    if (known && !mine) this.#removeGroup(id);
    else if (known) this.#setGroup(group);
    // A group that was given to us comes with devices that we have not seen.
    else if (mine) this.reload();
  }

  #sees(group: Group): boolean {
    const me = this.#me as User;
    if (group.links === undefined) return true;
    const holders = [me._id, ...Object.keys(me.links ?? {})];
    return holders.some((holder) => group.links?.[holder]) || me.links?.[group._id] !== undefined;
  }

  #removeGroup(id: string): void {
    if (!this.#groups.delete(id)) return;
    for (const device of this.#devices.values()) {
      if (device.meshid === id) this.#devices.delete(device._id);
    }
    this.#touch("groups");
    this.#touch("devices");
  }

  #changedAccount(account: User | undefined): void {
    if (!account?._id) return;
    if (this.#users.size > 0 || this.#users.has(account._id)) {
      this.#users.set(account._id, account);
      this.#touch("users");
    }
    if (account._id !== this.#me?._id) return;
    const before = links(this.#me);
    this.setMe(account);
    if (links(account) !== before) this.reload();
  }

  #changedUserGroup(event: Happening): void {
    const id = event.ugrpid ?? "";
    const known = this.#userGroups.get(id);
    const group = { ...known, _id: id } as UserGroup;
    for (const member of ["name", "desc", "consent"] as const) {
      if (event[member] !== undefined) Object.assign(group, { [member]: event[member] });
    }
    if (event["links"]) group.links = record<Link>(event["links"]);
    this.#userGroups.set(id, group);
    this.#touch("userGroups");
    if (this.#me?.links?.[id]) this.reload();
  }

  #counted(event: Happening): void {
    const count = number(event["count"]) ?? 0;
    if (count > 0) this.#sessions.set(event.userid ?? "", count);
    else this.#sessions.delete(event.userid ?? "");
    this.#touch("users");
  }

  #touch(kind: Kind): void {
    const first = this.#changed.size === 0;
    this.#changed.add(kind);
    if (first) this.schedule(() => this.#flush());
  }

  #flush(): void {
    const changed = [...this.#changed];
    this.#changed.clear();
    for (const kind of changed) this.changes[kind].value += 1;
  }
}

function links(user: User): string {
  return Object.entries(user.links ?? {})
    .map(([id, { rights }]) => `${id} ${rights}`)
    .sort()
    .join("\n");
}

function replace<T extends { _id: string }>(map: Map<string, T>, values: T[]): void {
  map.clear();
  for (const value of values) map.set(value._id, value);
}

function fill(map: Map<string, number>, values: Record<string, number>): void {
  map.clear();
  for (const [id, value] of Object.entries(values)) map.set(id, value);
}

function list<T>(value: unknown): T[] {
  return Array.isArray(value) ? (value as T[]) : [];
}

function record<T>(value: unknown): Record<string, T> {
  return typeof value === "object" && value !== null ? (value as Record<string, T>) : {};
}

function number(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}
