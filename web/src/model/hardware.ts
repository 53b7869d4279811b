// The agent's report of its machine, put in order. The report is the agent's own words: everything
// is checked, clamped, and left out if it is not what it should be.

export interface Hardware {
  /** Titles with names and values. */
  parts: { title: string; facts: [string, string][] }[];
  memory: { place: string; size: number; kind: string }[];
  disks: { name: string; size: number }[];
  volumes: { name: string; size: number; free?: number }[];
}

export interface Interface {
  name: string;
  addresses: string[];
  mac: string;
  gateway: string;
  type: string;
  up: boolean;
}

const MOST = 64;

type Tree = Record<string, unknown>;

function tree(value: unknown): Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Tree) : {};
}

function list(value: unknown): Tree[] {
  const values = Array.isArray(value) ? value : Object.values(tree(value));
  return values.slice(0, MOST).filter((entry): entry is Tree => typeof entry === "object" && entry !== null);
}

function text(value: unknown): string {
  if (typeof value === "number" && Number.isFinite(value)) return String(value);
  return typeof value === "string" ? value.trim().slice(0, 300) : "";
}

function number(value: unknown): number {
  const number = typeof value === "string" ? Number(value.replace(/[^\d.]/g, "")) : Number(value);
  return Number.isFinite(number) && number > 0 ? number : 0;
}

/** `8 GB`, `8192 MB`, or plain bytes. */
export function size(value: unknown): number {
  const unit = typeof value === "string" ? /([kmgt])i?b/i.exec(value)?.[1]?.toLowerCase() : undefined;
  const factor = { k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 }[unit ?? ""] ?? 1;
  return number(value) * factor;
}

export function readHardware(value: unknown): Hardware {
  const hardware = tree(value);
  const ids = tree(hardware["identifiers"]);
  const windows = tree(hardware["windows"]);
  const linux = tree(hardware["linux"]);
  const darwin = tree(hardware["darwin"]);
  const mobile = tree(hardware["mobile"]);
  const system = tree(windows["osinfo"]);
  const part = (title: string, from: Tree, names: [string, string][]) => {
    const facts = names
      .map(([key, name]): [string, string] => [name, text(from[key])])
      .filter(([, value]) => value !== "");
    return { title, facts };
  };
  const processors = list(windows["cpu"])
    .map((cpu) => text(cpu["Name"]) || text(cpu["Caption"]))
    .filter(Boolean);
  const graphics = Array.isArray(ids["gpu_name"])
    ? ids["gpu_name"].map(text).filter(Boolean)
    : [text(ids["gpu_name"])].filter(Boolean);
  const parts = [
    part("System", system, [
      ["Caption", "Name"],
      ["Version", "Version"],
      ["OSArchitecture", "Architecture"],
      ["Domain", "Domain"],
    ]),
    part("Phone", mobile, [
      ["brand", "Brand"],
      ["model", "Model"],
      ["androidrelease", "Android"],
    ]),
    part("Mainboard", ids, [
      ["product_name", "Product"],
      ["board_vendor", "Maker"],
      ["board_name", "Board"],
      ["board_version", "Version"],
      ["board_serial", "Serial number"],
      ["chassis_serial", "Chassis"],
      ["product_uuid", "UUID"],
    ]),
    part("Firmware", ids, [
      ["bios_vendor", "Maker"],
      ["bios_version", "Version"],
      ["bios_mode", "Mode"],
      ["bios_serial", "Serial number"],
    ]),
    {
      title: "Processor",
      facts: [
        ["Processor", text(ids["cpu_name"]) || processors.join(", ")] as [string, string],
        ["Graphics", graphics.join(", ")] as [string, string],
      ].filter(([, value]) => value !== ""),
    },
  ].filter(({ facts }) => facts.length > 0);
  return {
    parts,
    memory: memory(windows, linux, darwin),
    disks: disks(ids),
    volumes: volumes(windows, linux, darwin),
  };
}

function memory(windows: Tree, linux: Tree, darwin: Tree): Hardware["memory"] {
  const modules = [
    ...list(windows["memory"]).map((m) => ({
      place: text(m["BankLabel"]) || text(m["DeviceLocator"]),
      size: number(m["Capacity"]),
      kind: [text(m["Speed"]) && `${text(m["Speed"])} MHz`, text(m["Manufacturer"])]
        .filter(Boolean)
        .join(", "),
    })),
    ...list(tree(linux["memory"])["Memory_Device"]).map((m) => ({
      place: text(m["Locator"]),
      size: size(m["Size"]),
      kind: [text(m["Type"]), text(m["Speed"]), text(m["Manufacturer"])]
        .filter((t) => t && t !== "Unknown")
        .join(", "),
    })),
    ...list(darwin["memory"]).map((m) => ({
      place: text(m["DeviceLocator"]),
      size: size(m["Size"]),
      kind: [text(m["Type"]), text(m["Speed"])].filter(Boolean).join(", "),
    })),
  ];
  return modules.filter(({ size }) => size > 0).map((m, n) => ({ ...m, place: m.place || `Slot ${n + 1}` }));
}

function disks(ids: Tree): Hardware["disks"] {
  return list(ids["storage_devices"])
    .map((disk) => ({ name: text(disk["Caption"]) || text(disk["Model"]), size: size(disk["Size"]) }))
    .filter(({ name }) => name !== "");
}

function volumes(...systems: Tree[]): Hardware["volumes"] {
  return systems.flatMap((system) =>
    Object.entries(tree(system["volumes"]))
      .slice(0, MOST)
      .map(([name, value]) => {
        const volume = tree(value);
        const free = volume["sizeremaining"] ?? volume["available"];
        const place = text(volume["mount_point"]) || (/^[A-Z]$/.test(name) ? `${name}:` : name);
        return {
          name: place,
          size: number(volume["size"]),
          ...(free !== undefined && { free: number(free) }),
        };
      })
      .filter(({ size }) => size > 0),
  );
}

/** Interfaces that lead somewhere; the loopback does not. */
export function readInterfaces(value: unknown): Interface[] {
  return Object.entries(tree(value))
    .slice(0, MOST)
    .map(([name, entries]): Interface => {
      const all = list(entries);
      const first = (member: string) => all.map((entry) => text(entry[member])).find(Boolean) ?? "";
      return {
        name: name.slice(0, 100),
        addresses: all.map((entry) => text(entry["address"])).filter(Boolean),
        mac: first("mac"),
        gateway: first("gateway"),
        type: first("type"),
        up: all.some((entry) => entry["status"] === "up"),
      };
    })
    .filter(
      ({ addresses, mac }) =>
        !addresses.includes("127.0.0.1") && (mac !== "00:00:00:00:00:00" || addresses.length > 0),
    )
    .sort((a, b) => Number(b.addresses.length > 0) - Number(a.addresses.length > 0));
}
