//! A simulated computer on a loopback address of its own, at the ports real firmware has.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use async_executor::LocalExecutor;
use async_io::{Async, Timer};
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};

use super::{Computer, Connection, rmcp};

/// What firmware takes for an answer: long enough that a second request is noticed.
pub const THINKS: Duration = Duration::from_millis(3);
/// How often an open session is asked whether it has something to say.
pub const TICKS: Duration = Duration::from_millis(50);
/// Ports of the web server and of redirection, plain and with TLS.
const PORTS: [u16; 4] = [16992, 16993, 16994, 16995];

/// A computer that can be reached; until it is dropped.
pub struct OnLan {
    /// Where.
    pub address: Ipv4Addr,
    /// What.
    pub computer: Computer,
    stop: async_channel::Sender<()>,
    thread: Option<thread::JoinHandle<()>>,
}

impl OnLan {
    /// Puts a computer on an address of 127.0.0.0/8 that is free, and answers pings at UDP port
    /// 623, which takes the rights of root.
    ///
    /// # Panics
    /// If there is no such address.
    pub fn serve(computer: Computer) -> Self {
        let free = (0..100).find_map(|_| {
            let mut bytes = [0; 2];
            getrandom::fill(&mut bytes).expect("the system has randomness");
            // Networks of .0 and .255 look special to people.
            let address = Ipv4Addr::new(127, 101, bytes[0], bytes[1].clamp(1, 254));
            bind(address).ok().map(|sockets| (address, sockets))
        });
        let (address, sockets) = free.expect("a free loopback address");
        Self::with(computer, address, sockets)
    }

    /// The same on this very address.
    ///
    /// # Panics
    /// If it is taken.
    pub fn serve_on(computer: Computer, address: Ipv4Addr) -> Self {
        let sockets = bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        Self::with(computer, address, sockets)
    }

    fn with(computer: Computer, address: Ipv4Addr, (tcp, udp): Sockets) -> Self {
        let (stop, stopped) = async_channel::bounded::<()>(1);
        let served = computer.clone();
        let thread = thread::spawn(move || {
            let executor = Rc::new(LocalExecutor::new());
            for (port, listener) in PORTS.into_iter().zip(tcp) {
                let accepting = accept(executor.clone(), served.clone(), port, listener);
                executor.spawn(accepting).detach();
            }
            executor.spawn(answer_pings(served, udp)).detach();
            let stop = async {
                let _ = stopped.recv().await;
            };
            async_io::block_on(executor.run(stop));
        });
        Self { address, computer, stop, thread: Some(thread) }
    }
}

impl Drop for OnLan {
    fn drop(&mut self) {
        self.stop.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Sockets = (Vec<TcpListener>, UdpSocket);

fn bind(address: Ipv4Addr) -> io::Result<Sockets> {
    let of = |port| TcpListener::bind(SocketAddr::new(IpAddr::V4(address), port));
    let tcp = PORTS.into_iter().map(of).collect::<io::Result<Vec<_>>>()?;
    Ok((tcp, UdpSocket::bind((address, 623))?))
}

async fn accept(
    executor: Rc<LocalExecutor<'static>>,
    computer: Computer,
    port: u16,
    listener: TcpListener,
) {
    let listener = Async::new(listener).expect("a socket of the system");
    while let Ok((stream, _)) = listener.accept().await {
        // A port nobody listens on is closed at once; sockets cannot do better from here.
        if let Some(connection) = computer.firmware(|firmware| Connection::open(firmware, port)) {
            executor.spawn(serve(computer.clone(), connection, stream)).detach();
        }
    }
}

/// Moves bytes until one side has enough.
async fn serve(
    computer: Computer,
    mut connection: Connection,
    mut stream: Async<std::net::TcpStream>,
) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let out = connection.take();
        if stream.write_all(&out).await.is_err() || connection.ended() {
            break;
        }
        let pause = if connection.waits() { THINKS } else { TICKS };
        let read = async { Some(stream.read(&mut buffer).await.unwrap_or(0)) };
        let idle = async {
            Timer::after(pause).await;
            None
        };
        match read.or(idle).await {
            Some(0) => break,
            Some(count) => computer.firmware(|f| connection.receive(f, &buffer[..count])),
            None => computer.firmware(|firmware| connection.work(firmware)),
        }
    }
    computer.firmware(|firmware| connection.end(firmware));
    let _ = stream.close().await;
}

async fn answer_pings(computer: Computer, socket: UdpSocket) {
    let socket = Async::new(socket).expect("a socket of the system");
    let mut packet = [0; 64];
    while let Ok((length, from)) = socket.recv_from(&mut packet).await {
        let pong = computer.firmware(|firmware| rmcp::pong(firmware, &packet[..length]));
        if let Some(pong) = pong {
            let _ = socket.send_to(&pong, from).await;
        }
    }
}
