//! The sockets of discovery: one for IPv4 and one for IPv6, in the group of every interface. What
//! cannot be opened or sent is a line in the log; agents with an address do without.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use futures_lite::future::{self, or};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use super::{Allowance, Family, PACKET, Presence};
use crate::config::Reach;
use crate::hub::Hub;
use crate::interfaces::Interfaces;

/// Where servers listen, and where agents do.
const SERVERS: u16 = 16989;
const AGENTS: u16 = 16990;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 235);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfe);
/// How often it is looked for new interfaces, or whether there is something to tell at last.
const LOOK: Duration = Duration::from_secs(60);
const LOOK_SOON: Duration = Duration::from_secs(2);
/// How often agents hear of the server without having asked.
const ANNOUNCE: Duration = Duration::from_secs(20 * 60);

/// What is told, as it is now; `None` while the server has no identity yet.
pub type Tell = Box<dyn Fn() -> Option<Presence>>;

struct Shared {
    hub: Rc<Hub>,
    tell: Tell,
    start: Instant,
    allowance: RefCell<Allowance>,
}

/// Tells the local network where the server is, for ever; nothing while the configuration has it
/// off.
pub async fn run(hub: Rc<Hub>, tell: Tell) {
    let shared = Shared { hub, tell, start: Instant::now(), allowance: RefCell::default() };
    future::zip(attend(&shared, Family::V4), attend(&shared, Family::V6)).await;
}

impl Shared {
    /// The only address that is listened to, if not all are.
    fn only(&self) -> Option<IpAddr> {
        self.hub.config().settings.bind.filter(|address| !address.is_unspecified())
    }

    fn is_on(&self, family: Family) -> bool {
        let settings = &self.hub.config().settings;
        let is_served = self.only().is_none_or(|only| only.is_ipv4() == (family == Family::V4));
        settings.reach != Reach::Wan && settings.mesh_scanner && is_served
    }

    /// The interfaces that matter.
    fn interfaces(&self) -> Interfaces {
        match self.only() {
            None => Interfaces::list(),
            Some(IpAddr::V4(only)) => Interfaces { v4: vec![only], ..Interfaces::list() },
            // Zero: the system picks one.
            Some(IpAddr::V6(_)) => Interfaces { v6: vec![0], ..Interfaces::list() },
        }
    }
}

/// One of the sockets.
struct Post {
    socket: Async<UdpSocket>,
    family: Family,
    joined: Interfaces,
    announced: Option<Instant>,
}

async fn attend(shared: &Shared, family: Family) {
    let (mut post, mut told) = (None, String::new());
    loop {
        if !shared.is_on(family) {
            post = None;
            Timer::after(LOOK).await;
            continue;
        }
        let opened = match post.take() {
            Some(post) => Ok(post),
            None => Post::open(family),
        };
        match opened {
            Ok(opened) => {
                told.clear();
                post = Some(opened);
            }
            Err(error) if family == Family::V6 => log::debug!("discovery over IPv6: {error}"),
            Err(error) if error.to_string() == told => {}
            Err(error) => {
                told = error.to_string();
                log::warn!("agents cannot find this server by themselves: port {SERVERS}: {told}");
            }
        }
        let Some(post) = &mut post else {
            Timer::after(LOOK).await;
            continue;
        };
        let interfaces = shared.interfaces();
        let is_soon = !post.announce(shared, &interfaces).await;
        let until = Instant::now() + if is_soon { LOOK_SOON } else { LOOK };
        post.answer_until(shared, &interfaces, until).await;
    }
}

impl Post {
    fn open(family: Family) -> io::Result<Self> {
        let (domain, any): (_, IpAddr) = match family {
            Family::V4 => (AddressFamily::INET, Ipv4Addr::UNSPECIFIED.into()),
            Family::V6 => (AddressFamily::INET6, Ipv6Addr::UNSPECIFIED.into()),
        };
        let socket = socket_with(domain, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        // Other programs on this machine listen there, too.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if family == Family::V6 {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        bind(&socket, &SocketAddr::new(any, SERVERS))?;
        let socket = UdpSocket::from(socket);
        if family == Family::V4 {
            socket.set_broadcast(true)?;
        }
        let socket = Async::new(socket)?;
        Ok(Self { socket, family, joined: Interfaces::default(), announced: None })
    }

    /// Joins the group on new interfaces, and tells who listens there that the server is here; all
    /// of them now and then. False while there is nothing to tell.
    async fn announce(&mut self, shared: &Shared, interfaces: &Interfaces) -> bool {
        let Some(packet) = (shared.tell)().and_then(|told| told.announcement(self.family).ok())
        else {
            return false;
        };
        let is_due = self.announced.is_none_or(|last| last.elapsed() >= ANNOUNCE);
        let here = match self.family {
            Family::V4 => {
                for address in &interfaces.v4 {
                    let is_new = !self.joined.v4.contains(address);
                    if is_new {
                        // It may be in it already: one interface can have two addresses.
                        let _ = self.socket.get_ref().join_multicast_v4(&GROUP_V4, address);
                    }
                    if is_new || is_due {
                        let _ = sockopt::set_ip_multicast_if(&self.socket, address);
                        self.send(&packet, GROUP_V4.into(), 1 + usize::from(is_new)).await;
                    }
                }
                Ipv4Addr::LOCALHOST.into()
            }
            Family::V6 => {
                for index in &interfaces.v6 {
                    let is_new = !self.joined.v6.contains(index);
                    if is_new {
                        let _ = self.socket.get_ref().join_multicast_v6(&GROUP_V6, *index);
                    }
                    if is_new || is_due {
                        let to = SocketAddrV6::new(GROUP_V6, AGENTS, 0, *index).into();
                        self.send_to(&packet, to, 1 + usize::from(is_new)).await;
                    }
                }
                Ipv6Addr::LOCALHOST.into()
            }
        };
        if is_due {
            self.announced = Some(Instant::now());
            self.send(&packet, here, 1).await;
            if self.family == Family::V4 && shared.only().is_none() {
                self.send(&packet, Ipv4Addr::BROADCAST.into(), 1).await;
            }
        }
        self.joined = interfaces.clone();
        true
    }

    async fn send(&self, packet: &[u8], to: IpAddr, times: usize) {
        self.send_to(packet, SocketAddr::new(to, AGENTS), times).await;
    }

    /// A network that has no way there has no agents either.
    async fn send_to(&self, packet: &[u8], to: SocketAddr, times: usize) {
        for _ in 0..times {
            let _ = self.socket.send_to(packet, to).await;
        }
    }

    async fn answer_until(&self, shared: &Shared, interfaces: &Interfaces, until: Instant) {
        let answering = async {
            let mut packet = [0; PACKET];
            loop {
                // A socket that is broken stays so until the next look.
                let Ok((length, from)) = self.socket.recv_from(&mut packet).await else {
                    return future::pending().await;
                };
                // No question is as long as there is room: this one may be a piece of one.
                if length == PACKET {
                    continue;
                }
                let is_near = from.ip().is_loopback() || interfaces.are_near(from.ip());
                let answer = (shared.tell)()
                    .and_then(|told| told.answer(self.family, &packet[..length], is_near));
                let Some(answer) = answer else { continue };
                let now = shared.start.elapsed();
                if shared.allowance.borrow_mut().take(now, from.ip()) {
                    let _ = self.socket.send_to(&answer, from).await;
                }
            }
        };
        let due = async {
            Timer::at(until).await;
        };
        or(due, answering).await;
    }
}

#[cfg(test)]
mod tests {
    use async_io::block_on;

    use super::*;
    use crate::config::Config;
    use crate::hub::testing::World;
    use crate::model::Key48;

    /// A server on the loopback with this id.
    fn server(id: u8, port: u16) -> impl Future<Output = ()> {
        let mut config = Config::default();
        config.settings.bind = Some(Ipv4Addr::LOCALHOST.into());
        let tell = move || {
            Some(Presence {
                server: Key48([id; 48]),
                port,
                address: None,
                host: None,
                name: String::new(),
                info: String::new(),
                seal: None,
            })
        };
        run(World::with(config).hub.clone(), Box::new(tell))
    }

    #[test]
    fn agents_on_one_network_find_each_its_own_server() {
        let agent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sockopt::set_ip_multicast_if(&agent, &Ipv4Addr::LOCALHOST).unwrap();
        let agent = Async::new(agent).unwrap();
        let asking = async {
            for (id, port) in [(7, 4443), (9, 9443)] {
                let hex = Key48([id; 48]).hex();
                let mut packet = [0; PACKET];
                // As agents do: again and again, for packets get lost, and servers start.
                let (length, from) = loop {
                    agent.send_to(hex.as_bytes(), (GROUP_V4, SERVERS)).await.unwrap();
                    let late = async {
                        Timer::after(Duration::from_millis(100)).await;
                        None
                    };
                    let answer = async { agent.recv_from(&mut packet).await.ok() };
                    if let Some(answer) = or(answer, late).await
                        && packet[..answer.0].windows(hex.len()).any(|id| id == hex.as_bytes())
                    {
                        break answer;
                    }
                };
                let expected = format!("MeshCentral2|{hex}|wss://%s:{port}/agent.ashx");
                assert_eq!(String::from_utf8_lossy(&packet[..length]), expected);
                assert!(from.ip().is_loopback(), "{from}");
            }
        };
        let servers = future::zip(server(7, 4443), server(9, 9443));
        let serving = async {
            servers.await;
        };
        let late = async {
            Timer::after(Duration::from_secs(60)).await;
            panic!("nobody has answered on the loopback");
        };
        block_on(or(asking, or(serving, late)));
    }
}
