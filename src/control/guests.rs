//! Guests: what the link of a device share opens, and what its page needs to begin a session.
//!
//! Source: relay-and-tunnels §11. A link carries a cookie `{a:6,pid[,e]}` sealed with the invitation
//! key (`a:5` in old ones); both name a share, and the share alone says what its guest may do, and
//! when. For each session the page asks for a cookie: of this share, for one protocol, good once
//! within a minute. The relay judges all of it again.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::hub::Hub;
use crate::identity::cookie::CookieKey;
use crate::model::{Device, DomainId, Millis, Rights, Share, SiteRights, User};
use crate::relay::filter::Permit;
use crate::relay::guest::Invited;
use crate::relay::visitor;

use super::auth;

/// Links do not age; their shares do.
const LINK: Duration = Duration::from_secs(1000 * 365 * 86_400);
/// Minutes until the cookie of a session has to be used.
const COOKIE: u64 = 1;
/// `a` of a link's cookie: one that only names its share, and one that repeats what it says.
const KINDS: [u64; 2] = [6, 5];

/// Lets guests in.
pub struct Guests {
    hub: Rc<Hub>,
    links: CookieKey,
    cookies: CookieKey,
}

/// Somebody whose link is good now.
pub struct Visit {
    invited: Invited,
    share: Rc<Share>,
    sharer: Rc<User>,
    device: Rc<Device>,
    /// What of the share its maker may still do.
    permit: Permit,
}

/// Why a link opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// There is no such share, or it is over.
    Gone,
    /// It opens then.
    Until(Millis),
}

impl Closed {
    /// As the page gets it.
    pub fn document(self) -> Value {
        match self {
            Self::Gone => json!({"closed": "gone"}),
            Self::Until(start) => json!({"closed": "early", "start": start.0}),
        }
    }
}

impl Guests {
    /// Guests of devices of `hub`; `links` seals links, `cookies` what opens tunnels.
    pub fn new(hub: Rc<Hub>, links: CookieKey, cookies: CookieKey) -> Self {
        Self { hub, links, cookies }
    }

    /// What the link with this cookie opens in `domain`.
    ///
    /// # Errors
    /// Why it opens nothing now.
    pub fn open(&self, domain: &DomainId, link: &str) -> Result<Visit, Closed> {
        let (hub, now) = (&self.hub, self.hub.now());
        let fields = self.links.open(link, now.seconds(), LINK).map_err(|_| Closed::Gone)?;
        let kind = fields.get("a").and_then(Value::as_u64);
        let id = fields.get("pid").and_then(Value::as_str);
        let id = id.filter(|_| kind.is_some_and(|kind| KINDS.contains(&kind)));
        let share = id.and_then(|id| hub.store.share(id)).ok_or(Closed::Gone)?;
        let Some(invited) = Invited::by(hub, domain, &share.public_id, now) else {
            let is_ours = share.node.domain == *domain;
            let next = share.opens_next(now).filter(|_| is_ours);
            return Err(next.map_or(Closed::Gone, Closed::Until));
        };
        let sharer = hub.store.user(&invited.user).ok_or(Closed::Gone)?;
        let device = hub.store.device(&invited.node).ok_or(Closed::Gone)?;
        if sharer.site.restricted(SiteRights::LOCKED) {
            return Err(Closed::Gone);
        }
        let config = hub.config();
        let permit = Permit {
            rights: hub.rights_on_device(&sharer, &device),
            view_only: invited.guest.view_only || config.domain(domain).desktop_view_only,
            usages: Some(invited.guest.usages),
        };
        Ok(Visit { invited, share, sharer, device, permit })
    }

    /// The cookie for one session of `protocol`, asked for from `from`. `None` if that is not
    /// shared, or without randomness.
    pub fn cookie(&self, visit: &Visit, protocol: u16, from: IpAddr) -> Option<String> {
        if !visit.permit.allows(protocol) {
            return None;
        }
        let fields = json!({
            "userid": visit.sharer.id.to_string(),
            "domainid": visit.sharer.id.domain.as_str(),
            "nid": visit.device.id.to_string(),
            "pid": visit.share.public_id,
            "ip": from.to_canonical().to_string(),
            "expire": COOKIE,
            visitor::PROTOCOL: protocol,
            visitor::ONCE: visitor::once()?,
        });
        let Value::Object(fields) = fields else { return None };
        auth::seal(&self.cookies, fields, self.hub.now())
    }

    /// What the page shows. Nothing of the device but its name, whether it is there, and what kind
    /// of agent it has.
    pub fn document(&self, visit: &Visit) -> Map<String, Value> {
        let Visit { invited, sharer, device, permit, .. } = visit;
        let usages = invited.guest.usages.iter().filter(|usage| permit.allows(**usage));
        let usages: Vec<_> = usages.collect();
        let rights = permit.rights;
        let document = json!({
            "device": device.name,
            "guest": invited.guest.name,
            "by": sharer.real_name.as_deref().unwrap_or(&sharer.name),
            "title": self.hub.config().domain(&device.id.domain).title,
            "usages": usages,
            "viewOnly": permit.view_only || rights.restricted(Rights::VIEW_ONLY),
            "limited": rights.restricted(Rights::LIMITED_INPUT),
            "until": invited.until.map(|until| until.0),
            "online": self.hub.agent(&device.id).is_some(),
            "agent": device.agent.as_ref().map(|agent| json!({"id": agent.id, "caps": agent.caps})),
        });
        match document {
            Value::Object(document) => document,
            _ => Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{World, node_id};
    use super::*;
    use crate::config::{Config, GuestSharing};
    use crate::model::{LinkTarget, Seconds};
    use crate::relay::visitor::Visitor as _;
    use crate::store::RecordKey;

    const DAY: u64 = 86_400_000;

    fn world(config: Config) -> World {
        let world = World::with(config);
        let group = world.group(1, "lab");
        world.device(2, &group, "vm");
        world.link("admin", LinkTarget::Group(group), Rights::FULL);
        world
    }

    fn share(world: &World, change: impl FnOnce(&mut Share)) {
        let mut share = Share {
            public_id: "abcdefghijkl".into(),
            node: node_id(2),
            user: world.account("admin").id.clone(),
            guest_name: "Gus".into(),
            protocols: 3,
            consent: 8,
            port: None,
            url: String::new(),
            start: None,
            expires: None,
            duration: None,
            recurring: None,
            view_only: false,
        };
        change(&mut share);
        world.hub.store.put(share).later();
    }

    fn link(world: &World, fields: Value) -> String {
        let Value::Object(fields) = fields else { panic!("an object") };
        // Two years old: links do not age.
        let made = Seconds(world.hub.now().seconds().0 - 2 * 365 * 86_400);
        world.control.keys.invitation.seal(fields, made).unwrap()
    }

    fn opened(world: &World) -> Result<Visit, Closed> {
        let link = link(world, json!({"a": 6, "pid": "abcdefghijkl"}));
        world.control.guests.open(&world.domain(), &link)
    }

    #[test]
    fn a_link_names_a_share_and_says_nothing_else() {
        let world = world(Config::default());
        share(&world, |_| {});
        for (fields, good) in [
            (json!({"a": 6, "pid": "abcdefghijkl", "e": 5}), true),
            (json!({"a": 5, "pid": "abcdefghijkl", "p": 7, "gn": "Root", "expire": 1}), false),
            (
                json!({"a": 5, "pid": "abcdefghijkl", "p": 7, "gn": "Root",
                    "expire": world.hub.now().0 + DAY}),
                true,
            ),
            (json!({"a": 4, "pid": "abcdefghijkl"}), false),
            (json!({"pid": "abcdefghijkl"}), false),
            (json!({"a": 6, "pid": "unknown"}), false),
            (json!({"a": 6}), false),
        ] {
            let link = link(&world, fields.clone());
            let opened = world.control.guests.open(&world.domain(), &link);
            assert_eq!(opened.is_ok(), good, "{fields}");
            if let Ok(visit) = opened {
                let document = Value::Object(world.control.guests.document(&visit));
                assert_eq!(document["guest"], "Gus");
                assert_eq!(document["usages"], json!([1, 6, 8, 9, 2]));
            }
            let other = DomainId::new("other").unwrap();
            assert!(world.control.guests.open(&other, &link).is_err());
        }
        // Whoever has the login key makes no links, whoever has the other no cookies.
        let fields = json!({"a": 6, "pid": "abcdefghijkl"});
        let now = world.hub.now().seconds();
        let forged = world.key.seal(fields.as_object().unwrap().clone(), now).unwrap();
        assert!(world.control.guests.open(&world.domain(), &forged).is_err());
    }

    #[test]
    fn a_page_is_told_when_its_link_opens_or_that_it_never_will() {
        let world = world(Config::default());
        let now = world.hub.now().0;
        let early = Millis(now + 60_000);
        share(&world, |share| {
            (share.start, share.expires) = (Some(early), Some(Millis(now + DAY)))
        });
        assert_eq!(opened(&world).err(), Some(Closed::Until(early)));
        share(&world, |share| {
            share.start = Some(Millis(now - DAY - 600_000));
            (share.duration, share.recurring) = (Some(5), Some(1));
        });
        assert_eq!(opened(&world).err(), Some(Closed::Until(Millis(now + DAY - 600_000))));
        share(&world, |share| share.expires = Some(Millis(now)));
        assert_eq!(opened(&world).err(), Some(Closed::Gone));
        share(&world, |_| {});
        assert!(opened(&world).is_ok());
        world.hub.store.remove(RecordKey::Share("abcdefghijkl".into())).later();
        assert_eq!(opened(&world).err(), Some(Closed::Gone));
    }

    #[test]
    fn a_share_holds_what_its_maker_may_still_do() {
        let world = world(Config::default());
        world.user("bob", SiteRights::empty());
        share(&world, |share| {
            share.user = crate::hub::testing::user_id("bob");
            share.protocols = 7;
        });
        let shown = |rights| {
            world.link("bob", LinkTarget::Device(node_id(2)), rights);
            let visit = opened(&world).unwrap();
            let document = Value::Object(world.control.guests.document(&visit));
            (document["usages"].clone(), document["viewOnly"].clone())
        };
        let control = Rights::REMOTE_CONTROL;
        assert_eq!(shown(control), (json!([1, 6, 8, 9, 2, 5, 10]), json!(false)));
        assert_eq!(
            shown(control | Rights::NO_TERMINAL | Rights::NO_FILES | Rights::VIEW_ONLY),
            (json!([2]), json!(true))
        );
        assert_eq!(shown(Rights::CHAT), (json!([]), json!(false)));
        let bob = User { site: SiteRights::LOCKED, ..(*world.account("bob")).clone() };
        world.hub.store.put(bob).later();
        assert_eq!(opened(&world).err(), Some(Closed::Gone));
        let mut config = (*world.hub.config()).clone();
        config.domains.entry(DomainId::default()).or_default().guest_sharing =
            GuestSharing::Forbidden;
        share(&world, |_| {});
        assert!(opened(&world).is_ok());
        world.hub.set_config(config);
        assert_eq!(opened(&world).err(), Some(Closed::Gone));
    }

    #[test]
    fn the_cookie_of_a_session_is_for_what_is_shared_and_opens_no_login() {
        let world = world(Config::default());
        share(&world, |_| {});
        let guests = &world.control.guests;
        let visit = opened(&world).unwrap();
        let from = [127, 0, 0, 1].into();
        assert_eq!(guests.cookie(&visit, 5, from), None);
        let cookie = guests.cookie(&visit, 2, from).unwrap();
        let query = format!("auth={cookie}");
        let upgrade = auth::Upgrade { query: &query, ..super::super::testing::upgrade(None) };
        assert!(world.enter(&upgrade).is_err(), "no session");
        let at_gate = auth::AtGate { gate: &world.control.gate, upgrade };
        let viewer = at_gate.viewer_by_cookie(&cookie).unwrap();
        assert_eq!(viewer.cookie["pid"], "abcdefghijkl");
        assert_eq!(viewer.cookie[visitor::PROTOCOL], 2);
        assert_ne!(guests.cookie(&visit, 2, from), Some(cookie), "each is another");
    }
}
