// The files of a device.

import type { DeviceTabProps } from "../../app/registry.ts";
import FilesView from "../../files/view.tsx";
import { useSeat } from "../../tunnel/seat.ts";

export default function FilesTab({ device, rights }: DeviceTabProps) {
  return <FilesView seat={useSeat(device, rights)} />;
}
