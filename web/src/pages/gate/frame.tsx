// What is around the pages that come before anybody is in.

import type { ComponentChildren } from "preact";

import { Icon } from "../../parts/basic.tsx";
import { server } from "../../app/state.ts";

export function Gate({ children, wide }: { children: ComponentChildren; wide?: boolean }) {
  const { title, subtitle, version } = server.value ?? {};
  return (
    <main class="gate" id="main">
      <div class={wide ? "box wide" : "box"}>
        <div class="brand">
          <Icon name="mark" />
          <span>{title || "meshboard"}</span>
        </div>
        <div class="card">{children}</div>
        <p class="foot">
          {subtitle && <span>{subtitle} · </span>}
          meshboard {version}
        </p>
      </div>
    </main>
  );
}
