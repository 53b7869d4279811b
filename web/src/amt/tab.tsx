// The firmware of a device: whether it is connected, and if not, why.

import { Journal } from "./journal.tsx";
import { AlarmsCard, UsersCard } from "./lists.tsx";
import { PowerCard } from "./panel.tsx";
import { HardwareCard, LogsCard } from "./records.tsx";
import { SettingsCard } from "./settings.tsx";
import { useAsk } from "../app/hooks.ts";
import type { DeviceTabProps } from "../app/registry.ts";
import { to } from "../app/router.ts";
import { me, store } from "../app/state.ts";
import { short, type Device } from "../control/wire.ts";
import { attempts, connectionWords, uuidOf } from "../model/amt.ts";
import { powerWords } from "../model/format.ts";
import { has, isAdministrator, limited, Right } from "../model/rights.ts";
import { Ago, Badge, Button, Card, Empty, Facts, Waiting, Words } from "../parts/basic.tsx";
import { Silence } from "../pages/amt.tsx";

export default function Amt({ device, rights }: DeviceTabProps) {
  const mayUse = !limited(rights, Right.noAmt);
  const mayChange = has(rights, Right.manageDevices);
  return (
    <div class="stack wide" key={device._id}>
      <State device={device} />
      {mayUse && (has(rights, Right.power) || has(rights, Right.wake)) && (
        <PowerCard device={device} rights={rights} />
      )}
      {mayUse && has(rights, Right.details) && (
        <>
          <HardwareCard device={device} />
          <LogsCard device={device} />
          <SettingsCard device={device} mayChange={mayChange} />
          <UsersCard device={device} mayChange={mayChange} />
          <AlarmsCard device={device} mayChange={mayChange} />
        </>
      )}
      {isAdministrator(me()) && <Why device={device} />}
    </div>
  );
}

function State({ device }: { device: Device }) {
  const group = store.groups.get(device.meshid);
  const { intelamt } = device;
  const connected = connectionWords(device);
  return (
    <Card title="Connection">
      <Facts
        facts={[
          [
            "State",
            <Badge key="state" kind={connected ? "ok" : undefined}>
              {connected ? "connected" : "not connected"}
            </Badge>,
          ],
          ["How", connected],
          device.cict !== undefined && connected !== "" && ["Since", <Ago key="since" time={device.cict} />],
          connected !== "" && ["Power", powerWords(device.pwr)],
          ["Version", intelamt?.ver],
          ["Firmware", FIRMWARE[intelamt?.state ?? -1]],
          ["UUID", uuidOf(device)],
          group && [
            "To set it up",
            <a key="group" href={to("group", short(group._id))}>
              <Words text={group.name} />
            </a>,
          ],
        ]}
      />
    </Card>
  );
}

const FIRMWARE: Record<number, string> = { 0: "not activated", 1: "being activated", 2: "activated" };

/** What became of its last connections. */
function Why({ device }: { device: Device }) {
  const uuid = uuidOf(device);
  const asked = useAsk("mpsjournal", uuid ? { uuid } : { nodeid: device._id }, [device._id, device.conn]);
  const list = attempts(asked.frame?.["journal"]);
  return (
    <Card
      title={connectionWords(device) ? "Connections" : "Why is it offline?"}
      flush={list.length > 0}
      tools={<Button kind="plain" small icon="restart" label="Look again" onClick={asked.again} />}
    >
      {asked.failure ? (
        <p class="muted">{asked.failure}</p>
      ) : asked.frame === null ? (
        <Waiting />
      ) : list.length === 0 ? (
        <Empty icon="board" title="It has not called since the server started">
          <Silence />
          <p>
            What failed before it said its name is under <a href={to("amt")}>Intel AMT</a>.
          </p>
        </Empty>
      ) : (
        <Journal list={list} />
      )}
    </Card>
  );
}
