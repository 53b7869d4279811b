// One device: who it is, how it is, and its tabs.

import { useEffect, useRef } from "preact/hooks";

import { useKeys } from "../app/keys.ts";
import type { DeviceTab, PageProps } from "../app/registry.ts";
import { go, to } from "../app/router.ts";
import { client, domain, store } from "../app/state.ts";
import { full, short, type Device } from "../control/wire.ts";
import { deviceMenu, fitting, rightsOn } from "../device/actions.tsx";
import { deviceTabs } from "../device/index.ts";
import { dateTime, plain, span, state, stateWords, systemName } from "../model/format.ts";
import { has, Right } from "../model/rights.ts";
import { Ago, Button, Dot, Empty, Icon, Picture, Waiting, Words } from "../parts/basic.tsx";
import { now } from "../parts/clock.ts";
import { prompt } from "../parts/dialog.tsx";
import { Fence } from "../parts/lazy.tsx";
import { Menu } from "../parts/menu.tsx";

export default function DevicePage({ rest }: PageProps) {
  const [key = "", tabPath] = rest;
  const device = store.devices.get(full("node", domain(), key));
  if (!device) {
    return (
      <div class="page">
        {store.loaded.value ? (
          <Empty icon="devices" title="This device is not here">
            <p>It was removed, moved to a group you do not see, or never was.</p>
            <Button onClick={() => go("devices")}>To the devices</Button>
          </Empty>
        ) : (
          <Waiting />
        )}
      </div>
    );
  }
  return <Shown device={device} tabPath={tabPath ?? ""} />;
}

function Shown({ device, tabPath }: { device: Device; tabPath: string }) {
  const rights = rightsOn(device);
  const tabs = deviceTabs.filter((tab) => tab.visible(device, rights));
  const tab = tabs.find(({ path }) => path === tabPath) ?? tabs[0];
  const name = plain(device.name);
  useEffect(() => {
    document.title = `${name} · ${tab?.title ?? ""}`;
  }, [name, tab?.title]);
  // On a phone the tabs do not fit side by side.
  const strip = useRef<HTMLElement>(null);
  useEffect(() => {
    const chosen = strip.current?.querySelector<HTMLElement>("[aria-current=page]");
    chosen?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [tab?.path]);
  const step = (by: number) => {
    const next = tabs[tabs.indexOf(tab as DeviceTab) + by];
    if (next) go("device", short(device._id), next.path);
  };
  useKeys({ "[": () => step(-1), "]": () => step(1), Escape: () => go("devices") });
  return (
    <div class="page">
      <Head device={device} rights={rights} />
      <nav class="tabs" aria-label="Parts of this device" ref={strip}>
        {tabs.map(({ path, title }) => (
          <a
            key={path}
            href={to("device", short(device._id), path)}
            aria-current={path === tab?.path ? "page" : undefined}
          >
            {title}
          </a>
        ))}
      </nav>
      {tab && (
        <Fence key={`${device._id} ${tab.path}`}>
          <tab.show device={device} rights={rights} />
        </Fence>
      )}
    </div>
  );
}

function Head({ device, rights }: { device: Device; rights: number }) {
  const group = store.groups.get(device.meshid);
  const direct = fitting([device]).filter(({ id }) => ["wake", "restart"].includes(id));
  const others = deviceMenu(device).filter(({ words }) => !direct.some((action) => action.words === words));
  const editable = has(rights, Right.manageDevices);
  const rename = () =>
    prompt("Rename the device", "Name", device.name, "Rename", (name) =>
      client.ask("changedevice", { nodeid: device._id, name }),
    );
  return (
    <div class="stack">
      <a class="crumb" href={to("devices")}>
        <Icon name="back" /> Devices
      </a>
      <div class="device-head">
        <span class="emblem">
          <Picture device={device} />
        </span>
        <div class="grow stack tight">
          <h1 class="ellipsis">
            {editable ? (
              <button type="button" class="rename ellipsis" title="Rename" onClick={rename}>
                <Words text={device.name} />
              </button>
            ) : (
              <Words text={device.name} />
            )}
          </h1>
          <div class="row wrap muted small">
            <span class="state">
              <Dot device={device} />
              <span>
                {stateWords(device)}
                {state(device) === "on" && device.agct && <Since time={device.agct} />}
                {state(device) === "off" && store.lastSeen.has(device._id) && (
                  <>
                    , last seen <Ago time={store.lastSeen.get(device._id)} />
                  </>
                )}
              </span>
            </span>
            {group && (
              <>
                <span aria-hidden="true">·</span>
                <a href={to("group", short(group._id))}>
                  <Words text={group.name} />
                </a>
              </>
            )}
            {device.osdesc && (
              <>
                <span aria-hidden="true">·</span>
                <Words text={systemName(device)} />
              </>
            )}
          </div>
        </div>
        <div class="row do">
          {direct.map((action) => (
            <Button key={action.id} icon={action.icon} onClick={() => action.start([device])}>
              {action.words}
            </Button>
          ))}
          <Menu label="More actions" items={others} />
        </div>
      </div>
      <Uses device={device} />
    </div>
  );
}

function Since({ time }: { time: number }) {
  return (
    <time dateTime={new Date(time).toISOString()} title={dateTime(time)}>
      {` for ${span(now.value - time)}`}
    </time>
  );
}

const USES: Record<string, string> = {
  kvm: "desktop",
  terminal: "terminal",
  files: "files",
  tcp: "port forwarding",
  udp: "port forwarding",
  msg: "chat",
  app: "an application",
};

/** Who is on the device just now. */
function Uses({ device }: { device: Device }) {
  const uses = Object.entries(device.sessions ?? {}).flatMap(([kind, users]) =>
    Object.keys(users ?? {}).map((user) => `${plain(short(user))} (${USES[kind] ?? plain(kind)})`),
  );
  if (uses.length === 0) return null;
  return (
    <p class="small muted row">
      <Icon name="user" /> In use by {uses.join(", ")}
    </p>
  );
}
