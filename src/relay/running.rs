//! The books of a running tunnel: it is in the hub's list, its beginning and its end are events.
//!
//! Source: relay-and-tunnels §17. The end is told when the value is dropped, so that it is told
//! however a tunnel ends.

use std::net::IpAddr;
use std::rc::Rc;

use log::info;
use serde_json::json;

use crate::hub::{Hub, Registered, TunnelLink};
use crate::model::{Event, EventKind, Target};

use super::chat;

/// A tunnel both ends of which are there.
pub struct Running {
    hub: Rc<Hub>,
    /// What the session is called.
    pub id: Box<str>,
    /// Its place in the hub's list.
    pub link: Rc<TunnelLink>,
    _registered: Registered,
}

/// The words and numbers of one kind of session.
struct Words {
    what: &'static str,
    started: u32,
    ended: u32,
}

impl Words {
    fn of(protocol: u16) -> Self {
        let (what, started, ended) = match protocol {
            1 | 6 | 8 | 9 => ("terminal", 14, 10),
            2 => ("desktop", 15, 11),
            5 | 10 => ("file management", 16, 12),
            // By the stock server's numbers of a relay.
            100 | 101 => ("Intel AMT", 13, 9),
            chat::PROTOCOL => ("messenger", 162, 112),
            _ => ("relay", 13, 9),
        };
        Self { what, started, ended }
    }
}

impl Running {
    /// Registers a tunnel and tells that it has begun.
    pub fn start(hub: &Rc<Hub>, id: Box<str>, link: TunnelLink) -> Self {
        let link = Rc::new(link);
        let registered = hub.tunnels.register(link.clone());
        let running = Self { hub: hub.clone(), id, link, _registered: registered };
        let Words { what, started, .. } = Words::of(running.link.purpose.protocol);
        let (from, to) = running.addresses();
        let text = format!("Started {what} session \"{}\" from {from} to {to}", running.id);
        info!("relay: {}: {text}", running.link.purpose.user);
        let event = running
            .event(started, &text)
            .with("msgArgs", json!([running.id, from.to_string(), to.to_string()]));
        hub.publish(event);
        running
    }

    fn addresses(&self) -> (IpAddr, IpAddr) {
        (self.link.viewer.ip().to_canonical(), self.link.agent.ip().to_canonical())
    }

    fn event(&self, msgid: u32, text: &str) -> Event {
        let purpose = &self.link.purpose;
        let mut event = Event::new("relaylog", purpose.user.domain.clone())
            .kind(EventKind::Relay)
            .actor(&purpose.user)
            .to(Target::All)
            .with("protocol", purpose.protocol)
            .with("msgid", msgid)
            .with("msg", text);
        if let Some(guest) = &purpose.guest {
            event = event.with("guestname", &**guest);
        }
        if let Some(partner) = &self.link.partner {
            event = event.to(Target::User(partner.clone()));
        }
        if let Some(node) = &purpose.node {
            event = event.node(node);
            if let Some(device) = self.hub.store.device(node) {
                event = self.hub.device_targets(&device).into_iter().fold(event, Event::to);
            }
        }
        event
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Words { what, ended, .. } = Words::of(self.link.purpose.protocol);
        let seconds = self.hub.now().since(self.link.since).as_secs();
        let (from, to) = self.addresses();
        let text = format!(
            "Ended {what} session \"{}\" from {from} to {to}, {seconds} second(s)",
            self.id
        );
        info!("relay: {}: {text}", self.link.purpose.user);
        let received = self.link.from_viewer.get() + self.link.from_agent.get();
        let event = self
            .event(ended, &text)
            .with("msgArgs", json!([self.id, from.to_string(), to.to_string(), seconds]))
            .with("bytesin", received)
            .with("bytesout", self.link.sent.get());
        self.hub.publish(event);
    }
}
