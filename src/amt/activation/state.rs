//! What a program on the computer reports of its firmware (`meiState`), as far as activation needs
//! it. Everything in it is a claim; the firmware itself judges what follows from it.

use serde_json::{Map, Value};

use crate::model::Uuid;
use crate::model::text::clamp;

/// Most trusted roots that are looked at; firmware has some thirty.
const ROOTS_MAX: usize = 64;
/// Longest text in characters.
const TEXT_MAX: usize = 256;
/// Hex digits of SHA-384: some programs report it with the length of SHA-512.
const SHA384_DIGITS: usize = 96;
/// From this version on firmware speaks TLS only.
const TLS_ONLY: u32 = 19;

/// Who may tell the firmware what to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nobody yet.
    #[default]
    None,
    /// Client control mode: people at the computer have to agree.
    Client,
    /// Admin control mode.
    Admin,
}

impl Mode {
    /// From `CurrentControlMode` of the firmware.
    pub fn from_number(n: u64) -> Self {
        match n {
            1 => Self::Client,
            2 => Self::Admin,
            _ => Self::None,
        }
    }

    /// `intelamt.flags` of a device.
    pub fn flags(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Client => 2,
            Self::Admin => 4,
        }
    }

    /// What people call it.
    pub fn short(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Client => "CCM",
            Self::Admin => "ACM",
        }
    }
}

/// A user name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// `admin`, `$$OsAdmin`.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({:?})", self.user)
    }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// `core-ver`: 0 is a program too old to take part in activations with certificates.
    pub core_version: u64,
    /// `OsHostname`.
    pub computer: String,
    /// `Versions.AMT`, `16.1.25`.
    pub version: String,
    /// `Versions.Sku`.
    pub sku: Option<u64>,
    /// `UUID`, lower case.
    pub uuid: String,
    /// `ProvisioningState` 2.
    pub is_activated: bool,
    /// By `Flags`.
    pub mode: Mode,
    /// `OsAdmin`: a login that works on the computer itself.
    pub local: Option<Login>,
    /// `amtuser` and `amtpass`: what a person gave the program.
    pub given: Option<Login>,
    /// `OsDnsSuffix`: that of the system.
    pub os_suffix: Option<String>,
    /// The DNS suffix firmware trusts, or else that of the system.
    pub suffix: Option<String>,
    /// Hashes of the roots firmware trusts, lower-case hex; those that are switched off are not
    /// among them, but counted.
    pub roots: Vec<String>,
    /// How many it has reported.
    pub roots_reported: usize,
}

impl State {
    /// Reads a report; what is missing or odd is as if it had not been said.
    pub fn read(report: &Map<String, Value>) -> Self {
        let text = |value: Option<&Value>| {
            let text = value.and_then(Value::as_str).map(|text| clamp(text, TEXT_MAX));
            text.filter(|text| !text.is_empty())
        };
        let login = |user: Option<&Value>, password: Option<&Value>| {
            Some(Login { user: text(user)?, password: text(password)? })
        };
        let versions = report.get("Versions");
        let of_version = |name| versions.and_then(|versions| versions.get(name));
        let number = |name| report.get(name).and_then(Value::as_u64);
        let flags = number("Flags").unwrap_or_default();
        let local = report.get("OsAdmin");
        let reported = report.get("Hashes").and_then(Value::as_array).map(Vec::as_slice);
        let reported = reported.unwrap_or_default();
        let root = |root: &Value| {
            let is_active = root.get("isActive").is_none_or(|active| active.as_u64() == Some(1));
            let hash = root.get("certificateHash")?.as_str()?.to_lowercase();
            let is_hex = hash.bytes().all(|byte| byte.is_ascii_hexdigit());
            let hash = hash.get(..hash.len().min(SHA384_DIGITS)).filter(|_| is_active && is_hex)?;
            Some(hash.to_owned())
        };
        Self {
            core_version: number("core-ver").unwrap_or_default(),
            computer: text(report.get("OsHostname")).unwrap_or_default(),
            version: text(of_version("AMT")).unwrap_or_default(),
            sku: of_version("Sku").and_then(|sku| {
                sku.as_u64().or_else(|| sku.as_str().and_then(|text| text.parse().ok()))
            }),
            uuid: text(report.get("UUID"))
                .and_then(|uuid| uuid.parse::<Uuid>().ok())
                .map(|uuid| uuid.to_string())
                .unwrap_or_default(),
            is_activated: number("ProvisioningState") == Some(2),
            mode: match flags & 6 {
                2 => Mode::Client,
                4 => Mode::Admin,
                _ => Mode::None,
            },
            local: login(local.and_then(|l| l.get("user")), local.and_then(|l| l.get("pass"))),
            given: login(report.get("amtuser"), report.get("amtpass")),
            os_suffix: text(report.get("OsDnsSuffix")),
            suffix: text(report.get("DnsSuffix")).or_else(|| text(report.get("OsDnsSuffix"))),
            roots: reported.iter().take(ROOTS_MAX).filter_map(root).collect(),
            roots_reported: reported.len(),
        }
    }

    /// Whether the firmware speaks TLS only, also to programs on its computer.
    pub fn is_tls_only(&self) -> bool {
        self.major() >= TLS_ONLY
    }

    /// Major number of the firmware's version.
    pub fn major(&self) -> u32 {
        self.version.split('.').next().and_then(|n| n.parse().ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amt::activation::testing::vector;
    use serde_json::json;

    fn read(value: &Value) -> State {
        State::read(value.as_object().unwrap())
    }

    #[test]
    fn the_report_of_a_real_program_is_read() {
        let mut report = vector("activation-json-control")["mei_state_example"].clone();
        let state = read(&report);
        assert_eq!((state.core_version, state.version.as_str(), state.major()), (1, "16.1.25", 16));
        assert_eq!((state.sku, state.is_activated, state.mode), (Some(16392), false, Mode::None));
        assert_eq!(state.local.as_ref().unwrap().user, "$$OsAdmin");
        assert_eq!(state.suffix.as_deref(), Some("lab.example.com"));
        let root = vector("activation-acm-signature")["root_sha256"].clone();
        assert_eq!(json!(state.roots), json!([root]));
        assert!(!format!("{state:?}").contains("OsAdminPass"), "no password in a log");
        report["OsDnsSuffix"] = "other.example".into();
        assert_eq!(read(&report).suffix.as_deref(), Some("lab.example.com"));
        report["DnsSuffix"] = Value::Null;
        assert_eq!(read(&report).suffix.as_deref(), Some("other.example"));
        report["Flags"] = 2.into();
        report["ProvisioningState"] = 2.into();
        assert_eq!((read(&report).mode, read(&report).is_activated), (Mode::Client, true));
    }

    #[test]
    fn roots_that_are_switched_off_are_not_trusted_and_long_ones_are_cut() {
        let hash = |hash: &str, active: Value| json!({"certificateHash": hash, "isActive": active});
        let long = format!("{}{}", "A".repeat(96), "0".repeat(32));
        let hashes = json!([
            hash("AB", json!(1)),
            hash("CD", json!(0)),
            hash(&long, json!(1)),
            hash("x", json!(1)),
            5
        ]);
        let state = read(&json!({"Hashes": hashes}));
        assert_eq!(state.roots, ["ab".to_owned(), "a".repeat(96)]);
        assert_eq!(state.roots_reported, 5);
        for odd in [json!({}), json!({"Hashes": 1, "OsAdmin": 2, "Versions": [], "Flags": "x"})] {
            assert_eq!(read(&odd), State::default(), "{odd}");
        }
    }
}
