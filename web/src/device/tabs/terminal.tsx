// The terminal of a device.

import type { DeviceTabProps } from "../../app/registry.ts";
import TerminalView from "../../terminal/terminal.tsx";
import { useSeat } from "../../tunnel/seat.ts";

export default function TerminalTab({ device, rights }: DeviceTabProps) {
  return <TerminalView seat={useSeat(device, rights)} />;
}
