//! `amtManager` of a domain, as far as firmware is set up by it: wireless networks, 802.1X, and the
//! networks in which it is at home.
//!
//! What is wrong here is a remark with what is done instead, never a problem: a bad network keeps
//! computers from getting it, not the server from running.

use std::fmt;

use super::read::Section;
use super::table;
use super::tree::Value;

/// Most networks of a domain: firmware has room for as many.
const NETWORKS_MAX: usize = 15;
/// Most DNS suffixes, and the longest.
const SUFFIXES_MAX: usize = 4;
const SUFFIX_LONGEST: usize = 63;
/// Longest name of a network in bytes.
const SSID_MAX: usize = 32;
/// Characters of a password of a network.
const PASSPHRASE: std::ops::RangeInclusive<usize> = 8..=63;
/// Longest text of 802.1X in characters, as firmware has it.
const TEXT_MAX: usize = 128;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AmtSetup {
    /// `environmentDetection`: DNS suffixes of networks in which firmware does not call, lower case;
    /// none: it always calls.
    pub home: Vec<String>,
    /// `wifiProfiles`; `None` leaves those that are there.
    pub networks: Option<Vec<WirelessNetwork>>,
    /// `802.1x`: how computers log in to networks; `None` leaves it as it is.
    pub network_login: Option<NetworkLogin>,
}

/// One entry of `wifiProfiles`.
#[derive(Clone, PartialEq, Eq)]
pub struct WirelessNetwork {
    /// What firmware calls it.
    pub name: String,
    /// Name of the network.
    pub ssid: String,
    /// `AuthenticationMethod`: 4 and 6 with a password, 5, 7, 32768 and 32769 with 802.1X.
    pub authentication: u16,
    /// `EncryptionMethod`: 3 TKIP, 4 CCMP.
    pub encryption: u8,
    /// The password, if it has one.
    pub password: Option<String>,
}

impl WirelessNetwork {
    /// Whether a computer logs in to it with 802.1X.
    pub fn wants_login(&self) -> bool {
        !BY_PASSWORD.contains(&self.authentication)
    }
}

impl fmt::Debug for WirelessNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WirelessNetwork({:?}, {:?})", self.name, self.ssid)
    }
}

/// What `802.1x` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkLogin {
    /// `false`: none, on the cable.
    Off,
    /// This one.
    On(Supplicant),
}

/// A login with user name and password. What is empty is not said.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Supplicant {
    /// `AuthenticationProtocol`: 1 EAP-TTLS/MSCHAPv2, 2 PEAPv0/EAP-MSCHAPv2, 3 PEAPv1/EAP-GTC.
    pub protocol: u8,
    /// `roamingIdentity`: the user name for everybody to see.
    pub roaming_identity: String,
    /// `serverCertificateName`: the name a server must have.
    pub server: String,
    /// `serverCertificateNameComparison`: 2 the whole name, 3 its end.
    pub comparison: u8,
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
    /// `domain` of the user.
    pub domain: String,
    /// `availableInS0`: while the system runs, too.
    pub while_running: bool,
    /// `pxeTimeoutInSeconds`: how long a start from the network may use it.
    pub pxe_seconds: u32,
}

impl fmt::Debug for Supplicant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Supplicant({}, {:?})", self.protocol, self.user)
    }
}

/// Kinds of authentication by password.
const BY_PASSWORD: [u16; 2] = [4, 6];
const AUTHENTICATION: &[(&str, u16)] = &[
    ("wpa-psk", 4),
    ("wpa-8021x", 5),
    ("wpa-802.1x", 5),
    ("wpa2-psk", 6),
    ("wpa2-802.1x", 7),
    ("wpa3-sae-802.1x", 32768),
    ("wpa3-owe-802.1x", 32769),
];
const ENCRYPTION: &[(&str, u16)] = &[("tkip", 3), ("tkip-rc4", 3), ("ccmp", 4), ("ccmp-aes", 4)];
/// In the order of their numbers, with why those that are not supported are not.
const PROTOCOLS: [(&str, Option<&str>); 11] = [
    ("eap-tls", Some(CERTIFICATE)),
    ("eap-ttls/mschapv2", None),
    ("peapv0/eap-mschapv2", None),
    ("peapv1/eap-gtc", None),
    ("eap-fast/mschapv2", Some(PROTECTED)),
    ("eap-fast/gtc", Some(PROTECTED)),
    ("eap-md5", Some(UNSAFE)),
    ("eap-psk", Some(UNSAFE)),
    ("eap-sim", Some(CARD)),
    ("eap-aka", Some(CARD)),
    ("eap-fast/tls", Some(CERTIFICATE)),
];
const CERTIFICATE: &str = "needs a certificate for each computer, which this server does not issue";
const PROTECTED: &str = "needs a protected access credential, which this server does not have";
const UNSAFE: &str = "is not offered by Intel AMT for user name and password";
const CARD: &str = "needs a SIM card";

/// Keys of `amtManager` that are read here.
const KEYS: [&str; 3] = ["environmentDetection", "wifiProfiles", "802.1x"];

/// Reads its part of `amtManager`.
pub(super) fn amt_setup(section: &Section<'_>) -> AmtSetup {
    let network_login = network_login(section);
    let has_login = matches!(network_login, Some(NetworkLogin::On(_)));
    AmtSetup { home: home(section), networks: networks(section, has_login), network_login }
}

fn home(section: &Section<'_>) -> Vec<String> {
    const NAME: &str = KEYS[0];
    let Some(found) = section.find(NAME) else { return Vec::new() };
    let mut suffixes = Vec::new();
    for suffix in section.texts(NAME).unwrap_or_default() {
        let suffix = suffix.to_lowercase();
        if suffix.is_empty() || suffix.len() > SUFFIX_LONGEST {
            section
                .remark(&found, format!("{suffix:?} is ignored: a DNS suffix has 1 to 63 bytes"));
        } else if !suffixes.contains(&suffix) {
            suffixes.push(suffix);
        }
    }
    if suffixes.len() > SUFFIXES_MAX {
        section.remark(&found, "only the first 4 are used: firmware has no room for more");
        suffixes.truncate(SUFFIXES_MAX);
    }
    suffixes
}

fn networks(section: &Section<'_>, has_login: bool) -> Option<Vec<WirelessNetwork>> {
    let found = section.find(KEYS[1])?;
    let Value::List(_) = found.node.value else {
        section.remark(&found, "ignored: expected a list of networks");
        return None;
    };
    let mut networks: Vec<WirelessNetwork> = Vec::new();
    for (n, entry) in section.sections(KEYS[1]).into_iter().enumerate() {
        let read = match entry {
            Some(entry) => {
                let read = network(&entry, has_login);
                entry.finish(&table::NONE);
                read
            }
            None => Err("expected an object { … }".to_owned()),
        };
        let refused = |why: &str| {
            section.remark(&found, format!("network {} is ignored: {why}", n + 1));
        };
        match read {
            Err(why) => refused(&why),
            Ok(network) if networks.iter().any(|known| known.name == network.name) => {
                refused("another one has its name");
            }
            Ok(_) if networks.len() >= NETWORKS_MAX => {
                refused("firmware has no room for more than 15");
            }
            Ok(network) => networks.push(network),
        }
    }
    Some(networks)
}

fn network(entry: &Section<'_>, has_login: bool) -> Result<WirelessNetwork, String> {
    let ssid = entry.text("ssid").ok_or("it has no ssid")?;
    if ssid.len() > SSID_MAX {
        return Err("its ssid has more than 32 bytes".into());
    }
    let name = entry.text("name").unwrap_or_else(|| ssid.clone());
    if name.len() > SSID_MAX {
        return Err("its name has more than 32 bytes".into());
    }
    let password = entry.text("password");
    let with_login = entry.find("802.1x").is_some();
    let standard = if with_login { 7 } else { 6 };
    let authentication = choice(entry, "authentication", AUTHENTICATION, standard)?;
    let encryption = choice(entry, "encryption", ENCRYPTION, 4)?;
    let by_password = BY_PASSWORD.contains(&authentication);
    let length = password.as_deref().map_or(0, |password| password.chars().count());
    if by_password && !PASSPHRASE.contains(&length) {
        return Err("its password must have 8 to 63 characters".into());
    }
    if !by_password && !has_login {
        return Err("its authentication needs a usable 802.1x beside wifiProfiles".into());
    }
    let password = password.filter(|_| by_password);
    let encryption = u8::try_from(encryption).unwrap_or(4);
    Ok(WirelessNetwork { name, ssid, authentication, encryption, password })
}

/// A word or its number.
fn choice(
    entry: &Section<'_>,
    name: &str,
    words: &[(&str, u16)],
    standard: u16,
) -> Result<u16, String> {
    let Some(text) = entry.text(name) else { return Ok(standard) };
    let text = text.to_lowercase();
    let fits = |(word, number): &&(&str, u16)| *word == text || number.to_string() == text;
    match words.iter().find(fits) {
        Some((_, number)) => Ok(*number),
        None => {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            Err(format!("{name} {text:?} is none of {}", words.join(", ")))
        }
    }
}

fn network_login(section: &Section<'_>) -> Option<NetworkLogin> {
    const NAME: &str = KEYS[2];
    let found = section.find(NAME)?;
    if found.node.value.as_flag() == Some(false) {
        return Some(NetworkLogin::Off);
    }
    let Value::Table(_) = found.node.value else {
        section.remark(&found, "ignored: expected an object { … }, or false for none");
        return None;
    };
    let entry = section.section(NAME)?;
    let read = supplicant(&entry);
    entry.finish(&table::NONE);
    match read {
        Ok(supplicant) => Some(NetworkLogin::On(supplicant)),
        Err(why) => {
            section.remark(&found, format!("ignored: {why}"));
            None
        }
    }
}

fn supplicant(entry: &Section<'_>) -> Result<Supplicant, String> {
    let text = |name: &str| {
        let text = entry.text(name).unwrap_or_default();
        match text.chars().count() <= TEXT_MAX {
            true => Ok(text),
            false => Err(format!("{name} has more than 128 characters")),
        }
    };
    // All keys are asked for before anything is refused: what is wrong is said once.
    let satellite = entry.find("satelliteCredentials").is_some();
    let protected = ["protectedAccessCredentialHex", "pacPassword"];
    let has_protected = protected.map(|name| entry.find(name).is_some()).contains(&true);
    let wanted = text("authenticationProtocol")?.to_lowercase();
    let comparison = text("serverCertificateNameComparison")?.to_lowercase();
    let supplicant = Supplicant {
        protocol: 0,
        roaming_identity: text("roamingIdentity")?,
        server: text("serverCertificateName")?,
        comparison: if comparison == "domainsuffix" { 3 } else { 2 },
        user: text("username")?,
        password: text("password")?,
        domain: text("domain")?,
        while_running: entry.flag("availableInS0").unwrap_or(true),
        pxe_seconds: entry
            .number("pxeTimeoutInSeconds", 0..=86_400)
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(120),
    };
    if satellite {
        return Err(
            "satelliteCredentials is for MeshCentral Satellite, which this server does not \
                    speak to; give username and password"
                .into(),
        );
    }
    if !["", "fullname", "domainsuffix"].contains(&&*comparison) {
        return Err("serverCertificateNameComparison is neither fullname nor domainsuffix".into());
    }
    let at = PROTOCOLS.iter().position(|(word, _)| *word == wanted);
    let Some((at, (_, refused))) = at.and_then(|at| Some((at, PROTOCOLS.get(at)?))) else {
        return Err("authenticationProtocol must be eap-ttls/mschapv2, peapv0/eap-mschapv2 or \
                    peapv1/eap-gtc"
            .into());
    };
    if let Some(why) = refused {
        return Err(format!("authenticationProtocol {wanted} {why}"));
    }
    if has_protected {
        return Err(format!("protectedAccessCredentialHex: {wanted} has no such credential"));
    }
    if supplicant.user.is_empty() || supplicant.password.is_empty() {
        return Err("it needs username and password".into());
    }
    Ok(Supplicant { protocol: u8::try_from(at).unwrap_or_default(), ..supplicant })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::model::DomainId;

    fn read(section: &str) -> (AmtSetup, Vec<String>) {
        let text = format!(r#"{{"domains":{{"":{{"amtManager":{section}}}}}}}"#);
        let (config, warnings) = parse(&text, []).unwrap();
        let said = warnings.iter().map(ToString::to_string).collect();
        (config.domain(&DomainId::default()).amt_setup.clone(), said)
    }

    #[test]
    fn networks_and_logins_are_read_as_the_stock_server_reads_them() {
        let (setup, said) = read(
            r#"{"EnvironmentDetection":["Home.Example","home.example","b.example"],
                "wifiProfiles":[
                  {"name":"w1","ssid":"corp","authentication":"WPA2-PSK","encryption":"ccmp-aes",
                   "password":"secretpass"},
                  {"ssid":"old","authentication":4,"encryption":"tkip","password":"secretpass"},
                  {"ssid":"login","802.1x":{}}],
                "802.1x":{"authenticationProtocol":"PEAPv0/EAP-MSCHAPv2","username":"u",
                  "password":"p","domain":"D","serverCertificateName":"radius.example",
                  "serverCertificateNameComparison":"DomainSuffix","availableInS0":false}}"#,
        );
        assert_eq!(said, [""; 0]);
        assert_eq!(setup.home, ["home.example", "b.example"]);
        let networks = setup.networks.unwrap();
        let of = |n: usize| {
            let WirelessNetwork { name, authentication, encryption, .. } = &networks[n];
            (name.as_str(), *authentication, *encryption, networks[n].wants_login())
        };
        assert_eq!(of(0), ("w1", 6, 4, false));
        assert_eq!(of(1), ("old", 4, 3, false));
        assert_eq!(of(2), ("login", 7, 4, true));
        let Some(NetworkLogin::On(login)) = setup.network_login else { panic!("none") };
        assert_eq!((login.protocol, login.comparison, login.while_running), (2, 3, false));
        assert!(!format!("{networks:?} {login:?}").contains("secretpass"));
        assert_eq!(read(r#"{"802.1x":false}"#).0.network_login, Some(NetworkLogin::Off));
        assert_eq!(read("{}"), (AmtSetup::default(), vec![]));
    }

    #[test]
    fn what_is_not_supported_is_said_with_its_key_and_stops_nothing() {
        let login = |fields: &str| format!(r#"{{"802.1x":{{{fields}}}}}"#);
        let network = |fields: &str| format!(r#"{{"wifiProfiles":[{{{fields}}}]}}"#);
        let long = "x".repeat(33);
        for (section, words) in [
            ("5".to_owned(), "expected an object"),
            (r#"{"wifiProfiles":{}}"#.into(), "expected a list of networks"),
            (r#"{"wifiProfiles":[5]}"#.into(), "network 1 is ignored: expected an object"),
            (network(r#""name":"x""#), "it has no ssid"),
            (network(&format!(r#""ssid":"{long}""#)), "more than 32 bytes"),
            (network(r#""ssid":"a""#), "8 to 63 characters"),
            (network(r#""ssid":"a","authentication":"wep""#), "\"wep\" is none of wpa-psk"),
            (network(r#""ssid":"a","encryption":"none""#), "\"none\" is none of tkip"),
            (network(r#""ssid":"a","authentication":"wpa2-802.1x""#), "needs a usable 802.1x"),
            (network(r#""ssid":"a","password":"12345678","colour":1"#), "colour"),
            (r#"{"802.1x":"x"}"#.into(), "or false for none"),
            (login(r#""satelliteCredentials":"admin""#), "MeshCentral Satellite"),
            (login(r#""authenticationProtocol":"eap-tls""#), "needs a certificate for each"),
            (login(r#""authenticationProtocol":"eap-fast/gtc""#), "protected access credential"),
            (login(r#""authenticationProtocol":"eap-sim""#), "SIM card"),
            (login(r#""authenticationProtocol":"x""#), "must be eap-ttls/mschapv2"),
            (
                login(r#""authenticationProtocol":"peapv1/eap-gtc""#),
                "it needs username and password",
            ),
            (r#"{"environmentDetection":["a","b","c","d","e"]}"#.into(), "only the first 4"),
            (r#"{"unheardOf":1}"#.into(), "unheardOf"),
        ] {
            let (setup, said) = read(&section);
            assert!(said.iter().any(|said| said.contains(words)), "{section}: {said:?}");
            assert_eq!(setup.network_login, None, "{section}");
            let taken = setup.networks.unwrap_or_default();
            assert!(taken.is_empty() || section.contains("colour"), "{section}");
        }
        let twice = r#"{"wifiProfiles":[{"ssid":"a","password":"12345678"},
            {"ssid":"b","name":"a","password":"12345678"}]}"#;
        let (setup, said) = read(twice);
        assert_eq!(setup.networks.unwrap().len(), 1);
        assert!(said[0].contains("network 2 is ignored: another one has its name"), "{said:?}");
    }
}
