//! The web server of firmware on one connection, without its socket: one request at a time.

use super::digest::{Asked, Refusal};
use super::firmware::{Firmware, Seen};
use super::wsman;

/// Sizes of the first chunk of an answer and of the following ones, as firmware has them.
const CHUNKS: (usize, usize) = (0x220, 0x2fa);
/// Longest head and body it reads.
const REQUEST_MAX: usize = 64 * 1024;

/// One connection.
#[derive(Debug)]
pub struct Web {
    id: u64,
    input: Vec<u8>,
    pending: Option<Request>,
    out: Vec<u8>,
    /// Who speaks was proven by TLS.
    pub is_proven: bool,
    ended: bool,
}

#[derive(Debug)]
struct Request {
    method: String,
    path: String,
    authorization: Option<String>,
    body: Vec<u8>,
}

impl Web {
    /// A connection with a number nobody else has.
    pub fn new(id: u64) -> Self {
        Self {
            id,
            input: Vec::new(),
            pending: None,
            out: Vec::new(),
            is_proven: false,
            ended: false,
        }
    }

    /// Takes bytes. Only `POST` counts as load: whoever speaks while another request is not
    /// answered is cut off.
    pub fn receive(&mut self, firmware: &mut Firmware, bytes: &[u8]) {
        if self.ended {
            return;
        }
        let is_load = self.input.first().or(bytes.first()) == Some(&b'P');
        if self.pending.is_some() || is_load && !firmware.take_turn(self.id) {
            firmware.saw(Seen::Parallel);
            self.end(firmware);
            return;
        }
        self.input.extend_from_slice(bytes);
        match parse(&self.input) {
            Ok(Some((request, used))) => {
                self.input.drain(..used);
                self.pending = Some(request);
                if !self.input.is_empty() {
                    firmware.saw(Seen::Parallel);
                    self.end(firmware);
                }
            }
            Ok(None) if self.input.len() > REQUEST_MAX => self.end(firmware),
            Ok(None) => {}
            Err(()) => {
                self.out.extend(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
                self.end(firmware);
            }
        }
    }

    /// Whether a request waits for [`Self::work`].
    pub fn waits(&self) -> bool {
        self.pending.is_some()
    }

    /// Answers the request that waits.
    pub fn work(&mut self, firmware: &mut Firmware) {
        let Some(request) = self.pending.take() else { return };
        let (answer, goes_on) = respond(firmware, &request, self.is_proven);
        self.out.extend(answer);
        firmware.end_turn(self.id);
        self.ended |= !goes_on;
    }

    /// What is to be sent.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Whether firmware closes it after what was taken.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The client has gone, or has to go.
    pub fn end(&mut self, firmware: &mut Firmware) {
        firmware.end_turn(self.id);
        self.pending = None;
        self.ended = true;
    }
}

/// The first request in `input` and its length; an error if it is no HTTP.
fn parse(input: &[u8]) -> Result<Option<(Request, usize)>, ()> {
    let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&input[..end]).map_err(|_| ())?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (first.next().ok_or(())?, first.next().ok_or(())?);
    if first.next() != Some("HTTP/1.1") {
        return Err(());
    }
    let (mut length, mut authorization, mut host) = (0, None, false);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(())?;
        match &*name.to_ascii_lowercase() {
            "content-length" => length = value.trim().parse().map_err(|_| ())?,
            "authorization" => authorization = Some(value.trim().to_owned()),
            "host" => host = true,
            "transfer-encoding" => return Err(()),
            _ => {}
        }
    }
    if !host {
        return Err(());
    }
    let body = &input[end + 4..];
    if length > REQUEST_MAX || body.len() < length {
        return if length > REQUEST_MAX { Err(()) } else { Ok(None) };
    }
    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        authorization,
        body: body[..length].to_vec(),
    };
    Ok(Some((request, end + 4 + length)))
}

/// The answer, and whether the connection stays.
fn respond(firmware: &mut Firmware, request: &Request, is_proven: bool) -> (Vec<u8>, bool) {
    let server = format!("Server: Intel(R) Active Management Technology {}", firmware.version);
    match (&*request.method, &*request.path) {
        ("GET", "/") => {
            firmware.saw(Seen::Probe);
            let head = "HTTP/1.1 303 See Other\r\nLocation: /logon.htm\r\nContent-Length: 0\r\n";
            (format!("{head}{server}\r\n\r\n").into_bytes(), true)
        }
        ("POST", "/wsman") => match authorize(firmware, request, is_proven) {
            Ok(user) => {
                let (status, body) = wsman::answer(firmware, &user, &request.body);
                let status = if status == 200 { "200 OK" } else { "400 Bad Request" };
                let head = format!(
                    "HTTP/1.1 {status}\r\nDate: Mon, 10 Jan 2022 20:37:48 GMT\r\n{server}\r\n\
                     X-Frame-Options: DENY\r\nContent-Type: application/soap+xml; charset=UTF-8\r\n\
                     Transfer-Encoding: chunked\r\n\r\n"
                );
                ([head.into_bytes(), chunked(body.as_bytes())].concat(), true)
            }
            Err(refusal) => {
                let stale = refusal == Refusal::Stale;
                if request.authorization.is_some() && !stale {
                    firmware.saw(Seen::WrongPassword);
                }
                let (nonce, realm) = (firmware.nonces.issue(), &firmware.realm);
                let body =
                    format!("{:<693}", "<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">");
                let answer = format!(
                    "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"{realm}\", \
                     nonce=\"{nonce}\",stale=\"{stale}\",qop=\"{}\"\r\nContent-Type: text/html\r\n\
                     {server}\r\nContent-Length: 693\r\nConnection: close\r\n\r\n{body}",
                    firmware.qop
                );
                (answer.into_bytes(), false)
            }
        },
        _ => {
            let head = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n";
            (format!("{head}{server}\r\n\r\n").into_bytes(), true)
        }
    }
}

fn authorize(
    firmware: &mut Firmware,
    request: &Request,
    is_proven: bool,
) -> Result<String, Refusal> {
    // Only while it is set up; and nobody proves himself twice.
    if is_proven && firmware.activation.expects.is_some() && request.authorization.is_none() {
        return Ok("admin".into());
    }
    let header = request.authorization.as_deref().ok_or(Refusal::Unproven)?;
    let asked = Asked { method: &request.method, uri: &request.path, body: &request.body };
    let (realm, qop) = (firmware.realm.clone(), firmware.qop.clone());
    let users = firmware.password_hashes();
    let ha1 = |user: &str| users.iter().find(|(name, _)| name == user).map(|(_, h)| h.clone());
    firmware.nonces.judge(header, asked, (&realm, &qop), ha1)
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let (first, rest) = body.split_at(CHUNKS.0.min(body.len()));
    let mut out = Vec::new();
    for chunk in [first].into_iter().chain(rest.chunks(CHUNKS.1)).filter(|c| !c.is_empty()) {
        out.extend(format!("{:04X}\r\n", chunk.len()).bytes());
        out.extend_from_slice(chunk);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
    out
}
