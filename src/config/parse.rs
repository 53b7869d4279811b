//! `config.json` in MeshCentral's format: text in, checked [`Config`] out.
//!
//! Keys are case-insensitive, keys with a leading `_` are never read, `domainDefaults` fill the
//! gaps of every domain, and environment variables `MESHCENTRAL_<ARG>` override `settings`. What
//! would not work as written is a [`Problem`] with its place, and the server does not start; what
//! is read but does nothing is a [`Warning`].

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::acme;
use super::activation::activation;
use super::addresses::{self, AddressRules};
use super::amt_manager::amt_manager;
use super::browser;
use super::passwords;
use super::place::{Problem, Warning};
use super::proxies;
use super::read::{Notes, Section};
use super::recording::recording;
use super::tree::{self, Entry, Node, Origin, Table, Value};
use super::{
    BackupPlan, Config, CookieIp, Domain, InterUser, LocalDiscovery, LoginLimit, Reach, Settings,
    features, table,
};
use crate::model::{DomainId, Key48, SiteRights, Storage, UserGroupId, UserId};

/// Largest file that is read, in bytes.
const FILE_MAX: u64 = 1 << 20;
/// Most domains.
const DOMAINS_MAX: usize = 256;
/// Domain names that are paths of the web server.
const RESERVED_DOMAINS: [&str; 6] = ["public", "private", "images", "scripts", "styles", "views"];
/// Prefix of environment variables that override settings, in any case.
const ENVIRONMENT: &str = "meshcentral_";

/// Why there is no configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// The file is there but cannot be read.
    Read(PathBuf, io::Error),
    /// What is written in it does not work; never empty.
    Invalid(PathBuf, Vec<Problem>),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Invalid(path, problems) => {
                let lines: Vec<_> = problems.iter().map(|p| p.place.located(path, p)).collect();
                f.write_str(&lines.join("\n"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// Reads and parses `path`; a file that is not there is an empty one.
pub fn load(
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(Config, Vec<Warning>), ConfigError> {
    let failed = |error| ConfigError::Read(path.to_owned(), error);
    let text = match std::fs::metadata(path) {
        Ok(meta) if meta.len() > FILE_MAX => {
            let text = format!("larger than {FILE_MAX} bytes");
            return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, text)));
        }
        Ok(_) => std::fs::read_to_string(path).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    parse(&text, environment).map_err(|problems| ConfigError::Invalid(path.to_owned(), problems))
}

/// The variables of this process that are text: what may override settings.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
}

/// Parses the text of `config.json`. `environment` are the variables of the process; those that
/// are none of ours are skipped.
pub fn parse(
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(Config, Vec<Warning>), Vec<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut warnings = Vec::new();
    let mut top = tree::parse(text, &mut warnings).map_err(|problem| vec![problem])?;
    override_settings(&mut top, environment);

    let notes = Notes { text, problems: Vec::new().into(), warnings: warnings.into() };
    let file = Section::new(String::new(), &top, &notes);
    let mut config = Config::default();
    if let Some(section) = file.section("settings") {
        config.settings = settings(section);
    }
    domains(&file, &notes, &mut config);
    config.acme = acme::acme(&file, &notes, &config);
    file.finish(&table::TOP);

    let problems = notes.problems.into_inner();
    if problems.is_empty() { Ok((config, notes.warnings.into_inner())) } else { Err(problems) }
}

/// Puts `MESHCENTRAL_<ARG>` variables into `settings`.
fn override_settings(top: &mut Table, environment: impl IntoIterator<Item = (String, String)>) {
    let entry = |name: &str, variable: String, value| {
        let origin = Origin::Environment(variable);
        let node = Node { origin: origin.clone(), value };
        Entry { name: name.to_lowercase(), written: name.to_owned(), origin, node }
    };
    for (variable, value) in environment {
        let prefix = variable.get(..ENVIRONMENT.len());
        let ours = prefix.is_some_and(|p| p.eq_ignore_ascii_case(ENVIRONMENT));
        // Container tools pass an unset variable as an empty one.
        if !ours || value.is_empty() {
            continue;
        }
        let name = variable.get(ENVIRONMENT.len()..).unwrap_or_default().to_lowercase();
        if top.get("settings").is_none() {
            top.set(entry("settings", variable.clone(), Value::Table(Table::default())));
        }
        let settings = top.0.iter_mut().find(|e| e.name == "settings");
        if let Some(Value::Table(settings)) = settings.map(|e| &mut e.node.value) {
            settings.set(entry(&name, variable, Value::Text(value)));
        }
    }
}

fn settings(section: Section<'_>) -> Settings {
    let standard = Settings::default();
    let cert = section.find("cert").and_then(|found| {
        let name = section.text("cert")?;
        if name.contains(['@', '/', ':']) || name.contains(char::is_whitespace) {
            section.problem(&found, "expected a host name or address, without @ / : or blanks");
        }
        Some(name)
    });
    let settings = Settings {
        reach: reach(&section, cert.as_deref()),
        cert,
        port: section.port("port"),
        alias_port: section.port("aliasPort"),
        redir_port: section.port_or_off("redirPort").unwrap_or(standard.redir_port),
        mps_port: section.port_or_off("mpsPort").unwrap_or(standard.mps_port),
        mps_bind: address(&section, "mpsPortBind"),
        mps_alias_port: section.port("mpsAliasPort"),
        mps_name: mps_name(&section),
        mps_tls_offload: section.flag("mpsTlsOffload").unwrap_or(false),
        mps_high_security: section.flag("mpsHighSecurity").unwrap_or(false),
        mps_pass: section.text("mpsPass"),
        mps_any_password: section.flag("mpsAnyPassword").unwrap_or(false),
        agent_port: section.port_or_off("agentPort").unwrap_or(standard.agent_port),
        agent_alias_port: section.port("agentAliasPort"),
        bind: bind(&section),
        proxies: proxies::proxies(&section),
        agent_ping: section.seconds("agentPing").unwrap_or(standard.agent_ping),
        agent_pong: section.seconds("agentPong").unwrap_or(standard.agent_pong),
        agent_idle_timeout: section
            .seconds("agentIdleTimeout")
            .unwrap_or(standard.agent_idle_timeout),
        browser_ping: section.seconds("browserPing").unwrap_or(standard.browser_ping),
        browser_pong: section.seconds("browserPong").unwrap_or(standard.browser_pong),
        ignore_agent_hash_check: ignore_hash_check(&section),
        max_invalid_login: login_limit(&section, "maxInvalidLogin"),
        max_invalid_2fa: login_limit(&section, "maxInvalid2fa"),
        no_second_factor: section.flag("no2FactorAuth").unwrap_or(false),
        cookie_ip: cookie_ip(&section),
        browser: browser::settings(&section),
        framing: browser::framing(&section).unwrap_or_default(),
        amt_scanner: section.flag("amtScanner").unwrap_or(standard.amt_scanner),
        mesh_scanner: section.flag("meshScanner").unwrap_or(standard.mesh_scanner),
        local_discovery: local_discovery(&section),
        no_agent_update: section.flag("noAgentUpdate").unwrap_or(standard.no_agent_update),
        minify_core: section.flag("minifyCore").unwrap_or(standard.minify_core),
        agent_update_block_size: section
            .number("agentUpdateBlockSize", 1024..=65531)
            .map_or(standard.agent_update_block_size, |n| n as usize),
        allow_login_token: section.flag("allowLoginToken").unwrap_or(standard.allow_login_token),
        manage_all_device_groups: section
            .parsed("manageAllDeviceGroups", "ids as in user//name", |id| {
                (id.starts_with("user/") || id.starts_with("ugrp/")).then(|| id.to_owned())
            })
            .unwrap_or_default(),
        manage_cross_domain: section
            .parsed("manageCrossDomain", "ids as in user//name", |id| id.parse().ok())
            .unwrap_or_default(),
        inter_user_messaging: inter_user(&section),
        lock_agent_download: section.flag("lockAgentDownload").unwrap_or(false),
        desktop_multiplex: section.flag("desktopMultiplex").unwrap_or(false),
        user_addresses: addresses(&section, "user"),
        agent_addresses: addresses(&section, "agent"),
        auto_backup: auto_backup(&section),
        storage: storage(&section),
        status_port: section.port_or_off("statusPort").unwrap_or(standard.status_port),
    };
    let settings = distinct_ports(&section, settings);
    section.finish(&table::SETTINGS);
    settings
}

/// `true`, `false`, or a list of accounts.
fn inter_user(section: &Section<'_>) -> InterUser {
    const NAME: &str = "interUserMessaging";
    let Some(found) = section.find(NAME) else { return InterUser::Off };
    match found.node.value.as_flag() {
        Some(true) => InterUser::Everybody,
        Some(false) => InterUser::Off,
        None => {
            let expected = "true, false, or ids as in user//name";
            InterUser::Listed(
                section.parsed(NAME, expected, |id| id.parse().ok()).unwrap_or_default(),
            )
        }
    }
}

/// A name without a dot cannot be resolved outside: LAN mode. Without any, where people and agents
/// have found the server is where it is.
fn reach(section: &Section<'_>, cert: Option<&str>) -> Reach {
    let wan = section.flag("WANonly").unwrap_or(false);
    let lan = section.flag("LANonly").unwrap_or(false);
    let named = cert.is_none_or(|name| name.contains('.'));
    if wan
        && (lan || !named)
        && let Some(found) = section.find("WANonly")
    {
        let why = if lan { "LANonly is set, too" } else { "cert is not a full host name" };
        section.remark(&found, format!("ignored, because {why}"));
    }
    match (lan || !named, wan) {
        (true, _) => Reach::Lan,
        (false, true) => Reach::Wan,
        (false, false) => Reach::Hybrid,
    }
}

fn bind(section: &Section<'_>) -> Option<std::net::IpAddr> {
    // The second is MeshCentral's; here it counts for every listener.
    address(section, "bind").or_else(|| address(section, "portBind"))
}

/// An address of this machine.
fn address(section: &Section<'_>, name: &str) -> Option<std::net::IpAddr> {
    let found = section.find(name)?;
    let parsed = section.text(name)?.parse().ok();
    if parsed.is_none() {
        section.problem(&found, "expected an IP address of this machine");
    }
    parsed
}

/// What the certificate of the Intel AMT port is made out to; country and organization behind the
/// name are not used.
fn mps_name(section: &Section<'_>) -> Option<String> {
    let alias = section.text("mpsAliasHost");
    let certificate = section.text("mpsCert");
    let name = certificate.as_deref().and_then(|text| text.split(',').next()).map(str::trim);
    name.filter(|name| !name.is_empty()).map(str::to_owned).or(alias)
}

fn ignore_hash_check(section: &Section<'_>) -> bool {
    let Some(found) = section.find("ignoreAgentHashCheck") else { return false };
    match &found.node.value {
        Value::Text(_) | Value::List(_) if found.node.value.as_flag().is_none() => {
            section.remark(&found, "a list of addresses is not supported: hashes are checked");
            false
        }
        _ => section.flag("ignoreAgentHashCheck").unwrap_or(false),
    }
}

/// Times are minutes, as in MeshCentral.
fn login_limit(section: &Section<'_>, name: &str) -> Option<LoginLimit> {
    let standard = LoginLimit::STANDARD;
    let Some(found) = section.find(name) else { return Some(standard) };
    match found.node.value.as_flag() {
        Some(false) => return None,
        Some(true) => return Some(standard),
        None => {}
    }
    let limit = section.section(name)?;
    let count = limit.number("count", 1..=u64::from(u32::MAX));
    let parsed = LoginLimit {
        time: limit.minutes("time").unwrap_or(standard.time),
        count: count.and_then(|n| u32::try_from(n).ok()).unwrap_or(standard.count),
        cool_off: limit.minutes("coolofftime"),
    };
    limit.finish(&table::NONE);
    Some(parsed)
}

fn storage(section: &Section<'_>) -> Storage {
    let Some(found) = section.find("storage") else { return Storage::default() };
    let word = match &found.node.value {
        Value::Text(word) => Storage::from_word(word),
        _ => None,
    };
    word.unwrap_or_else(|| {
        section.problem(&found, "expected durable, coalesced or volatile");
        Storage::default()
    })
}

fn cookie_ip(section: &Section<'_>) -> CookieIp {
    let Some(found) = section.find("cookieIpCheck") else { return CookieIp::default() };
    let word = match &found.node.value {
        Value::Text(word) => word.to_ascii_lowercase(),
        value => value.as_flag().map(|on| on.to_string()).unwrap_or_default(),
    };
    match &*word {
        "none" | "false" => CookieIp::None,
        "lax" | "true" => CookieIp::Lax,
        "strict" => CookieIp::Strict,
        _ => {
            section.problem(&found, "expected none, lax or strict");
            CookieIp::default()
        }
    }
}

fn local_discovery(section: &Section<'_>) -> LocalDiscovery {
    let Some(discovery) = section.section("localDiscovery") else {
        return LocalDiscovery::default();
    };
    let [name, info, key] = ["name", "info", "key"].map(|member| discovery.text(member));
    discovery.finish(&table::NONE);
    LocalDiscovery { name, info, key }
}

fn auto_backup(section: &Section<'_>) -> Option<BackupPlan> {
    const HOUR: Duration = Duration::from_secs(3600);
    let found = section.find("autoBackup")?;
    if found.node.value.as_flag() == Some(false) {
        return None;
    }
    let standard = BackupPlan::DAILY;
    if found.node.value.as_flag() == Some(true) {
        return Some(standard);
    }
    let plan = section.section("autoBackup")?;
    let number = |name, range| plan.number(name, range).and_then(|n| u32::try_from(n).ok());
    let parsed = BackupPlan {
        every: number("backupIntervalHours", 1..=8760).map_or(standard.every, |n| HOUR * n),
        keep: number("keepLastDaysBackup", 1..=3650).map_or(standard.keep, |n| HOUR * 24 * n),
        max_bytes: number("maxMegabytes", 1..=1_000_000)
            .map_or(standard.max_bytes, |n| u64::from(n) << 20),
        folder: plan.text("backupPath").map(Into::into),
        passphrase: plan.text("zipPassword").filter(|phrase| !phrase.is_empty()),
    };
    plan.finish(&table::AUTO_BACKUP);
    Some(parsed)
}

fn addresses(section: &Section<'_>, who: &str) -> AddressRules {
    let list = |suffix| {
        let expected = "addresses or networks like 192.168.0.0/16";
        section.parsed(&format!("{who}{suffix}"), expected, addresses::parse).unwrap_or_default()
    };
    AddressRules { allowed: list("AllowedIP"), blocked: list("BlockedIP") }
}

/// Two ports that were written must differ; one that was not written gives way.
fn distinct_ports(section: &Section<'_>, mut settings: Settings) -> Settings {
    let main = settings.port.unwrap_or(443);
    let written = |name: &str, port: Option<u16>| port.filter(|_| section.find(name).is_some());
    let mut taken: Vec<(&str, u16)> = Vec::new();
    for (name, port) in [
        ("port", Some(main)),
        ("redirPort", written("redirPort", settings.redir_port)),
        ("mpsPort", written("mpsPort", settings.mps_port)),
        ("agentPort", written("agentPort", settings.agent_port)),
        ("statusPort", written("statusPort", settings.status_port)),
    ] {
        let Some(port) = port else { continue };
        match (taken.iter().find(|(_, p)| *p == port), section.find(name)) {
            (Some((other, _)), Some(found)) => {
                section.problem(&found, format!("{port} is the {other} already"));
            }
            _ => taken.push((name, port)),
        }
    }
    let free = |port: &u16| taken.iter().all(|(_, p)| p != port);
    if section.find("redirPort").is_none() {
        settings.redir_port = settings.redir_port.filter(free);
    }
    if section.find("mpsPort").is_none() {
        settings.mps_port = settings.mps_port.filter(free);
    }
    if section.find("statusPort").is_none() {
        settings.status_port = settings.status_port.filter(free);
    }
    settings
}

fn domains<'t>(file: &Section<'t>, notes: &'t Notes<'t>, config: &mut Config) {
    let empty = &Table(Vec::new());
    let defaults = file.find("domainDefaults").and_then(|found| match &found.node.value {
        Value::Table(table) => Some(table),
        _ => {
            file.problem(&found, "expected an object { … }");
            None
        }
    });
    let list = file.find("domains").and_then(|found| match &found.node.value {
        Value::Table(table) => Some((found.key, table)),
        _ => {
            file.problem(&found, "expected an object with a domain under each name");
            None
        }
    });
    let (path, list) = list.unwrap_or_else(|| ("domains".to_owned(), empty));
    if list.0.len() > DOMAINS_MAX
        && let Some(found) = file.find("domains")
    {
        file.problem(&found, format!("more than {DOMAINS_MAX} domains"));
        return;
    }
    let mut domains = Domains { notes, defaults, hosts: BTreeSet::new(), managers: Vec::new() };
    for entry in &list.0 {
        let key = tree::join(&path, &entry.written);
        match (&entry.node.value, domain_id(&entry.name)) {
            (Value::Null, _) => {}
            (_, Err(text)) => notes.problem(&entry.origin, &key, text),
            (Value::Table(table), Ok(id)) => {
                let domain = domains.read(&id, key, table);
                config.domains.insert(id, domain);
            }
            (_, Ok(_)) => notes.problem(&entry.node.origin, &key, "expected an object { … }"),
        }
    }
    // The default domain exists, and has the defaults, also when it is not written.
    if list.get("").is_none() {
        let domain = domains.read(&DomainId::default(), tree::join(&path, ""), empty);
        config.domains.insert(DomainId::default(), domain);
    }
    config.settings.manage_all_device_groups.extend(domains.managers);
}

/// What the domains have in common while they are read.
struct Domains<'t> {
    notes: &'t Notes<'t>,
    defaults: Option<&'t Table>,
    /// `dns` names in use.
    hosts: BTreeSet<String>,
    /// `manageAllDeviceGroups` of all domains.
    managers: Vec<String>,
}

impl Domains<'_> {
    fn read(&mut self, id: &DomainId, key: String, table: &Table) -> Domain {
        let mut section = Section::new(key, table, self.notes);
        if let Some(defaults) = self.defaults {
            section = section.with_defaults("domainDefaults", defaults);
        }
        let domain = domain(id, &section);
        if let (Some(host), Some(found)) = (&domain.dns, section.find("dns")) {
            if id.is_default() {
                section.problem(&found, "the default domain cannot have a dns name");
            } else if !self.hosts.insert(host.clone()) {
                section.problem(&found, format!("{host} is the name of another domain"));
            }
        }
        let managers = section.parsed("manageAllDeviceGroups", "account names", |name| {
            UserId::new(id.clone(), name).ok().map(|user| user.to_string())
        });
        self.managers.extend(managers.unwrap_or_default());
        section.finish(&table::DOMAIN);
        domain
    }
}

fn domain_id(name: &str) -> Result<DomainId, &'static str> {
    if RESERVED_DOMAINS.contains(&name) {
        return Err("this name is a path of the web server; take another");
    }
    DomainId::new(name)
        .map_err(|_| "a domain name has at most 64 bytes and neither blanks nor slashes")
}

fn domain(id: &DomainId, section: &Section<'_>) -> Domain {
    let (passwords, factors, login_tokens) = passwords::read(section);
    let (amt_manager, amt_setup) = amt_manager(section);
    let keys = |name| {
        let valid = |text: &str| {
            let fits = (1..=128).contains(&text.len());
            let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
            (fits && plain).then(|| text.to_owned())
        };
        section.parsed(name, "1 to 128 letters and digits", valid).unwrap_or_default()
    };
    let mut domain = Domain {
        title: section.text("title"),
        title2: section.text("title2"),
        dns: section.text("dns").map(|host| host.to_lowercase()),
        new_accounts: new_accounts(section),
        new_account_rights: rights(section),
        new_account_user_groups: section
            .parsed("newAccountsUserGroups", "ids of user groups of this domain", |text| {
                UserGroupId::parse_in(id, text).ok()
            })
            .unwrap_or_default(),
        agent_invite_codes: section.flag("agentInviteCodes").unwrap_or(false),
        lock_agent_download: section.flag("lockAgentDownload").unwrap_or(false),
        agent_keys: keys("agentKey"),
        login_keys: keys("loginKey"),
        accepted_tls_hashes: section
            .parsed("certHash", "SHA-384 hashes as 96 hexadecimal digits", tls_hash)
            .unwrap_or_default(),
        cert_url: proxies::front_url(section),
        allowed_origins: allowed_origins(section),
        idle_timeout: section.minutes("userSessionIdleTimeout"),
        framing: browser::framing(section),
        consent: consent(section),
        passwords,
        factors,
        login_tokens,
        session_options: session_options(section),
        privacy_bar_text: section.text("desktopPrivacyBarText"),
        desktop_view_only: desktop_view_only(section),
        user_addresses: addresses(section, "user"),
        agent_addresses: addresses(section, "agent"),
        recording: recording(section),
        activation: activation(section),
        amt_manager,
        amt_setup,
        ..Domain::default()
    };
    features::read(section, &mut domain);
    if let Some(limits) = section.section("limits") {
        let limit = |name| limits.number(name, 1..=1_000_000_000).map(|n| n as usize);
        domain.max_devices = limit("maxDevices");
        domain.max_agent_sessions = limit("maxAgentSessions");
        domain.max_user_accounts = limit("maxUserAccounts");
        domain.max_user_sessions = limit("maxUserSessions");
        domain.max_single_user_sessions = limit("maxSingleUserSessions");
        limits.finish(&table::NONE);
    }
    domain
}

/// MeshCentral's 2 means "the first account only", which is always possible.
fn new_accounts(section: &Section<'_>) -> bool {
    let Some(found) = section.find("newAccounts") else { return false };
    found.node.value.as_whole() != Some(2) && section.flag("newAccounts").unwrap_or(false)
}

/// A number or a list of names.
fn rights(section: &Section<'_>) -> SiteRights {
    const NAME: &str = "newAccountsRights";
    let Some(found) = section.find(NAME) else { return SiteRights::empty() };
    if found.node.value.as_whole().is_some() {
        let bits = section.number(NAME, 0..=u64::from(u32::MAX)).unwrap_or_default();
        return SiteRights::from_bits_retain(u32::try_from(bits).unwrap_or_default());
    }
    let names = section.parsed(NAME, "rights like nonewgroups", |name| {
        Some(match &*name.to_ascii_lowercase() {
            "fulladmin" => SiteRights::FULL,
            "serverbackup" => SiteRights::BACKUP,
            "manageusers" => SiteRights::MANAGE_USERS,
            "serverrestore" => SiteRights::RESTORE,
            "fileaccess" => SiteRights::FILES,
            "serverupdate" => SiteRights::UPDATE,
            "locked" => SiteRights::LOCKED,
            "nonewgroups" => SiteRights::NO_NEW_GROUPS,
            "notools" => SiteRights::NO_TOOLS,
            "usergroups" => SiteRights::USER_GROUPS,
            "recordings" => SiteRights::RECORDINGS,
            "locksettings" => SiteRights::LOCK_SETTINGS,
            "allevents" => SiteRights::ALL_EVENTS,
            "nonewdevices" => SiteRights::NO_NEW_DEVICES,
            _ => return None,
        })
    });
    names.unwrap_or_default().into_iter().fold(SiteRights::empty(), |all, right| all | right)
}

fn tls_hash(text: &str) -> Option<Key48> {
    let hex: String = text.chars().filter(|c| *c != ':').collect();
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?;
    Some(Key48(bytes.try_into().ok()?))
}

/// `true` allows any, written as `*`.
fn allowed_origins(section: &Section<'_>) -> Vec<String> {
    let Some(found) = section.find("allowedOrigin") else { return Vec::new() };
    match found.node.value {
        Value::Bool(true) => vec!["*".to_owned()],
        _ => section.texts("allowedOrigin").unwrap_or_default(),
    }
}

/// A number, or an object of switches.
fn consent(section: &Section<'_>) -> u32 {
    const NAMES: [&str; 7] = [
        "desktopnotify",
        "terminalnotify",
        "filenotify",
        "desktopprompt",
        "terminalprompt",
        "fileprompt",
        "desktopprivacybar",
    ];
    let Some(found) = section.find("userConsentFlags") else { return 0 };
    if !matches!(found.node.value, Value::Table(_)) {
        let bits = section.number("userConsentFlags", 0..=127).unwrap_or_default();
        return u32::try_from(bits).unwrap_or_default();
    }
    let Some(flags) = section.section("userConsentFlags") else { return 0 };
    let bit = |n: usize, name| if flags.flag(name).unwrap_or(false) { 1 << n } else { 0 };
    let bits = NAMES.iter().enumerate().fold(0, |bits, (n, name)| bits | bit(n, name));
    flags.finish(&table::NONE);
    bits
}

/// Texts and switches of the dialogs agents show, under the names agents know them by.
fn session_options(section: &Section<'_>) -> serde_json::Map<String, serde_json::Value> {
    const CONSENT_TEXTS: [(&str, &str); 4] = [
        ("title", "consentTitle"),
        ("desktop", "consentMsgDesktop"),
        ("terminal", "consentMsgTerminal"),
        ("files", "consentMsgFiles"),
    ];
    const CONSENT_FLAGS: [(&str, &str); 10] = [
        ("autoAcceptOnTimeout", "consentAutoAccept"),
        ("autoAcceptIfNoUser", "consentAutoAcceptIfNoUser"),
        ("autoAcceptIfDesktopNoUser", "consentAutoAcceptIfDesktopNoUser"),
        ("autoAcceptIfTerminalNoUser", "consentAutoAcceptIfTerminalNoUser"),
        // MeshCentral sends this one misspelt, so that agents never see it.
        ("autoAcceptIfFileNoUser", "consentAutoAcceptIfFileNoUser"),
        ("autoAcceptIfLocked", "consentAutoAcceptIfLocked"),
        ("autoAcceptIfDesktopLocked", "consentAutoAcceptIfDesktopLocked"),
        ("autoAcceptIfTerminalLocked", "consentAutoAcceptIfTerminalLocked"),
        ("autoAcceptIfFileLocked", "consentAutoAcceptIfFileLocked"),
        ("oldStyle", "oldStyle"),
    ];
    const NOTICE_TEXTS: [(&str, &str); 4] = [
        ("title", "notifyTitle"),
        ("desktop", "notifyMsgDesktop"),
        ("terminal", "notifyMsgTerminal"),
        ("files", "notifyMsgFiles"),
    ];
    let mut options = serde_json::Map::new();
    let mut put_texts = |section: &Section<'_>, names: [(&str, &str); 4]| {
        for (name, option) in names {
            if let Some(text) = section.text(name) {
                options.insert(option.to_owned(), text.into());
            }
        }
    };
    let consent = section.section("consentMessages");
    if let Some(consent) = &consent {
        put_texts(consent, CONSENT_TEXTS);
    }
    if let Some(notices) = section.section("notificationMessages") {
        put_texts(&notices, NOTICE_TEXTS);
        notices.finish(&table::NONE);
    }
    if let Some(consent) = consent {
        if let Some(seconds) = consent.number("consentTimeout", 1..=86_400) {
            options.insert("consentTimeout".to_owned(), seconds.into());
        }
        for (name, option) in CONSENT_FLAGS {
            if consent.flag(name) == Some(true) {
                options.insert(option.to_owned(), true.into());
            }
        }
        consent.finish(&table::NONE);
    }
    options
}

fn desktop_view_only(section: &Section<'_>) -> bool {
    let Some(desktop) = section.section("desktop") else { return false };
    let view_only = desktop.flag("viewonly").unwrap_or(false);
    desktop.finish(&table::NONE);
    view_only
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
