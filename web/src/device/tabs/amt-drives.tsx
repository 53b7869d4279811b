// Drives of a device that are images on the server.

import DrivesView from "../../amt/drives.tsx";
import type { DeviceTabProps } from "../../app/registry.ts";
import { has, Right } from "../../model/rights.ts";

export default function Tab({ device, rights }: DeviceTabProps) {
  return <DrivesView key={device._id} device={device} mayBoot={has(rights, Right.power)} />;
}
