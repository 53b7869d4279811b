//! A client of WS-Management that has no password: the stock pages.
//!
//! Source: amt-management §15, `p=1`. Of what it says only the heads are changed: a proof of ours is
//! put in for whatever it proves itself with. The firmware asks by a 401 and closes; the client comes
//! again, and then there is an answer. The firmware's own storage is kept from it, as the stock
//! server does it. A head has at most [`HEAD_MAX`] bytes, of bodies nothing is kept.

use std::rc::Rc;

use super::super::digest::{self, Challenge, Credentials, Qop};
use super::super::redirection::handshake::OwnNonce;
use super::super::redirection::{Mail, Mediator, Over, Permit};
use super::Room;
use crate::model::NodeId;

/// Longest head.
const HEAD_MAX: usize = 16 << 10;
/// Most fields in one.
const FIELDS_MAX: usize = 64;
/// What the firmware keeps for others.
const STORAGE: &str = "/amt-storage";

/// Where one direction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Head,
    /// So many bytes of a body are to come.
    Body(u64),
    /// The length of a chunk is to come, as far as it has.
    Length(u64),
    /// What stands behind it on its line.
    LineEnd(u64),
    /// So many bytes of a chunk, its line end included.
    Chunk(u64),
    /// Lines behind the last chunk; how long this one is.
    Trailer(usize),
    /// Until it is closed.
    Endless,
}

/// A head that cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Malformed;

/// One direction of HTTP: heads are shown, the rest passes.
#[derive(Default)]
struct Flow {
    at: At,
    head: Vec<u8>,
}

impl Flow {
    /// Passes `bytes` on to `out`; `rewrite` makes another head of each one.
    fn pass(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        mut rewrite: impl FnMut(&[u8]) -> Result<(Vec<u8>, At), Malformed>,
    ) -> Result<(), Malformed> {
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            match &mut self.at {
                At::Head => {
                    self.head.push(*byte);
                    rest = after;
                    if self.head.ends_with(b"\r\n\r\n") {
                        let (head, at) = rewrite(&std::mem::take(&mut self.head))?;
                        out.extend_from_slice(&head);
                        self.at = if at == At::Body(0) { At::Head } else { at };
                    } else if self.head.len() >= HEAD_MAX {
                        return Err(Malformed);
                    }
                    continue;
                }
                At::Body(left) | At::Chunk(left) => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    let (piece, after) = rest.split_at(length);
                    out.extend_from_slice(piece);
                    *left -= length as u64;
                    rest = after;
                    self.at = match self.at {
                        At::Body(0) => At::Head,
                        At::Chunk(0) => At::Length(0),
                        at => at,
                    };
                    continue;
                }
                At::Endless => {
                    out.extend_from_slice(rest);
                    return Ok(());
                }
                At::Length(length) => {
                    self.at = match byte {
                        b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' => {
                            let digit = char::from(*byte).to_digit(16).unwrap_or_default();
                            let longer = length.checked_mul(16).ok_or(Malformed)?;
                            At::Length(longer.checked_add(digit.into()).ok_or(Malformed)?)
                        }
                        b'\n' => after_length(*length)?,
                        _ => At::LineEnd(*length),
                    };
                }
                At::LineEnd(length) => {
                    if *byte == b'\n' {
                        self.at = after_length(*length)?;
                    }
                }
                At::Trailer(length) => {
                    self.at = match byte {
                        b'\n' if *length == 0 => At::Head,
                        b'\n' => At::Trailer(0),
                        b'\r' => At::Trailer(*length),
                        _ => At::Trailer(*length + 1),
                    };
                }
            }
            out.push(*byte);
            rest = after;
        }
        Ok(())
    }
}

/// What follows the line with the length of a chunk.
fn after_length(length: u64) -> Result<At, Malformed> {
    match length {
        0 => Ok(At::Trailer(0)),
        length => length.checked_add(2).map(At::Chunk).ok_or(Malformed),
    }
}

/// The first line of a head and its fields, names in lower case.
struct Head {
    line: String,
    fields: Vec<(String, String)>,
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed)?;
        let mut lines = text.trim_end().split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let mut fields = Vec::new();
        for field in lines {
            let (name, value) = field.split_once(':').ok_or(Malformed)?;
            let is_name = |b: u8| b.is_ascii_graphic();
            if name.is_empty() || !name.bytes().all(is_name) || fields.len() >= FIELDS_MAX {
                return Err(Malformed);
            }
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Self { line, fields })
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Where its body ends; `or` if it does not say.
    fn body(&self, or: At) -> Result<At, Malformed> {
        let mut lengths = self.fields.iter().filter(|(name, _)| name == "content-length");
        let length = lengths.next().map(|(_, length)| {
            let is_number = length.bytes().all(|b| b.is_ascii_digit());
            length.parse().ok().filter(|_| is_number).ok_or(Malformed)
        });
        match (self.field("transfer-encoding"), length.transpose()?) {
            // What could be read in two ways is not passed on.
            (Some(_), Some(_)) => Err(Malformed),
            _ if lengths.next().is_some() => Err(Malformed),
            (Some(how), None) if how.eq_ignore_ascii_case("chunked") => Ok(At::Length(0)),
            (Some(_), None) => Err(Malformed),
            (None, Some(length)) => Ok(At::Body(length)),
            (None, None) => Ok(or),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.line);
        for (name, value) in &self.fields {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

/// A client whose requests are proven here. See the module.
pub(super) struct Web {
    room: Rc<Room>,
    node: NodeId,
    credentials: Credentials,
    own_nonce: OwnNonce,
    /// Proofs given so far.
    count: u32,
    requests: Flow,
    answers: Flow,
}

impl Web {
    pub(super) fn new(
        room: &Rc<Room>,
        node: NodeId,
        credentials: Credentials,
        own_nonce: OwnNonce,
    ) -> Self {
        Self {
            room: room.clone(),
            node,
            credentials,
            own_nonce,
            count: 0,
            requests: Flow::default(),
            answers: Flow::default(),
        }
    }
}

/// A request with our proof in it.
fn prove(
    head: &[u8],
    challenge: Option<&Challenge>,
    credentials: &Credentials,
    own_nonce: &OwnNonce,
    count: &mut u32,
) -> Result<(Vec<u8>, At), Malformed> {
    let mut head = Head::parse(head)?;
    let mut words = head.line.split(' ');
    let (Some(method), Some(path), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Malformed);
    };
    let path = match path.strip_prefix(STORAGE) {
        Some(rest) => format!("/amt-dummy-storage{rest}"),
        None => path.to_owned(),
    };
    let proof = challenge.map(|Challenge { realm, nonce, .. }| {
        *count += 1;
        let hash = digest::password_hash(credentials, realm);
        let own_nonce = std::str::from_utf8(own_nonce).unwrap_or_default();
        let request = digest::Request { method, uri: &path, body: &[] };
        let number = count.to_string();
        let response = digest::response(&hash, request, (nonce, &number, own_nonce, Qop::Auth));
        format!(
            "Digest username=\"{}\",realm=\"{realm}\",nonce=\"{nonce}\",uri=\"{path}\",qop=auth,\
             nc={number},cnonce=\"{own_nonce}\",response=\"{response}\"",
            credentials.user
        )
    });
    head.line = format!("{method} {path} {version}");
    let place = head.fields.iter().position(|(name, _)| name == "authorization");
    head.fields.retain(|(name, _)| name != "authorization");
    if let Some(proof) = proof {
        let place = place.unwrap_or(head.fields.len()).min(head.fields.len());
        head.fields.insert(place, ("authorization".to_owned(), proof));
    }
    // A request without length has no body.
    Ok((head.to_bytes(), head.body(At::Body(0))?))
}

impl Mediator for Web {
    fn user_says(&mut self, bytes: &[u8], mail: &mut Mail) {
        let challenge = self.room.challenges.borrow().of(&self.node);
        let (credentials, own_nonce) = (&self.credentials, &self.own_nonce);
        let count = &mut self.count;
        let passed = self.requests.pass(bytes, &mut mail.to_firmware, |head| {
            prove(head, challenge.as_ref(), credentials, own_nonce, count)
        });
        if let Err(Malformed) = passed {
            mail.end(Over::Misuse);
        }
    }

    fn firmware_says(&mut self, bytes: &[u8], mail: &mut Mail) {
        let (room, node) = (&self.room, &self.node);
        let passed = self.answers.pass(bytes, &mut mail.to_user, |head| {
            let head = Head::parse(head)?;
            if let Some(challenge) = head.field("www-authenticate").and_then(Challenge::parse) {
                room.challenges.borrow_mut().keep(node, challenge);
            }
            Ok((head.to_bytes(), head.body(At::Endless)?))
        });
        if let Err(Malformed) = passed {
            mail.end(Over::Garbled);
        }
    }

    fn set_permit(&mut self, permit: Permit) -> bool {
        permit.allows_all()
    }
}

/// A client that speaks to the firmware as it likes, with a password of its own (`p=3`).
pub(super) struct Direct;

impl Mediator for Direct {
    fn user_says(&mut self, bytes: &[u8], mail: &mut Mail) {
        mail.to_firmware.extend_from_slice(bytes);
    }

    fn firmware_says(&mut self, bytes: &[u8], mail: &mut Mail) {
        mail.to_user.extend_from_slice(bytes);
    }

    fn set_permit(&mut self, permit: Permit) -> bool {
        permit.allows_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn credentials() -> Credentials {
        Credentials { user: "admin".into(), password: "P@ssw0rd".into() }
    }

    fn proven(request: &str, challenge: Option<&Challenge>) -> Result<String, Malformed> {
        let mut out = Vec::new();
        let (mut flow, mut count) = (Flow::default(), 0);
        let prove = |head: &[u8]| prove(head, challenge, &credentials(), b"50f4f1f27d", &mut count);
        flow.pass(request.as_bytes(), &mut out, prove)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn challenge() -> Challenge {
        let header = "Digest realm=\"Digest:A4070000000000000000000000000001\", \
                      nonce=\"/OvbCA3On8315Ca3Pvi47fmILZBDKO1c\",stale=\"false\",qop=\"auth\"";
        Challenge::parse(header).unwrap()
    }

    #[test]
    fn the_firmware_is_told_what_the_stock_server_tells_it() {
        let file = include_str!("../../../tests/vectors/redir-interceptor.json");
        let file: Value = serde_json::from_str(file).unwrap();
        let request = "POST /wsman HTTP/1.1\r\nAuthorization: Digest username=\"*\"\r\n\
                       Host: h\r\nContent-Length: 4\r\n\r\n<x/>";
        let expected = file["result"]["toAmt"][0].as_str().unwrap();
        assert_eq!(proven(request, Some(&challenge())).unwrap(), expected);
        let answer = file["result"]["fromAmt"][0].as_str().unwrap();
        let mut out = Vec::new();
        let head = |head: &[u8]| {
            let head = Head::parse(head)?;
            Ok((head.to_bytes(), head.body(At::Endless)?))
        };
        Flow::default().pass(answer.as_bytes(), &mut out, head).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), answer);
    }

    #[test]
    fn what_a_client_proves_itself_with_goes_nowhere() {
        let request = "GET /index.htm HTTP/1.1\r\nHost: h\r\nAUTHORIZATION: Basic abc\r\n\r\n";
        let bare = "GET /index.htm HTTP/1.1\r\nhost: h\r\n\r\n";
        assert_eq!(proven(request, None).unwrap(), bare);
        assert!(!proven(request, Some(&challenge())).unwrap().contains("Basic"));
    }

    #[test]
    fn each_request_of_a_connection_is_proven_however_its_body_ends() {
        for body in [
            "Content-Length: 4\r\n\r\n<x/>",
            "Transfer-Encoding: chunked\r\n\r\n0004;a=b\r\n<x/>\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n1\r\n<\r\n3\r\nx/>\r\n0\r\nT: 1\r\n\r\n",
            "Content-Length: 0\r\n\r\n",
            "X: y\r\n\r\n",
        ] {
            let one = format!("POST /wsman HTTP/1.1\r\n{body}");
            let sent = proven(&one.repeat(3), Some(&challenge())).unwrap();
            assert_eq!(sent.matches("authorization: Digest").count(), 3, "{body}");
            assert!(sent.contains(",nc=3,"), "{body}");
        }
    }

    #[test]
    fn the_storage_of_the_firmware_is_not_reached() {
        let sent = proven("GET /amt-storage/x HTTP/1.1\r\n\r\n", None).unwrap();
        assert!(sent.starts_with("GET /amt-dummy-storage/x HTTP/1.1\r\n"));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for request in [
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
            "POST /\r\n\r\n",
            "POST / HTTP/1.1\r\nNo colon\r\n\r\n",
            "POST / HTTP/1.1\r\n Folded: x\r\n\r\n",
        ] {
            assert_eq!(proven(request, None), Err(Malformed), "{request}");
        }
        assert_eq!(proven(&"x".repeat(HEAD_MAX), None), Err(Malformed));
    }

    proptest! {
        #[test]
        fn nothing_a_client_says_breaks_it(text in "(POST /w HTTP/1.1\r\n)?[ -~\r\n]{0,200}") {
            let _ = proven(&text, Some(&challenge()));
        }

        #[test]
        fn how_the_bytes_are_cut_makes_no_difference(size in 1usize..30) {
            let one = "POST /w HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n<x/>\r\n0\r\n\r\n";
            let whole = proven(&one.repeat(2), Some(&challenge())).unwrap();
            let (mut flow, mut count, mut out) = (Flow::default(), 0, Vec::new());
            for piece in one.repeat(2).as_bytes().chunks(size) {
                flow.pass(piece, &mut out, |head| {
                    prove(head, Some(&challenge()), &credentials(), b"50f4f1f27d", &mut count)
                }).unwrap();
            }
            prop_assert_eq!(whole.into_bytes(), out);
        }
    }
}
