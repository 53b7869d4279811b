// Notes that everybody with the right reads and writes.

import type { DeviceTabProps } from "../../app/registry.ts";
import { Notes } from "../../parts/notes.tsx";

export default function DeviceNotes({ device }: DeviceTabProps) {
  return <Notes id={device._id} words="Kept with the device, for everybody who may read its notes." />;
}
