//! `passwordRequirements`: what passwords must be like, and what is asked for besides them.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::addresses;
use super::read::Section;
use super::table;
use crate::model::KeyPin;

/// What a password must be like. Zero demands nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PasswordRules {
    /// `min`: fewest characters.
    pub min: usize,
    /// `max`: most characters; 0 means 256.
    pub max: usize,
    /// `upper`: fewest capital letters A to Z.
    pub upper: usize,
    /// `lower`: fewest small letters a to z.
    pub lower: usize,
    /// `numeric`: fewest digits.
    pub numeric: usize,
    /// `nonalpha`: fewest characters that are neither letters, digits nor underscores.
    pub nonalpha: usize,
    /// `reset` (days): a password older than this must be changed.
    pub reset: Option<Duration>,
    /// `hint`: people may keep a hint.
    pub hint: bool,
    /// `oldPasswordBan`: that many former passwords may not come back; at most 24.
    pub old_ban: usize,
    /// `banCommonPasswords`: passwords everybody tries first are refused.
    pub ban_common: bool,
}

/// What is asked for besides the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactorRules {
    /// `force2factor`: clients are told that an account must have a second factor.
    pub force: bool,
    /// `skip2factor`: from these addresses no second factor is asked for.
    pub skip: Vec<IpNet>,
    /// `lock2factor`: people cannot change their second factors.
    pub locked: bool,
    /// `otp2factor`: authenticator apps may be set up.
    pub app: bool,
    /// `backupcode2factor`: backup codes may be made and used.
    pub backup_codes: bool,
    /// `maxfidokeys`: most security keys of an account.
    pub max_keys: Option<usize>,
    /// `fidoPinInput`: whether security keys have to ask for their PIN.
    pub key_pin: KeyPin,
    /// `twoFactorCookieDurationDays`: how long a device is remembered; 0 switches that off.
    pub remember_days: u32,
}

impl Default for FactorRules {
    fn default() -> Self {
        Self {
            force: false,
            skip: Vec::new(),
            locked: false,
            app: true,
            backup_codes: true,
            max_keys: None,
            key_pin: KeyPin::default(),
            remember_days: 30,
        }
    }
}

impl FactorRules {
    /// Whether somebody at `address` is asked for the password only.
    pub fn skips(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.skip.iter().any(|net| net.contains(&address))
    }
}

/// `loginTokens`: who may make user names and passwords for programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TokenRules {
    /// Everybody.
    #[default]
    Everybody,
    /// Nobody; existing ones do not log in any more.
    Nobody,
    /// The accounts with these ids, and those with a link to what has one of these ids.
    Only(Vec<String>),
}

/// Most former passwords that are compared.
const OLD_MAX: u64 = 24;

/// Reads `passwordRequirements` and `twoFactorCookieDurationDays` of a domain.
pub(super) fn read(domain: &Section<'_>) -> (PasswordRules, FactorRules, TokenRules) {
    let mut factors = FactorRules::default();
    let days = domain.number("twoFactorCookieDurationDays", 0..=3650);
    if let Some(days) = days.and_then(|days| u32::try_from(days).ok()) {
        factors.remember_days = days;
    }
    let Some(section) = domain.section("passwordRequirements") else {
        return (PasswordRules::default(), factors, TokenRules::default());
    };
    let count = |name| section.number(name, 0..=256).unwrap_or_default() as usize;
    let reset = section.number("reset", 0..=36_500).filter(|days| *days > 0);
    let passwords = PasswordRules {
        min: count("min"),
        max: count("max"),
        upper: count("upper"),
        lower: count("lower"),
        numeric: count("numeric"),
        nonalpha: count("nonalpha"),
        reset: reset.map(|days| Duration::from_secs(days * 86_400)),
        hint: section.flag("hint").unwrap_or(false),
        old_ban: section.number("oldPasswordBan", 0..=OLD_MAX).unwrap_or_default() as usize,
        ban_common: section.flag("banCommonPasswords").unwrap_or(false),
    };
    let networks = "addresses or networks like 192.168.0.0/16";
    factors.force = section.flag("force2factor").unwrap_or(false);
    factors.skip = section.parsed("skip2factor", networks, addresses::parse).unwrap_or_default();
    factors.locked = section.flag("lock2factor").unwrap_or(false);
    factors.app = section.flag("otp2factor").unwrap_or(true);
    factors.backup_codes = section.flag("backupcode2factor").unwrap_or(true);
    factors.max_keys = section.number("maxfidokeys", 0..=64).map(|keys| keys as usize);
    if let Some(found) = section.find("fidoPinInput") {
        let word = section.text("fidoPinInput").unwrap_or_default();
        match KeyPin::from_word(&word) {
            Some(pin) => factors.key_pin = pin,
            None => section.problem(&found, "expected preferred, required or discouraged"),
        }
    }
    let tokens = match section.find("loginTokens").map(|found| found.node.value.as_flag()) {
        None | Some(Some(true)) => TokenRules::Everybody,
        Some(Some(false)) => TokenRules::Nobody,
        Some(None) => TokenRules::Only(section.texts("loginTokens").unwrap_or_default()),
    };
    section.finish(&table::PASSWORDS);
    (passwords, factors, tokens)
}
