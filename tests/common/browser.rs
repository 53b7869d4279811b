//! A browser without a window: HTTPS requests with a cookie jar, and the headers of our own page or
//! of somebody else's.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;

use super::PATIENCE;
use super::simulated::tls;

/// One browser.
pub struct Browser {
    port: u16,
    /// Where it is.
    pub from: Ipv4Addr,
    /// Name, value and path of its cookies.
    pub jar: Vec<(String, String, String)>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// The first header of that name; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// All `Set-Cookie` headers.
    pub fn cookies(&self) -> Vec<&str> {
        let is_cookie = |(key, _): &&(String, String)| key.eq_ignore_ascii_case("set-cookie");
        self.headers.iter().filter(is_cookie).map(|(_, value)| value.as_str()).collect()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Status and `result` of a JSON body.
    pub fn result(&self) -> (u16, String) {
        (self.status, self.json()["result"].as_str().unwrap_or_default().to_owned())
    }
}

impl Browser {
    /// A fresh one.
    pub fn new(port: u16) -> Self {
        Self { port, from: Ipv4Addr::LOCALHOST, jar: Vec::new() }
    }

    /// Where its server listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The origin of our pages.
    pub fn origin(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Follows a link, typed in.
    pub fn get(&mut self, target: &str) -> Answer {
        self.request("GET", target, "", "")
    }

    /// A script of our page sends JSON.
    pub fn post(&mut self, target: &str, body: &Value) -> Answer {
        let origin = self.origin();
        let headers = format!("Content-Type: application/json\r\nOrigin: {origin}\r\n");
        self.request("POST", target, &headers, &body.to_string())
    }

    /// A form of our page is sent.
    pub fn submit(&mut self, target: &str, fields: &[(&str, &str)]) -> Answer {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let origin = self.origin();
        let headers = format!(
            "Content-Type: application/x-www-form-urlencoded\r\nOrigin: {origin}\r\n\
             Sec-Fetch-Site: same-origin\r\n"
        );
        self.request("POST", target, &headers, &form)
    }

    /// Any request, with the cookies that go with its path.
    ///
    /// # Panics
    /// If the server does not answer in HTTP.
    pub fn request(&mut self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        let (port, cookies) = (self.port, self.cookie_header(target));
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: Test/1\r\n\
             {cookies}{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        let client = ClientConnection::new(tls::client_config(), name).expect("valid parameters");
        let mut stream = StreamOwned::new(client, self.connect());
        // A server that has had enough may close while we write.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = parse(&String::from_utf8_lossy(&answer));
        let answer = answer.unwrap_or_else(|| panic!("{method} {target}: no HTTP answer"));
        for cookie in answer.cookies() {
            self.keep(cookie, target);
        }
        answer
    }

    fn connect(&self) -> TcpStream {
        let made = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&made, &SocketAddrV4::new(self.from, 0)).expect("a loopback address");
        let server = SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port);
        connect(&made, &server).expect("the server listens");
        let stream = TcpStream::from(made);
        stream.set_read_timeout(Some(PATIENCE)).expect("a valid time");
        stream
    }

    /// `Cookie: …`, or nothing.
    pub fn cookie_header(&self, target: &str) -> String {
        let path = target.split('?').next().unwrap_or_default();
        let fitting = self.jar.iter().filter(|(_, _, below)| path.starts_with(below.as_str()));
        let pairs: Vec<_> = fitting.map(|(name, value, _)| format!("{name}={value}")).collect();
        match pairs.is_empty() {
            true => String::new(),
            false => format!("Cookie: {}\r\n", pairs.join("; ")),
        }
    }

    fn keep(&mut self, cookie: &str, target: &str) {
        let mut parts = cookie.split(';').map(str::trim);
        let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).expect("a cookie");
        let attributes: Vec<_> = parts.collect();
        let path = attributes
            .iter()
            .find_map(|one| one.to_lowercase().strip_prefix("path=").map(str::to_owned));
        let path = path.unwrap_or_else(|| target.to_owned());
        self.jar.retain(|(known, _, of)| (known.as_str(), of) != (name, &path));
        if !attributes.iter().any(|one| one.eq_ignore_ascii_case("max-age=0")) {
            self.jar.push((name.to_owned(), value.to_owned(), path));
        }
    }
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
    Some(Answer { status, headers, body: body.to_owned() })
}
