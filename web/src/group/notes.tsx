// Notes about the group.

import type { GroupSectionProps } from "../app/registry.ts";
import { Card } from "../parts/basic.tsx";
import { Notes } from "../parts/notes.tsx";

export default function GroupNotes({ group }: GroupSectionProps) {
  return (
    <Card title="Notes">
      <Notes id={group._id} words="For those who may edit the group." />
    </Card>
  );
}
