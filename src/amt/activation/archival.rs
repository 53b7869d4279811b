//! The activation protocol of 2019 and 2020, `/amtactivate`: for MeshCmd of that age that somebody
//! still has. It does what the firmware is told itself, and asks the server for a password and a
//! signature only. Kept as it was; nothing new is added here.
//!
//! ```text
//! MeshCmd ─ acmactivate | ccmactivate ─► log, signature ─► the same ─► …-success | …-failed
//! ```
//!
//! Everything of it is archival: no client of that age can be run any more. Source:
//! amt-activation-and-lan §5.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use data_encoding::{BASE64, HEXLOWER};
use futures_lite::future::or;
use serde_json::{Map, Value, json};

use super::certificate::Certificate;
use super::log::{self, Line};
use super::matching::{Match, choose};
use super::password;
use super::room::Room;
use super::state::{Login, Mode, State};
use crate::amt::digest::{Credentials, password_hash};
use crate::hub::ByteStream;
use crate::model::text::clamp;
use crate::model::{
    AmtAccess, AmtPolicy, Device, DomainId, Event, EventKind, Group, GroupId, GroupKind, Millis,
    NodeId, Uuid,
};
use crate::ws::{Message, Socket};

/// Largest message, in bytes.
pub const MESSAGE_MAX: usize = 64 * 1024;
/// Time for the first message, and for what the firmware made of the answer.
const ASKS: Duration = Duration::from_secs(30);
const TELLS: Duration = Duration::from_secs(300);
const ADMIN: &str = "admin";
const NONCE: usize = 20;
/// Characters of a text, and how long each of its parts may be.
const TEXT_MAX: usize = 256;
const TEXTS: std::ops::RangeInclusive<usize> = 16..=TEXT_MAX;
const NAMES: std::ops::RangeInclusive<usize> = 4..=TEXT_MAX;
/// Error numbers of the protocol.
const ARGUMENT: u8 = 1;
const CERTIFICATE: u8 = 2;
const SIGNATURE: u8 = 4;
const LOG: u8 = 5;

/// What is asked for, as far as it counts.
struct Request {
    state: State,
    uuid: Uuid,
    realm: String,
    nonce: Vec<u8>,
    /// Client control mode is possible.
    has_client_mode: bool,
    tag: Option<String>,
    name: Option<String>,
}

impl Request {
    fn read(text: &[u8]) -> Result<Self, &'static str> {
        let message: Map<String, Value> =
            serde_json::from_slice(text).map_err(|_| "Invalid arguments")?;
        let text = |name: &str| message.get(name).and_then(Value::as_str);
        let fits = |name: &str, range: &std::ops::RangeInclusive<usize>| {
            text(name).filter(|text| range.contains(&text.chars().count()))
        };
        if !matches!(text("action"), Some("acmactivate" | "ccmactivate")) {
            return Err("Invalid arguments");
        }
        let nonce = fits("nonce", &TEXTS).ok_or("Invalid nonce argument.")?;
        let nonce = BASE64.decode(nonce.as_bytes()).map_err(|_| "Invalid nonce argument.")?;
        let realm = fits("realm", &TEXTS).ok_or("Invalid realm argument.")?.to_owned();
        let uuid = fits("uuid", &(36..=36)).and_then(|uuid| uuid.parse::<Uuid>().ok());
        let uuid = uuid.filter(|uuid| !uuid.is_default()).ok_or("Invalid UUID argument.")?;
        let some = |name: &str| text(name).map(|text| clamp(text, TEXT_MAX));
        let hashes = message.get("hashes").and_then(Value::as_array).map(Vec::as_slice);
        // The rest is read as if it were a report of today's programs.
        let roots: Vec<_> = hashes
            .unwrap_or_default()
            .iter()
            .map(|hash| json!({"certificateHash": hash}))
            .collect();
        let report = json!({
            "UUID": uuid.to_string(), "OsHostname": some("hostname"), "Hashes": roots,
            "Versions": {"AMT": some("ver"), "Sku": message.get("sku")},
            "DnsSuffix": fits("fqdn", &NAMES),
        });
        let modes = message.get("modes").and_then(Value::as_array);
        Ok(Self {
            state: report.as_object().map(State::read).unwrap_or_default(),
            uuid,
            realm,
            nonce,
            has_client_mode: modes.is_some_and(|modes| modes.contains(&json!(1))),
            tag: some("tag"),
            name: some("name"),
        })
    }
}

/// What is going to be answered.
struct Attempt {
    request: Request,
    found: Option<Match>,
    login: Login,
    own_nonce: Vec<u8>,
}

impl Attempt {
    /// # Errors
    /// What MeshCmd is told.
    fn new(
        request: Request,
        policy: &AmtPolicy,
        certificates: &[Arc<Certificate>],
        now: Millis,
    ) -> Result<Self, Value> {
        let found = match policy.kind {
            2 => None,
            kind => match choose(certificates, &request.state, now) {
                Ok(found) => Some(found),
                Err(_) if kind == 4 || policy.client_mode == 2 => None,
                Err(why) => return Err(refusal(CERTIFICATE, &why.to_string())),
            },
        };
        if found.is_none() && !request.has_client_mode {
            let why = "Client control mode activation not allowed.";
            return Err(json!({"errorText": why}));
        }
        let fixed = policy.password.clone().filter(|_| policy.kind != 4);
        let password = fixed.or_else(password::random).filter(|p| password::is_acceptable(p));
        let mut own_nonce = vec![0; NONCE];
        let (Some(password), Ok(())) = (password, getrandom::fill(&mut own_nonce)) else {
            return Err(json!({"errorText": "The device group has no password Intel AMT takes."}));
        };
        let login = Login { user: ADMIN.into(), password };
        Ok(Self { request, found, login, own_nonce })
    }

    fn action(&self) -> &'static str {
        if self.found.is_some() { "acmactivate" } else { "ccmactivate" }
    }

    fn to_sign(&self) -> Vec<u8> {
        [self.request.nonce.as_slice(), &self.own_nonce].concat()
    }

    fn line(&self, node: &NodeId, group: &GroupId, remote: SocketAddr, time: Millis) -> Line {
        let (found, request) = (self.found.as_ref(), &self.request);
        Line {
            cert_hash: found.map(|found| found.hash.clone()),
            hash_type: found.map(|found| found.kind.to_owned()),
            amt_realm: Some(request.realm.clone()),
            amt_fqdn: found.map(|found| found.suffix.clone()),
            user: Some(self.login.user.clone()),
            password: Some(self.login.password.clone()),
            nodeid: Some(node.to_string()),
            computer_name: Some(request.state.computer.clone()),
            agent_id: found.map(|_| 0),
            tag: request.tag.clone(),
            name: request.name.clone(),
            ..self.outcome("", node, group, remote, time)
        }
    }

    /// What became of it.
    fn outcome(
        &self,
        suffix: &str,
        node: &NodeId,
        group: &GroupId,
        remote: SocketAddr,
        time: Millis,
    ) -> Line {
        Line {
            time: time.iso(),
            action: format!("{}{suffix}", self.action()),
            domain: node.domain.to_string(),
            amt_uuid: self.request.uuid.to_string(),
            ipport: Some(remote.to_string()),
            meshid: Some(group.to_string()),
            ..Line::default()
        }
    }

    fn answer(&self, signature: &[u8]) -> Value {
        let (user, password) = (self.login.user.clone(), self.login.password.clone());
        let hash = password_hash(&Credentials { user, password }, &self.request.realm);
        let mut answer = json!({"action": self.action(), "password": HEXLOWER.encode(&hash)});
        if let Some(found) = &self.found {
            let chain = found.certificate.chain.iter().map(|der| BASE64.encode(der));
            answer["certs"] = chain.collect();
            answer["nonce"] = BASE64.encode(&self.own_nonce).into();
            answer["signature"] = BASE64.encode(signature).into();
        }
        answer
    }

    /// Whether a message says that it was activated; `None` if it says nothing of that.
    fn is_success(&self, message: &[u8]) -> Option<bool> {
        let message: Value = serde_json::from_slice(message).ok()?;
        let said = message.get("action")?.as_str()?.strip_prefix(self.action())?;
        match said {
            "-success" => Some(true),
            "-failed" => Some(false),
            _ => None,
        }
    }
}

fn refusal(number: u8, why: &str) -> Value {
    json!({"action": "acmactivate", "error": number, "errorText": why})
}

/// Serves a MeshCmd of that age; `group` is what it names.
pub async fn serve<S: ByteStream, P>(
    room: Rc<Room>,
    mut socket: Socket<S>,
    (domain, group): (DomainId, String),
    remote: SocketAddr,
    place: P,
) {
    if let Err(why) = exchange(&room, &mut socket, (&domain, &group), remote).await {
        ::log::info!("{remote}: no activation by the protocol of 2019: {why}");
        socket.send_text(&why.to_string());
    }
    let _ = or(socket.close(None), async {
        Timer::after(ASKS).await;
        Ok(())
    })
    .await;
    drop(place);
}

async fn exchange<S: ByteStream>(
    room: &Rc<Room>,
    socket: &mut Socket<S>,
    (domain, group): (&DomainId, &str),
    remote: SocketAddr,
) -> Result<(), Value> {
    let hub = room.hub();
    let key = group.rsplit('/').next().unwrap_or_default();
    let groups = hub.store.groups(domain);
    let group = groups.into_iter().find(|group| group.id.key.text() == key);
    let group = group.filter(|group| group.kind == GroupKind::Amt);
    let policy = group.as_ref().and_then(|group| hub.store.amt_policy(&group.id));
    let (Some(group), Some(policy)) = (group, policy.filter(|policy| policy.kind >= 2)) else {
        return Err(json!({"errorText": "The device group activates no computers."}));
    };
    let Some(asked) = heard(socket, ASKS).await else { return Ok(()) };
    let request = Request::read(&asked).map_err(|why| refusal(ARGUMENT, why))?;
    let node = request.uuid.node(domain.clone());
    let Some(_seat) = room.seat(&node) else {
        return Err(json!({"errorText": "Somebody activates this computer already."}));
    };
    let is_foreign = hub.store.device(&node).is_some_and(|device| device.group != group.id);
    if is_foreign {
        return Err(json!({"errorText": "The computer is in another device group."}));
    }
    let equipment = room.equipment(domain);
    let mut certificates = equipment.certificates.clone();
    if policy.kind >= 3 && choose(&certificates, &request.state, hub.now()).is_err() {
        certificates.extend(room.own_certificate(&request.state).await);
    }
    let attempt = Attempt::new(request, &policy, &certificates, hub.now())?;
    let mut signature = Vec::new();
    if let Some(found) = &attempt.found {
        let (certificate, data) = (found.certificate.clone(), attempt.to_sign());
        let signed = crate::pool::unblock(move || certificate.sign(&data).ok()).await;
        signature = signed.ok_or_else(|| refusal(SIGNATURE, "Unable to perform signature."))?;
    }
    let write = async |line: Line| {
        let path = equipment.log.clone();
        let written = crate::pool::unblock(move || log::append(&path, &line)).await;
        written.inspect_err(|error| ::log::error!("the Intel AMT activation log: {error}")).is_ok()
    };
    if !write(attempt.line(&node, &group.id, remote, hub.now())).await {
        return Err(refusal(LOG, "Unable to log operation."));
    }
    socket.send_text(&attempt.answer(&signature).to_string());
    let is_success = loop {
        let Some(told) = heard(socket, TELLS).await else { return Ok(()) };
        if let Some(is_success) = attempt.is_success(&told) {
            break is_success;
        }
    };
    let suffix = if is_success { "-success" } else { "-failed" };
    write(attempt.outcome(suffix, &node, &group.id, remote, hub.now())).await;
    if is_success {
        add(room, &group, &node, &attempt, remote);
    }
    Ok(())
}

async fn heard<S: ByteStream>(socket: &mut Socket<S>, time: Duration) -> Option<Vec<u8>> {
    let message = async {
        socket.flush().await.ok()?;
        match socket.recv().await.ok()?? {
            Message::Text(bytes) | Message::Binary(bytes) => Some(bytes),
        }
    };
    let late = async {
        Timer::after(time).await;
        None
    };
    or(message, late).await
}

/// Keeps the login, and adds the device if it is new.
fn add(room: &Room, group: &Group, node: &NodeId, attempt: &Attempt, remote: SocketAddr) {
    let (hub, state) = (room.hub(), &attempt.request.state);
    if hub.store.device(node).is_none() {
        let config = hub.config();
        let most = config.domain(&node.domain).max_devices;
        if most.is_some_and(|most| hub.store.devices(&node.domain).len() >= most) {
            return ::log::warn!("{node} is activated, but limits.maxDevices is reached");
        }
        let address = remote.ip().to_canonical().to_string();
        let name = if state.computer.is_empty() { &address } else { &state.computer };
        let mut device = Device::new(node.clone(), group.id.clone(), name, hub.now());
        (device.host, device.ip) = (Some(address.clone()), Some(address.clone()));
        let mut event = Event::new("addnode", node.domain.clone())
            .kind(EventKind::Node)
            .node(node)
            .with("node", hub.device_document(&device))
            .with("msgid", 84)
            .with("msgArgs", vec![device.name.clone(), group.name.clone()])
            .with("msg", format!("Added device {} to group {}", device.name, group.name));
        event.targets = hub.device_targets(&device);
        hub.store.put(device).later();
        hub.publish(event);
    }
    let Login { user, password } = &attempt.login;
    hub.store.put(AmtAccess::new(node.clone(), user, password, false)).later();
    let mode = if attempt.found.is_some() { Mode::Admin } else { Mode::Client };
    hub.change_amt_facts(node, |facts| {
        facts.insert("state".into(), 2.into());
        facts.insert("flags".into(), mode.flags().into());
        facts.insert("uuid".into(), state.uuid.clone().into());
        facts.insert("realm".into(), attempt.request.realm.clone().into());
        facts.insert("ver".into(), state.version.clone().into());
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amt::activation::testing::{self, VALID};
    use crate::model::Key48;
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    /// A request with the values of the captured activation.
    fn request() -> Value {
        let vector = testing::vector("activation-acm-signature");
        json!({
            "client": "meshcmd", "version": 1, "action": "acmactivate", "fqdn": "lab.example.com",
            "realm": vector["realm"], "nonce": vector["fw_nonce_base64"],
            "hashes": [vector["root_sha256"]], "uuid": "03000204-0400-0500-0006-00074a646a37",
            "ver": "12.0.64", "modes": [1, 2], "currentMode": 0, "hostname": "vm", "tag": "t",
        })
    }

    fn policy(kind: u8, client_mode: u8) -> AmtPolicy {
        let group = GroupId::new(DomainId::default(), Key48([1; 48]));
        let password = Some("P@ssw0rd1".to_owned());
        AmtPolicy { group, kind, password, bad_password: 0, cira: 0, client_mode }
    }

    fn attempt(request: &Value, policy: &AmtPolicy) -> Result<Attempt, Value> {
        let request = Request::read(request.to_string().as_bytes());
        let request = request.map_err(|why| refusal(ARGUMENT, why))?;
        Attempt::new(request, policy, &[Arc::new(testing::certificate())], VALID)
    }

    #[test]
    fn the_answer_is_what_the_firmware_of_the_capture_takes() {
        let vector = testing::vector("activation-acm-signature");
        let attempt = attempt(&request(), &policy(3, 0)).unwrap();
        let certificate = attempt.found.as_ref().unwrap().certificate.clone();
        let answer = attempt.answer(&certificate.sign(&attempt.to_sign()).unwrap());
        assert_eq!(answer["action"], "acmactivate");
        assert_eq!(answer["password"], vector["digest_md5_hex"]);
        assert_eq!(answer["certs"], vector["chain_leaf_to_root_der_base64"]);
        let decode = |text: &Value| BASE64.decode(text.as_str().unwrap().as_bytes()).unwrap();
        let own = decode(&answer["nonce"]);
        assert_eq!(own.len(), 20);
        let signed = [decode(&vector["fw_nonce_base64"]), own].concat();
        let leaf = crate::identity::certificate::public_key(&certificate.chain[0]).unwrap();
        let leaf = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, leaf);
        leaf.verify(&signed, &decode(&answer["signature"])).unwrap();

        let node = attempt.request.uuid.node(DomainId::default());
        let group = policy(3, 0).group;
        let remote = "10.0.0.1:5".parse().unwrap();
        let line = serde_json::to_value(attempt.line(&node, &group, remote, VALID)).unwrap();
        for (name, expected) in [
            ("action", "acmactivate"),
            ("password", "P@ssw0rd1"),
            ("computerName", "vm"),
            ("tag", "t"),
            ("amtUuid", "03000204-0400-0500-0006-00074a646a37"),
        ] {
            assert_eq!(line[name], expected);
        }
        let outcome = attempt.outcome("-success", &node, &group, remote, VALID);
        let members = serde_json::to_value(outcome).unwrap();
        let members: Vec<_> = members.as_object().unwrap().keys().cloned().collect();
        assert_eq!(members, ["action", "amtUuid", "domain", "ipport", "meshid", "time"]);
        let said =
            |action: &str| attempt.is_success(json!({"action": action}).to_string().as_bytes());
        assert_eq!(said("acmactivate-success"), Some(true));
        assert_eq!(said("acmactivate-failed"), Some(false));
        assert_eq!((said("ccmactivate-success"), said("")), (None, None));
    }

    #[test]
    fn client_control_mode_is_given_where_the_group_wants_it_and_never_silently_instead() {
        let with = |name: &str, value: Value| {
            let mut request = request();
            request[name] = value;
            request
        };
        let elsewhere = with("fqdn", json!("lab.example.org"));
        for (request, policy, expected) in [
            (request(), policy(2, 0), Some("ccmactivate")),
            (request(), policy(4, 0), Some("acmactivate")),
            (elsewhere.clone(), policy(3, 0), None),
            (elsewhere.clone(), policy(3, 1), None),
            (elsewhere.clone(), policy(3, 2), Some("ccmactivate")),
            (elsewhere.clone(), policy(4, 0), Some("ccmactivate")),
            (with("modes", json!([2])), policy(2, 0), None),
        ] {
            let attempt = attempt(&request, &policy);
            let action = attempt.as_ref().ok().map(Attempt::action);
            assert_eq!(action, expected, "{} {}", policy.kind, policy.client_mode);
            if let Ok(attempt) = attempt.as_ref()
                && attempt.found.is_none()
            {
                let answer = attempt.answer(&[]);
                assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
            }
        }
        let refused = attempt(&elsewhere, &policy(3, 0)).err().unwrap();
        assert_eq!(refused["error"], CERTIFICATE);
    }

    #[test]
    fn arguments_of_another_length_are_refused() {
        let long = "x".repeat(257);
        for (name, values) in [
            ("action", ["amtactivate", ""]),
            ("nonce", ["AAAA", &long]),
            ("realm", ["short", &long]),
            ("uuid", ["03000200", "00000000-0000-0000-0000-000000000000"]),
        ] {
            for value in values {
                let mut request = request();
                request[name] = value.into();
                let refused = attempt(&request, &policy(3, 0)).err().unwrap();
                assert_eq!(refused["error"], ARGUMENT, "{name} {value}");
            }
        }
        let mut nameless = request();
        nameless["fqdn"] = "abc".into();
        assert_eq!(attempt(&nameless, &policy(3, 0)).err().unwrap()["error"], CERTIFICATE);
        assert!(Request::read(b"[]").is_err() && Request::read(b"{").is_err());
    }
}
