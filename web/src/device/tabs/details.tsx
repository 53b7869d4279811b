// Hardware and network, as the agent found them.

import type { ComponentChildren } from "preact";

import { useAsk, useEvents } from "../../app/hooks.ts";
import type { DeviceTabProps } from "../../app/registry.ts";
import { bytes, dateTime, memory, plain } from "../../model/format.ts";
import { readHardware, readInterfaces, type Hardware } from "../../model/hardware.ts";
import { Badge, Card, Empty, Facts, Waiting, Words } from "../../parts/basic.tsx";

export default function Details({ device }: DeviceTabProps) {
  const options = { check: false };
  const system = useAsk("getsysinfo", { nodeid: device._id }, [device._id], options);
  const network = useAsk("getnetworkinfo", { nodeid: device._id }, [device._id], options);
  useEvents(
    (event) => {
      if (event.nodeid !== device._id) return;
      if (event.action === "sysinfohash") system.again();
      if (event.action === "ifchange") network.again();
    },
    [device._id, system.again, network.again],
  );
  if (!system.frame && !system.failure) return <Waiting rows={4} />;
  const hardware = readHardware(system.frame?.["hardware"]);
  const interfaces = readInterfaces(network.frame?.["netif2"]);
  const known = hardware.parts.length > 0 || interfaces.length > 0;
  if (!known) {
    return (
      <Empty icon="details" title="Nothing is known yet">
        <p>The agent tells about hardware and network some minutes after it connected for the first time.</p>
      </Empty>
    );
  }
  const updated = Number(network.frame?.["updateTime"]) || Number(system.frame?.["time"]);
  return (
    <div class="stack">
      <div class="cards">
        {hardware.parts.map(({ title, facts }) => (
          <Card key={title} title={title}>
            <Facts facts={facts.map(([name, value]): [string, string] => [name, value])} />
          </Card>
        ))}
        <Memory hardware={hardware} />
        <Storage hardware={hardware} />
        {interfaces.map(({ name, addresses, mac, up, type, gateway }) => (
          <Card
            key={name}
            title={<Words text={name} />}
            tools={<Badge kind={up ? "ok" : undefined}>{up ? "up" : "down"}</Badge>}
          >
            <Facts
              facts={[
                addresses.length > 0 && ["Addresses", <Lines texts={addresses} />],
                ["Gateway", gateway],
                ["MAC", mac && <code>{plain(mac)}</code>],
                ["Kind", type],
              ]}
            />
          </Card>
        ))}
      </div>
      {updated > 0 && <p class="small faint">As of {dateTime(updated)}</p>}
    </div>
  );
}

function Lines({ texts }: { texts: string[] }): ComponentChildren {
  return texts.map((text) => (
    <div key={text}>
      <Words text={text} />
    </div>
  ));
}

function Memory({ hardware }: { hardware: Hardware }) {
  if (hardware.memory.length === 0) return null;
  const all = hardware.memory.reduce((sum, { size }) => sum + size, 0);
  return (
    <Card title="Memory" tools={<Badge>{memory(all)}</Badge>}>
      <Facts
        facts={hardware.memory.map(({ place, size, kind }): [string, string] => [
          plain(place),
          `${memory(size)}${kind ? `, ${plain(kind)}` : ""}`,
        ])}
      />
    </Card>
  );
}

function Storage({ hardware }: { hardware: Hardware }) {
  if (hardware.disks.length === 0 && hardware.volumes.length === 0) return null;
  return (
    <Card title="Storage">
      <div class="stack">
        {hardware.volumes.map(({ name, size, free }) => {
          const used = size > 0 && free !== undefined ? 1 - free / size : undefined;
          return (
            <div key={name} class="stack tight">
              <div class="row between">
                <Words text={name} class="ellipsis" />
                <span class="small muted">
                  {free === undefined ? bytes(size) : `${bytes(free)} free of ${bytes(size)}`}
                </span>
              </div>
              {used !== undefined && (
                <div class={used > 0.9 ? "meter warn" : "meter"}>
                  <i style={{ width: `${Math.round(used * 100)}%` }} />
                </div>
              )}
            </div>
          );
        })}
        {hardware.disks.length > 0 && (
          <Facts
            facts={hardware.disks.map(({ name, size }): [string, string] => [
              plain(name),
              size > 0 ? bytes(size) : "Unknown size",
            ])}
          />
        )}
      </div>
    </Card>
  );
}
