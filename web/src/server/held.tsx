// "Why is my agent offline": who waits at the door, why, and the safe way to mend it.

import { ago, grouped, plain } from "../model/format.ts";
import { troubles, type Held } from "../model/health.ts";
import { Badge, Card } from "../parts/basic.tsx";
import { now } from "../parts/clock.ts";

export function HeldAgents({ held }: { held: Held[] }) {
  return (
    <Card title="Agents that are not let in" flush>
      {troubles(held).map(({ why, fix, agents }) => (
        <section class="trouble" key={why}>
          <div>
            <h3>Because {plain(why)}</h3>
            <p class="muted">{plain(fix)}</p>
          </div>
          <ul class="items">
            {agents.map((agent) => (
              <HeldAgent key={`${agent.address} ${agent.node ?? ""}`} agent={agent} />
            ))}
          </ul>
        </section>
      ))}
    </Card>
  );
}

function HeldAgent({ agent }: { agent: Held }) {
  return (
    <li>
      <div class="what">
        <strong>{agent.name ? plain(agent.name) : "An agent"}</strong>
        <span class="small muted">
          at {plain(agent.address)}, {ago(agent.last, now.value)}
          {agent.times > 1 && `, ${grouped(agent.times)} times`}
        </span>
        {agent.hash && (
          <div class="small muted">
            sees the certificate <code class="hash">{plain(agent.hash)}</code>
          </div>
        )}
      </div>
      {agent.waiting > 0 && <Badge kind="warn">waits</Badge>}
    </li>
  );
}
