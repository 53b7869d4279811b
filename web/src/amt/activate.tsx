// The command that activates, or deactivates, the Intel AMT of a computer without an agent, and what
// has to be true for it to work.

import { useState } from "preact/hooks";

import { client } from "../app/state.ts";
import { loginKey } from "../control/address.ts";
import { short, type Group } from "../control/wire.ts";
import { activates, meshCmd, policyType, type Platform } from "../model/activation.ts";
import { plain } from "../model/format.ts";
import { Icon } from "../parts/basic.tsx";
import { CopyBox } from "../parts/copy.tsx";
import { Segments } from "../parts/field.tsx";

export function Command({ group, hasCertificate }: { group: Group; hasCertificate: boolean }) {
  const [platform, setPlatform] = useState<Platform>("windows");
  const info = client.greeting.value?.server ?? {};
  const base = new URL(".", location.href);
  const { downloads, fetch, run } = meshCmd(platform, info, base, loginKey(), short(group._id));
  const type = policyType(group.amt);
  const isAdmin = hasCertificate && (type === "3" || type === "4");
  return (
    <div class="stack">
      <p>
        MeshCmd runs on the computer itself, as administrator. It brings the firmware here, and the server
        does what the group <strong>{plain(group.name)}</strong> wants. The computer then appears in the
        group.
      </p>
      <Segments
        label="System of the computer"
        value={platform}
        onValue={setPlatform}
        options={[
          { value: "windows", words: "Windows" },
          { value: "linux", words: "Linux" },
        ]}
      />
      <div class="stack tight">
        <h3>{platform === "windows" ? "In a PowerShell window, as administrator" : "In a terminal"}</h3>
        <CopyBox text={fetch} label="the command that fetches and runs MeshCmd" />
      </div>
      <div class="stack tight">
        <h3>Or with MeshCmd that is there already</h3>
        <div class="row wrap">
          {downloads.map(({ words, href }) => (
            <a key={href} class="button" href={href} download>
              <Icon name="download" />
              MeshCmd, {words}
            </a>
          ))}
        </div>
        <CopyBox text={run} label="the command" />
      </div>
      <div class="stack tight">
        <h3>What has to be true</h3>
        <ul class="plain-list">
          <li>The computer has Intel AMT, and the driver of the Intel Management Engine is installed.</li>
          {activates(type) && <li>It is not activated yet, or was activated by this server.</li>}
          {isAdmin && <Suffix suffixes={info.amtAcmFqdn ?? []} />}
          {isAdmin && (
            <li>The firmware trusts the root of the certificate; its hash can be entered in MEBx.</li>
          )}
          {activates(type) && !isAdmin && (
            <li>Client control mode: whoever sits there has to agree before the screen is seen.</li>
          )}
          {type === "1" && <li>It is in client control mode; admin control mode stays.</li>}
          <li>The agent package is installed on this server: MeshCmd is part of it.</li>
        </ul>
      </div>
    </div>
  );
}

function Suffix({ suffixes }: { suffixes: string[] }) {
  return (
    <li>
      Its DNS suffix is{" "}
      {suffixes.map((suffix, n) => (
        <span key={suffix}>
          {n > 0 && " or "}
          <code>{plain(suffix)}</code>
        </span>
      ))}
      : handed out on a wired network (DHCP option 15), or entered in MEBx as trusted. A wireless network
      gives none.
    </li>
  );
}
