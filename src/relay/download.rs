//! `/devicefile.ashx`: a file of a device as an HTTP download.
//!
//! Source: relay-and-tunnels §9. The HTTP request waits like a viewer, the agent is called to
//! `/devicefile.ashx`, told the path and protocol 10, and answers with the size and the bytes. They
//! go on at the pace of whoever downloads. Agents do not check rights for this protocol; this does.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use async_io::Timer;
use futures_lite::future::or;
use serde::Deserialize;
use serde_json::json;

use crate::hub::{TunnelLink, TunnelMessage, TunnelPurpose};
use crate::model::{Key48, NodeId};
use crate::ws::{Message, Socket};

use super::admission::Who;
use super::command::Introduction;
use super::filter::Permit;
use super::guest;
use super::pairing::{Arrival, Claim, DOWNLOAD_WAIT, Owner};
use super::pipe::Stream;
use super::room::{Room, Seat};
use super::running::Running;
use super::session::Arrived;
use super::standing::standing;
use super::visitor::Visitor;

/// Protocol label, and the number an agent knows it by.
const PROTOCOL: u16 = 10;
/// Longest message of an agent in a download; stock agents send 4096 bytes at a time.
const MESSAGE_MAX: usize = 1 << 20;
/// Longest path in bytes.
const PATH_MAX: usize = 4096;

/// A file on its way.
pub struct Download {
    /// Its size in bytes, as the agent says.
    pub size: u64,
    /// The last part of its path.
    pub name: String,
    remaining: u64,
    socket: Socket<Box<dyn Stream>>,
    user: crate::model::UserId,
    node: NodeId,
    running: Running,
    room: Rc<Room>,
    _seat: Seat,
}

/// Why there is no download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoDownload {
    /// Who asks has no right to it, or there is no such device or agent.
    NotFound,
    /// The agent has no such file, or it cannot be read.
    Refused,
}

/// What the request says.
struct Asked {
    node: NodeId,
    path: String,
}

impl Asked {
    fn parse(visitor: &impl Visitor) -> Option<Self> {
        let key = Key48::parse(&param(visitor, "n")?).ok()?;
        let path = param(visitor, "f")?;
        let fits = (1..=PATH_MAX).contains(&path.len()) && !path.contains('\0');
        fits.then(|| Self { node: NodeId::new(visitor.domain().clone(), key), path })
    }
}

/// A member of the query.
fn param(visitor: &impl Visitor, name: &str) -> Option<String> {
    form_urlencoded::parse(visitor.query().as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Finds the file asked for with `?c=<auth cookie>&n=<device>&f=<path>` and waits for its size, at
/// most 30 s for the agent and 30 s for its answer.
///
/// # Errors
/// Why there is none.
pub async fn open(room: &Rc<Room>, visitor: &impl Visitor) -> Result<Download, NoDownload> {
    let refused = Err(NoDownload::NotFound);
    let Some(asked) = Asked::parse(visitor) else { return refused };
    let cookie = param(visitor, "c").unwrap_or_default();
    let Some(viewer) = visitor.viewer_by_cookie(&cookie) else { return refused };
    let Some((user, device, rights)) = standing(room, &viewer.user, &asked.node) else {
        return refused;
    };
    let Some(id) = room.fresh_id() else { return refused };
    // The file links of a share's page are tunnels.
    let is_narrow = guest::is_guest(&viewer.cookie) || viewer.chat().is_some();
    if is_narrow || !Permit::of(rights).allows(PROTOCOL) {
        return refused;
    }
    let (sender, agent) = async_channel::bounded::<Arrived>(1);
    let tunnel = (visitor.domain().clone(), id.clone());
    let claim = Claim::Viewer(Owner { user: user.id.clone(), share: None });
    let Arrival::Held(ticket) = room.arrive(tunnel, claim, DOWNLOAD_WAIT, || sender) else {
        return refused;
    };
    let seat = room.seat(ticket);
    let introduction = Introduction {
        user: &user,
        device: &device,
        rights,
        remote: visitor.remote().ip(),
        session: None,
        guest: None,
    };
    if room.call_agent(&introduction, "devicefile.ashx", &id, None, None, None).is_err() {
        return refused;
    }
    let agent = within_wait(async { agent.recv().await.ok() }).await.ok_or(NoDownload::NotFound)?;
    // Only the agent of this device may answer.
    let Who::Agent(pass, _) = &agent.who else { return refused };
    if pass.node != asked.node {
        return refused;
    }
    let purpose = TunnelPurpose {
        user: user.id.clone(),
        node: Some(asked.node.clone()),
        protocol: PROTOCOL,
        guest: None,
        share: None,
    };
    let link = TunnelLink::new(purpose, visitor.remote(), agent.remote, room.hub.now());
    let running = Running::start(&room.hub, id, link);
    let mut socket = agent.socket;
    socket.set_limit(MESSAGE_MAX);
    socket.send_text("c");
    socket.send_text(&json!({"type": "options", "file": asked.path}).to_string());
    socket.send_text(&PROTOCOL.to_string());
    let size = within_wait(size_told(&mut socket)).await.ok_or(NoDownload::Refused)?;
    let name = asked.path.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = if name.is_empty() { "file.bin" } else { name }.to_owned();
    let (user, node) = (user.id.clone(), asked.node);
    let room = room.clone();
    Ok(Download { size, name, remaining: size, socket, user, node, running, room, _seat: seat })
}

async fn within_wait<T>(future: impl Future<Output = Option<T>>) -> Option<T> {
    let late = async {
        Timer::after(DOWNLOAD_WAIT).await;
        None
    };
    or(future, late).await
}

/// The size the agent answers with; `None` if it refuses or leaves.
async fn size_told(socket: &mut Socket<Box<dyn Stream>>) -> Option<u64> {
    #[derive(Deserialize)]
    struct Answer {
        op: String,
        size: Option<u64>,
    }
    match socket.recv().await {
        Ok(Some(Message::Text(text))) => {
            let answer: Answer = serde_json::from_slice(&text).ok()?;
            answer.size.filter(|_| answer.op == "ok")
        }
        _ => None,
    }
}

impl Download {
    /// The next bytes; `None` when all have come. Nothing more is read from the agent before they
    /// are asked for.
    ///
    /// # Errors
    /// The agent has gone before its end of the bargain was kept, or the right to it.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Vec<u8>>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        if let Poll::Ready(message) = self.running.link.mailbox.poll_next(cx)
            && !(message == Some(TunnelMessage::Recheck) && self.is_still_allowed())
        {
            return Poll::Ready(Some(Err(io::ErrorKind::PermissionDenied.into())));
        }
        loop {
            match ready!(self.socket.poll_recv(cx)) {
                Ok(Some(Message::Binary(mut bytes))) => {
                    // The length that was promised holds, whatever more the agent has.
                    bytes.truncate(usize::try_from(self.remaining).unwrap_or(usize::MAX));
                    if bytes.is_empty() {
                        continue;
                    }
                    let count = bytes.len() as u64;
                    self.remaining -= count;
                    let link = &self.running.link;
                    link.from_agent.set(link.from_agent.get() + count);
                    link.sent.set(link.sent.get() + count);
                    return Poll::Ready(Some(Ok(bytes)));
                }
                Ok(Some(Message::Text(_))) => {}
                Ok(None) => {
                    return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn is_still_allowed(&self) -> bool {
        let standing = standing(&self.room, &self.user, &self.node);
        standing.is_some_and(|(_, _, rights)| Permit::of(rights).allows(PROTOCOL))
    }

    /// Bytes still to come.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }
}
