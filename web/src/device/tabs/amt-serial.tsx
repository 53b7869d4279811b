// The serial line of a device through its firmware.

import SerialView from "../../amt/serial.tsx";
import type { DeviceTabProps } from "../../app/registry.ts";
import { limited, Right } from "../../model/rights.ts";

export default function Tab({ device, rights }: DeviceTabProps) {
  return <SerialView key={device._id} device={device} viewOnly={limited(rights, Right.viewOnly)} />;
}
