// The screen of a device through its firmware.

import ScreenView from "../../amt/screen.tsx";
import type { DeviceTabProps } from "../../app/registry.ts";
import { limited, Right } from "../../model/rights.ts";

export default function Tab({ device, rights }: DeviceTabProps) {
  return <ScreenView key={device._id} device={device} viewOnly={limited(rights, Right.viewOnly)} />;
}
