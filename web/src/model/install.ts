// Where the installers of the agent are, and the one line that fetches and runs them.
//
// Source: the paths and numbers of `/meshagents` and `/meshsettings`, as stock scripts use them.

export type Target = "linux" | "windows" | "macos" | "bsd";

export interface Installer {
  title: string;
  words: string;
  command?: string;
  downloads?: { words: string; href: string }[];
}

/** Bit of `installflags`: installs into the background only. */
const BACKGROUND = 2;

/** The ways to install on `target`. `base` is where the page is, `group` the short id of the group. */
export function installers(target: Target, base: URL, group: string): Installer[] {
  const id = encodeURIComponent(group);
  const agent = (number: number) =>
    `${base.pathname}meshagents?id=${number}&meshid=${id}&installflags=${BACKGROUND}`;
  const server = `${base.origin}${base.pathname}`.replace(/\/$/, "");
  switch (target) {
    case "windows":
      return [
        {
          title: "Installer",
          words: "Download, open, and choose “Install”. The group is inside the file.",
          downloads: [
            { words: "64 bits", href: agent(4) },
            { words: "ARM64", href: agent(43) },
            { words: "32 bits", href: agent(3) },
          ],
        },
        {
          title: "PowerShell",
          words: "In a PowerShell window that runs as administrator.",
          command:
            `curl.exe -k -L -o meshagent.exe "${server}/meshagents?id=4&meshid=${id}&installflags=${BACKGROUND}"; ` +
            `.\\meshagent.exe -fullinstall`,
        },
      ];
    case "macos":
      return [
        {
          title: "Terminal",
          words: "Works on Intel and Apple silicon. macOS asks for permission to see the screen later.",
          command:
            `curl -k -L -o meshagent "${server}/meshagents?meshinstall=10005&id=${id}" && chmod 755 meshagent && ` +
            `sudo ./meshagent -install`,
        },
      ];
    case "bsd":
    case "linux":
      return [
        {
          title: "One line",
          words: "As a person who may use sudo. Finds out the architecture by itself.",
          command:
            `wget "${server}/meshagents?script=1" --no-check-certificate -O meshinstall.sh && ` +
            `chmod 755 meshinstall.sh && sudo -E ./meshinstall.sh ${server} '${group}'`,
        },
        {
          title: "With a desktop",
          words: "A program with a window: install, run once, or uninstall.",
          downloads:
            target === "bsd"
              ? [{ words: "x86-64", href: interactive(base, id, 30) }]
              : [
                  { words: "x86-64", href: interactive(base, id, 6) },
                  { words: "ARM64", href: interactive(base, id, 26) },
                  { words: "ARM 32 bits", href: interactive(base, id, 25) },
                ],
        },
        {
          title: "By hand",
          words: "The settings file belongs beside the agent's binary.",
          downloads: [{ words: "meshagent.msh", href: `${base.pathname}meshsettings?id=${id}` }],
        },
      ];
  }
}

function interactive(base: URL, id: string, number: number): string {
  return `${base.pathname}meshagents?meshinstall=${number}&id=${id}`;
}
