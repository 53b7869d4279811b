//! One scan with its sockets: pings, names of who answers, and the web servers of who does not.
//!
//! Firmware from 16.1 on answers no pings. On request those addresses of the range that kept silent
//! are asked over TCP, at the ports of Intel AMT alone.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use std::{io, iter};

use async_executor::{LocalExecutor, Task};
use async_io::Timer;
use async_net::TcpStream;
use futures_lite::FutureExt as _;
use futures_lite::future::or;

use super::names::Names;
use super::scan::Scan;
use super::{PACKET, ping_socket, probe, receive_until, rmcp};
use crate::amt::reach::Service;

/// How often it is told how far the scan is.
const PROGRESS: Duration = Duration::from_millis(500);
/// Time for names that are still looked up when the scan is over.
const NAMES: Duration = Duration::from_millis(500);
/// Connections over TCP at a time, the time between two of them, and how long each may take to open.
const ASKING: usize = 32;
const PACE: Duration = Duration::from_millis(4);
const OPEN: Duration = Duration::from_secs(1);

/// What a scan needs of the room.
pub(super) struct Search<'a> {
    pub(super) executor: &'a LocalExecutor<'static>,
    pub(super) names: Names,
    /// Told now and then how far it is.
    pub(super) tell: Box<dyn Fn(&Scan) + 'a>,
}

/// A scan that is over.
pub(super) struct Searched {
    pub(super) scan: Scan,
    pub(super) names: BTreeMap<Ipv4Addr, String>,
}

impl Search<'_> {
    /// Runs a scan to its end.
    ///
    /// # Errors
    /// That there is no socket.
    pub(super) async fn run(self, scan: Scan) -> io::Result<Searched> {
        let (scan, names) = (RefCell::new(scan), RefCell::new(BTreeMap::new()));
        let (found, to_name) = async_channel::unbounded();
        let naming = async {
            while let Ok(address) = to_name.recv().await {
                if let Some(name) = self.names.of(address).await {
                    names.borrow_mut().insert(address, name);
                }
            }
            Ok::<_, io::Error>(())
        };
        let searching = async {
            self.ping(&scan, &found).await?;
            self.ask(&scan, &found).await;
            found.close();
            Timer::after(NAMES).await;
            Ok(())
        };
        or(naming, searching).await?;
        Ok(Searched { scan: scan.into_inner(), names: names.into_inner() })
    }

    async fn ping(
        &self,
        scan: &RefCell<Scan>,
        found: &async_channel::Sender<Ipv4Addr>,
    ) -> io::Result<()> {
        let socket = ping_socket()?;
        let start = Instant::now();
        let mut told = Duration::ZERO;
        let mut packet = [0; PACKET];
        loop {
            let now = start.elapsed();
            let Some(due) = scan.borrow().poll_timeout(now) else { return Ok(()) };
            let sent = scan.borrow_mut().poll_send(now);
            if let Some((to, ping)) = sent {
                // Nobody there, no way there: it is not found.
                let _ = socket.send_to(&ping, (to, rmcp::PORT)).await;
            }
            if now >= told + PROGRESS {
                told = now;
                (self.tell)(&scan.borrow());
            }
            let until = start + due.min(told + PROGRESS);
            if let Some((from, length)) = receive_until(&socket, &mut packet, until).await
                && scan.borrow_mut().receive(from, &packet[..length])
            {
                let _ = found.try_send(from);
            }
        }
    }

    /// Asks over TCP who is to be asked. Dropping this ends all connections.
    async fn ask(&self, scan: &RefCell<Scan>, found: &async_channel::Sender<Ipv4Addr>) {
        let wanted = scan.borrow_mut().to_ask();
        let (next, asked) = async_channel::bounded(1);
        let (tell, answers) = async_channel::unbounded();
        let workers: Vec<Task<()>> = iter::repeat_with(|| {
            let (asked, tell) = (asked.clone(), tell.clone());
            let working = async move {
                while let Ok(address) = asked.recv().await {
                    let _ = tell.try_send((address, web_server(address).await));
                }
            };
            self.executor.spawn(working.boxed_local())
        })
        .take(ASKING.min(wanted.len()))
        .collect();
        drop(tell);
        let feeding = async {
            for address in wanted {
                if next.send(address).await.is_err() {
                    break;
                }
                Timer::after(PACE).await;
            }
            next.close();
            std::future::pending::<()>().await;
        };
        let hearing = async {
            let mut told = Instant::now();
            // Ends when the last worker has gone.
            while let Ok((address, answer)) = answers.recv().await {
                if scan.borrow_mut().asked(address, answer) {
                    let _ = found.try_send(address);
                }
                if told.elapsed() >= PROGRESS {
                    told = Instant::now();
                    (self.tell)(&scan.borrow());
                }
            }
        };
        or(hearing, feeding).await;
        drop(workers);
    }
}

/// Version and whether it is with TLS, of firmware that serves one of its two ports.
async fn web_server(address: Ipv4Addr) -> Option<(String, bool)> {
    let (plain, secure) = Service::Web.ports();
    for (port, with_tls) in [(secure, true), (plain, false)] {
        if opens(address, port).await
            && let Ok(version) = probe::version(&address.to_string(), with_tls).await
        {
            return Some((version, with_tls));
        }
    }
    None
}

async fn opens(address: Ipv4Addr, port: u16) -> bool {
    let connecting = async { TcpStream::connect((address, port)).await.is_ok() };
    let late = async {
        Timer::after(OPEN).await;
        false
    };
    or(connecting, late).await
}
