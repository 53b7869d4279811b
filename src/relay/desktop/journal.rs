//! What history is told of a shared desktop session, in MeshCentral's words (`relaylog`).

use serde_json::json;

use crate::model::{DomainId, Event, EventKind, NodeId};

use super::viewer::Watcher;

/// Something history is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The device shows its desktop to the first viewer.
    Started(Option<Watcher>),
    /// Another one joined.
    Joined(Watcher),
    /// One left after so many seconds.
    Left(Watcher, u64),
    /// It is over after so many seconds.
    Closed(u64),
}

impl Entry {
    /// The event, told to the viewer; `session` is how the session is called. Targets of the
    /// device are added by whoever knows it.
    pub fn event(&self, domain: &DomainId, node: &NodeId, session: &str) -> Event {
        let (number, arguments, text, watcher) = match self {
            Self::Started(first) => {
                let text = format!("Started desktop multiplex session \"{session}\"");
                (145, json!([session]), text, first.as_ref())
            }
            Self::Joined(watcher) => {
                let text = format!("Joined desktop multiplex session \"{session}\"");
                (143, json!([session]), text, Some(watcher))
            }
            Self::Left(watcher, seconds) => {
                let what = format!("Left the desktop multiplex session \"{session}\"");
                let text = format!("{what} after {seconds} second(s).");
                (144, json!([session, seconds]), text, Some(watcher))
            }
            Self::Closed(seconds) => {
                let what = format!("Closed desktop multiplex session \"{session}\"");
                (147, json!([session, seconds]), format!("{what}, {seconds} second(s)"), None)
            }
        };
        let mut event = Event::new("relaylog", domain.clone())
            .kind(EventKind::Relay)
            .node(node)
            .with("msgid", number)
            .with("msgArgs", arguments)
            .with("msg", text)
            .with("protocol", 2);
        if let Some(Watcher { user, guest }) = watcher {
            event = event.actor(user);
            if let Some(name) = guest {
                event = event.with("guestname", name.as_str());
            }
        }
        event
    }
}
