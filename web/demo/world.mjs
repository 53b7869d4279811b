// An invented installation: what the demonstration shows and the screenshots are made of. Every
// start makes the same one.

import { ACTIVATION } from "./firmware.mjs";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
export const FULL = 0xffffffff;

/** Numbers that look like chance and are always the same. */
function chance(seed) {
  let state = seed;
  return () => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@$";

function key(random) {
  return Array.from({ length: 64 }, () => LETTERS[Math.floor(random() * 64)]).join("");
}

const SYSTEMS = [
  ["Debian GNU/Linux 12 (bookworm)", 6, 7],
  ["Raspberry Pi OS 12 (bookworm)", 26, 7],
  ["Ubuntu 24.04.1 LTS", 6, 4],
  ["Microsoft Windows 11 Pro - 24H2/26100", 4, 1],
  ["Microsoft Windows 11 Home - 23H2/22631", 4, 2],
  ["Microsoft Windows Server 2022 Standard - 21H2/20348", 4, 4],
  ["macOS 15.1 Sequoia", 10005, 2],
  ["FreeBSD 14.1-RELEASE", 30, 4],
];

const NAMED = [
  // group, name, system, tags, user, state, desc
  [0, "study", 3, ["windows"], "clara", "on", "Clara's desk"],
  [0, "living-room", 1, ["media"], "", "on", "Behind the television"],
  [0, "kitchen-board", 1, ["board", "sensors"], "", "on", ""],
  [0, "clara-notebook", 6, [], "clara", "off", ""],
  [0, "old-laptop", 4, ["spare"], "", "off", "In the cupboard"],
  [0, "nas", 2, ["storage", "backup"], "", "on", "8 TB, mirrors to the workshop at night"],
  [1, "reception", 3, ["windows"], "front desk", "on", ""],
  [1, "till-1", 4, ["pos"], "till", "on", ""],
  [1, "till-2", 4, ["pos"], "", "sleep", ""],
  [1, "label-printer", 1, ["board", "printer"], "", "on", ""],
  [1, "camera-yard", 1, ["board", "camera"], "", "off", "North corner"],
  [1, "server-room", 5, ["server", "windows"], "administrator", "on", ""],
  [2, "cnc-mill", 0, ["machine"], "", "on", ""],
  [2, "lathe", 0, ["machine"], "", "off", ""],
  [2, "laser-cutter", 0, ["machine", "maintenance"], "operator", "on", "Service due in December"],
  [2, "gateway", 7, ["router"], "", "on", ""],
  [2, "plotter", 2, [], "", "seen", ""],
];

const GROUPS = [
  ["Home", "The family's machines and the small boards around the house"],
  ["Bakery", "Shop, office and the yard"],
  ["Workshop", "Machines and what steers them"],
];

const UUID = "4c4c4544-004b-4210-8033-b6c04f504633";

export function makeWorld({ devices: number = 0, now = Date.now() } = {}) {
  const random = chance(7);
  const me = "user//admin";
  const groups = GROUPS.map(([name, desc], n) => ({
    type: "mesh",
    _id: `mesh//${key(random)}`,
    name,
    desc,
    mtype: 2,
    domain: "",
    creation: now - (400 - n * 90) * DAY,
    creatorid: me,
    creatorname: "admin",
    consent: n === 1 ? 0b1001001 : 0,
    flags: n === 2 ? 2 : 0,
    links: {
      [me]: { name: "admin", rights: FULL },
      ...(n === 0 && { "user//clara": { name: "clara", rights: 8 | 16384 | 128 | 1048576 } }),
      ...(n === 1 && { "user//tom": { name: "tom", rights: 8 | 64 | 16384 | 262144 | 131072 | 1048576 } }),
    },
    ...(n === 0 && { amt: { type: 3, password: 1, badpass: 1, ccm: 2, cirasetup: 2 } }),
    ...(n === 1 && { invite: { codes: ["bakery-2026"], flags: 2 } }),
  }));
  const crew = {
    _id: `ugrp//${key(random)}`,
    type: "ugrp",
    name: "Workshop crew",
    desc: "Everybody at the machines",
    domain: "",
    links: {},
  };
  groups[2].links[crew._id] = { name: crew.name, rights: 8 | 64 | 16384 };
  crew.links = {
    "user//tom": { rights: 1 },
    "user//ines": { rights: 1 },
    [groups[2]._id]: { rights: 8 | 64 | 16384 },
  };

  const entries = [...NAMED];
  for (let n = 0; entries.length < number; n++) {
    const state = ["on", "on", "on", "off", "sleep"][Math.floor(random() * 5)];
    entries.push([
      n % 3,
      `station-${n + 1}`,
      Math.floor(random() * SYSTEMS.length),
      n % 4 === 0 ? ["floor"] : [],
      "",
      state,
      "",
    ]);
  }
  const lastconnects = {};
  const devices = entries.map(([group, name, system, tags, user, state, desc], n) => {
    const [osdesc, id, icon] = SYSTEMS[system];
    const since = now - Math.floor(random() * 9 * DAY) - 5 * MINUTE;
    const device = {
      type: "node",
      mtype: 2,
      _id: `node//${key(random)}`,
      meshid: groups[group]._id,
      icon: name === "gateway" ? 6 : name === "nas" ? 5 : icon,
      name,
      rname: name.toUpperCase().slice(0, 15),
      domain: "",
      agent: { ver: 0, id, caps: 31, core: "Nov 12 2025, 1093847563", root: true },
      host: null,
      ip: `192.168.${10 + group}.${(n % 240) + 10}`,
      osdesc,
      firstconnect: now - Math.floor((100 + random() * 300) * DAY),
      lastbootuptime: since - HOUR,
      tags,
      ...(desc && { desc }),
      ...(user && { users: [user] }),
    };
    if (state === "on") Object.assign(device, { conn: 1, pwr: 1, agct: since });
    if (state === "sleep") Object.assign(device, { conn: 4, pwr: 4 });
    if (state === "seen") Object.assign(device, { conn: 2, pwr: 1, cict: since });
    if (state !== "on") lastconnects[device._id] = now - Math.floor((0.2 + random() * 30) * DAY);
    if (osdesc.startsWith("Microsoft")) {
      device.av = [{ product: "Windows Defender", enabled: true, updated: name !== "till-2" }];
      device.wsc = { firewall: "OK", antiVirus: "OK", autoUpdate: name === "reception" ? "PROBLEM" : "OK" };
    }
    return device;
  });
  devices[0].sessions = { kvm: { "user//tom": 1 } };
  devices[0].intelamt = { ver: "16.1.25", state: 2, flags: 2, uuid: UUID };
  devices[11].links = { "user//ines": { rights: 8 | 16384 } };

  const seconds = (ms) => Math.floor(ms / 1000);
  const users = [
    user("admin", {
      siteadmin: FULL,
      realname: "Ada Berger",
      email: "ada@example.org",
      emailVerified: true,
      otpsecret: 1,
      otpkeys: 8,
      links: Object.fromEntries(groups.map(({ _id }) => [_id, { rights: FULL }])),
    }),
    user("clara", {
      realname: "Clara Berger",
      email: "clara@example.org",
      links: { [groups[0]._id]: groups[0].links["user//clara"] },
    }),
    user("tom", {
      realname: "Tom Fischer",
      siteadmin: 2,
      otphkeys: 1,
      links: { [groups[1]._id]: groups[1].links["user//tom"], [crew._id]: { rights: 1 } },
    }),
    user("ines", {
      email: "ines@example.org",
      links: { [crew._id]: { rights: 1 }, [devices[11]._id]: { rights: 8 | 16384 } },
    }),
    user("trainee", { siteadmin: 32, passchange: -1 }),
  ];
  function user(name, more) {
    return {
      _id: `user//${name}`,
      name,
      creation: seconds(now - 300 * DAY),
      passchange: seconds(now - 40 * DAY),
      login: seconds(now - Math.floor(random() * 20 * DAY)),
      links: {},
      ...more,
    };
  }

  const texts = [
    ["agentlog", "Started desktop session", 0, "tom"],
    ["changenode", "Changed device nas from group Home: desc, tags", 5, "admin"],
    ["runcommands", "Running commands", 11, "admin"],
    ["relaylog", "Ended desktop session from 192.168.11.40, 312 second(s)", 6, "tom"],
    ["agentlog", "Processing console command: netinfo", 12, "admin"],
    ["manual", "Replaced the power supply", 14, "ines"],
    ["login", "Account login from 192.168.10.20", null, "admin"],
    ["agentlog", "Displaying toast message, title=Update, message=Restart at six", 7, "tom"],
    ["changenode", "Moved device till-2 to group Bakery", 8, "admin"],
    ["relaylog", "Ended terminal session from 192.168.10.20, 48 second(s)", 15, "admin"],
  ];
  const events = Array.from({ length: 60 }, (_, n) => {
    const [action, msg, device, username] = texts[n % texts.length];
    return {
      action,
      msg,
      etype: device === null ? "user" : "node",
      username,
      userid: `user//${username}`,
      ...(device !== null && { nodeid: devices[device]._id, meshid: devices[device].meshid }),
      time: new Date(now - n * 47 * MINUTE - 90_000).toISOString(),
    };
  });

  const call = (minutes, remote, uuid, ended, texts) => ({
    remote,
    time: now - minutes * MINUTE,
    uuid,
    nodeid: texts.includes("let in") ? devices[0]._id : null,
    ended,
    steps: texts.map((text, n) => ({ ms: n * n * 3, text })),
  });
  const calls = [
    call(2, "198.51.100.20:61022", UUID, false, [
      "TCP",
      "offers TLS 1.2, suites c030 009f",
      "TLS 1.2 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
      `APF 1.0, trigger 3, UUID ${UUID}`,
      "let in",
      "connected, ports [16992, 16993, 16994, 16995]",
    ]),
    call(9, "198.51.100.20:61019", UUID, true, [
      "TCP",
      `APF 1.0, trigger 3, UUID ${UUID}`,
      "refused: wrong password",
    ]),
    call(50, "203.0.113.9:50002", null, true, [
      "TCP",
      "offered only TLS 1.0, suites 002f 0035; this build serves no such TLS (feature legacy-amt)",
    ]),
    call(51, "192.0.2.44:40001", null, true, ["TCP", "a browser; it was told what this port is for"]),
  ];
  const stats = Array.from({ length: 720 }, (_, n) => {
    const at = now - (719 - n) * HOUR;
    const hour = new Date(at).getHours();
    const open = hour >= 7 && hour <= 18 ? 4 : 0;
    return {
      time: new Date(at).toISOString(),
      conn: { ca: 7 + open + Math.round(random() * 1.4), us: 1 },
      mem: { rss: 6_100_000 + open * 60_000 + Math.round(random() * 200_000) },
      disk: { written: 1_200_000 + n * 5_000 },
    };
  });

  const timeline = (device) => {
    const start = seconds(now - 9.4 * DAY);
    const list = [0, start, 1];
    let at = start;
    const night =
      device.pwr === 1 && ["nas", "gateway", "living-room", "kitchen-board"].includes(device.name);
    while (!night && at < seconds(now) - 86_400) {
      const on = 30_000 + Math.floor(random() * 9_000);
      list.push(on, random() < 0.3 ? 4 : 8, 86_400 - on, 1);
      at += 86_400;
    }
    return list;
  };
  return {
    me,
    groups,
    devices,
    users,
    userGroups: { [crew._id]: crew },
    lastconnects,
    events,
    calls,
    stats,
    timeline,
    now,
  };
}

export const HARDWARE = {
  identifiers: {
    product_name: "Mini Desktop M4",
    board_vendor: "ExampleBoard",
    board_name: "B760I",
    board_version: "1.0",
    board_serial: "EB-2231-884",
    bios_vendor: "Example Firmware",
    bios_version: "F12",
    bios_mode: "UEFI",
    cpu_name: "13th Gen Example Core i5-1340P",
    gpu_name: ["Example Iris Xe"],
    storage_devices: [{ Caption: "NVMe 990 1TB", Size: 1000204886016 }],
  },
  linux: {
    memory: {
      Memory_Device: [
        { Locator: "DIMM A1", Size: "16384 MB", Type: "DDR5", Speed: "5600 MT/s", Manufacturer: "Kingstone" },
        { Locator: "DIMM B1", Size: "16384 MB", Type: "DDR5", Speed: "5600 MT/s", Manufacturer: "Kingstone" },
      ],
    },
    volumes: {
      root: { mount_point: "/", size: 982e9, available: 611e9 },
      data: { mount_point: "/srv", size: 8e12, available: 0.6e12 },
    },
  },
};

export const NETWORK = {
  lo: [{ mac: "00:00:00:00:00:00", type: "ethernet", status: "up", address: "127.0.0.1", family: "IPv4" }],
  eth0: [
    {
      mac: "02:4B:11:9A:30:01",
      type: "ethernet",
      status: "up",
      address: "192.168.10.15",
      family: "IPv4",
      gateway: "192.168.10.1",
    },
    { mac: "02:4B:11:9A:30:01", type: "ethernet", status: "up", address: "fd00::15", family: "IPv6" },
  ],
  wlan0: [{ mac: "02:4B:11:9A:30:02", type: "wireless", status: "down" }],
};

export const PROCESSES = Object.fromEntries(
  [
    [1, "root", "/sbin/init"],
    [412, "root", "/usr/lib/systemd/systemd-journald"],
    [530, "systemd-network", "/usr/lib/systemd/systemd-networkd"],
    [688, "root", "/usr/sbin/sshd -D"],
    [702, "root", "/usr/local/mesh_services/meshagent/meshagent"],
    [911, "postgres", "/usr/lib/postgresql/15/bin/postgres"],
    [1204, "clara", "/usr/bin/gnome-shell"],
    [1377, "clara", "/usr/lib/firefox/firefox"],
    [1402, "clara", "/usr/bin/gnome-terminal-server"],
    [2210, "www-data", "nginx: worker process"],
  ].map(([pid, user, cmd]) => [pid, { pid: String(pid), user, cmd }]),
);

export const SERVICES = [
  "cron",
  "dbus",
  "meshagent",
  "nginx",
  "postgresql",
  "ssh",
  "systemd-journald",
  "systemd-networkd",
].map((name) => ({
  name,
  serviceType: "systemd",
}));

export const HEALTH = {
  version: "0.1.0",
  uptime: 41 * 86_400 + 7200,
  memory: { resident: 6_400_000, cpuSeconds: 812 },
  agents: 11,
  sessions: 2,
  agentPackage: "1.1.55",
  certificates: [
    { role: "web", subject: "CN=board.example.org", notAfter: "2049-12-31T23:59:59Z" },
    { role: "agentserver", subject: "CN=MeshCentralAgentServer", notAfter: "2049-12-31T23:59:59Z" },
    { role: "mps", subject: "CN=board.example.org", notAfter: "2049-12-31T23:59:59Z" },
    { role: "root", subject: "CN=MeshCentralRoot", notAfter: "2049-12-31T23:59:59Z" },
  ],
  certificateErrors: [],
  activation: ACTIVATION,
  store: { degraded: null, unwritten: 0, bytesWritten: 4_812_331 },
  held: [
    {
      cause: "webHash",
      why: "it sees another TLS certificate than this server's",
      fix: "A proxy in between ends TLS: set certUrl of the domain to the proxy's address, and the certificate is followed when it changes.",
      address: "203.0.113.24",
      name: "workshop-pi",
      node: null,
      hash: "8F".repeat(48),
      first: Date.now() - 7_200_000,
      last: Date.now() - 240_000,
      times: 3,
      waiting: 1,
    },
    {
      cause: "unknownGroup",
      why: "neither the device nor its group is known here",
      fix: "Its group was removed, or is on another server: install it again from here, or import the old data folder.",
      address: "198.51.100.7",
      name: "till-2",
      node: "node//abc",
      hash: null,
      first: Date.now() - 86_400_000,
      last: Date.now() - 3_600_000,
      times: 14,
      waiting: 0,
    },
  ],
  refused: { agent_admission: 14, tls: 231, user_auth: 3, banned: 1, http: 56 },
};
