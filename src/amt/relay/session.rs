//! From an upgraded socket to the firmware and back to a close with a reason.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use async_io::Timer;
use futures_lite::FutureExt as _;
use futures_lite::future::{or, poll_fn};
use log::{debug, info};

use super::super::digest::Credentials;
use super::super::reach::{self, Reached, Unreachable};
use super::super::redirection::handshake::{Handshake, Progress, own_nonce};
use super::super::redirection::interceptor::Interceptor;
use super::super::redirection::kvm::Kvm;
use super::super::redirection::sol::Sol;
use super::super::redirection::{Mediator, Over, Service};
use super::admission::{Standing, enter, parameter};
use super::bridge::{Bridge, Outbox, UserSocket, poll_read};
use super::web::{Direct, Web};
use super::{MESSAGE_MAX, Room, disks};
use crate::hub::{ByteStream, Registered, TunnelKind, TunnelLink, TunnelMessage, TunnelPurpose};
use crate::relay::recording::name::Form;
use crate::relay::recording::{Subject, Tap};
use crate::relay::running::Running;
use crate::relay::visitor::Visitor;
use crate::ws::Socket;

/// Time to say good-bye.
const FAREWELL: Duration = Duration::from_secs(5);
/// Time to be let in by the firmware.
const LOGIN: Duration = Duration::from_secs(20);
/// Protocol numbers of WS-Management and of redirection.
const WSMAN: u16 = 100;
const REDIRECTION: u16 = 101;

/// Which page was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// `/webrelay.ashx`
    WebRelay,
    /// `/webider.ashx`
    Disks,
    /// `/amtconsole.ashx`
    Console,
}

/// What is done in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// WS-Management, proven here or not.
    Web { proven: bool },
    /// Redirection as the client speaks it, proven here or not.
    Relay { proven: bool },
    /// A service without redirection's own protocol.
    Console(Service),
    /// Images for a computer.
    Disks,
}

impl Task {
    /// What the page is asked for by `p`.
    fn of(page: Page, p: Option<&str>) -> Option<Self> {
        Some(match (page, p) {
            (Page::WebRelay, Some("1")) => Self::Web { proven: true },
            (Page::WebRelay, Some("2")) => Self::Relay { proven: true },
            (Page::WebRelay, Some("3")) => Self::Web { proven: false },
            (Page::WebRelay, Some("4")) => Self::Relay { proven: false },
            // As in tunnels: 1 a terminal, 2 a desktop.
            (Page::Console, Some("1")) => Self::Console(Service::Sol),
            (Page::Console, Some("2")) => Self::Console(Service::Kvm),
            (Page::Disks, _) => Self::Disks,
            _ => return None,
        })
    }

    fn is_allowed(self, standing: &Standing) -> bool {
        let permit = &standing.permit;
        match self {
            Self::Web { .. } => permit.allows_all(),
            // What is asked for is seen when it is.
            Self::Relay { .. } => permit.allows_any(),
            Self::Console(service) => permit.allows(service),
            Self::Disks => permit.allows(Service::Ider),
        }
    }

    fn protocol(self) -> u16 {
        if matches!(self, Self::Web { .. }) { WSMAN } else { REDIRECTION }
    }
}

/// On the list while somebody holds it. Requests of WS-Management are no events: there are hundreds.
enum Listed {
    Silently(Rc<TunnelLink>, #[expect(dead_code, reason = "held")] Registered),
    Loudly(Running),
}

impl Listed {
    fn link(&self) -> &Rc<TunnelLink> {
        match self {
            Self::Silently(link, _) => link,
            Self::Loudly(running) => &running.link,
        }
    }
}

/// A user who was let in.
pub(super) struct Session<'s> {
    pub(super) room: &'s Rc<Room>,
    pub(super) link: &'s TunnelLink,
    pub(super) standing: &'s Standing,
    pub(super) socket: &'s mut UserSocket,
}

/// Serves a user from the upgrade to the end. The 101 answer must be on the wire. `place` is what the
/// connection occupies among those that have proven nothing.
pub async fn serve<S, P>(
    room: &Rc<Room>,
    page: Page,
    socket: Socket<Box<S>>,
    visitor: &impl Visitor,
    place: P,
) where
    S: ByteStream + 'static,
{
    let (io, early) = socket.into_parts();
    let io: Box<dyn ByteStream> = io;
    let mut socket = Socket::new(io, &early, MESSAGE_MAX);
    let remote = visitor.remote();
    let task = Task::of(page, parameter(visitor.query(), "p").as_deref());
    let entered = match task {
        Some(task) => Box::pin(enter(room, visitor)).await.map(|standing| (task, standing)),
        None => Err("a page that is asked for nothing"),
    };
    drop(place);
    let over = match entered {
        Ok((task, standing)) if task.is_allowed(&standing) => {
            let over = Box::pin(hold(room, task, &standing, remote, &mut socket)).await;
            info!("amt: {} with {}: {over}", standing.user.id, standing.device.id);
            over
        }
        Ok((_, standing)) => {
            debug!("amt: {} is closed: no right to that", standing.user.id);
            Over::NoRight
        }
        Err(why) => {
            debug!("amt: {remote} is closed: {why}");
            Over::NoRight
        }
    };
    let farewell = async {
        // A peer that has gone already is no error.
        let _ = socket.close(Some(over.code())).await;
    };
    or(farewell, async {
        Timer::after(FAREWELL).await;
    })
    .await;
}

/// Holds a session; why it is over.
async fn hold(
    room: &Rc<Room>,
    task: Task,
    standing: &Standing,
    remote: SocketAddr,
    socket: &mut UserSocket,
) -> Over {
    let purpose = TunnelPurpose {
        user: standing.user.id.clone(),
        node: Some(standing.device.id.clone()),
        protocol: task.protocol(),
        guest: None,
        share: None,
    };
    let link = TunnelLink::new(purpose, remote, far_end(room, standing), room.hub.now());
    let id = crate::relay::wire::fresh_id().unwrap_or_default();
    let listed = match task {
        Task::Web { .. } => {
            let link = Rc::new(link);
            Listed::Silently(link.clone(), room.hub.tunnels.register(link))
        }
        _ => Listed::Loudly(Running::start(&room.hub, id.clone(), link)),
    };
    // On the list already, so that a right that is lost meanwhile is not missed.
    let mut session = Session { room, link: listed.link(), standing, socket };
    let ended = match task {
        Task::Disks => Box::pin(disks::serve(&mut session)).await,
        _ => Box::pin(session.relay(task, &id)).await,
    };
    ended.unwrap_or_else(|over| over)
}

/// Where the firmware is, for the books.
fn far_end(room: &Room, standing: &Standing) -> SocketAddr {
    let tunnel = TunnelKind::ALL
        .into_iter()
        .find_map(|kind| room.hub.amt_tunnel(&standing.device.id, kind))
        .map(|tunnel| tunnel.remote);
    let host = || standing.device.host.as_ref()?.parse::<IpAddr>().ok();
    let nowhere = IpAddr::from([0, 0, 0, 0]);
    tunnel.unwrap_or_else(|| SocketAddr::new(host().unwrap_or(nowhere), 16994))
}

impl Session<'_> {
    async fn relay(&mut self, task: Task, id: &str) -> Result<Over, Over> {
        let tap = self.record(task, id).await;
        let node = self.standing.device.id.clone();
        let service = match task {
            Task::Web { .. } => reach::Service::Web,
            _ => reach::Service::Redirection,
        };
        let mut stream = self.reach(service).await?;
        let early = match task {
            Task::Console(service) => self.log_in(service, &mut stream).await?,
            _ => Vec::new(),
        };
        // That took its time.
        let now = Standing::still(self.room, self.link).filter(|now| task.is_allowed(now));
        let permit = now.ok_or(Over::NoRight)?.permit;
        let mediator: Box<dyn Mediator> = match task {
            Task::Web { proven: true } => {
                let own_nonce = own_nonce().ok_or(Over::Unreachable)?;
                Box::new(Web::new(self.room, node, self.credentials()?, own_nonce))
            }
            Task::Web { proven: false } => Box::new(Direct),
            Task::Relay { proven } => {
                let credentials = match proven {
                    true => Some((self.credentials()?, own_nonce().ok_or(Over::Unreachable)?)),
                    false => None,
                };
                Box::new(Interceptor::new(permit, credentials))
            }
            Task::Console(Service::Sol) => Box::new(Sol::new(permit)),
            Task::Console(Service::Kvm) => Box::new(Kvm::new(permit)),
            Task::Console(Service::Ider) | Task::Disks => return Err(Over::Unsupported),
        };
        let Self { room, link, socket, .. } = self;
        let bridge = Bridge { room, link, socket, stream, mediator, tap };
        Ok(bridge.run(&early).await)
    }

    /// Begins a recording, if there is to be one, and tells a client of redirection so.
    async fn record(&mut self, task: Task, id: &str) -> Option<Tap> {
        let Standing { user, device, .. } = self.standing;
        if !self.room.recordings.wants(user, device, task.protocol()) {
            return None;
        }
        let address = |address: IpAddr| Some(address.to_canonical().to_string());
        let subject = Subject {
            user: Some(user.clone()),
            device: device.clone(),
            protocol: task.protocol(),
            session: id.to_owned(),
            addresses: [address(self.link.viewer.ip()), address(self.link.agent.ip())],
            form: Form::Blocks,
        };
        let (tap, writing) = self.room.recordings.start(subject).await?;
        self.room.executor.spawn(writing.boxed_local()).detach();
        if task == (Task::Relay { proven: true }) {
            self.socket.send_binary(&[0xf0]);
        }
        Some(tap)
    }

    /// What the firmware is logged in to with.
    pub(super) fn credentials(&self) -> Result<Credentials, Over> {
        let access = self.room.hub.store.amt_access(&self.standing.device.id);
        let access = access.filter(|access| !access.password.is_empty()).ok_or(Over::Password)?;
        Ok(Credentials { user: access.user.clone(), password: access.password.clone() })
    }

    /// A connection to the firmware.
    pub(super) async fn reach(&self, service: reach::Service) -> Result<Box<dyn ByteStream>, Over> {
        let is_interactive = service == reach::Service::Redirection;
        let opening =
            reach::open(&self.room.hub, &self.standing.device.id, service, is_interactive);
        let Reached { stream, way, .. } = self
            .unless_ended(async {
                opening.await.map_err(|why| {
                    info!("amt: {}: {why}", self.standing.device.id);
                    match why {
                        Unreachable::Late => Over::Late,
                        Unreachable::NotForwarded => Over::Unsupported,
                        Unreachable::OtherCertificate(_) => Over::Certificate,
                        Unreachable::NoWay | Unreachable::Io(_) | Unreachable::Tls(_) => {
                            Over::Unreachable
                        }
                    }
                })
            })
            .await?;
        debug!("amt: {} is reached by {way}", self.standing.device.id);
        Ok(stream)
    }

    /// Logs in to a service; what the firmware has said already in its protocol.
    pub(super) async fn log_in(
        &self,
        service: Service,
        stream: &mut Box<dyn ByteStream>,
    ) -> Result<Vec<u8>, Over> {
        let own_nonce = own_nonce().ok_or(Over::Unreachable)?;
        let (mut handshake, first) = Handshake::begin(service, self.credentials()?, own_nonce);
        let mut outbox = Outbox::default();
        outbox.push(&first);
        let greeting = poll_fn(|cx| {
            loop {
                if let Poll::Ready(Err(_)) = outbox.poll_write(stream, cx) {
                    return Poll::Ready(Err(handshake.closed()));
                }
                // The end of the stream, and any error, mean the same.
                let mut progress = Err(handshake.closed());
                let read = poll_read(stream, cx, |bytes| {
                    if !bytes.is_empty() {
                        progress = handshake.take(bytes);
                    }
                });
                let _ = ready!(read);
                match progress {
                    Ok(Progress { send, open: None }) => outbox.push(&send),
                    Ok(Progress { open: Some(early), .. }) => return Poll::Ready(Ok(early)),
                    Err(over) => return Poll::Ready(Err(over)),
                }
            }
        });
        let late = async {
            Timer::after(LOGIN).await;
            Err(Over::Late)
        };
        self.unless_ended(or(greeting, late)).await
    }

    /// Does `work` unless the session is ended meanwhile, or its user may not go on.
    async fn unless_ended<T>(
        &self,
        work: impl Future<Output = Result<T, Over>>,
    ) -> Result<T, Over> {
        let ended = async {
            loop {
                match poll_fn(|cx| self.link.mailbox.poll_next(cx)).await {
                    Some(TunnelMessage::Recheck)
                        if Standing::still(self.room, self.link).is_some() => {}
                    Some(TunnelMessage::Recheck) => return Err(Over::NoRight),
                    Some(TunnelMessage::End(_)) | None => return Err(Over::Ended),
                }
            }
        };
        or(ended, work).await
    }
}
