//! The settings of one server, as the other rooms read them.
//!
//! `config.json` keeps MeshCentral's format; [`Config`] is its parsed form, with every default
//! filled in. Values are checked when they are read from the file, never later.

mod acme;
mod activation;
mod addresses;
mod amt_manager;
mod amt_setup;
mod browser;
mod features;
mod parse;
mod passwords;
mod place;
mod proxies;
mod read;
mod recording;
mod redact;
mod table;
mod tree;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{DomainId, Key48, SiteRights, Storage, UserGroupId, UserId, order};

pub use acme::{Acme, Challenge};
pub use activation::{Activation, CertificateFiles, CertificateSource};
pub use addresses::AddressRules;
pub use amt_manager::{AmtAccount, AmtManager};
pub use amt_setup::{AmtSetup, NetworkLogin, Supplicant, WirelessNetwork};
pub use browser::{BrowserSettings, Framing, SameSite};
pub use features::{GuestSharing, MyServer};
pub use parse::{ConfigError, environment, load, parse};
pub use passwords::{FactorRules, PasswordRules, TokenRules};
pub use place::{Place, Problem, Warning, WarningKind};
pub use proxies::{FrontUrl, Proxies};
pub use recording::{Recording, RecordingLimits};
pub use redact::redacted;

/// Everything `config.json` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The `settings` section.
    pub settings: Settings,
    /// The `domains` section; the default domain is always present.
    pub domains: BTreeMap<DomainId, Domain>,
    /// The `letsencrypt` section.
    pub acme: Option<Acme>,
}

/// The `settings` section.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `cert`: the name the server is reached by. One without a dot means LAN mode.
    pub cert: Option<String>,
    /// `port`: HTTPS port; `None` means 443, or the next free port from 8443 without the right
    /// to bind it.
    pub port: Option<u16>,
    /// `aliasPort`: the HTTPS port shown in links, when a proxy or router translates it.
    pub alias_port: Option<u16>,
    /// `redirPort`: plain HTTP port that redirects to HTTPS; `None` switches it off.
    pub redir_port: Option<u16>,
    /// `mpsPort`: Intel AMT port; `None` switches it off.
    pub mps_port: Option<u16>,
    /// `mpsPortBind`: address the Intel AMT port is bound to; `None`: as the others.
    pub mps_bind: Option<std::net::IpAddr>,
    /// `mpsAliasPort`: the Intel AMT port shown to people and computers, when a router translates it.
    pub mps_alias_port: Option<u16>,
    /// `mpsCert` (up to its first comma), else `mpsAliasHost`: the name computers reach the Intel
    /// AMT port by, which its certificate carries; `None`: that of `cert`.
    pub mps_name: Option<String>,
    /// `mpsTlsOffload`: something before this server does TLS for the Intel AMT port.
    pub mps_tls_offload: bool,
    /// `mpsHighSecurity`: nothing below TLS 1.2 on the Intel AMT port.
    pub mps_high_security: bool,
    /// `mpsPass`: the password computers log in with; `None`: one that this server makes.
    pub mps_pass: Option<String>,
    /// `mpsAnyPassword` (ours): computers may log in with any password, as with a MeshCentral that
    /// has no `mpsPass`.
    pub mps_any_password: bool,
    /// `agentPort`: a further HTTPS port on which only agents are served.
    pub agent_port: Option<u16>,
    /// `agentAliasPort`: the agent port shown in `.msh` files.
    pub agent_alias_port: Option<u16>,
    /// `bind` (ours) or `portBind`: address every listener but the status endpoint is bound to,
    /// instead of all of them.
    pub bind: Option<std::net::IpAddr>,
    /// `tlsOffload` and `trustedProxy`.
    pub proxies: Proxies,
    /// `WANonly` / `LANonly`.
    pub reach: Reach,
    /// `amtScanner`: whether Intel AMT is looked for on the local network.
    pub amt_scanner: bool,
    /// `meshScanner`: whether agents find this server on the local network.
    pub mesh_scanner: bool,
    /// `localDiscovery`: what they are told.
    pub local_discovery: LocalDiscovery,
    /// `agentPing`: JSON ping to agents that often.
    pub agent_ping: Option<Duration>,
    /// `agentPong`: JSON pong to agents that often.
    pub agent_pong: Option<Duration>,
    /// `agentIdleTimeout`: an agent silent for that long is dropped; `None` never.
    pub agent_idle_timeout: Option<Duration>,
    /// `browserPing` / `browserPong`.
    pub browser_ping: Option<Duration>,
    /// `browserPong`.
    pub browser_pong: Option<Duration>,
    /// `ignoreAgentHashCheck`: any web certificate hash is accepted from agents. Signatures are
    /// verified all the same.
    pub ignore_agent_hash_check: bool,
    /// `maxInvalidLogin`: `None` switches the limiter off.
    pub max_invalid_login: Option<LoginLimit>,
    /// `maxInvalid2fa`: the same for wrong second factors.
    pub max_invalid_2fa: Option<LoginLimit>,
    /// `no2FactorAuth`: nobody is asked for a second factor.
    pub no_second_factor: bool,
    /// `cookieIpCheck`: from where else a cookie made for one address may be used.
    pub cookie_ip: CookieIp,
    /// Sessions of browsers.
    pub browser: BrowserSettings,
    /// `allowFraming`: whose pages may show ours in a frame.
    pub framing: Framing,
    /// `noAgentUpdate`: agents are never updated.
    pub no_agent_update: bool,
    /// `minifyCore`: the minified core is sent to agents.
    pub minify_core: bool,
    /// `agentUpdateBlockSize`: payload of a native update block, 1024 to 65531 bytes.
    pub agent_update_block_size: usize,
    /// `allowLoginToken`: users may make login cookies.
    pub allow_login_token: bool,
    /// `manageAllDeviceGroups`: accounts (`user/…`) that see every group.
    pub manage_all_device_groups: Vec<String>,
    /// `manageCrossDomain`: accounts that manage the accounts and user groups of all domains.
    pub manage_cross_domain: Vec<UserId>,
    /// `interUserMessaging`: who may send data to the sessions of another account.
    pub inter_user_messaging: InterUser,
    /// `lockAgentDownload`: only who is logged in gets agents and their settings.
    pub lock_agent_download: bool,
    /// `desktopMultiplex`: those who watch one desktop share one session, in every domain.
    pub desktop_multiplex: bool,
    /// `userAllowedIP` / `userBlockedIP`: from where people may connect.
    pub user_addresses: AddressRules,
    /// `agentAllowedIP` / `agentBlockedIP`: from where agents may connect.
    pub agent_addresses: AddressRules,
    /// `autoBackup`: backups by themselves; `None` makes none.
    pub auto_backup: Option<BackupPlan>,
    /// `storage` (ours): how soon what changes is written to disk.
    pub storage: Storage,
    /// `statusPort` (ours): loopback port of the status endpoint; `None` switches it off.
    pub status_port: Option<u16>,
}

/// Between which accounts `interuser` carries data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InterUser {
    /// None.
    #[default]
    Off,
    /// All of a domain.
    Everybody,
    /// Those listed and everybody.
    Listed(Vec<UserId>),
}

/// Where agents are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// LAN and Internet.
    Hybrid,
    /// Internet only: no multicast.
    Wan,
    /// Local network only.
    Lan,
}

/// From where a cookie that was made for one address may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CookieIp {
    /// From anywhere.
    None,
    /// From the same /24 (IPv4) or /64 (IPv6), and between private addresses.
    #[default]
    Lax,
    /// From that address only.
    Strict,
}

/// Limits of failed logins per /24 (IPv4) or /64 (IPv6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginLimit {
    /// Window in which failures are counted.
    pub time: Duration,
    /// Failures after which the address is refused.
    pub count: u32,
    /// How long it is refused; `None` until the window has passed.
    pub cool_off: Option<Duration>,
}

impl LoginLimit {
    /// Ten failures in ten minutes.
    pub const STANDARD: Self = Self { time: Duration::from_secs(600), count: 10, cool_off: None };
}

/// When backups are made by themselves, and how long they are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct BackupPlan {
    /// `backupIntervalHours`.
    pub every: Duration,
    /// `keepLastDaysBackup`.
    pub keep: Duration,
    /// `maxMegabytes` (ours): the oldest go when all together are larger.
    pub max_bytes: u64,
    /// `backupPath`: the folder; `None` is `backups` in the data folder.
    pub folder: Option<std::path::PathBuf>,
    /// `zipPassword`: they are sealed with it.
    pub passphrase: Option<String>,
}

impl BackupPlan {
    /// What `autoBackup: true` means: daily, for ten days, 100 MB together.
    pub const DAILY: Self = Self {
        every: Duration::from_secs(86_400),
        keep: Duration::from_secs(86_400 * 10),
        max_bytes: 100 << 20,
        folder: None,
        passphrase: None,
    };
    /// Without `autoBackup`, when somebody asks for one: no older one is removed for it.
    pub const ON_DEMAND: Self = Self { keep: Duration::MAX, max_bytes: u64::MAX, ..Self::DAILY };
}

impl std::fmt::Debug for BackupPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BackupPlan(every {:?} into {:?})", self.every, self.folder)
    }
}

/// `localDiscovery`: what the local network is told about this server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalDiscovery {
    /// `name`: what people call it.
    pub name: Option<String>,
    /// `info`: more about it.
    pub info: Option<String>,
    /// `key`: encrypts what is said; agents get it with their settings.
    pub key: Option<String>,
}

/// One entry of the `domains` section.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Domain {
    /// `title`.
    pub title: Option<String>,
    /// `title2`.
    pub title2: Option<String>,
    /// `dns`: host name that selects this domain.
    pub dns: Option<String>,
    /// `newAccounts`: people may register themselves.
    pub new_accounts: bool,
    /// `newAccountsRights`: what such an account may do.
    pub new_account_rights: SiteRights,
    /// `newAccountsUserGroups`: user groups new accounts are members of.
    pub new_account_user_groups: Vec<UserGroupId>,
    /// `agentInviteCodes`: people may get an invitation for a code at `/invite`.
    pub agent_invite_codes: bool,
    /// `lockAgentDownload`, in addition to that of the settings.
    pub lock_agent_download: bool,
    /// `agentKey`: an agent's `?key=` must be one of these, if there are any.
    pub agent_keys: Vec<String>,
    /// `loginKey`: a user's `?key=` must be one of these, if there are any.
    pub login_keys: Vec<String>,
    /// `certHash`: further web certificate hashes accepted from agents (a proxy's certificate, a
    /// certificate during rollover).
    pub accepted_tls_hashes: Vec<Key48>,
    /// `certUrl`: where a proxy's certificate is found, to be accepted from agents as it changes.
    pub cert_url: Option<FrontUrl>,
    /// `allowedOrigin`: further hosts a browser's `Origin` may name; `*` allows any.
    pub allowed_origins: Vec<String>,
    /// `userSessionIdleTimeout`: how long somebody may do nothing in a browser's session.
    pub idle_timeout: Option<Duration>,
    /// `allowFraming`, if the domain has a word of its own.
    pub framing: Option<Framing>,
    /// `userConsentFlags`: OR of the consent bits 1 to 64.
    pub consent: u32,
    /// `passwordRequirements`: what passwords must be like.
    pub passwords: PasswordRules,
    /// `passwordRequirements`: second factors.
    pub factors: FactorRules,
    /// `passwordRequirements.loginTokens`.
    pub login_tokens: TokenRules,
    /// `consentMessages` and `notificationMessages`, as agents want them (`soptions`).
    pub session_options: serde_json::Map<String, serde_json::Value>,
    /// `desktopPrivacyBarText`.
    pub privacy_bar_text: Option<String>,
    /// `desktop.viewonly`: nobody gets desktop input.
    pub desktop_view_only: bool,
    /// `desktopMultiplex`: the same as in the settings, for this domain.
    pub desktop_multiplex: bool,
    /// `userAllowedIP` / `userBlockedIP`, in addition to those of the settings.
    pub user_addresses: AddressRules,
    /// `agentAllowedIP` / `agentBlockedIP`, in addition to those of the settings.
    pub agent_addresses: AddressRules,
    /// `sessionRecording`: which sessions are recorded; `None` means none.
    pub recording: Option<Recording>,
    /// `AmtAcmActivation`: how computers with Intel AMT are activated.
    pub activation: Activation,
    /// `amtManager`: how its Intel AMT is logged in to.
    pub amt_manager: AmtManager,
    /// `amtManager`: what Intel AMT is set up with.
    pub amt_setup: AmtSetup,
    /// `limits.maxDevices`.
    pub max_devices: Option<usize>,
    /// `limits.maxAgentSessions`.
    pub max_agent_sessions: Option<usize>,
    /// `limits.maxUserAccounts`.
    pub max_user_accounts: Option<usize>,
    /// `limits.maxUserSessions`.
    pub max_user_sessions: Option<usize>,
    /// `limits.maxSingleUserSessions`.
    pub max_single_user_sessions: Option<usize>,
    /// `autoRemoveInactiveDevices`: a device that stayed away for that many days is removed.
    pub inactive_days: Option<u16>,
    /// `userQuota`: bytes of server files an account may keep, unless its own quota says otherwise.
    pub user_quota: Option<u64>,
    /// `meshQuota`: bytes of server files a device group may keep.
    pub group_quota: Option<u64>,
    /// `guestDeviceSharing`.
    pub guest_sharing: GuestSharing,
    /// `maxDeviceView`: most devices in one answer; lists are then shown page by page.
    pub max_device_view: Option<usize>,
    /// `geoLocation`: where devices are may be kept and shown.
    pub locations: bool,
    /// `clipboardGet` is false: nobody reads the clipboard of a device.
    pub no_clipboard_get: bool,
    /// `clipboardSet` is false: nobody writes it.
    pub no_clipboard_set: bool,
    /// `myServer`.
    pub my_server: MyServer,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            domains: order::gather([(DomainId::default(), Domain::default())]),
            acme: None,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cert: None,
            port: None,
            alias_port: None,
            redir_port: Some(80),
            mps_port: Some(4433),
            mps_bind: None,
            mps_alias_port: None,
            mps_name: None,
            mps_tls_offload: false,
            mps_high_security: false,
            mps_pass: None,
            mps_any_password: false,
            agent_port: None,
            agent_alias_port: None,
            bind: None,
            proxies: Proxies::default(),
            reach: Reach::Hybrid,
            agent_ping: None,
            agent_pong: None,
            agent_idle_timeout: Some(Duration::from_secs(150)),
            browser_ping: None,
            browser_pong: None,
            ignore_agent_hash_check: false,
            max_invalid_login: Some(LoginLimit::STANDARD),
            max_invalid_2fa: Some(LoginLimit::STANDARD),
            no_second_factor: false,
            cookie_ip: CookieIp::Lax,
            browser: BrowserSettings::default(),
            framing: Framing::Nobody,
            no_agent_update: false,
            amt_scanner: true,
            mesh_scanner: true,
            local_discovery: LocalDiscovery::default(),
            minify_core: false,
            agent_update_block_size: 65531,
            allow_login_token: false,
            manage_all_device_groups: Vec::new(),
            manage_cross_domain: Vec::new(),
            inter_user_messaging: InterUser::default(),
            lock_agent_download: false,
            desktop_multiplex: false,
            user_addresses: AddressRules::default(),
            agent_addresses: AddressRules::default(),
            auto_backup: None,
            storage: Storage::Durable,
            status_port: Some(8087),
        }
    }
}

impl Config {
    /// The settings of `domain`; those of the default domain if it is not configured.
    pub fn domain(&self, domain: &DomainId) -> &Domain {
        static NONE: std::sync::LazyLock<Domain> = std::sync::LazyLock::new(Domain::default);
        self.domains.get(domain).unwrap_or(&NONE)
    }

    /// Whether agents and their settings are given to nobody in `domain` who is not logged in.
    pub fn locks_agent_downloads(&self, domain: &DomainId) -> bool {
        self.settings.lock_agent_download || self.domain(domain).lock_agent_download
    }

    /// Whether those who watch one desktop of `domain` share one session. Off unless it is asked
    /// for, as in MeshCentral.
    pub fn shares_desktops(&self, domain: &DomainId) -> bool {
        self.settings.desktop_multiplex || self.domain(domain).desktop_multiplex
    }

    /// Whose pages may show those of `domain` in a frame.
    pub fn framing(&self, domain: &DomainId) -> &Framing {
        self.domain(domain).framing.as_ref().unwrap_or(&self.settings.framing)
    }
}
