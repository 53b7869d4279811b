//! What simulated firmware is and keeps: instances of its classes, users, power, and what it saw.

use std::collections::VecDeque;

use data_encoding::HEXLOWER;

use super::classes;
use super::digest::{Nonces, hash};
use super::redirection::{IderSeen, Input, Protocol, Screen};
use super::xml::Element;

/// Requests a nonce is good for, unless a test wants otherwise.
const USES: u32 = 1000;
/// The number for "consent is needed for everything".
pub const CONSENT_ALL: &str = "4294967295";

/// Something that happened to firmware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// `GET /` without credentials.
    Probe,
    /// Credentials that are not right.
    WrongPassword,
    /// A request beside another one, which firmware cannot bear; its connection was cut off.
    Parallel,
    /// `AMT_GeneralSettings.Get` and the like, done.
    Done(String),
    /// The same, with the reason it was not done.
    Fault(String, String),
    /// The same, with a return value that is not 0.
    Returned(String, u32),
    /// The computer was asked to be in this state.
    Power(u8),
    /// A redirection session began.
    Opened(Protocol),
    /// A redirection session ended.
    Closed(Protocol),
    /// A presence ping was answered.
    Ping,
}

/// What the computer booted with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// `InstanceID` of the source that was ordered.
    pub source: Option<String>,
    /// Names of the settings that were true.
    pub settings: Vec<String>,
}

/// A user besides the administrator.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its number.
    pub handle: u32,
    /// Its name.
    pub name: String,
    /// MD5 of name, realm and password.
    pub hash: Vec<u8>,
    /// 0 local, 1 network, 2 any.
    pub access: u32,
    /// What it may do.
    pub realms: Vec<String>,
    /// Whether it may log in.
    pub enabled: bool,
}

/// Simulated firmware.
pub struct Firmware {
    /// `16.1.25.1865`.
    pub version: String,
    /// Realm of digests.
    pub realm: String,
    /// Qualities of protection it offers.
    pub qop: String,
    /// Nonces of the web server.
    pub nonces: Nonces,
    /// Name and hash of the administrator.
    pub admin: (String, Vec<u8>),
    /// Other users.
    pub accounts: Vec<Account>,
    /// All instances; their namespace is their class.
    pub instances: Vec<Element>,
    /// 2 on, 4 sleeping, 7 hibernating, 8 off.
    pub power: u8,
    /// Its clock minus the real one in seconds.
    pub clock: i64,
    /// Source for the next boot.
    pub source: Option<String>,
    /// Whether the boot configuration is for the next boot.
    pub armed: bool,
    /// All boots since the beginning.
    pub boots: Vec<Boot>,
    /// The digits a user in front of the computer reads.
    pub consent_code: u32,
    /// Wrong digits since they were shown.
    pub wrong_codes: u32,
    /// Records of the event log and of the audit log.
    pub logs: (Vec<String>, Vec<String>),
    /// The enumeration that goes on: its context and what was not pulled.
    pub enumeration: Option<(String, VecDeque<Element>)>,
    /// Redirection sessions that are open.
    pub sessions: Vec<Protocol>,
    /// The next session that is looked after is cut off, as a computer does that starts anew.
    pub cuts_off: bool,
    /// What was typed over the serial line.
    pub typed: Vec<u8>,
    /// Keys and pointer over KVM.
    pub input: Vec<Input>,
    /// What KVM shows.
    pub screen: Screen,
    /// What was read over IDER.
    pub ider: IderSeen,
    /// Whether it answers presence pings; its version in them, and its provisioning state.
    pub rmcp: bool,
    /// Whether the provisioning state is "activated".
    pub activated: bool,
    /// All that happened, in order.
    pub seen: Vec<Seen>,
    /// Its certificate and key, as DER, if TLS is on.
    pub tls: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether the ports without TLS are open.
    pub plain: bool,
    /// Key pairs by handle, as PKCS#8.
    pub keys: Vec<(u32, Vec<u8>)>,
    /// Whom it trusts, and how far it is.
    pub activation: super::activation::Activation,
    turn: Option<u64>,
    numbers: u64,
}

impl Firmware {
    /// Firmware as it is after activation in admin control mode, with this administrator.
    pub fn new(version: &str, user: &str, password: &str) -> Self {
        let realm = "Digest:A4070000000000000000000000000001".to_owned();
        let mut firmware = Self {
            version: version.into(),
            qop: "auth".into(),
            nonces: Nonces::new(USES),
            admin: (user.into(), md5(&[user, &realm, password])),
            accounts: vec![Account {
                handle: 1,
                name: "$$uns".into(),
                hash: Vec::new(),
                access: 0,
                realms: vec!["16".into()],
                enabled: true,
            }],
            instances: classes::as_recorded(),
            power: 2,
            clock: 0,
            source: None,
            armed: false,
            boots: Vec::new(),
            consent_code: 246_810,
            wrong_codes: 0,
            logs: classes::logs(),
            enumeration: None,
            sessions: Vec::new(),
            cuts_off: false,
            typed: Vec::new(),
            input: Vec::new(),
            screen: Screen::default(),
            ider: IderSeen::default(),
            rmcp: true,
            activated: true,
            seen: Vec::new(),
            tls: None,
            plain: true,
            keys: Vec::new(),
            activation: super::activation::Activation::default(),
            turn: None,
            numbers: 0,
            realm,
        };
        let realm = firmware.realm.clone();
        firmware.instance("AMT_GeneralSettings").set("DigestRealm", realm);
        for identity in firmware.instances.iter_mut().filter(|i| i.name == "CIM_SoftwareIdentity") {
            if ["Flash", "Netstack", "AMTApps", "AMT"].contains(&identity.value("InstanceID")) {
                identity.set("VersionString", version.rsplitn(2, '.').last().unwrap_or(version));
            }
        }
        firmware
    }

    /// Puts it into client control mode, where everything needs consent.
    pub fn client_control(&mut self) {
        self.instance("IPS_HostBasedSetupService").set("CurrentControlMode", 1);
        let opt_in = self.instance("IPS_OptInService");
        opt_in.set("OptInRequired", CONSENT_ALL);
        opt_in.set("CanModifyOptInPolicy", 0);
    }

    /// The one instance of a class.
    ///
    /// # Panics
    /// If there is none.
    pub fn instance(&mut self, class: &str) -> &mut Element {
        let mut of = self.instances.iter_mut();
        of.find(|i| i.name == class).unwrap_or_else(|| panic!("an instance of {class}"))
    }

    /// A property of the one instance of a class.
    pub fn property(&self, class: &str, name: &str) -> &str {
        let instance = self.instances.iter().find(|instance| instance.name == class);
        instance.map_or("", |instance| instance.value(name))
    }

    /// Remembers what happened.
    pub fn saw(&mut self, seen: Seen) {
        self.seen.push(seen);
    }

    /// Operations that were done, in order.
    pub fn done(&self) -> Vec<&str> {
        let done = self.seen.iter().filter_map(|seen| match seen {
            Seen::Done(operation) => Some(&**operation),
            _ => None,
        });
        done.collect()
    }

    /// A number nobody has had.
    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// The web server serves one request at a time: whether it is this connection's turn.
    pub fn take_turn(&mut self, id: u64) -> bool {
        *self.turn.get_or_insert(id) == id
    }

    /// This connection's request is over.
    pub fn end_turn(&mut self, id: u64) {
        if self.turn == Some(id) {
            self.turn = None;
        }
    }

    /// Names and hashes of all who may log in over the network.
    pub fn password_hashes(&self) -> Vec<(String, String)> {
        let others = self.accounts.iter().filter(|a| a.enabled && a.access > 0);
        let others = others.map(|a| (a.name.clone(), HEXLOWER.encode(&a.hash)));
        let admin = (self.admin.0.clone(), HEXLOWER.encode(&self.admin.1));
        [admin].into_iter().chain(others).collect()
    }

    /// Its clock in seconds since 1970.
    pub fn time(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs() as i64) + self.clock
    }

    /// What may be asked of the computer in the state it is in.
    pub fn available_power_states(&self) -> &'static [u8] {
        match self.power {
            2 => &[10, 8, 5, 11, 4, 7, 14, 12],
            4 | 7 => &[2, 8, 5, 10],
            _ => &[2],
        }
    }

    /// The computer is switched on, off or over.
    pub fn set_power(&mut self, requested: u8) {
        self.saw(Seen::Power(requested));
        let was_on = self.power == 2;
        self.power = match requested {
            4 => 4,
            7 => 7,
            6 | 8 | 12 | 13 => 8,
            _ => 2,
        };
        let wakes = requested == 2;
        if self.power == 2 && requested != 11 && !(wakes && was_on) {
            self.boot();
        }
    }

    /// Boots with what was ordered, which is good once.
    fn boot(&mut self) {
        let (armed, source) = (std::mem::take(&mut self.armed), self.source.take());
        let settings = self.instance("AMT_BootSettingData");
        let mut on = Vec::new();
        for property in &mut settings.children {
            if classes::BOOT_OPTIONS.contains(&&*property.name) && property.text == "true" {
                on.push(property.name.clone());
                property.text = "false".into();
            }
        }
        settings.set("OptionsCleared", "true");
        let boot = Boot { source: source.filter(|_| armed), settings: on };
        self.boots.push(boot);
    }

    /// Whether the person at the computer has agreed, or need not.
    pub fn has_consent(&self, for_kvm: bool) -> bool {
        let needed = match self.property("IPS_OptInService", "OptInRequired") {
            "0" => false,
            CONSENT_ALL => true,
            _ => for_kvm,
        };
        let state = self.property("IPS_OptInService", "OptInState");
        !needed || state == "3" || state == "4"
    }

    /// Whether port 16994 is open.
    pub fn listens_for(&self, protocol: Protocol) -> bool {
        let service = "AMT_RedirectionService";
        let enabled = self.property(service, "EnabledState").parse().unwrap_or(32768_u32);
        self.property(service, "ListenerEnabled") == "true"
            && match protocol {
                Protocol::Ider => enabled & 1 != 0,
                Protocol::Sol => enabled & 2 != 0,
                Protocol::Kvm => {
                    ["2", "6"].contains(&self.property("CIM_KVMRedirectionSAP", "EnabledState"))
                }
            }
    }
}

/// The digest of a password as 16 bytes.
pub fn md5(parts: &[&str]) -> Vec<u8> {
    HEXLOWER.decode(hash(parts).as_bytes()).expect("it is hexadecimal")
}
