//! Asking the web server of firmware who it is, without logging in: for what answers no pings.

use std::io;
use std::time::Duration;

use async_io::Timer;
use async_net::TcpStream;
use futures_lite::future::or;
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::amt::reach::Service;
use crate::amt::tls::{self, By};
use crate::hub::ByteStream;

/// Time for connection, question and answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest head of an answer in bytes.
const HEAD_MAX: usize = 4096;
/// What firmware calls itself in the header `Server`, before its version.
const NAME: &str = "Intel(R) Active Management Technology ";

/// Asks; the version if firmware answers with one. Nothing secret is said, so whatever certificate
/// it shows is good enough.
///
/// # Errors
/// That nobody answers, or somebody else.
pub async fn version(host: &str, with_tls: bool) -> io::Result<String> {
    let (plain, secure) = Service::Web.ports();
    let ask = async {
        if !with_tls {
            return question(TcpStream::connect((host, plain)).await?, host).await;
        }
        let mut failed = io::Error::from(io::ErrorKind::Unsupported);
        for by in By::ALL {
            let stream: Box<dyn ByteStream> = Box::new(TcpStream::connect((host, secure)).await?);
            match tls::secure(stream, *by).await {
                Ok(secured) => return question(secured.stream, host).await,
                Err(error) => failed = error,
            }
        }
        Err(failed)
    };
    let late = async {
        Timer::after(PATIENCE).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    or(ask, late).await
}

async fn question(mut stream: impl ByteStream, host: &str) -> io::Result<String> {
    let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut head = Vec::new();
    let mut piece = [0; 512];
    while head.len() < HEAD_MAX {
        let count = stream.read(&mut piece).await?;
        head.extend_from_slice(&piece[..count]);
        if let Some(version) = version_in(&head) {
            return Ok(version);
        }
        if count == 0 || head.windows(4).any(|four| four == b"\r\n\r\n") {
            break;
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "this is not Intel AMT"))
}

/// The version in the head of an answer: its first two or three numbers.
fn version_in(head: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    // A line is whole only when its end has come.
    let (lines, _) = head.rsplit_once("\r\n")?;
    let is_server = |name: &str| name.eq_ignore_ascii_case("server");
    let mut values = lines.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = values.find(|(name, _)| is_server(name))?;
    let numbers: Vec<_> = value.trim().strip_prefix(NAME)?.split('.').collect();
    let is_number = |n: &&str| (1..=5).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit());
    let is_version = (2..=4).contains(&numbers.len()) && numbers.iter().all(is_number);
    is_version.then(|| numbers[..numbers.len().min(3)].join("."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn versions_are_read_as_in_the_vectors_or_better() {
        let vectors = include_str!("../../../tests/vectors/activation-rmcp.json");
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        for vector in vectors["http_version_headers"].as_array().unwrap() {
            let headers = vector["headers"].as_str().unwrap();
            let version = version_in(headers.as_bytes());
            match vector["version"].as_str() {
                Some(expected) => assert_eq!(version.as_deref(), Some(expected), "{headers}"),
                // Names of headers have no case, and two numbers are a version.
                None if headers.contains("server:") => assert_eq!(version.unwrap(), "7.1.91"),
                None => assert_eq!(version.unwrap(), "16.1", "{headers}"),
            }
        }
        for other in [
            "HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n",
            "HTTP/1.1 200 OK\r\nServer: Intel(R) Active Management Technology 16\r\n\r\n",
            "HTTP/1.1 200 OK\r\nServer: Intel(R) Active Management Technology 1.2.x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nServer: Intel(R) Active Management Technology 16.1",
        ] {
            assert_eq!(version_in(other.as_bytes()), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_called_a_version_is_one(head: Vec<u8>, tail in "[0-9.]{0,30}") {
            let line = format!("\r\nServer: {NAME}{tail}\r\n").into_bytes();
            if let Some(version) = version_in(&[head, line].concat()) {
                prop_assert!(version.len() <= 17 && version.split('.').count() <= 3);
            }
        }
    }
}
