// A server that plays the invented installation, for looking at the page and for its screenshots.
// It checks nothing and keeps nothing: it is no server for anything else.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join } from "node:path";

import { WebSocketServer } from "ws";

import { activations, firmware } from "./firmware.mjs";
import { session } from "./sessions.mjs";
import { FULL, HARDWARE, HEALTH, makeWorld, NETWORK, PROCESSES, SERVICES } from "./world.mjs";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};

const PAGES = { "/": "index.html", "/sharing": "guest.html", "/messenger": "chat.html" };

/** The same policy the program sends, so that a breach shows here first. */
export function policy(host) {
  return (
    `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; ` +
    `connect-src 'self' ws://${host} wss://${host}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; ` +
    `require-trusted-types-for 'script'; trusted-types meshboard`
  );
}

/** Serves `dist` on a loopback port. `face` is what a visitor meets: in, login, setup. `picture` is what
 * desktops show, a JPEG of 1280×720. */
export async function serve({ dist, port = 0, face = "in", devices = 0, picture }) {
  const world = makeWorld({ devices });
  const state = { face, sockets: new Set(), world };
  const server = createServer((request, response) => void answer(request, response, dist, state));
  const sockets = new WebSocketServer({ server });
  sockets.on("connection", (socket, { url }) =>
    url.startsWith("/meshrelay.ashx")
      ? tunnel(socket, url, { now: world.now, picture })
      : converse(socket, state),
  );
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    world,
    state,
    /** Tells every page of an event. */
    event: (event) => {
      for (const socket of state.sockets) socket.send(JSON.stringify({ action: "event", event }));
    },
    cut: () => {
      for (const socket of state.sockets) socket.terminate();
    },
    close: () => {
      for (const socket of state.sockets) socket.terminate();
      server.closeAllConnections();
      server.close();
    },
  };
}

async function answer(request, response, dist, state) {
  const { pathname } = new URL(request.url, "http://demo");
  const json = (body, status = 200) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  };
  if (request.method === "POST") {
    let text = "";
    for await (const piece of request) text += piece;
    switch (pathname) {
      case "/login": {
        const { password, token } = JSON.parse(text);
        if (password === "wrong") return json({ result: "noauth" }, 401);
        if (password === "factor" && !token) {
          const hkey = { challenge: "AAAA", keyIds: [] };
          return json(
            { result: "tokenrequired", twoFactorCookieDays: 30, ways: ["app", "key"], hwstate: "x", hkey },
            401,
          );
        }
        if (password === "old") return json({ result: "passwordchange", hwstate: "x" }, 403);
        state.face = "in";
        return json({ result: "ok" });
      }
      case "/logout":
        state.face = "login";
        return json({ result: "ok" });
      case "/setup":
        state.face = "login";
        return json({ message: "done" });
      case "/sharing":
        if (JSON.parse(text).c === "") return json({ closed: "gone" }, 404);
        return json({
          device: "label-printer",
          guest: "Support, Example GmbH",
          by: "Mara Berger",
          title: "Berger",
          usages: [2, 1, 6, 8, 9, 5, 10],
          viewOnly: false,
          limited: false,
          until: state.world.now + 5_400_000,
          online: true,
          agent: { id: 6, caps: 31 },
          cookie: "x",
        });
      case "/messenger":
        if (JSON.parse(text).c === undefined) return json({ closed: "gone" }, 404);
        return json({ who: "Mara Berger", device: "reception", title: "Berger", query: "id=x", next: "x" });
    }
  }
  if (pathname === "/welcome") {
    return json({
      setup: state.face === "setup",
      register: false,
      title: "Berger",
      subtitle: "board.example.org",
      version: "0.1.0",
    });
  }
  const path = PAGES[pathname] ?? pathname.slice(1);
  try {
    const content = await readFile(join(dist, path.replace(/\.\./g, "")));
    response.writeHead(200, {
      "content-type": TYPES[extname(path)] ?? "text/plain",
      "content-security-policy": policy(request.headers.host),
    });
    response.end(content);
  } catch {
    response.writeHead(404);
    response.end("not found");
  }
}

function tunnel(socket, url, world) {
  const protocol = Number(new URL(url, "http://demo").searchParams.get("p"));
  if ([1, 2, 5].includes(protocol)) session(socket, protocol, world);
  else talk(socket);
}

/** The other side of every chat. */
function talk(socket) {
  const say = (message) => socket.send(JSON.stringify(message));
  socket.send("c");
  say({ action: "chat", msg: "Good morning! Is the printer still slow?" });
  say({ action: "chat", msg: "I can have a look while you\nfetch your coffee." });
  say({ action: "file", id: 1, name: "printer-driver-4.2.zip", size: 2_400_000, type: "" });
  socket.on("message", (data) => {
    const { action, msg } = JSON.parse(data);
    if (action === "chat" && msg.endsWith("?")) say({ action: "outtext", value: true });
  });
}

function converse(socket, state) {
  const { world } = state;
  const send = (frame) => socket.send(JSON.stringify(frame));
  if (state.face !== "in") {
    send({ action: "close", cause: "noauth", msg: "noauth" });
    socket.close();
    return;
  }
  state.sockets.add(socket);
  socket.on("close", () => state.sockets.delete(socket));
  send({
    action: "serverinfo",
    serverinfo: {
      name: "board.example.org",
      domain: "",
      domainsuffix: "",
      port: 443,
      features: 0x1000 | 0x20000 | 0x100000,
      features2: 0x80,
      mpsname: "board.example.org",
      mpsport: 4433,
      amtAcmFqdn: ["example.org"],
      tlshash: "8F".repeat(48),
      certExpire: 2524521600000,
    },
  });
  send({ action: "userinfo", userinfo: world.users[0] });
  socket.on("message", (data) => {
    const request = JSON.parse(data);
    for (const frame of reply(request, world)) {
      const marks = frame.bare ? {} : { responseid: request.responseid, tag: request.tag };
      send({ action: request.action, ...marks, ...frame });
    }
  });
}

function reply(request, world) {
  const device = world.devices.find(({ _id }) => _id === request.nodeid);
  switch (request.action) {
    case "ping":
      return [{ action: "pong" }];
    case "meshes":
      return [{ meshes: world.groups }];
    case "nodes": {
      const nodes = Object.fromEntries(world.groups.map(({ _id }) => [_id, []]));
      for (const device of world.devices) nodes[device.meshid].push(device);
      return [{ nodes }];
    }
    case "lastconnects":
      return [{ lastconnects: world.lastconnects }];
    case "users":
      return [{ users: world.users }];
    case "usergroups":
      return [{ ugroups: world.userGroups }];
    case "wssessioncount":
      return [{ wssessions: { "user//admin": 2, "user//tom": 1 } }];
    case "events":
      return [
        {
          events: world.events
            .filter(({ nodeid }) => !request.nodeid || nodeid === request.nodeid)
            .slice(0, request.limit),
        },
      ];
    case "powertimeline":
      return [{ timeline: world.timeline(device) }];
    case "getsysinfo":
      return [{ hardware: HARDWARE, time: world.now - 3_600_000 }];
    case "getnetworkinfo":
      return [{ netif2: NETWORK, updateTime: world.now - 3_600_000 }];
    case "amtread":
      return [{ nodeid: request.nodeid, ...firmware(request.what, world.now) }];
    case "amtset":
    case "amtpower":
    case "amtboot":
      return [{ nodeid: request.nodeid, result: "ok" }];
    case "amtactivations":
      return [{ activations: activations(world.now) }];
    case "getNotes":
      return [
        {
          id: request.id,
          notes: encodeURIComponent(
            "Admin password is in the safe.\nFan replaced in March; next check in autumn.",
          ),
        },
      ];
    case "authcookie":
      return [{ cookie: "x", rcookie: "x" }];
    case "deviceShares":
      return [
        {
          deviceShares: [
            {
              p: 2,
              publicid: "a1",
              userid: "user//admin",
              guestName: "Support, Example GmbH",
              consent: 8,
              url: "https://board.example.org/sharing?c=Zk3",
              expireTime: world.now + 5_400_000,
              startTime: world.now - 1000,
              viewOnly: true,
            },
            {
              p: 5,
              publicid: "a2",
              userid: "user//tom",
              guestName: "Night watch",
              consent: 0,
              startTime: world.now,
              recurring: 1,
              duration: 60,
            },
          ],
        },
      ];
    case "msg":
      return message(request);
    case "runcommands":
      return [
        {
          action: "msg",
          type: "runcommands",
          result: "up 9 days,  2:14,  1 user,  load average: 0.08, 0.03, 0.01\n",
        },
      ];
    case "previousLogins":
      return [
        {
          events: [107, 107, 110, 107].map((m, n) => ({
            t: new Date(world.now - n * 9e7).toISOString(),
            m,
            a: [`192.168.10.${20 + n}`],
          })),
        },
      ];
    case "websessions":
      return [
        {
          sessions: [
            {
              id: "1",
              ip: "192.168.10.20",
              agent: "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
              since: world.now - 3e6,
              current: true,
            },
            {
              id: "2",
              ip: "192.168.10.44",
              agent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18) Safari/604.1",
              since: world.now - 2e8,
              current: false,
            },
          ],
        },
      ];
    case "otp-hkey-get":
      return [{ keys: [{ i: 1, name: "Blue key on the ring", type: 1 }] }];
    case "otpauth-request":
      return [
        {
          secret: "JBSWY3DPEHPK3PXP",
          url: "otpauth://totp/board.example.org:admin?secret=JBSWY3DPEHPK3PXP&issuer=meshboard",
        },
      ];
    case "otpauth-getpasswords":
      return [
        { passwords: Array.from({ length: 10 }, (_, n) => ({ p: 10_345_678 + n * 7_919_113, u: n > 1 })) },
      ];
    case "loginTokens":
      return [
        {
          loginTokens: [
            { name: "backup script", tokenUser: "~t:abc", created: 0, expire: world.now + 9e9 },
            { name: "status display", tokenUser: "~t:def", created: 0, expire: 0 },
          ],
        },
      ];
    case "createLoginToken":
      return [
        {
          name: request.name,
          tokenUser: "~t:H3k2mQ9vXw71LpZs",
          tokenPass: "qN8xR2vYb6TzKd0WmJ4u",
          created: 0,
          expire: 0,
        },
      ];
    case "createInviteLink":
      return [
        {
          url: "https://board.example.org/agentinvite?c=9tDq1uCeAacPeVzbJrRhWRcHymGCP6UBWfJnS07H",
          result: "ok",
        },
      ];
    case "createDeviceShareLink":
      return [
        { url: "https://board.example.org/sharing?c=23YOUw9z4nzYSTovfOTyamp4qAxTjNbgD2tI", result: "OK" },
      ];
    case "mpsjournal":
      return [
        { journal: world.calls.filter(({ uuid }) => request.uuid === undefined || uuid === request.uuid) },
      ];
    case "mpssetup":
      return [
        {
          setup: {
            host: "board.example.org",
            port: 4433,
            user: request.meshid.slice(6, 22).replace(/[@$]/g, "X"),
            password: "Ab2!Cd3@Ef4$Gh5*",
            root: "MeshServerRootCert.cer",
          },
        },
      ];
    case "serverstats":
      if (!request.interval) return [];
      return [
        {
          bare: true,
          totalmem: 3.9e9,
          freemem: 1.1e9,
          availablemem: 2.9e9,
          cpuavg: [0.12, 0.1, 0.09],
          values: {
            ServerState: {
              AgentSessions: world.devices.filter((d) => d.conn & 1).length,
              ConnectedUsers: 2,
              RelaySessions: 1,
            },
          },
        },
      ];
    case "servertimelinestats":
      return [{ events: world.stats.slice(-request.hours) }];
    case "serverconfig":
      return [
        {
          data: "{}",
          check: {
            problems: [],
            warnings: ["config.json:14:7: settings.plugins: plugins are not supported"],
          },
        },
      ];
    case "serverhealth":
      return [HEALTH];
    case "serverconsole":
      return [{ value: `Unknown command "${request.value}", type "help" for list of available commands.` }];
    case "changedevice":
      Object.assign(device, { name: request.name ?? device.name });
      return [
        {
          action: "event",
          bare: true,
          event: {
            action: "changenode",
            nodeid: device._id,
            node: device,
            msg: `Changed device ${device.name}`,
          },
        },
        { result: "ok" },
      ];
    case "wakedevices":
      return [{ result: "Used 2 device(s) to send wake packets" }];
    case "addmeshuser":
      return [{ result: "Added user", success: 1, failed: 0 }];
    default:
      return request.responseid ? [{ result: "ok" }] : [];
  }
}

function message(request) {
  const from = (value) => ({ bare: true, action: "msg", type: request.type, nodeid: request.nodeid, value });
  switch (request.type) {
    case "ps":
      return [{ result: "OK" }, from(JSON.stringify(PROCESSES))];
    case "services":
      return [{ result: "OK" }, from(JSON.stringify(SERVICES))];
    case "console":
      return [
        { result: "OK" },
        from(
          request.value === "info"
            ? "Current Core: Nov 12 2025, 1093847563\r\nPlatform: linux.\r\nServer URL: wss://board.example.org/agent.ashx."
            : 'Unknown command, type "help" for list of available commands.',
        ),
      ];
    default:
      return [{ result: "OK" }];
  }
}

export { FULL };
