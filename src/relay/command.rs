//! What an agent is told about whoever wants something of it, and the command that makes it open a
//! tunnel.
//!
//! Source: relay-and-tunnels §4. Rights, name and address are always ours, whatever a client says:
//! the agent decides by them. One function writes them for clients' messages, for tunnels the
//! server asks for itself, and for guests.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::hub::Hub;
use crate::model::{Device, Key48, Rights, SessionId, User};

use super::wire::Target;

/// Whoever wants something of an agent.
#[derive(Clone, Copy, Debug)]
pub struct Introduction<'a> {
    /// The account; the sharer, if it is a guest.
    pub user: &'a User,
    /// The device.
    pub device: &'a Device,
    /// What the account may do with it.
    pub rights: Rights,
    /// Where the person is.
    pub remote: IpAddr,
    /// The login, if the message comes through one; answers find back by it.
    pub session: Option<&'a SessionId>,
    /// The guest, if it is one.
    pub guest: Option<&'a Guest>,
}

/// Somebody with whom a device is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// The name the sharer gave.
    pub name: Box<str>,
    /// Numbers of the protocols that are shared.
    pub usages: &'static [u16],
    /// Only to look at.
    pub view_only: bool,
    /// Consent the sharer asks for in addition.
    pub consent: u32,
}

impl Introduction<'_> {
    /// Adds to `message` who the user is and what the user may do, in place of whatever it said.
    pub fn add_to(&self, hub: &Hub, message: &mut Map<String, Value>) {
        let mut put = |name: &str, value: Option<Value>| match value {
            Some(value) => drop(message.insert(name.to_owned(), value)),
            None => drop(message.remove(name)),
        };
        let config = hub.config();
        let domain = config.domain(&self.user.id.domain);
        let view_only = domain.desktop_view_only || self.guest.is_some_and(|g| g.view_only);
        let user = self.user.id.to_string();
        put("rights", Some(self.true_rights().bits().into()));
        let consent = hub.consent(self.user, self.device) | self.guest.map_or(0, |g| g.consent);
        put("consent", Some(consent.into()));
        put("username", Some(self.user.name.as_str().into()));
        put("realname", self.user.real_name.as_deref().map(Value::from));
        put("remoteaddr", Some(self.remote.to_canonical().to_string().into()));
        put("sessionid", self.session.map(|id| id.to_string().into()));
        put("privacybartext", domain.privacy_bar_text.as_deref().map(Value::from));
        put("desktopviewonly", view_only.then_some(true.into()));
        put("guestname", self.guest.map(|guest| (*guest.name).into()));
        put("guestuserid", self.guest.map(|_| user.as_str().into()));
        put("userid", Some(user.into()));
    }

    /// The rights an agent is told. Guests have no others than to be in a session, so that nothing
    /// the sharer may do comes with it.
    fn true_rights(&self) -> Rights {
        match self.guest {
            Some(_) if self.rights.restricted(Rights::VIEW_ONLY) => {
                self.rights & (Rights::REMOTE_CONTROL | Rights::VIEW_ONLY)
            }
            Some(_) => self.rights & Rights::REMOTE_CONTROL,
            None => self.rights,
        }
    }
}

/// The command that makes an agent open a tunnel: to `value` (`*/…`, completed by the agent with
/// its own server), and from there to `target`, if there is one. `tls_hash` is the SHA-384 of the
/// web certificate, which the agent compares.
pub fn tunnel(
    hub: &Hub,
    introduction: &Introduction<'_>,
    value: String,
    target: Option<&Target>,
    tls_hash: Key48,
) -> Map<String, Value> {
    let config = hub.config();
    let mut options = config.domain(&introduction.user.id.domain).session_options.clone();
    if let Some(guest) = introduction.guest {
        options.insert("usages".into(), json!(guest.usages));
    }
    let mut command = Map::new();
    let mut put = |name: &str, value: Value| drop(command.insert(name.to_owned(), value));
    put("action", "msg".into());
    put("type", "tunnel".into());
    put("value", value.into());
    put("servertlshash", data_encoding::HEXLOWER.encode(&tls_hash.0).into());
    put("soptions", options.into());
    if let Some(Target { udp, port, host }) = target {
        let (port_name, host_name) = match udp {
            false => ("tcpport", "tcpaddr"),
            true => ("udpport", "udpaddr"),
        };
        put(port_name, port.to_string().into());
        put(host_name, (**host).into());
    }
    introduction.add_to(hub, &mut command);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::hub::testing::{World, node_id, user_id};
    use crate::model::{DomainId, SiteRights};

    const VECTORS: &str = include_str!("../../tests/vectors/relay-tunnel-messages.json");

    fn world(config: Config) -> World {
        let world = World::with(config);
        let group = world.group(1, "lab");
        world.device(2, &group, "vm");
        world.user("ann", SiteRights::empty());
        world
    }

    fn commanded(world: &World, guest: Option<&Guest>, target: Option<&Target>) -> Value {
        let user = world.hub.store.user(&user_id("ann")).unwrap();
        let device = world.hub.store.device(&node_id(2)).unwrap();
        let introduction = Introduction {
            user: &user,
            device: &device,
            rights: Rights::FULL,
            remote: "127.0.0.1".parse().unwrap(),
            session: None,
            guest,
        };
        let value = "*/meshrelay.ashx?id=5".to_owned();
        tunnel(&world.hub, &introduction, value, target, Key48([0xab; 48])).into()
    }

    #[test]
    fn commands_have_the_members_of_meshcentrals() {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        let world = world(Config::default());
        let target = |udp| Target { udp, port: 21555, host: "127.0.0.1".into() };
        for (variant, target) in
            [("tcp_query", target(false)), ("udp_query", Target { port: 21556, ..target(true) })]
        {
            let mut command = commanded(&world, None, Some(&target));
            let mut expected = vectors["variants"][variant]["to_agent"].clone();
            // Those it does not send, and those that differ by the scene.
            for name in ["servertlshash", "consent", "remoteaddr", "value", "userid", "username"] {
                assert!(command.as_object_mut().unwrap().remove(name).is_some(), "{name}");
                expected.as_object_mut().unwrap().remove(name);
            }
            assert_eq!(command, expected, "{variant}");
        }
        let command = commanded(&world, None, None);
        assert_eq!(command["servertlshash"], "ab".repeat(48));
        assert_eq!(command["rights"], u32::MAX);
        assert!(command.get("tcpport").is_none() && command.get("realname").is_none());
    }

    #[test]
    fn a_guest_has_no_rights_beyond_its_share() {
        let world = world(Config::default());
        let guest = Guest { name: "Gus".into(), usages: &[2], view_only: true, consent: 8 };
        let command = commanded(&world, Some(&guest), None);
        assert_eq!(command["rights"], Rights::REMOTE_CONTROL.bits());
        assert_eq!(command["guestname"], "Gus");
        assert_eq!(command["guestuserid"], "user//ann");
        assert_eq!(command["desktopviewonly"], true);
        assert_eq!(command["soptions"]["usages"], json!([2]));
        assert_eq!(command["consent"], 8);
    }

    #[test]
    fn what_the_domain_wants_of_sessions_reaches_the_agent() {
        let mut config = Config::default();
        let domain = config.domains.entry(DomainId::default()).or_default();
        domain.session_options.insert("consentTitle".into(), "T".into());
        domain.privacy_bar_text = Some("watched".into());
        domain.desktop_view_only = true;
        let command = commanded(&world(config), None, None);
        assert_eq!(command["soptions"], json!({"consentTitle": "T"}));
        assert_eq!(command["privacybartext"], "watched");
        assert_eq!(command["desktopviewonly"], true);
    }

    #[test]
    fn what_a_client_claims_about_itself_is_replaced_or_removed() {
        let world = world(Config::default());
        let user = world.hub.store.user(&user_id("ann")).unwrap();
        let device = world.hub.store.device(&node_id(2)).unwrap();
        let introduction = Introduction {
            user: &user,
            device: &device,
            rights: Rights::VIEW_ONLY,
            remote: "10.0.0.1".parse().unwrap(),
            session: None,
            guest: None,
        };
        let claims = [
            "rights",
            "consent",
            "username",
            "realname",
            "remoteaddr",
            "sessionid",
            "userid",
            "privacybartext",
            "desktopviewonly",
            "guestname",
            "guestuserid",
        ];
        let mut message: Map<_, _> =
            claims.iter().map(|name| ((*name).to_owned(), json!("forged"))).collect();
        introduction.add_to(&world.hub, &mut message);
        assert!(message.values().all(|value| value != "forged"), "{message:?}");
        assert_eq!(message["rights"], Rights::VIEW_ONLY.bits());
    }
}
