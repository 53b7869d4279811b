// What runs on the device: processes and services.

import { useEffect, useMemo, useState } from "preact/hooks";

import type { DeviceTabProps } from "../../app/registry.ts";
import { useFrames } from "../../app/hooks.ts";
import { client } from "../../app/state.ts";
import type { Device } from "../../control/wire.ts";
import { count, plain, system } from "../../model/format.ts";
import { readProcesses, readServices, type Process, type Service } from "../../model/running.ts";
import { Badge, Button, Empty, Icon, Waiting, Words } from "../../parts/basic.tsx";
import { attempt, confirm } from "../../parts/dialog.tsx";
import { Segments } from "../../parts/field.tsx";
import { Menu } from "../../parts/menu.tsx";
import { Virtual, type Row } from "../../parts/virtual.tsx";

export default function Processes({ device }: DeviceTabProps) {
  const [kind, setKind] = useState<"ps" | "services">("ps");
  const [filter, setFilter] = useState("");
  const [again, setAgain] = useState(0);
  const [processes, setProcesses] = useState<Process[] | null>(null);
  const [services, setServices] = useState<Service[] | null>(null);
  const [failure, setFailure] = useState<string | null>(null);

  useFrames(
    "msg",
    (frame) => {
      if (frame["nodeid"] !== device._id) return;
      if (frame["type"] === "ps") setProcesses(readProcesses(frame["value"]));
      if (frame["type"] === "services") setServices(readServices(frame["value"]));
    },
    [device._id],
  );
  useEffect(() => {
    setFailure(null);
    client
      .ask("msg", { type: kind, nodeid: device._id }, { bare: false })
      .catch((error: Error) => setFailure(error.message));
  }, [device._id, kind, again]);

  const refresh = () => setAgain((n) => n + 1);
  const list = kind === "ps" ? processes : services;
  return (
    <div class="stack">
      <div class="toolbar">
        <Segments
          label="What"
          value={kind}
          onValue={setKind}
          options={[
            { value: "ps", words: "Processes" },
            { value: "services", words: "Services" },
          ]}
        />
        <div class="search">
          <Icon name="search" />
          <input
            type="search"
            class="input"
            aria-label="Search"
            placeholder="Search"
            value={filter}
            onInput={(event) => setFilter(event.currentTarget.value)}
          />
        </div>
        <Button icon="restart" label="Ask again" onClick={refresh} />
      </div>
      {failure ? (
        <Empty icon="processes" title="The agent cannot be asked">
          <p>{failure}</p>
        </Empty>
      ) : list === null ? (
        <Waiting rows={5} />
      ) : kind === "ps" ? (
        <ProcessList device={device} processes={processes ?? []} filter={filter} refresh={refresh} />
      ) : (
        <ServiceList device={device} services={services ?? []} filter={filter} refresh={refresh} />
      )}
    </div>
  );
}

interface ListProps {
  device: Device;
  filter: string;
  refresh(): void;
}

function within(filter: string, ...texts: string[]): boolean {
  const wanted = filter.trim().toLowerCase();
  return texts.some((text) => text.toLowerCase().includes(wanted));
}

const HEIGHT = 40;

function ProcessList({ device, processes, filter, refresh }: ListProps & { processes: Process[] }) {
  const rows = useMemo(
    () =>
      processes
        .filter(({ pid, user, command }) => within(filter, String(pid), user, command))
        .map((process): Row & { process: Process } => ({
          key: String(process.pid),
          height: HEIGHT,
          process,
        })),
    [processes, filter],
  );
  const end = (process: Process) =>
    confirm(
      `End process ${process.pid}?`,
      <p>
        <Words text={process.command} /> is ended at once, without a chance to save.
      </p>,
      "End it",
      async () => {
        await client.ask("msg", { type: "pskill", nodeid: device._id, value: process.pid }, { bare: false });
        refresh();
      },
    );
  return (
    <>
      <p class="small muted" role="status">
        {count(rows.length, "process", "processes")}
      </p>
      <div class="card running">
        <Virtual rows={rows} label="Processes">
          {({ process }) => (
            <div class="running-row">
              <span class="small muted number">{process.pid}</span>
              <Words text={process.command} class="ellipsis" />
              <Words text={process.user} class="small muted ellipsis" />
              <Button
                kind="plain"
                small
                icon="close"
                label={`End ${plain(process.command)}`}
                onClick={() => void end(process)}
              />
            </div>
          )}
        </Virtual>
      </div>
    </>
  );
}

function ServiceList({ device, services, filter, refresh }: ListProps & { services: Service[] }) {
  const rows = useMemo(
    () =>
      services
        .filter(({ name, title, state }) => within(filter, name, title, state))
        .map((service): Row & { service: Service } => ({ key: service.name, height: HEIGHT, service })),
    [services, filter],
  );
  const tell = (service: Service, type: string, done: string) => ({
    words: done,
    icon: { serviceStart: "play", serviceStop: "stop", serviceRestart: "restart" }[type] ?? "play",
    run: () =>
      void attempt(
        async () => {
          await client.ask("msg", { type, nodeid: device._id, serviceName: service.name }, { bare: false });
          refresh();
        },
        `${done}: ${plain(service.title)}`,
      ),
  });
  return (
    <>
      <p class="small muted" role="status">
        {count(rows.length, "service")}
        {system(device) === "linux" && " – the agent does not tell their state on Linux"}
      </p>
      <div class="card running">
        <Virtual rows={rows} label="Services">
          {({ service }) => (
            <div class="running-row services">
              <Words text={service.title} class="ellipsis" />
              {service.state ? (
                <Badge kind={service.running ? "ok" : undefined}>{plain(service.state)}</Badge>
              ) : (
                <span />
              )}
              <Menu
                label={`Actions for ${plain(service.title)}`}
                kind="plain"
                small
                items={[
                  tell(service, "serviceStart", "Start"),
                  tell(service, "serviceStop", "Stop"),
                  tell(service, "serviceRestart", "Restart"),
                ]}
              />
            </div>
          )}
        </Virtual>
      </div>
    </>
  );
}
