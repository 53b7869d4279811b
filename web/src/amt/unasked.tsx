// What a card of the firmware shows before anybody wanted to know.

import { Button } from "../parts/basic.tsx";

export function Unasked({ words, ask }: { words: string; ask(): void }) {
  return (
    <div class="row wrap">
      <Button onClick={ask}>{words}</Button>
      <span class="small muted">Firmware answers slowly, so it is asked when you want it.</span>
    </div>
  );
}
