//! What the URL of a tunnel says, and the pass by which its agent's end is known.
//!
//! Source: relay-and-tunnels §2 and §10. Ids are opaque texts made by clients. Values are as their
//! senders wrote them, raw or percent-encoded.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::identity::cookie::CookieKey;
use crate::model::{DomainId, NodeId, Seconds, UserId};

use super::chat::{self, is_chat};

/// Longest id in bytes: clients make 12 to 20 characters. Those of chats are longer.
const ID_MAX: usize = 128;
/// Longest host name or address of a target, in bytes.
const HOST_MAX: usize = 255;
/// How long the relay cookie of `authcookie` is good for.
const BEARER_LIFETIME: Duration = Duration::from_secs(240 * 60);
/// How long a pass is good for, in minutes. An agent connects within a second; whoever waits for
/// it does so for half a minute at most.
const PASS_MINUTES: u64 = 1;
/// Characters of a cookie that stand for its random IV: no other cookie has the same.
const SERIAL_LEN: usize = 16;

/// Where an agent is asked to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// UDP instead of TCP.
    pub udp: bool,
    /// The port.
    pub port: u16,
    /// A name or address, as the device knows it.
    pub host: Box<str>,
}

impl Target {
    /// A target on `host`, the device itself if that is `None`. `None` if it is no target.
    fn new(udp: bool, port: u16, host: Option<&str>) -> Option<Self> {
        let host = host.unwrap_or("127.0.0.1");
        let fits = port != 0
            && (1..=HOST_MAX).contains(&host.len())
            && !host.contains(|c: char| c.is_control() || c.is_whitespace());
        fits.then(|| Self { udp, port, host: host.into() })
    }

    /// `tcpport`, `tcpaddr` or `udpport`, `udpaddr` among the members of a request or cookie;
    /// ports are numbers or digits. `None` if there are none; an error if they are no target.
    ///
    /// # Errors
    /// A port or host that cannot be one.
    pub fn among(fields: &Map<String, Value>) -> Result<Option<Self>, Malformed> {
        let port = |name: &str| match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(digits)) => digits.parse().map(Some).map_err(|_| Malformed),
            Some(number) => {
                let port = number.as_u64().and_then(|n| u16::try_from(n).ok());
                port.map(Some).ok_or(Malformed)
            }
        };
        let host = |name: &str| match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(host)) => Ok(Some(host.as_str())),
            Some(_) => Err(Malformed),
        };
        if let Some(port) = port("tcpport")? {
            return Self::new(false, port, host("tcpaddr")?).map(Some).ok_or(Malformed);
        }
        match port("udpport")? {
            Some(port) => Self::new(true, port, host("udpaddr")?).map(Some).ok_or(Malformed),
            None => Ok(None),
        }
    }
}

/// A request that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// What stands behind `?`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TunnelQuery {
    /// By which the two ends find each other.
    pub id: Option<Box<str>>,
    /// The agent's cookie.
    pub rauth: Option<Box<str>>,
    /// Protocol label.
    pub protocol: Option<u16>,
    /// The device, as the client wrote it.
    pub node: Option<Box<str>>,
    /// What the agent is to connect to.
    pub target: Option<Target>,
    /// The client wants no JSON pings.
    pub no_ping: bool,
}

impl TunnelQuery {
    /// Parses a query string.
    ///
    /// # Errors
    /// An id that is too long, or a target that cannot be one.
    pub fn parse(query: &str) -> Result<Self, Malformed> {
        let mut parsed = Self::default();
        let mut target = Map::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "id" if value.len() > if is_chat(&value) { chat::ID_MAX } else { ID_MAX } => {
                    return Err(Malformed);
                }
                "id" if value.is_empty() => {}
                "id" => parsed.id = parsed.id.or_else(|| Some((*value).into())),
                "rauth" => parsed.rauth = parsed.rauth.or_else(|| Some((*value).into())),
                "p" => parsed.protocol = value.parse().ok(),
                "nodeid" => parsed.node = Some((*value).into()),
                "noping" => parsed.no_ping = value == "1",
                "tcpport" | "tcpaddr" | "udpport" | "udpaddr" => {
                    target.insert(name.into_owned(), value.into_owned().into());
                }
                _ => {}
            }
        }
        parsed.target = Target::among(&target)?;
        Ok(parsed)
    }
}

/// The end of a tunnel that an agent holds, or the page at its device: made by this server for one
/// tunnel, one device and one user, known to nobody else, and good for one connection within a
/// minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// On whose behalf.
    pub user: UserId,
    /// The device.
    pub node: NodeId,
    /// The tunnel.
    pub id: Box<str>,
    /// Protocol label.
    pub protocol: u16,
    /// What is spoken in it.
    pub speech: Speech,
    /// The share it is a guest's by.
    pub share: Option<Box<str>>,
}

/// What the viewer's messages mean to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// A session: first the number of its protocol.
    Session,
    /// Bytes for a TCP connection.
    Tcp,
    /// Datagrams.
    Udp,
    /// A chat: what people say to each other.
    Chat,
}

impl Speech {
    /// What is spoken towards `target`.
    pub fn towards(target: Option<&Target>) -> Self {
        match target {
            None => Self::Session,
            Some(target) if target.udp => Self::Udp,
            Some(_) => Self::Tcp,
        }
    }

    fn letter(self) -> &'static str {
        match self {
            Self::Session => "s",
            Self::Tcp => "t",
            Self::Udp => "u",
            Self::Chat => "c",
        }
    }
}

/// What a cookie says that came as `rauth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rauth {
    /// It was made for this tunnel; the serial tells it from every other.
    Pass(Pass, [u8; SERIAL_LEN]),
    /// The `rcookie` of `authcookie`: somebody who knows a secret of this user's session. That it
    /// is an agent is not proven.
    Bearer(UserId),
}

impl Pass {
    /// The text for `rauth=`. `None` without randomness.
    pub fn seal(&self, key: &CookieKey, now: Seconds) -> Option<String> {
        let fields = json!({
            "ruserid": self.user.to_string(),
            "nodeid": self.node.to_string(),
            "i": self.id,
            "p": self.protocol,
            "t": self.speech.letter(),
            "s": self.share,
            "expire": PASS_MINUTES,
        });
        let Value::Object(fields) = fields else { return None };
        key.seal(fields, now)
    }
}

impl Rauth {
    /// Opens a cookie that came with the tunnel `id` in `domain`. A pass for another tunnel is
    /// none for this.
    pub fn open(
        text: &str,
        key: &CookieKey,
        domain: &DomainId,
        id: &str,
        now: Seconds,
    ) -> Option<Self> {
        let (text, _) = text.split_once('?').unwrap_or((text, ""));
        let fields = key.open(text, now, BEARER_LIFETIME).ok()?;
        let member = |name: &str| fields.get(name).and_then(Value::as_str);
        let user = UserId::parse_in(domain, member("ruserid")?).ok()?;
        let Some(made_for) = member("i") else { return Some(Self::Bearer(user)) };
        if made_for != id {
            return None;
        }
        let speech = [Speech::Session, Speech::Tcp, Speech::Udp, Speech::Chat]
            .into_iter()
            .find(|speech| member("t") == Some(speech.letter()))?;
        let pass = Pass {
            user,
            node: NodeId::parse_in(domain, member("nodeid")?).ok()?,
            id: id.into(),
            protocol: u16::try_from(fields.get("p")?.as_u64()?).ok()?,
            speech,
            share: member("s").map(Into::into),
        };
        Some(Self::Pass(pass, *text.as_bytes().first_chunk()?))
    }
}

/// What `value` of a tunnel command asks for: `*/[domain/]meshrelay.ashx?…`. `None` for any other
/// place: an agent must not be sent anywhere else.
pub fn relay_value<'v>(value: &'v str, domain: &DomainId) -> Option<&'v str> {
    let path = value.strip_prefix("*/")?;
    let path = match path.strip_prefix(domain.as_str()) {
        Some(rest) if !domain.is_default() => rest.strip_prefix('/').unwrap_or(path),
        _ => path,
    };
    path.strip_prefix("meshrelay.ashx?")
}

/// A fresh id for a tunnel of the server's own: 12 characters of MeshCentral's base64. `None`
/// without randomness.
pub fn fresh_id() -> Option<Box<str>> {
    let mut bytes = [0; 9];
    getrandom::fill(&mut bytes).ok()?;
    Some(crate::model::ids::mesh_base64(&bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::testing::{World, node_id, user_id};
    use proptest::prelude::*;

    const VECTORS: &str = include_str!("../../tests/vectors/relay-tunnel-messages.json");

    #[test]
    fn the_urls_of_stock_clients_and_agents_are_understood() {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        let query = |url: &Value| {
            let (_, query) = url.as_str().unwrap().split_once('?').unwrap();
            TunnelQuery::parse(query).unwrap()
        };
        let viewer = query(&vectors["interactive"]["viewer_upgrade"]["url"]);
        let agent = query(&vectors["interactive"]["agent_upgrade"]["url"]);
        assert_eq!(viewer.id.as_deref(), Some("5fd988488632"));
        assert_eq!(agent.id, viewer.id);
        assert_eq!((viewer.protocol, agent.protocol), (Some(1), Some(1)));
        assert_eq!(viewer.node, agent.node, "raw and percent-encoded are the same");
        assert!(viewer.rauth.is_none() && agent.rauth.is_some());

        let tcp = query(&vectors["variants"]["tcp_query"]["viewer_url"]);
        let target = tcp.target.unwrap();
        assert_eq!((target.udp, target.port, &*target.host), (false, 21555, "127.0.0.1"));
        let udp = query(&vectors["variants"]["udp_query"]["viewer_url"]);
        assert!(udp.target.unwrap().udp && udp.id.is_none());
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for (query, good) in [
            ("tcpport=80", true),
            ("tcpport=80&tcpaddr=10.0.0.1", true),
            ("udpport=53&udpaddr=fe80::1", true),
            ("tcpport=0", false),
            ("tcpport=65536", false),
            ("tcpport=-1", false),
            ("tcpport=ssh", false),
            ("tcpport=80&tcpaddr=", false),
            ("tcpport=80&tcpaddr=a%20b", false),
            ("tcpport=80&tcpaddr=a%0ab", false),
        ] {
            assert_eq!(TunnelQuery::parse(query).is_ok(), good, "{query}");
        }
        let long = format!("id={}", "x".repeat(ID_MAX + 1));
        assert_eq!(TunnelQuery::parse(&long), Err(Malformed));
    }

    fn pass() -> Pass {
        Pass {
            user: user_id("admin"),
            node: node_id(3),
            id: "abc".into(),
            protocol: 5,
            speech: Speech::Session,
            share: Some("xyz".into()),
        }
    }

    #[test]
    fn a_pass_opens_its_own_tunnel_for_a_minute() {
        let world = World::new();
        let (key, domain, made) = (&world.key, world.domain(), Seconds(1_000_000));
        let text = pass().seal(key, made).unwrap();
        let open = |id: &str, at: u64| Rauth::open(&text, key, &domain, id, Seconds(at));
        let Some(Rauth::Pass(opened, serial)) = open("abc", 1_000_060) else { panic!("a pass") };
        assert_eq!(opened, pass());
        assert_eq!(serial, text.as_bytes()[..SERIAL_LEN]);
        assert_eq!(open("abd", 1_000_000), None, "another tunnel");
        assert_eq!(open("abc", 1_000_061), None, "too late");
        let other = DomainId::new("other").unwrap();
        assert_eq!(Rauth::open(&text, key, &other, "abc", made), None);
    }

    #[test]
    fn the_relay_cookie_of_a_session_proves_its_user_and_no_agent() {
        let world = World::new();
        let made = Seconds(1_000_000);
        let fields = json!({"ruserid": "user//admin", "x": "abc"});
        let text = world.key.seal(fields.as_object().unwrap().clone(), made).unwrap();
        let at = |seconds| Rauth::open(&text, &world.key, &world.domain(), "any", Seconds(seconds));
        assert_eq!(at(1_000_000 + 240 * 60), Some(Rauth::Bearer(user_id("admin"))));
        assert_eq!(at(1_000_001 + 240 * 60), None);
    }

    #[test]
    fn agents_are_sent_to_the_relay_and_nowhere_else() {
        let default = DomainId::default();
        let tenant = DomainId::new("tenant").unwrap();
        for (value, domain, query) in [
            ("*/meshrelay.ashx?id=1", &default, Some("id=1")),
            ("*/meshrelay.ashx?id=1", &tenant, Some("id=1")),
            ("*/tenant/meshrelay.ashx?id=1", &tenant, Some("id=1")),
            ("*/tenant/meshrelay.ashx?id=1", &default, None),
            ("wss://elsewhere/meshrelay.ashx?id=1", &default, None),
            ("*/agent.ashx?id=1", &default, None),
            ("*/meshrelay.ashx", &default, None),
            ("", &default, None),
        ] {
            assert_eq!(relay_value(value, domain), query, "{value} in {domain:?}");
        }
    }

    proptest! {
        #[test]
        fn no_query_makes_parsing_panic(query in ".{0,300}") {
            let _ = TunnelQuery::parse(&query);
            let world_key = crate::model::Secret { name: String::new(), bytes: vec![7; 80] };
            let key = CookieKey::new(&world_key).unwrap();
            let id = query.get(..3).unwrap_or_default();
            prop_assert_eq!(Rauth::open(&query, &key, &DomainId::default(), id, Seconds(0)), None);
        }
    }
}
