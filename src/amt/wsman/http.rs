//! HTTP/1.1 as the firmware's web server speaks it, from the client's side.
//!
//! Answers are read in whatever pieces they come: chunks whose sizes have leading zeros and whose
//! borders fall anywhere, a length, or all until the end of the connection. A head has at most
//! [`HEAD_MAX`] bytes, a body [`BODY_MAX`]; nothing is allocated for what is only announced.

use super::super::digest::Challenge;

/// Longest head in bytes; firmware sends some 300.
pub const HEAD_MAX: usize = 8 * 1024;
/// Longest body in bytes: a list is limited to 99,999 characters by the request.
pub const BODY_MAX: usize = 512 * 1024;
const HEADERS_MAX: usize = 32;
/// Longest line with the size of a chunk.
const SIZE_MAX: usize = 32;

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// 200, 401, …
    pub status: u16,
    /// `Server`: product and version.
    pub server: Option<String>,
    /// What is asked of the client.
    pub challenge: Option<Challenge>,
    /// Whether the connection ends with this answer.
    pub close: bool,
    /// The body.
    pub body: Vec<u8>,
}

/// What is no HTTP, or too much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHttp(pub &'static str);

/// Where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// After that many bytes.
    Length(usize),
    /// Before the size of a chunk.
    Size,
    /// In a chunk, with that many bytes of it to come.
    Chunk(usize),
    /// Before the end of line behind a chunk.
    ChunkEnd,
    /// In the lines behind the last chunk.
    Trailer,
    /// With the connection.
    Rest,
}

/// Reads one answer after the other.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    response: Option<(Response, Body)>,
}

impl Decoder {
    /// Takes bytes of the connection. Returns an answer when it is complete.
    ///
    /// # Errors
    /// What is wrong; the connection is of no use any more.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<Response>, NoHttp> {
        self.buffer.extend_from_slice(bytes);
        if self.response.is_none() {
            self.response = self.head()?;
        }
        loop {
            let Some((response, body)) = &mut self.response else { return Ok(None) };
            match step(&mut self.buffer, response, *body)? {
                Step::Next(next) => *body = next,
                Step::More => return Ok(None),
                Step::Done => return Ok(self.response.take().map(|(response, _)| response)),
            }
        }
    }

    /// The connection has ended. Returns the answer that ended with it.
    pub fn end(&mut self) -> Option<Response> {
        let (response, body) = self.response.take()?;
        (body == Body::Rest).then_some(response)
    }

    /// Whether a part of an answer has come.
    pub fn has_begun(&self) -> bool {
        self.response.is_some() || !self.buffer.is_empty()
    }

    fn head(&mut self) -> Result<Option<(Response, Body)>, NoHttp> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let length = match head.parse(&self.buffer) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if self.buffer.len() > HEAD_MAX => {
                return Err(NoHttp("its head is too long"));
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(NoHttp("it has no HTTP head")),
        };
        let status = head.code.unwrap_or_default();
        let mut response =
            Response { status, close: head.version == Some(0), ..Response::default() };
        let mut body = Body::Rest;
        for header in &*head.headers {
            let Ok(value) = std::str::from_utf8(header.value) else { continue };
            match header.name.to_ascii_lowercase().as_str() {
                "content-length" if body == Body::Rest => {
                    let length = value.trim().parse::<u64>();
                    let length = length.map_err(|_| NoHttp("its length is none"))?;
                    body = Body::Length(usize::try_from(length).unwrap_or(usize::MAX));
                }
                "transfer-encoding" if value.to_ascii_lowercase().contains("chunked") => {
                    body = Body::Size;
                }
                "connection" => response.close |= value.eq_ignore_ascii_case("close"),
                "server" => response.server = Some(crate::model::text::clamp(value, 128)),
                "www-authenticate" if response.challenge.is_none() => {
                    response.challenge = Challenge::parse(value);
                }
                _ => {}
            }
        }
        if matches!(status, 100..=199 | 204 | 304) {
            body = Body::Length(0);
        }
        response.close |= body == Body::Rest;
        self.buffer.drain(..length);
        Ok(Some((response, body)))
    }
}

enum Step {
    Next(Body),
    More,
    Done,
}

fn step(buffer: &mut Vec<u8>, response: &mut Response, body: Body) -> Result<Step, NoHttp> {
    match body {
        Body::Length(left) | Body::Chunk(left) => {
            let taken = left.min(buffer.len());
            if response.body.len() + taken > BODY_MAX {
                return Err(NoHttp("its body is too long"));
            }
            response.body.extend(buffer.drain(..taken));
            let left = left - taken;
            Ok(match body {
                Body::Length(_) if left == 0 => Step::Done,
                Body::Chunk(_) if left == 0 => Step::Next(Body::ChunkEnd),
                _ if taken == 0 => Step::More,
                Body::Length(_) => Step::Next(Body::Length(left)),
                _ => Step::Next(Body::Chunk(left)),
            })
        }
        Body::Size => match httparse::parse_chunk_size(buffer) {
            Ok(httparse::Status::Complete((used, size))) => {
                buffer.drain(..used);
                let size = usize::try_from(size).map_err(|_| NoHttp("a chunk is too long"))?;
                Ok(Step::Next(if size == 0 { Body::Trailer } else { Body::Chunk(size) }))
            }
            Ok(httparse::Status::Partial) if buffer.len() <= SIZE_MAX => Ok(Step::More),
            _ => Err(NoHttp("a chunk has no size")),
        },
        Body::ChunkEnd => match buffer.get(..2) {
            Some(b"\r\n") => {
                buffer.drain(..2);
                Ok(Step::Next(Body::Size))
            }
            Some(_) => Err(NoHttp("a chunk is longer than its size")),
            None => Ok(Step::More),
        },
        Body::Trailer => match buffer.windows(2).position(|two| two == b"\r\n") {
            Some(end) => {
                buffer.drain(..end + 2);
                Ok(if end == 0 { Step::Done } else { Step::Next(Body::Trailer) })
            }
            None if buffer.len() > HEAD_MAX => Err(NoHttp("its end is too long")),
            None => Ok(Step::More),
        },
        Body::Rest => {
            if response.body.len() + buffer.len() > BODY_MAX {
                return Err(NoHttp("its body is too long"));
            }
            response.body.append(buffer);
            Ok(Step::More)
        }
    }
}

/// A request to the firmware's web server.
pub fn request(host: &str, authorization: Option<&str>, body: &str) -> Vec<u8> {
    let authorization = match authorization {
        Some(value) => format!("Authorization: {value}\r\n"),
        None => String::new(),
    };
    let length = body.len();
    format!(
        "POST /wsman HTTP/1.1\r\n{authorization}Host: {host}\r\n\
         Content-Type: application/soap+xml; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The version in a `Server` header, `16.1.25`: the product may be called anything, its version has
/// two to four numbers; three are told.
pub fn version(server: &str) -> Option<String> {
    server.split([' ', '/']).find_map(|word| {
        let parts: Vec<_> = word.split('.').collect();
        let is_number =
            |part: &&str| (1..=5).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        let is_version = (2..=4).contains(&parts.len()) && parts.iter().all(is_number);
        is_version.then(|| parts.get(..3).unwrap_or(&parts).join("."))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../../tests/vectors/wsman-http.json")).unwrap()
    }

    fn recorded(connection: &str) -> String {
        vectors()[connection]["response"].as_str().unwrap().to_owned()
    }

    #[test]
    fn recorded_answers_are_read_in_pieces_of_any_size() {
        for (connection, status, close, length) in [
            ("connection_1", 401, true, 92),
            ("connection_2_same_request_authorized", 200, false, 0x220 + 2 * 0x2FA + 0xA5),
            ("identify_get", 303, false, 0),
        ] {
            let bytes = recorded(connection).into_bytes();
            let mut whole = Decoder::default();
            let wanted = whole.receive(&bytes).unwrap().unwrap();
            assert_eq!((wanted.status, wanted.close), (status, close), "{connection}");
            assert_eq!(wanted.body.len(), length);
            assert!(!whole.has_begun());
            for size in 1..40 {
                let mut decoder = Decoder::default();
                let mut found = Vec::new();
                for piece in bytes.chunks(size) {
                    found.extend(decoder.receive(piece).unwrap());
                }
                assert_eq!(
                    found,
                    std::slice::from_ref(&wanted),
                    "{connection} in pieces of {size}"
                );
            }
        }
        let asked = Decoder::default().receive(recorded("connection_1").as_bytes()).unwrap();
        let challenge = asked.unwrap().challenge.unwrap();
        assert_eq!(challenge.realm, "Digest:A4070000000000000000000000000001");
    }

    #[test]
    fn a_body_without_a_length_ends_with_the_connection() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.receive(b"HTTP/1.1 200 OK\r\n\r\nall ").unwrap(), None);
        assert_eq!(decoder.receive(b"of it").unwrap(), None);
        assert_eq!(decoder.end().unwrap().body, b"all of it");
        decoder.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").unwrap();
        assert_eq!(decoder.end(), None, "half of an answer is none");
    }

    #[test]
    fn what_is_no_http_or_too_much_is_refused() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let long_head = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(HEAD_MAX));
        let long_trailer = format!("{chunked}0\r\n{}", "x".repeat(HEAD_MAX + 1));
        for bad in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            &long_head,
            &format!("{chunked}xyz\r\n"),
            &format!("{chunked}2\r\nabcd"),
            &format!("{chunked}{}", "0".repeat(SIZE_MAX + 1)),
            &long_trailer,
        ] {
            let mut decoder = Decoder::default();
            assert!(decoder.receive(bad.as_bytes()).is_err(), "{}", &bad[..bad.len().min(60)]);
        }
        // Nothing is set aside for what is only announced.
        let mut decoder = Decoder::default();
        let announced = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
        assert_eq!(decoder.receive(announced.as_bytes()), Ok(None));
        let piece = vec![b'x'; 64 * 1024];
        let refused = (0..20).find(|_| decoder.receive(&piece).is_err());
        assert_eq!(refused, Some(BODY_MAX / piece.len()));
    }

    #[test]
    fn versions_are_found_whatever_the_product_is_called() {
        for (server, wanted) in [
            ("Intel(R) Active Management Technology 16.1.25.1865", Some("16.1.25")),
            ("Intel(R) Active Management Technology 7.1.91", Some("7.1.91")),
            ("Intel(R) Standard Manageability 12.0", Some("12.0")),
            ("nginx/1.2.3", Some("1.2.3")),
            ("a.b 1..2 1.2.3.4.5 123456.1", None),
        ] {
            assert_eq!(version(server).as_deref(), wanted, "{server}");
        }
        let identify = Decoder::default().receive(recorded("identify_get").as_bytes());
        let server = identify.unwrap().unwrap().server.unwrap();
        assert_eq!(version(&server).as_deref(), Some("7.1.91"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_fail(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut decoder = Decoder::default();
            let _ = decoder.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            let _ = decoder.receive(&bytes);
            let _ = Decoder::default().receive(&bytes);
        }

        #[test]
        fn chunks_come_back_as_the_body_they_were(parts in prop::collection::vec("[a-z]{1,40}", 0..6),
            size in 1usize..20) {
            let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for part in &parts {
                bytes.extend(format!("{:04X}\r\n{part}\r\n", part.len()).bytes());
            }
            bytes.extend(b"0\r\n\r\n");
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                found.extend(decoder.receive(piece).unwrap());
            }
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(&found[0].body, &parts.concat().into_bytes());
        }
    }
}
