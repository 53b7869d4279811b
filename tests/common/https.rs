//! A request over HTTPS, as `wget --no-check-certificate` does it.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::PATIENCE;
use super::simulated::tls;

/// Status and body of `GET path` on the loopback server.
///
/// # Panics
/// If the server does not answer in HTTP.
pub fn get(port: u16, path: &str) -> (u16, Vec<u8>) {
    let (status, _, body) = exchange(port, &format!("GET {path}"), "");
    (status, body)
}

/// Status, head and body of `POST path` with the fields of a form.
///
/// # Panics
/// If the server does not answer in HTTP.
pub fn post(port: u16, path: &str, form: &str) -> (u16, String, Vec<u8>) {
    exchange(port, &format!("POST {path}"), form)
}

/// HTTP/1.0, so that the body is neither chunked nor followed by another answer.
fn exchange(port: u16, what: &str, form: &str) -> (u16, String, Vec<u8>) {
    let socket = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a valid time");
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    let client = ClientConnection::new(tls::client_config(), name).expect("valid parameters");
    let mut stream = StreamOwned::new(client, socket);
    let length = match form.len() {
        0 => String::new(),
        n => format!("Content-Length: {n}\r\nContent-Type: application/x-www-form-urlencoded\r\n"),
    };
    let request = format!("{what} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n{length}\r\n{form}");
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut answer = Vec::new();
    // The server may close without close_notify: the length of the body is checked below.
    let end = stream.read_to_end(&mut answer);
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let split = split.unwrap_or_else(|| panic!("{what}: no HTTP answer ({end:?})"));
    let (head, body) = (String::from_utf8_lossy(&answer[..split]), &answer[split + 4..]);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())?.ok()
    });
    if let Some(length) = length {
        assert_eq!(body.len(), length, "{what}: body cut short ({end:?})");
    }
    (status.unwrap_or_else(|| panic!("{what}: {head}")), head.into_owned(), body.to_vec())
}
