// The agent at the other end of every tunnel: a shell that shows one thing, a folder, a picture.

const ESCAPE = "\x1b";
const PROMPT = `${ESCAPE}[1;32mroot@nas${ESCAPE}[0m:${ESCAPE}[1;34m~${ESCAPE}[0m# `;

const SHELL = [
  `${PROMPT}df -h /srv`,
  "Filesystem      Size  Used Avail Use% Mounted on",
  `/dev/sda1       7.3T  6.7T  ${ESCAPE}[33m559G  93%${ESCAPE}[0m /srv`,
  `${PROMPT}systemctl status nginx --no-pager | head -4`,
  `${ESCAPE}[1;32m●${ESCAPE}[0m nginx.service - A high performance web server and a reverse proxy server`,
  "     Loaded: loaded (/lib/systemd/system/nginx.service; enabled)",
  `     Active: ${ESCAPE}[1;32mactive (running)${ESCAPE}[0m since Mon 2026-11-16 06:25:04 CET; 6 days ago`,
  "   Main PID: 2209 (nginx)",
  PROMPT,
].join("\r\n");

const FOLDER = [
  ["backup", 2, 0, 1],
  ["music", 2, 0, 40],
  ["photos", 2, 0, 3],
  ["2026-11-inventory.ods", 3, 48_213, 2],
  ["disk-report.txt", 3, 2_104, 0],
  ["firmware-4.2.bin", 3, 33_554_432, 12],
  ["nas-2026-11-21.tar.gz", 3, 4_812_331_008, 1],
  ["notes.md", 3, 911, 5],
];

/** Plays the agent of a tunnel whose viewer comes with `protocol`. `picture` is a JPEG of 1280×720. */
export function session(socket, protocol, { now, picture }) {
  socket.send("c");
  socket.on("message", (data, isBinary) => {
    const text = isBinary ? "" : data.toString();
    if (text === String(protocol)) begin();
    else if (text.startsWith("{")) answer(JSON.parse(text));
  });
  const begin = () => {
    if (protocol === 1) socket.send(Buffer.from(SHELL));
    else if (protocol === 2) for (const message of desktop(picture)) socket.send(message);
  };
  const answer = ({ action, type, reqid, path, time }) => {
    if (type === "rtt") socket.send(JSON.stringify({ ctrlChannel: "102938", type, time }));
    if (action !== "ls") return;
    const dir = FOLDER.map(([n, t, s, days]) => ({
      n,
      t,
      s,
      d: new Date(now - days * 86_400_000).toISOString(),
    }));
    socket.send(Buffer.from(JSON.stringify({ path, reqid, dir: path === "/" ? dir : [] })));
  };
}

function desktop(picture) {
  const word = (number) => [number >> 8, number & 0xff];
  const size = Buffer.from([0, 7, 0, 8, ...word(1280), ...word(720)]);
  if (!picture) return [size];
  const length = Buffer.alloc(4);
  length.writeUInt32BE(picture.length + 8);
  // Longer than a command may be: in a wrapper that tells its length in 32 bits.
  const image = Buffer.concat([
    Buffer.from([0, 27, 0, 8]),
    length,
    Buffer.from([0, 3, 0, 0, 0, 0, 0, 0]),
    picture,
  ]);
  return [size, image];
}
