// What the invented firmware answers: the questions of the Intel AMT panel.

const DAY = 86_400_000;

const answers = {
  power: () => ({ state: 2, offered: [2, 5, 8, 10, 12, 14], pwr: 1 }),
  hardware: () => ({
    identifiers: {
      board_vendor: "ExampleBoard",
      board_name: "Q670",
      board_serial: "EB-7781-210",
      bios_vendor: "Example Firmware",
      bios_version: "1.14",
      cpu_name: "13th Gen Example Core i7-13700",
      storage_devices: [{ Caption: "NVMe 990 1TB", Size: 1000204886016 }],
    },
    windows: {
      memory: [
        { BankLabel: "BANK 0", Capacity: 17179869184, Manufacturer: "Example" },
        { BankLabel: "BANK 1", Capacity: 17179869184, Manufacturer: "Example" },
      ],
    },
  }),
  network: () => ({
    Ethernet: [{ address: "192.168.10.21", mac: "00:BE:43:D8:22:A4", gateway: "192.168.10.1" }],
  }),
  changes: (now) => [
    { time: now - 3 * DAY, path: "identifiers.bios_version", was: "1.12", is: "1.14" },
    { time: now - 90 * DAY, path: "windows.memory.1.Capacity", was: null, is: "17179869184" },
  ],
  software: () => ({ AMT: "16.1.25", Flash: "16.1.25", Netstack: "16.1.25" }),
  certificates: () => [
    { subject: "CN=MeshCentralRoot", issuer: "CN=MeshCentralRoot", root: true },
    { subject: "CN=study", issuer: "CN=MeshCentralRoot", root: false },
  ],
  events: (now) => [
    { time: Math.floor(now / 1000) - 4000, severity: 16, sensor: 30, offset: 0, text: "No bootable medium" },
    {
      time: Math.floor(now / 1000) - 9000,
      severity: 8,
      sensor: 6,
      offset: 2,
      text: "Authentication failed 3 times",
    },
    {
      time: Math.floor(now / 1000) - 90_000,
      severity: 2,
      sensor: 37,
      offset: 0,
      text: "The firmware has started",
    },
  ],
  audit: (now) => [
    {
      time: Math.floor(now / 1000) - 7000,
      app: 16,
      event: 1,
      text: "Remote session opened",
      initiator: "admin",
      address: "192.168.10.2",
    },
  ],
  settings: (now) => ({
    serial: true,
    storage: true,
    desktop: false,
    consent: "desktop",
    consentTimeout: 120,
    clock: { firmware: Math.floor(now / 1000) - 47, server: Math.floor(now / 1000) },
    hostname: "study",
    domain: "example.org",
    tls: { remote: true, local: false, mutual: false },
    cira: {
      servers: [{ address: "board.example.org", port: 4433 }],
      triggers: ["periodic", "user"],
      home: ["nowhere.example"],
      connected: true,
    },
    wireless: [{ name: "Office", ssid: "berger-office", security: "WPA2 PSK" }],
  }),
  users: () => [
    { name: "admin", access: "any", realms: [], enabled: true, admin: true },
    { handle: 1, name: "$$uns", access: "local", realms: [16], enabled: true },
    { handle: 2, name: "helpdesk", access: "network", realms: [2, 5, 19], enabled: true },
    { handle: 3, name: "archive", access: "any", realms: [20], enabled: false },
  ],
  alarms: (now) => [
    { name: "Nightly", start: Math.floor(now / 1000) + 30_000, interval: 86_400, removed: false },
  ],
};

/** The value for `what`, or the sentence that there is none. */
export function firmware(what, now) {
  const value = answers[what]?.(now);
  return value === undefined ? { what, result: "Intel AMT does not answer" } : { what, value };
}

export const ACTIVATION = {
  certificates: [
    { name: "vendor", domain: "example.org", notAfter: "2026-12-09", root: "45140b3247eb9cc8".repeat(4) },
  ],
  warnings: [
    "Unable to order the certificates of “spare”: the one that issued CN=amt.example.net is missing.",
  ],
};

export function activations(now) {
  const uuid = "4c4c4544-004b-4210-8033-b6c04f504633";
  const line = (minutes, action, more) => ({
    time: new Date(now - minutes * 60_000).toISOString(),
    action,
    amtUuid: uuid,
    ipport: "192.168.10.21",
    ...more,
  });
  const more = { amtFqdn: "example.org", computerName: "study", nodeid: "node//gone" };
  return [
    line(20, "acmactivate-success"),
    line(21, "acmactivate", more),
    line(60, "ccmactivate-failed", { amtUuid: "03000200-0400-0500-0006-000700080009" }),
    line(61, "ccmactivate", {
      amtUuid: "03000200-0400-0500-0006-000700080009",
      computerName: "till-3",
      nodeid: "x",
    }),
  ];
}
