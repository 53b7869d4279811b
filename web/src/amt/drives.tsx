// Images on the server become drives of a device, which reads them through its firmware.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import type { Device } from "../control/wire.ts";
import { client, Feature, feature, me } from "../app/state.ts";
import { bytes, plain } from "../model/format.ts";
import { Site, siteHas } from "../model/rights.ts";
import { Button, Card, Empty, Notice } from "../parts/basic.tsx";
import { confirm } from "../parts/dialog.tsx";
import { Select } from "../parts/field.tsx";
import { CONSENT, endWords } from "./console.ts";
import { errorWords, imagesIn, Reading, type DriveImage } from "./reading.ts";
import { SendImage } from "./image.tsx";
import { Consent, useConsole } from "./seat.tsx";

type Stage = "choosing" | "reaching" | "letting in" | "offered" | "over";

const WORDS: Record<Stage, string> = {
  choosing: "",
  reaching: "Reaching Intel AMT…",
  "letting in": "Intel AMT switches the drives over…",
  offered: "The device has the drives. It keeps them while this page is open.",
  over: "The drives are taken back.",
};

/** States as the server numbers them. */
const STAGES: Stage[] = ["over", "reaching", "letting in", "offered"];

const STARTS: ["0" | "1" | "2", string][] = [
  ["2", "At once"],
  ["1", "Without disturbing what runs"],
  ["0", "When it boots the next time"],
];

export default function DrivesView({ device, mayBoot }: { device: Device; mayBoot: boolean }) {
  const images = useSignal<{ floppy: DriveImage[]; cdrom: DriveImage[] } | null>(null);
  const floppy = useSignal("");
  const cdrom = useSignal("");
  const start = useSignal<"0" | "1" | "2">("2");
  const stage = useSignal<Stage>("choosing");
  const failure = useSignal("");
  const readings = useSignal<Reading[]>([]);
  const sent = useSignal(0);
  const socket = useRef<WebSocket | null>(null);

  const hear = (said: Record<string, unknown>) => {
    switch (said["action"]) {
      case "images":
        images.value = { floppy: imagesIn(said["floppy"]), cdrom: imagesIn(said["cdrom"]) };
        return;
      case "error":
        failure.value = errorWords(said["code"]);
        stage.value = "choosing";
        return;
      case "state":
        stage.value = STAGES[Number(said["state"])] ?? stage.value;
        return;
      case "stats": {
        const [dev, total] = [Number(said["dev"]), Number(said["total"])];
        const all = [...readings.value];
        if (said["mode"] === 0) all[dev] = new Reading(total);
        else all[dev]?.read(Number(said["start"]), Number(said["len"]));
        readings.value = all;
        sent.value = Number(said["toAmt"]) || sent.value;
        return;
      }
      default:
        return;
    }
  };
  const session = useConsole("webider.ashx", { host: device._id }, (made) => {
    socket.current = made;
    failure.value = "";
    stage.value = "choosing";
    readings.value = [];
    made.addEventListener("open", () => made.send(JSON.stringify({ action: "images" })));
    made.addEventListener("message", ({ data }) => {
      try {
        if (typeof data === "string") hear(JSON.parse(data) as Record<string, unknown>);
      } catch {
        // Not for us.
      }
    });
    made.addEventListener("close", ({ code }) => {
      if (code !== 1000) failure.value = endWords(code);
    });
    return () => {
      if (socket.current === made) socket.current = null;
    };
  });
  useEffect(() => session.start(), []);

  /** Asks for the images again, and chooses the one that has just come. */
  const look = (name: string) => {
    (/\.iso$/i.test(name) ? cdrom : floppy).value = name;
    if (session.state.peek().is === "open") socket.current?.send(JSON.stringify({ action: "images" }));
    else session.start();
  };
  const begin = () => {
    failure.value = "";
    const args = {
      ider: 1,
      floppyPath: encodeURIComponent(floppy.value),
      cdromPath: encodeURIComponent(cdrom.value),
      iderStart: Number(start.value),
    };
    socket.current?.send(JSON.stringify({ action: "dialogResponse", args }));
  };
  /** Starts the device from what it was lent. */
  const boot = (target: "redirected-optical" | "redirected-floppy") =>
    confirm(
      "Start the device from this drive?",
      <p>It is switched on, or started anew without asking its system: what is not saved there is lost.</p>,
      "Start it",
      async () => {
        const { result } = await client.ask("amtboot", { nodeid: device._id, target });
        if (result !== "ok") throw new Error(plain(String(result)));
      },
    );
  const state = session.state.value;
  const ended = state.is === "ended";
  const known = images.value;
  const busy = !ended && stage.value !== "choosing";
  const none = known !== null && known.floppy.length + known.cdrom.length === 0;
  const own = [...(known?.floppy ?? []), ...(known?.cdrom ?? [])].map(({ path }) => path);
  const sends = siteHas(me(), Site.files) && !feature(Feature.noUserFiles);
  return (
    <div class="stack wide">
      {failure.value !== "" && (
        <Notice kind="bad">
          {failure.value}{" "}
          {state.is === "ended" && state.code === CONSENT && (
            <Consent session={session} nodeid={device._id} name={device.name} />
          )}
        </Notice>
      )}
      <Card title="Drives">
        {none ? (
          <Empty icon="disk" title="There are no disk images">
            <p>
              Images are files on the server whose names end in .iso or .img: yours, and those of device
              groups whose files you may use.
            </p>
            {sends && <SendImage there={[]} sent={look} />}
            <Button icon="restart" onClick={() => session.start()}>
              Look again
            </Button>
          </Empty>
        ) : (
          <div class="stack">
            <p class="muted">
              The device sees them as a CD-ROM and a floppy disk, and reads only. To start from one, switch
              the device on with this as its boot source.
            </p>
            <Choice label="CD-ROM" images={known?.cdrom ?? []} value={cdrom} disabled={busy} />
            <Choice label="Floppy disk" images={known?.floppy ?? []} value={floppy} disabled={busy} />
            <Select
              label="From when on"
              value={start.value}
              options={STARTS}
              onValue={(value) => (start.value = value)}
            />
            <div class="toolbar">
              {busy ? (
                <Button icon="stop" onClick={() => session.stop()}>
                  Take back
                </Button>
              ) : ended ? (
                <Button icon="restart" kind="primary" onClick={() => session.start()}>
                  Begin again
                </Button>
              ) : (
                <Button
                  icon="disk"
                  kind="primary"
                  disabled={known === null || (floppy.value === "" && cdrom.value === "")}
                  onClick={begin}
                >
                  Lend to the device
                </Button>
              )}
            </div>
          </div>
        )}
      </Card>
      {sends && !none && !busy && known !== null && (
        <Card title="Images on the server">
          <SendImage there={own} sent={look} />
        </Card>
      )}
      {busy && (
        <Card title="What is read">
          <p role="status">{WORDS[stage.value]}</p>
          {["Floppy disk", "CD-ROM"].map((label, dev) => {
            const reading = readings.value[dev];
            return reading && reading.total > 0 ? (
              <p key={label}>
                <label>
                  {label}: sector {reading.last.toLocaleString("en-GB")} of{" "}
                  {reading.total.toLocaleString("en-GB")}
                  <progress class="reading" max={100} value={reading.share} aria-label={`${label} read`} />
                </label>
              </p>
            ) : null;
          })}
          <p class="small muted">{bytes(sent.value)} sent</p>
          {mayBoot && stage.value === "offered" && (
            <div class="toolbar">
              {cdrom.value !== "" && (
                <Button icon="power" onClick={() => void boot("redirected-optical")}>
                  Start from the CD-ROM
                </Button>
              )}
              {floppy.value !== "" && (
                <Button icon="power" onClick={() => void boot("redirected-floppy")}>
                  Start from the floppy disk
                </Button>
              )}
            </div>
          )}
        </Card>
      )}
    </div>
  );
}

function Choice(props: { label: string; images: DriveImage[]; value: { value: string }; disabled: boolean }) {
  const { label, images, value } = props;
  const options = images.map(({ path, name, size }): [string, string] => [
    path,
    `${plain(name ?? path)} (${bytes(size)})`,
  ]);
  return (
    <Select
      label={label}
      value={value.value}
      options={[["", "Nothing"], ...options]}
      onValue={(path) => !props.disabled && (value.value = path)}
    />
  );
}
