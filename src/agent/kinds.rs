//! The agent ids: which build of the stock agent a device runs.
//!
//! An agent states its id in AuthInfo, and downloads name it (`/meshagents?id=6`). The id decides
//! the file that updates the agent and the core it is given. Numbers, file names and download
//! names are MeshCentral's.

use std::fmt;

use super::package::cores::CoreName;

/// One agent id and what follows from it.
#[derive(Debug, PartialEq, Eq)]
pub struct AgentKind {
    /// The number on the wire.
    pub id: u32,
    /// Name in the `agents` folder; `None` if the stock package ships no such binary.
    pub file: Option<&'static str>,
    /// Name the browser saves the download under.
    pub download_name: &'static str,
    /// What a person calls it.
    pub description: &'static str,
    /// The operating system it runs on.
    pub platform: Platform,
    /// Which main core it is given.
    pub cores: CoreFamily,
    /// It replaces itself when the server has another build.
    pub self_update: bool,
    /// Its machine may have Intel AMT.
    pub amt: bool,
    /// Further names on the command line (`--arch`).
    aliases: &'static [&'static str],
}

/// The operating system of an agent build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Windows: PE binaries, `.msh` embedded in downloads, PKCS#7 signatures possible.
    Windows,
    /// Linux, OpenWRT and other ELF embedded builds.
    Linux,
    /// macOS.
    MacOs,
    /// FreeBSD and OpenBSD.
    Bsd,
    /// Android.
    Android,
    /// Something else or not known; never shipped.
    Other,
}

/// Which set of cores suits an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreFamily {
    /// Windows with the Intel AMT modules.
    WindowsAmt,
    /// Linux on Intel machines, with the Intel AMT modules.
    LinuxAmt,
    /// Everything else.
    LinuxNoamt,
    /// Takes no core (the NodeJS agent, tools).
    None,
}

/// What a core is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreRole {
    /// Daily work.
    Main,
    /// Console, terminal, files and agent update, after the main core crashed or on request.
    Recovery,
    /// Console only.
    Tiny,
    /// The separate diagnostic agent process (`agentrecovery`).
    Diagnostic,
}

impl AgentKind {
    /// True for builds that run on Windows, also those MeshCentral forgets (42, 43).
    pub fn is_windows(&self) -> bool {
        self.platform == Platform::Windows
    }

    /// The core of this agent for a purpose; `None` if it takes no core.
    pub fn core(&self, role: CoreRole) -> Option<CoreName> {
        let windows = match self.cores {
            CoreFamily::None => return None,
            CoreFamily::WindowsAmt => true,
            CoreFamily::LinuxAmt | CoreFamily::LinuxNoamt => false,
        };
        Some(match (role, windows) {
            (CoreRole::Main, true) => CoreName::WindowsAmt,
            (CoreRole::Main, false) if self.cores == CoreFamily::LinuxAmt => CoreName::LinuxAmt,
            (CoreRole::Main, false) => CoreName::LinuxNoamt,
            (CoreRole::Recovery, true) => CoreName::WindowsRecovery,
            (CoreRole::Recovery, false) => CoreName::LinuxRecovery,
            (CoreRole::Tiny, true) => CoreName::WindowsTiny,
            (CoreRole::Tiny, false) => CoreName::LinuxTiny,
            (CoreRole::Diagnostic, true) => CoreName::WindowsAgentRecovery,
            (CoreRole::Diagnostic, false) => CoreName::LinuxAgentRecovery,
        })
    }

    /// The download name with the group's name in it: `meshagent64-Office.exe`. Characters that
    /// file names must not have are left out, control characters as well.
    pub fn download_name_for(&self, group: &str) -> String {
        let forbidden = |c: char| c.is_control() || r#"\/:*?"<>|' "#.contains(c);
        let group: String = group.chars().filter(|c| !forbidden(*c)).collect();
        match self.download_name.rsplit_once('.') {
            Some((stem, extension)) => format!("{stem}-{group}.{extension}"),
            None => format!("{}-{group}", self.download_name),
        }
    }

    /// The name shown to people and understood by [`parse_arch`].
    pub fn name(&self) -> &'static str {
        self.aliases.first().copied().unwrap_or(self.description)
    }
}

/// The kind with this id; `None` for ids nobody knows, which get no core and no update.
pub fn find(id: u32) -> Option<&'static AgentKind> {
    KINDS.binary_search_by_key(&id, |kind| kind.id).ok().map(|at| &KINDS[at])
}

/// All kinds the stock package ships a binary for, by ascending id.
pub fn shipped() -> impl Iterator<Item = &'static AgentKind> {
    KINDS.iter().filter(|kind| kind.file.is_some())
}

/// An `--arch` argument that names no shipped agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownArch(pub String);

impl fmt::Display for UnknownArch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no agent is called {:?}; known are an agent id, ", self.0)?;
        f.write_str("linux, windows, macos, bsd")?;
        shipped().flat_map(|kind| kind.aliases).try_for_each(|name| write!(f, ", {name}"))
    }
}

impl std::error::Error for UnknownArch {}

/// Reads an architecture as people write it: an agent id (`6`), a name (`x86_64`, `armhf`,
/// `windows64`), a file name of the package, or a whole platform (`linux`). Case does not matter.
pub fn parse_arch(text: &str) -> Result<Vec<&'static AgentKind>, UnknownArch> {
    let is = |name: &&str| name.eq_ignore_ascii_case(text);
    let platform = match text.to_ascii_lowercase().as_str() {
        "linux" => Some(Platform::Linux),
        "windows" => Some(Platform::Windows),
        "macos" => Some(Platform::MacOs),
        "bsd" => Some(Platform::Bsd),
        "android" => Some(Platform::Android),
        _ => None,
    };
    let id = text.parse::<u32>().ok();
    let found: Vec<_> = shipped()
        .filter(|kind| {
            Some(kind.id) == id
                || Some(kind.platform) == platform
                || kind.aliases.iter().any(is)
                || kind.file.iter().any(is)
        })
        .collect();
    if found.is_empty() { Err(UnknownArch(text.to_owned())) } else { Ok(found) }
}

const WINDOWS: Platform = Platform::Windows;
const LINUX: Platform = Platform::Linux;

impl AgentKind {
    /// A shipped Windows agent: self-updating, with Intel AMT.
    const fn windows(
        id: u32,
        file: &'static str,
        download_name: &'static str,
        description: &'static str,
        aliases: &'static [&'static str],
    ) -> Self {
        let cores = CoreFamily::WindowsAmt;
        let (platform, file, self_update, amt) = (WINDOWS, Some(file), true, true);
        Self { id, file, download_name, description, platform, cores, self_update, amt, aliases }
    }

    /// A shipped self-updating agent on anything but Windows.
    const fn unix(
        id: u32,
        file: &'static str,
        description: &'static str,
        platform: Platform,
        cores: CoreFamily,
        aliases: &'static [&'static str],
    ) -> Self {
        let amt = matches!(cores, CoreFamily::LinuxAmt);
        let (file, download_name, self_update) = (Some(file), "meshagent", true);
        Self { id, file, download_name, description, platform, cores, self_update, amt, aliases }
    }

    /// A tool among the agents: offered for download, never connects as an agent.
    const fn tool(
        id: u32,
        file: &'static str,
        description: &'static str,
        amt: bool,
        aliases: &'static [&'static str],
    ) -> Self {
        let (platform, cores, self_update) = (WINDOWS, CoreFamily::None, false);
        let (download_name, file) = (file, Some(file));
        Self { id, file, download_name, description, platform, cores, self_update, amt, aliases }
    }

    /// An id that may be met but has no binary in the package.
    const fn unshipped(
        id: u32,
        description: &'static str,
        platform: Platform,
        cores: CoreFamily,
        self_update: bool,
        amt: bool,
    ) -> Self {
        let (file, download_name) = (None, "meshagent");
        let aliases = &[];
        Self { id, file, download_name, description, platform, cores, self_update, amt, aliases }
    }
}

use AgentKind as K;
use CoreFamily::{LinuxAmt as L, LinuxNoamt as N, None as NONE, WindowsAmt as W};
use Platform::{Bsd, MacOs, Other};

/// Every known id, ascending. 31 (FreeBSD x86) and 44 are reserved and have no entry.
#[rustfmt::skip]
static KINDS: &[AgentKind] = &[
    K::unshipped(0, "Unknown agent", Other, N, false, true),
    K::unshipped(1, "Windows x86-32 console", WINDOWS, W, true, true),
    K::unshipped(2, "Windows x86-64 console", WINDOWS, W, true, true),
    K::windows(3, "MeshService.exe", "meshagent32.exe", "Windows x86-32 service", &["windows32", "win32"]),
    K::windows(4, "MeshService64.exe", "meshagent64.exe", "Windows x86-64 service", &["windows64", "win64"]),
    K::unix(5, "meshagent_x86", "Linux x86-32", LINUX, L, &["x86", "i386", "i586", "i686"]),
    K::unix(6, "meshagent_x86-64", "Linux x86-64", LINUX, L, &["x86_64", "x86-64", "amd64"]),
    K::unix(7, "meshagent_mips", "Linux MIPS", LINUX, N, &["mips"]),
    K::unshipped(8, "XEN x86-64", LINUX, L, true, false),
    K::unix(9, "meshagent_arm", "Linux ARM5", LINUX, N, &["armv5", "arm"]),
    K::unshipped(10, "Linux ARM PlugPC", LINUX, N, true, false),
    K::unshipped(11, "Apple macOS x86-32", MacOs, N, true, false),
    K::unshipped(12, "Android x86-32", Platform::Android, N, true, false),
    K::unix(13, "meshagent_pogo", "Linux ARM PogoPlug", LINUX, N, &["pogo"]),
    AgentKind {
        id: 14, file: Some("meshagent_android.apk"), download_name: "meshandroid.apk",
        description: "Android", platform: Platform::Android, cores: N, self_update: false,
        amt: false, aliases: &["android"],
    },
    K::unix(15, "meshagent_poky", "Linux Poky x86-32", LINUX, N, &["poky32"]),
    K::unix(16, "meshagent_osx-x86-64", "Apple macOS x86-64", MacOs, N, &["macos-x86_64"]),
    K::unshipped(17, "Google ChromeOS", Other, N, false, false),
    K::unix(18, "meshagent_poky64", "Linux Poky x86-64", LINUX, N, &["poky64"]),
    K::unix(19, "meshagent_x86_nokvm", "Linux x86-32 without KVM", LINUX, L, &["x86-nokvm"]),
    K::unix(20, "meshagent_x86-64_nokvm", "Linux x86-64 without KVM", LINUX, L, &["x86_64-nokvm"]),
    K::unshipped(21, "Windows MinCore console x86-32", WINDOWS, W, true, false),
    K::unshipped(22, "Windows MinCore service x86-64", WINDOWS, W, true, false),
    K::unshipped(23, "NodeJS", Other, NONE, false, false),
    K::unix(24, "meshagent_arm-linaro", "Linux ARM Linaro", LINUX, N, &["arm-linaro"]),
    K::unix(25, "meshagent_armhf", "Linux ARM hard-float", LINUX, N, &["armhf", "armv6l", "armv7l"]),
    K::unix(26, "meshagent_aarch64", "Linux ARM 64 bit", LINUX, N, &["aarch64", "arm64"]),
    K::unix(27, "meshagent_armhf2", "Linux ARM hard-float, Raspbian 7", LINUX, N, &["armhf2"]),
    K::unix(28, "meshagent_mips24kc", "Linux MIPS24KC (OpenWRT)", LINUX, N, &["mips24kc"]),
    K::unix(29, "meshagent_osx-arm-64", "Apple macOS ARM-64", MacOs, N, &["macos-arm64"]),
    K::unix(30, "meshagent_freebsd_x86-64", "FreeBSD x86-64", Bsd, N, &["freebsd"]),
    K::unix(32, "meshagent_aarch64", "Linux ARM 64 bit", LINUX, N, &["aarch64", "arm64"]),
    K::unix(33, "meshagent_openwrt_x86_64", "OpenWRT x86-64", LINUX, N, &["openwrt-x86_64"]),
    K::unshipped(34, "MeshCentral Assistant", Other, N, false, false),
    K::unix(35, "meshagent_linux-armada370-hf", "Armada370 ARM hard-float", LINUX, N, &["armada370"]),
    K::unix(36, "meshagent_openwrt_x86_64", "OpenWRT x86-64", LINUX, N, &["openwrt-x86_64"]),
    K::unix(37, "meshagent_openbsd_x86-64", "OpenBSD x86-64", Bsd, N, &["openbsd"]),
    K::unix(40, "meshagent_mipsel24kc", "Linux MIPSEL24KC (OpenWRT)", LINUX, N, &["mipsel24kc"]),
    K::unix(41, "meshagent_aarch64-cortex-a53", "ARM 64 bit Cortex-A53 (OpenWRT)", LINUX, N, &["cortex-a53"]),
    K::unshipped(42, "Windows ARM-64 console", WINDOWS, W, true, true),
    K::windows(43, "MeshServiceARM64.exe", "meshagentarm64.exe", "Windows ARM-64 service", &["windows-arm64"]),
    K::unix(45, "meshagent_riscv64", "RISC-V 64 bit", LINUX, N, &["riscv64"]),
    K::windows(10003, "MeshService.exe", "meshagent32.exe", "Windows x86-32 service, unsigned", &["windows32", "win32"]),
    K::windows(10004, "MeshService64.exe", "meshagent64.exe", "Windows x86-64 service, unsigned", &["windows64", "win64"]),
    K::unix(10005, "meshagent_osx-universal-64", "Apple macOS universal", MacOs, N, &["macos-universal"]),
    K::tool(10006, "MeshCentralAssistant.exe", "MeshCentral Assistant for Windows", false, &["assistant"]),
    K::tool(11000, "MeshCmd.exe", "MeshCmd for Windows x86-32", true, &["meshcmd32"]),
    K::tool(11001, "MeshCmd64.exe", "MeshCmd for Windows x86-64", true, &["meshcmd64"]),
    K::tool(11002, "MeshCmdARM64.exe", "MeshCmd for Windows ARM-64", true, &["meshcmd-arm64"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_every_id_is_found() {
        assert!(KINDS.is_sorted_by(|a, b| a.id < b.id));
        for kind in KINDS {
            assert_eq!(find(kind.id), Some(kind));
        }
        for id in [31, 38, 44, 46, 9999, u32::MAX] {
            assert_eq!(find(id), None, "{id}");
        }
    }

    #[test]
    fn kinds_decide_core_and_update() {
        let core = |id, role| find(id).and_then(|kind| kind.core(role)).map(CoreName::as_str);
        assert_eq!(core(4, CoreRole::Main), Some("windows-amt"));
        assert_eq!(core(6, CoreRole::Main), Some("linux-amt"));
        assert_eq!(core(25, CoreRole::Main), Some("linux-noamt"));
        assert_eq!(core(43, CoreRole::Recovery), Some("windows-recovery"));
        assert_eq!(core(25, CoreRole::Tiny), Some("linux-tiny"));
        assert_eq!(core(6, CoreRole::Diagnostic), Some("linux-agentrecovery"));
        assert_eq!(core(23, CoreRole::Main), None);
        assert!(find(42).unwrap().is_windows());
        assert!(!find(14).unwrap().self_update);
    }

    #[test]
    fn architectures_are_read_as_people_write_them() {
        let ids = |text| parse_arch(text).map(|k| k.iter().map(|k| k.id).collect::<Vec<_>>());
        for (text, expected) in [
            ("6", vec![6]),
            ("x86_64", vec![6]),
            ("AMD64", vec![6]),
            ("armhf", vec![25]),
            ("aarch64", vec![26, 32]),
            ("windows64", vec![4, 10004]),
            ("meshagent_riscv64", vec![45]),
            ("bsd", vec![30, 37]),
        ] {
            assert_eq!(ids(text), Ok(expected), "{text}");
        }
        for text in ["", "vax", "31", "0", "-6", "linux-arm"] {
            assert_eq!(ids(text), Err(UnknownArch(text.into())), "{text:?}");
        }
        assert!(UnknownArch("vax".into()).to_string().contains("x86_64"));
    }

    #[test]
    fn download_names_carry_no_path_characters() {
        let kind = find(4).unwrap();
        assert_eq!(kind.download_name_for("../My \"Office\"\r\n"), "meshagent64-..MyOffice.exe");
        assert_eq!(find(6).unwrap().download_name_for("a b"), "meshagent-ab");
    }
}
