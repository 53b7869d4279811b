// The desktop of a device.

import type { DeviceTabProps } from "../../app/registry.ts";
import DesktopView from "../../desktop/view.tsx";
import { useSeat } from "../../tunnel/seat.ts";

export default function DesktopTab({ device, rights }: DeviceTabProps) {
  return <DesktopView seat={useSeat(device, rights)} />;
}
