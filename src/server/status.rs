//! The status endpoint: `/health` and `/metrics` on loopback, from a thread of its own.
//!
//! It must answer while the executor is stuck, so it has an executor of its own and sees nothing but
//! [`Metrics`] and `/proc`.

use std::fmt::Write as _;
use std::future::ready;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use async_channel::Sender;
use async_executor::LocalExecutor;
use async_io::{Async, block_on};
use async_net::TcpListener;
use bytes::Bytes;
use futures_lite::FutureExt as _;
use futures_lite::future::or;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::hub::{Metrics, Refused};

use super::answer::{self, Body};
use super::http;
use super::process::Usage;
use super::slots::Slots;
use super::transport::Transport;

/// A loop whose heartbeat is older than this is stuck.
const STUCK: Duration = Duration::from_secs(10);
/// Stack of the thread; it formats a few lines.
const STACK: usize = 256 << 10;
/// Connections at a time; a further one ends the oldest.
const CONNECTIONS: usize = 16;
/// Time for a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// The running endpoint; dropping it stops it.
pub struct StatusEndpoint {
    /// Closed, it ends the thread.
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
    address: SocketAddr,
}

impl StatusEndpoint {
    /// Listens on `port` of the loopback interface; port 0 takes a free one.
    ///
    /// # Errors
    /// When the port is taken: worth a warning, not the server's end.
    pub fn start(port: u16, metrics: Arc<Metrics>) -> io::Result<Self> {
        let listener = Async::<std::net::TcpListener>::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.get_ref().local_addr()?;
        let (stop, stopped) = async_channel::bounded::<()>(1);
        let thread = std::thread::Builder::new().name("status".into()).stack_size(STACK).spawn(
            move || {
                let executor = Rc::<LocalExecutor<'_>>::default();
                let serving = serve(executor.clone(), listener.into(), metrics);
                let stopped = async {
                    // Nothing is sent.
                    let _ = stopped.recv().await;
                };
                block_on(executor.run(or(serving, stopped)));
            },
        )?;
        Ok(Self { stop, thread: Some(thread), address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for StatusEndpoint {
    fn drop(&mut self) {
        self.stop.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers requests for ever.
async fn serve(executor: Rc<LocalExecutor<'static>>, listener: TcpListener, metrics: Arc<Metrics>) {
    let slots = Slots::new(executor, CONNECTIONS);
    loop {
        let Some((stream, remote)) = http::accept(&listener).await else { continue };
        let metrics = metrics.clone();
        let answering = move |request: Request<Incoming>| {
            ready(answer(request.method(), request.uri().path(), &metrics)).boxed_local()
        };
        slots.spawn(remote.ip(), async move {
            let transport = Box::new(Transport::Plain(stream));
            // The client has gone away.
            let _ = http::speak(transport, PATIENCE, false, Box::new(answering)).await;
        });
    }
}

fn answer(method: &Method, path: &str, metrics: &Metrics) -> Response<Body> {
    if method != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
    }
    match path {
        "/health" => health(metrics.heartbeat_age()),
        "/metrics" => text(StatusCode::OK, exposition(metrics, Usage::now())),
        _ => text(StatusCode::NOT_FOUND, "not here: /health, /metrics\n".into()),
    }
}

fn health(age: Duration) -> Response<Body> {
    if age > STUCK {
        let stuck = format!("stuck: no heartbeat for {} s\n", age.as_secs());
        return text(StatusCode::SERVICE_UNAVAILABLE, stuck);
    }
    text(StatusCode::OK, "ok\n".into())
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = answer::text(status, "");
    *response.body_mut() = Box::pin(Full::new(Bytes::from(body)).map_err(|e| match e {}));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The Prometheus text format, version 0.0.4.
fn exposition(metrics: &Metrics, usage: Usage) -> String {
    let mut out = String::with_capacity(4096);
    let mut sample = |name: &str, kind: &str, help: &str, value: String| {
        // Writing into a String cannot fail.
        let _ = writeln!(
            out,
            "# HELP meshboard_{name} {help}\n# TYPE meshboard_{name} {kind}\nmeshboard_{name} {value}"
        );
    };
    let seconds = |duration: Duration| format!("{:.3}", duration.as_secs_f64());
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed).to_string();
    sample("agents", "gauge", "Agents connected now.", count(&metrics.agents));
    sample("sessions", "gauge", "Control sessions open now.", count(&metrics.sessions));
    sample("tunnels", "gauge", "Sessions through the relay now.", count(&metrics.tunnels));
    sample("amt_tunnels", "gauge", "Tunnels of Intel AMT open now.", count(&metrics.amt_tunnels));
    sample("devices", "gauge", "Devices known.", count(&metrics.devices));
    sample(
        "agent_connects_total",
        "counter",
        "Agents let in since the start.",
        count(&metrics.agent_connects),
    );
    sample(
        "bytes_written_total",
        "counter",
        "Bytes written to the data folder since the start.",
        count(&metrics.bytes_written),
    );
    sample(
        "store_degraded",
        "gauge",
        "1 while the disk refuses writes.",
        count(&metrics.store_degraded),
    );
    sample(
        "unknown_actions_total",
        "counter",
        "Control actions nobody knows.",
        count(&metrics.unknown_actions),
    );
    sample(
        "heartbeat_age_seconds",
        "gauge",
        "Time since the loop last turned.",
        seconds(metrics.heartbeat_age()),
    );
    sample("uptime_seconds", "gauge", "Time since the start.", seconds(metrics.uptime()));
    sample("process_cpu_seconds_total", "counter", "Processor time.", seconds(usage.cpu));
    sample(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory.",
        usage.resident.to_string(),
    );
    let _ = writeln!(
        out,
        "# HELP meshboard_refused_total Connections and logins refused, by cause.\n\
         # TYPE meshboard_refused_total counter"
    );
    for (cause, name) in Refused::ALL {
        let _ =
            writeln!(out, "meshboard_refused_total{{cause=\"{name}\"}} {}", metrics.refused(cause));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{request} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn it_answers_health_and_metrics_and_nothing_else() {
        let metrics = Arc::new(Metrics::default());
        metrics.agents.store(7, Relaxed);
        metrics.refuse(Refused::Tls);
        let endpoint = StatusEndpoint::start(0, metrics).unwrap();
        let address = endpoint.address();
        assert!(address.ip().is_loopback());
        for (request, status, content) in [
            ("GET /health", "200", "ok"),
            ("GET /health?x=1", "200", "ok"),
            ("GET /metrics", "200", "meshboard_agents 7\n"),
            ("GET /metrics", "200", "meshboard_refused_total{cause=\"tls\"} 1\n"),
            ("GET /metrics", "200", "meshboard_refused_total{cause=\"banned\"} 0\n"),
            ("GET /", "404", "/metrics"),
            ("POST /health", "405", "GET"),
        ] {
            let answer = ask(address, request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
            assert!(answer.contains(content), "{request}: {answer}");
        }
        drop(endpoint);
        // The listener notices at one of the next connections.
        let stopped = (0..1000).any(|_| TcpStream::connect(address).is_err());
        assert!(stopped, "dropping it stops it");
    }

    #[test]
    fn a_client_that_says_nothing_keeps_no_other_waiting() {
        let endpoint = StatusEndpoint::start(0, Arc::default()).unwrap();
        let _silent = TcpStream::connect(endpoint.address()).unwrap();
        assert!(ask(endpoint.address(), "GET /health").contains("ok"));
    }

    #[test]
    fn a_stuck_loop_is_not_healthy() {
        assert_eq!(health(STUCK).status(), 200);
        assert_eq!(health(STUCK + Duration::from_millis(1)).status(), 503);
    }

    #[test]
    fn a_taken_port_is_an_error_and_not_a_panic() {
        let first = StatusEndpoint::start(0, Arc::default()).unwrap();
        assert!(StatusEndpoint::start(first.address().port(), Arc::default()).is_err());
    }

    #[test]
    fn every_metric_has_help_and_type_and_one_value() {
        let text = exposition(&Metrics::default(), Usage::default());
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let family = name.split('{').next().unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            for comment in ["HELP", "TYPE"] {
                assert_eq!(text.matches(&format!("# {comment} {family} ")).count(), 1, "{line}");
            }
        }
    }
}
