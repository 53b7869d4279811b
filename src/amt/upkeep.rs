//! What is done when a firmware comes in reach, and later now and then.
//!
//! ```text
//! login ─► who are you ─► what the group wants ─► inventory ─► power
//!             │             └── policy, only where it activates
//!             └► results in the device's record, whatever the policy
//! ```
//!
//! A group without a policy gets nothing changed: its devices are only read. Source: behaviour of
//! the stock server (amt-management §13), without its clean-up of certificates nobody asked for.

use std::hash::{Hash as _, Hasher as _};
use std::rc::Rc;
use std::time::Duration;

use async_io::Timer;
use serde_json::{Value, json};

use super::digest::Credentials;
use super::reach::Unreachable;
use super::room::Room;
use super::schedule::Outcome;
use super::settings::{self, Identity};
use super::wsman::{Failure, Link, Refused};
use super::{changes, inventory, policy, power};
use crate::hub::Hub;
use crate::model::{AmtAccess, Device, Event, EventKind, GroupKind, NodeId};
use crate::store::DetailKind;

/// Between two logins that are tried: firmware counts failures.
const BETWEEN_LOGINS: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 20 });
/// Bits of `warn`.
const UNKNOWN_LOGIN: u64 = 1;
const OTHER_REALM: u64 = 2;
const OTHER_CERTIFICATE: u64 = 4;

/// Visits a device: all of the above if it `is_first`, else only its state of power.
pub async fn visit(room: &Rc<Room>, node: &NodeId, is_first: bool) -> Outcome {
    match visited(room, node, is_first).await {
        Ok(()) => Outcome::Answered,
        Err(Failure::Refused(Refused::Credentials) | Failure::NoCredentials) => {
            warn(room, node, UNKNOWN_LOGIN);
            Outcome::Refused
        }
        Err(failure) => {
            if let Failure::Unreachable(Unreachable::OtherCertificate(_)) = failure {
                warn(room, node, OTHER_CERTIFICATE);
            }
            log::info!("Intel AMT of {node}: {failure}");
            Outcome::Failed
        }
    }
}

async fn visited(room: &Rc<Room>, node: &NodeId, is_first: bool) -> Result<(), Failure> {
    let has_agent = || room.hub.agent(node).is_some();
    if !is_first && has_agent() {
        return Ok(());
    }
    let link = if is_first { greet(room, node).await? } else { room.link(node)? };
    if !has_agent() {
        let power = power::read(&link).await?;
        if let Some(shown) = power.shown() {
            room.hub.set_amt_power(node, shown);
        }
    }
    room.remember(&link);
    Ok(())
}

/// Logs in, and does what is done once per contact.
async fn greet(room: &Rc<Room>, node: &NodeId) -> Result<Rc<Link>, Failure> {
    let hub = &room.hub;
    let Some(device) = hub.store.device(node) else { return Err(Failure::NoCredentials) };
    let group = hub.store.group(&device.group);
    let (link, identity) = log_in(room, &device).await?;
    learned(hub, &link, &identity).await;
    policy::apply(hub, &link).await?;
    if group.is_some_and(|group| group.kind == GroupKind::Amt) {
        take_inventory(room, &link, &device).await?;
    }
    Ok(link)
}

/// Keeps with the device what its firmware has said of itself.
pub(super) async fn learned(hub: &Hub, link: &Link, identity: &Identity) {
    let contact = link.contact().await;
    hub.change_amt_facts(link.node(), |facts| {
        if let Some(version) = contact.version {
            facts.insert("ver".into(), version.into());
        }
        facts.insert("state".into(), 2.into());
        let flags = match identity.mode {
            1 => 2,
            2 => 4,
            _ => 0,
        };
        facts.insert("flags".into(), flags.into());
        if let Some(certificate) = contact.certificate {
            let hash = data_encoding::HEXLOWER.encode(&certificate);
            facts.insert("hash".into(), hash.into());
        }
        // A realm that was another one before is a device that was set up anew, or another device.
        let before = facts.insert("realm".into(), identity.realm.clone().into());
        let differs = before.is_some_and(|before| {
            before.as_str().is_some_and(|before| !before.is_empty() && before != identity.realm)
        });
        if differs {
            facts.insert("warn".into(), OTHER_REALM.into());
        } else {
            facts.remove("warn");
        }
    });
}

/// The logins that would be tried: another number, another try. `None` also while one is being
/// changed.
pub fn login_number(room: &Room, node: &NodeId) -> Option<u64> {
    let device = room.hub.store.device(node).filter(|_| !room.is_held(node))?;
    let all = logins(room, &device);
    let mut hasher = std::hash::DefaultHasher::new();
    for Credentials { user, password } in &all {
        (user, password).hash(&mut hasher);
    }
    (!all.is_empty()).then(|| hasher.finish())
}

/// Tries the logins there are, one after the other, and keeps the one that is right.
async fn log_in(room: &Rc<Room>, device: &Device) -> Result<(Rc<Link>, Identity), Failure> {
    let node = &device.id;
    let mut refused = Failure::NoCredentials;
    for (n, credentials) in logins(room, device).into_iter().enumerate() {
        if n > 0 {
            Timer::after(BETWEEN_LOGINS).await;
        }
        let link = match room.link(node) {
            Ok(link) if *link.credentials() == credentials => link,
            _ => room.link_with(node, credentials.clone()),
        };
        match settings::identify(&link).await {
            Ok(identity) => {
                keep(room, node, credentials);
                return Ok((link, identity));
            }
            Err(failure @ Failure::Refused(Refused::Credentials)) => refused = failure,
            Err(failure) => return Err(failure),
        }
    }
    Err(refused)
}

/// The device's own login, then what its group would set, then those of its domain.
fn logins(room: &Room, device: &Device) -> Vec<Credentials> {
    let store = &room.hub.store;
    let own = store.amt_access(&device.id);
    let own = own.iter().flat_map(|access| {
        let user = &access.user;
        access.passwords().map(|text| Credentials { user: user.clone(), password: text.to_owned() })
    });
    let policy = store.amt_policy(&device.group).filter(|policy| policy.kind >= 2);
    let common = policy.and_then(|policy| {
        let (user, password) = ("admin".to_owned(), policy.password.clone()?);
        Some(Credentials { user, password })
    });
    let config = room.hub.config();
    let of_domain = config.domain(&device.id.domain).amt_manager.accounts.iter();
    let of_domain = of_domain
        .map(|account| (account.user.clone(), account.password.clone()))
        .map(|(user, password)| Credentials { user, password });
    let mut all = Vec::new();
    for login in own.chain(common).chain(of_domain) {
        if !all.contains(&login) {
            all.push(login);
        }
    }
    all
}

fn keep(room: &Room, node: &NodeId, credentials: Credentials) {
    let kept = room.hub.store.amt_access(node);
    let Credentials { user, password } = credentials;
    let is_known = |kept: &AmtAccess| {
        (&kept.user, &kept.password) == (&user, &password) && kept.pending.is_none()
    };
    if room.is_held(node) || kept.as_deref().is_some_and(is_known) {
        return;
    }
    let access = match kept {
        Some(kept) => AmtAccess { user, password, pending: None, ..(*kept).clone() },
        None => AmtAccess::new(node.clone(), &user, &password, false),
    };
    room.hub.store.put(access).later();
}

/// Reads hardware and network of a device that nobody else tells about, and remembers that it has
/// changed.
///
/// # Errors
/// What became of it.
pub async fn take_inventory(room: &Room, link: &Link, device: &Device) -> Result<(), Failure> {
    let hardware = inventory::hardware(link).await?;
    let network = inventory::network(link).await?;
    let (hub, node) = (&room.hub, &device.id);
    let version = link.contact().await.version;
    changes::note(hub, device, &hardware, &network, version.as_deref()).await;
    let hash = ring::digest::digest(&ring::digest::SHA384, hardware.to_string().as_bytes());
    let hash = data_encoding::HEXLOWER.encode(hash.as_ref());
    let known = hub.store.detail_tag(node, DetailKind::System);
    let document = json!({ "hardware": hardware, "hash": hash }).to_string();
    let now = hub.now();
    let kind = DetailKind::System;
    if hub.store.set_detail(node, kind, document.as_bytes(), Some(&hash), now) && known.is_some() {
        let event = Event::new("sysinfohash", node.domain.clone())
            .kind(EventKind::Node)
            .node(node)
            .with("msg", "The hardware of the computer has changed");
        hub.publish(with_targets(room, device, event));
    }
    let network = json!({ "netif2": network }).to_string();
    if hub.store.set_detail(node, DetailKind::Network, network.as_bytes(), None, now) {
        let event = Event::new("ifchange", node.domain.clone()).node(node).transient();
        hub.publish(with_targets(room, device, event));
    }
    Ok(())
}

fn with_targets(room: &Room, device: &Device, mut event: Event) -> Event {
    event.targets = room.hub.device_targets(device);
    event
}

fn warn(room: &Room, node: &NodeId, bit: u64) {
    room.hub.change_amt_facts(node, |facts| {
        let bits = facts.get("warn").and_then(Value::as_u64).unwrap_or_default();
        facts.insert("warn".into(), (bits | bit).into());
    });
}
