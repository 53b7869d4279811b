//! The status endpoint: `/health` and `/metrics` on loopback, from a thread of its own.
//!
//! It must answer while the executor is stuck, so it sees nothing but [`Metrics`] and `/proc`.
//! tiny_http has a thread per connection and no time limits, which is why this never listens on a
//! public address.

use std::fmt::Write as _;
use std::io::{self, Cursor};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use tiny_http::{Header, Method, Response, Server};

use super::process::Usage;
use crate::hub::{Metrics, Refused};

/// A loop whose heartbeat is older than this is stuck.
const STUCK: Duration = Duration::from_secs(10);
/// Stack of the thread; it formats a few lines.
const STACK: usize = 128 << 10;

/// The running endpoint; dropping it stops it.
pub struct StatusEndpoint {
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
    address: SocketAddr,
}

impl StatusEndpoint {
    /// Listens on `port` of the loopback interface; port 0 takes a free one.
    ///
    /// # Errors
    /// When the port is taken: worth a warning, not the server's end.
    pub fn start(port: u16, metrics: Arc<Metrics>) -> io::Result<Self> {
        let server = Server::http((Ipv4Addr::LOCALHOST, port)).map_err(io::Error::other)?;
        let address = server
            .server_addr()
            .to_ip()
            .ok_or_else(|| io::Error::other("the status endpoint has no address"))?;
        let server = Arc::new(server);
        let serving = server.clone();
        let thread = std::thread::Builder::new().name("status".into()).stack_size(STACK).spawn(
            move || {
                for request in serving.incoming_requests() {
                    let answer = answer(request.method(), request.url(), &metrics);
                    // The client has gone away.
                    let _ = request.respond(answer);
                }
            },
        )?;
        Ok(Self { server, thread: Some(thread), address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for StatusEndpoint {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(method: &Method, url: &str, metrics: &Metrics) -> Response<Cursor<Vec<u8>>> {
    if *method != Method::Get {
        return text(405, "only GET\n".into());
    }
    match url.split('?').next().unwrap_or_default() {
        "/health" => health(metrics.heartbeat_age()),
        "/metrics" => text(200, exposition(metrics, Usage::now())),
        _ => text(404, "not here: /health, /metrics\n".into()),
    }
}

fn health(age: Duration) -> Response<Cursor<Vec<u8>>> {
    if age > STUCK {
        return text(503, format!("stuck: no heartbeat for {} s\n", age.as_secs()));
    }
    text(200, "ok\n".into())
}

fn text(status: u16, body: String) -> Response<Cursor<Vec<u8>>> {
    let header = Header::from_bytes("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    let response = Response::from_string(body).with_status_code(status);
    match header {
        Ok(header) => response.with_header(header),
        Err(()) => response,
    }
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
    fn a_stuck_loop_is_not_healthy() {
        assert_eq!(health(STUCK).status_code().0, 200);
        assert_eq!(health(STUCK + Duration::from_millis(1)).status_code().0, 503);
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
