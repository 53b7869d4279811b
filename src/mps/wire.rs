//! The codec of APF, the port forwarding protocol of Intel AMT: a cut-down SSH connection protocol
//! (RFC 4254) without its transport, inside TLS or a WebSocket.
//!
//! A message is one type byte and its fields, with neither length nor padding; integers are 32 bits,
//! big-endian; texts stand behind their length. Bytes come in any pieces. What is kept of an
//! unfinished message is bounded, and the payload of CHANNEL_DATA is never kept at all.

use std::fmt;

use crate::model::Uuid;

/// The service of authentication.
pub const AUTH_SERVICE: &str = "auth@amt.intel.com";
/// The service of port forwarding.
pub const FORWARD_SERVICE: &str = "pfwd@amt.intel.com";

/// Longest name of a service, a user, a request or a kind of channel, in bytes.
const NAME_MAX: usize = 64;
/// Longest authentication method.
const METHOD_MAX: usize = 32;
/// Longest password; those of agents are cookies of some 330 bytes.
const PASSWORD_MAX: usize = 4096;
/// Longest address in text form.
const ADDRESS_MAX: usize = 256;
/// Longest UDP datagram an AMT computer has sent on.
const DATAGRAM_MAX: usize = 2048;
/// Longest JSON_CONTROL text.
pub const JSON_MAX: usize = 64 * 1024;
/// Longest payload announced by one CHANNEL_DATA: twice what a window is at least taken for.
pub const DATA_MAX: u32 = 2 * 64 * 1024;

/// Reasons of DISCONNECT.
pub mod disconnect {
    /// What was sent makes no sense here.
    pub const PROTOCOL_ERROR: u32 = 2;
    /// The service asked for is unknown.
    pub const SERVICE_NOT_AVAILABLE: u32 = 7;
    /// Whoever sends it wants it so.
    pub const BY_APPLICATION: u32 = 11;
}

/// Reasons of CHANNEL_OPEN_FAILURE.
pub mod failure {
    /// Not allowed.
    pub const PROHIBITED: u32 = 1;
    /// Nobody listens there, or the connection failed.
    pub const CONNECT_FAILED: u32 = 2;
    /// Channels of this kind are unknown.
    pub const UNKNOWN_KIND: u32 = 3;
    /// Too many channels.
    pub const RESOURCE_SHORTAGE: u32 = 4;
}

/// One message; names are those of the protocol. "Recipient" numbers are the receiver's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the protocol's own")]
pub enum Message {
    /// 1
    Disconnect { reason: u32 },
    /// 5
    ServiceRequest { service: String },
    /// 6
    ServiceAccept { service: String },
    /// 50; `password` is there if the method is `password`.
    UserAuthRequest { user: String, service: String, method: String, password: Option<Vec<u8>> },
    /// 51
    UserAuthFailure,
    /// 52
    UserAuthSuccess,
    /// 80 `tcpip-forward`
    Forward { want_reply: bool, address: String, port: u32 },
    /// 80 `cancel-tcpip-forward`
    CancelForward { want_reply: bool, address: String, port: u32 },
    /// 80 `udp-send-to@amt.intel.com`: an alert on its way to somebody else. Only its length is kept.
    SendUdp { port: u32, length: usize },
    /// 80 with another name. What follows of it cannot be known.
    UnknownRequest { want_reply: bool },
    /// 81; the port is there if a forward is answered.
    RequestSuccess { port: Option<u32> },
    /// 82
    RequestFailure,
    /// 90
    ChannelOpen { kind: String, sender: u32, window: u32, port: u32 },
    /// 91
    ChannelConfirmation { recipient: u32, sender: u32, window: u32 },
    /// 92
    ChannelFailure { recipient: u32, reason: u32 },
    /// 93
    WindowAdjust { recipient: u32, bytes: u32 },
    /// 94 without its payload, which comes as [`Event::Payload`].
    Data { recipient: u32, length: u32 },
    /// 97
    ChannelClose { recipient: u32 },
    /// 192
    ProtocolVersion { major: u32, minor: u32, trigger: u32, uuid: Uuid },
    /// 208
    KeepAliveRequest { cookie: u32 },
    /// 209
    KeepAliveReply { cookie: u32 },
    /// 210, seconds
    KeepAliveOptionsRequest { interval: u32, timeout: u32 },
    /// 211, seconds
    KeepAliveOptionsReply { interval: u32, timeout: u32 },
    /// 250, MeshCentral's own: not parsed here.
    JsonControl { json: String },
}

/// Why a stream of messages cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No message begins with this byte, so its end is unknown.
    UnknownType(u8),
    /// A field claims to be longer than any such field is, in bytes.
    TooLong(u32),
    /// More bytes of an unfinished message than may be kept.
    Unfinished,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownType(byte) => write!(f, "no APF message begins with {byte:#04x}"),
            Self::TooLong(length) => write!(f, "an APF field of {length} bytes"),
            Self::Unfinished => f.write_str("an APF message that is too long here"),
        }
    }
}

impl std::error::Error for Error {}

/// What the decoder found.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'i> {
    /// A message.
    Message(Message),
    /// The next bytes of the CHANNEL_DATA announced last.
    Payload(u32, &'i [u8]),
}

/// Which side reads: only a client knows how long an answer to its request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// REQUEST_SUCCESS has one byte: nothing was asked.
    Server,
    /// REQUEST_SUCCESS has a port: what was asked is a forward.
    Client,
}

/// Incremental decoder of one direction. Memory: what has come of an unfinished message.
pub struct Decoder {
    side: Side,
    limit: usize,
    kept: Vec<u8>,
    payload: Option<(u32, u32)>,
}

impl Decoder {
    /// A decoder that keeps at most `limit` bytes of an unfinished message.
    pub fn new(side: Side, limit: usize) -> Self {
        Self { side, limit, kept: Vec::new(), payload: None }
    }

    /// Sets another limit.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes bytes from the front of `input`; returns how many, and what they completed. Without an
    /// event all of `input` was taken.
    pub fn feed<'i>(&mut self, input: &'i [u8]) -> Result<(usize, Option<Event<'i>>), Error> {
        if let Some((recipient, left)) = self.payload {
            if input.is_empty() {
                return Ok((0, None));
            }
            let taken = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let rest = left - taken as u32;
            self.payload = (rest > 0).then_some((recipient, rest));
            let bytes = input.get(..taken).unwrap_or(input);
            return Ok((taken, Some(Event::Payload(recipient, bytes))));
        }
        let before = self.kept.len();
        let parsed = if before == 0 {
            parse(input, self.side)
        } else {
            // As much as could complete the longest message that may be kept.
            let room = input.len().min(self.limit);
            self.kept.extend_from_slice(input.get(..room).unwrap_or(input));
            parse(&self.kept, self.side)
        };
        match parsed {
            Ok((message, length)) => {
                self.kept = Vec::new();
                if let Message::Data { recipient, length } = message {
                    if length > DATA_MAX {
                        return Err(Error::TooLong(length));
                    }
                    self.payload = (length > 0).then_some((recipient, length));
                }
                Ok((length.saturating_sub(before), Some(Event::Message(message))))
            }
            Err(Stop::Error(error)) => Err(error),
            Err(Stop::Short) => {
                if before == 0 {
                    if input.len() > self.limit {
                        return Err(Error::Unfinished);
                    }
                    self.kept.extend_from_slice(input);
                } else if self.kept.len() > self.limit {
                    return Err(Error::Unfinished);
                }
                Ok((input.len(), None))
            }
        }
    }
}

enum Stop {
    /// The rest has not come yet.
    Short,
    Error(Error),
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        let end = self.at.checked_add(length).ok_or(Stop::Short)?;
        let taken = self.bytes.get(self.at..end).ok_or(Stop::Short)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        self.take(N)?.first_chunk().copied().ok_or(Stop::Short)
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        self.array().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u32, Stop> {
        self.array().map(u32::from_be_bytes)
    }

    /// Bytes behind their length, which is judged before they have come.
    fn field(&mut self, max: usize) -> Result<&'a [u8], Stop> {
        let claimed = self.number()?;
        match usize::try_from(claimed) {
            Ok(length) if length <= max => self.take(length),
            _ => Err(Stop::Error(Error::TooLong(claimed))),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The message at the front of `bytes` and its length. Nothing is copied before it is complete.
fn parse(bytes: &[u8], side: Side) -> Result<(Message, usize), Stop> {
    let mut r = Reader { bytes, at: 0 };
    let message = match r.byte()? {
        1 => {
            let reason = r.number()?;
            r.take(2)?;
            Message::Disconnect { reason }
        }
        5 => Message::ServiceRequest { service: text(r.field(NAME_MAX)?) },
        6 => Message::ServiceAccept { service: text(r.field(NAME_MAX)?) },
        50 => user_auth(&mut r)?,
        51 => {
            r.field(NAME_MAX)?;
            r.byte()?;
            Message::UserAuthFailure
        }
        52 => Message::UserAuthSuccess,
        80 => global_request(&mut r)?,
        81 => Message::RequestSuccess {
            port: if side == Side::Client { Some(r.number()?) } else { None },
        },
        82 => Message::RequestFailure,
        90 => {
            let kind = r.field(NAME_MAX)?;
            let (sender, window) = (r.number()?, r.number()?);
            r.number()?;
            r.field(ADDRESS_MAX)?;
            let port = r.number()?;
            r.field(ADDRESS_MAX)?;
            r.number()?;
            Message::ChannelOpen { kind: text(kind), sender, window, port }
        }
        91 => {
            let (recipient, sender, window) = (r.number()?, r.number()?, r.number()?);
            r.number()?;
            Message::ChannelConfirmation { recipient, sender, window }
        }
        92 => {
            let (recipient, reason) = (r.number()?, r.number()?);
            r.take(8)?;
            Message::ChannelFailure { recipient, reason }
        }
        93 => Message::WindowAdjust { recipient: r.number()?, bytes: r.number()? },
        94 => Message::Data { recipient: r.number()?, length: r.number()? },
        97 => Message::ChannelClose { recipient: r.number()? },
        192 => {
            let (major, minor, trigger) = (r.number()?, r.number()?, r.number()?);
            let uuid = Uuid::from_wire(r.array()?);
            r.take(64)?;
            Message::ProtocolVersion { major, minor, trigger, uuid }
        }
        208 => Message::KeepAliveRequest { cookie: r.number()? },
        209 => Message::KeepAliveReply { cookie: r.number()? },
        210 => Message::KeepAliveOptionsRequest { interval: r.number()?, timeout: r.number()? },
        211 => Message::KeepAliveOptionsReply { interval: r.number()?, timeout: r.number()? },
        250 => Message::JsonControl { json: text(r.field(JSON_MAX)?) },
        other => return Err(Stop::Error(Error::UnknownType(other))),
    };
    Ok((message, r.at))
}

fn user_auth(r: &mut Reader<'_>) -> Result<Message, Stop> {
    let (user, service, method) = (r.field(NAME_MAX)?, r.field(NAME_MAX)?, r.field(METHOD_MAX)?);
    let password = if method == b"password" {
        r.byte()?;
        Some(r.field(PASSWORD_MAX)?.to_vec())
    } else {
        None
    };
    let (user, service, method) = (text(user), text(service), text(method));
    Ok(Message::UserAuthRequest { user, service, method, password })
}

fn global_request(r: &mut Reader<'_>) -> Result<Message, Stop> {
    let name = r.field(NAME_MAX)?;
    let want_reply = r.byte()? != 0;
    Ok(match name {
        b"tcpip-forward" | b"cancel-tcpip-forward" => {
            let (address, port) = (r.field(ADDRESS_MAX)?, r.number()?);
            let address = text(address);
            if name.starts_with(b"cancel") {
                Message::CancelForward { want_reply, address, port }
            } else {
                Message::Forward { want_reply, address, port }
            }
        }
        b"udp-send-to@amt.intel.com" => {
            r.field(ADDRESS_MAX)?;
            let port = r.number()?;
            r.field(ADDRESS_MAX)?;
            r.number()?;
            Message::SendUdp { port, length: r.field(DATAGRAM_MAX)?.len() }
        }
        _ => Message::UnknownRequest { want_reply },
    })
}

/// The address a channel seems to come from; AMT wants one and does not look at it.
const ORIGINATOR: &str = "1.2.3.4";

impl Message {
    /// Appends the message. CHANNEL_DATA is only its head: the payload is appended by the caller.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Disconnect { reason } => {
                numbers(out, 1, &[*reason]);
                out.extend([0, 0]);
            }
            Self::ServiceRequest { service } => texts(out, 5, &[service]),
            Self::ServiceAccept { service } => texts(out, 6, &[service]),
            Self::UserAuthRequest { user, service, method, password } => {
                texts(out, 50, &[user, service, method]);
                if let Some(password) = password {
                    out.push(0);
                    field(out, password);
                }
            }
            Self::UserAuthFailure => {
                texts(out, 51, &["password"]);
                // One would do; MeshCentral sends two, and its clients have seen nothing else.
                out.extend([0, 0]);
            }
            Self::UserAuthSuccess => out.push(52),
            Self::Forward { want_reply, address, port } => {
                request(out, "tcpip-forward", *want_reply);
                field(out, address.as_bytes());
                out.extend(port.to_be_bytes());
            }
            Self::CancelForward { want_reply, address, port } => {
                request(out, "cancel-tcpip-forward", *want_reply);
                field(out, address.as_bytes());
                out.extend(port.to_be_bytes());
            }
            Self::SendUdp { port, length } => {
                request(out, "udp-send-to@amt.intel.com", false);
                field(out, ORIGINATOR.as_bytes());
                out.extend(port.to_be_bytes());
                field(out, ORIGINATOR.as_bytes());
                out.extend(port.to_be_bytes());
                field(out, &vec![0; (*length).min(DATAGRAM_MAX)]);
            }
            Self::UnknownRequest { want_reply } => request(out, "unknown", *want_reply),
            Self::RequestSuccess { port: Some(port) } => numbers(out, 81, &[*port]),
            Self::RequestSuccess { port: None } => out.push(81),
            Self::RequestFailure => out.push(82),
            Self::ChannelOpen { kind, sender, window, port } => {
                texts(out, 90, &[kind]);
                for n in [*sender, *window, u32::MAX] {
                    out.extend(n.to_be_bytes());
                }
                field(out, b"");
                out.extend(port.to_be_bytes());
                field(out, ORIGINATOR.as_bytes());
                out.extend((1024 + sender.saturating_sub(4) % 30_000).to_be_bytes());
            }
            Self::ChannelConfirmation { recipient, sender, window } => {
                numbers(out, 91, &[*recipient, *sender, *window, u32::MAX]);
            }
            Self::ChannelFailure { recipient, reason } => {
                numbers(out, 92, &[*recipient, *reason, 0, 0]);
            }
            Self::WindowAdjust { recipient, bytes } => numbers(out, 93, &[*recipient, *bytes]),
            Self::Data { recipient, length } => numbers(out, 94, &[*recipient, *length]),
            Self::ChannelClose { recipient } => numbers(out, 97, &[*recipient]),
            Self::ProtocolVersion { major, minor, trigger, uuid } => {
                numbers(out, 192, &[*major, *minor, *trigger]);
                out.extend(uuid.to_wire());
                out.extend([0; 64]);
            }
            Self::KeepAliveRequest { cookie } => numbers(out, 208, &[*cookie]),
            Self::KeepAliveReply { cookie } => numbers(out, 209, &[*cookie]),
            Self::KeepAliveOptionsRequest { interval, timeout } => {
                numbers(out, 210, &[*interval, *timeout]);
            }
            Self::KeepAliveOptionsReply { interval, timeout } => {
                numbers(out, 211, &[*interval, *timeout]);
            }
            Self::JsonControl { json } => texts(out, 250, &[json]),
        }
    }

    /// The message alone.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

fn numbers(out: &mut Vec<u8>, kind: u8, numbers: &[u32]) {
    out.push(kind);
    numbers.iter().for_each(|n| out.extend(n.to_be_bytes()));
}

fn texts(out: &mut Vec<u8>, kind: u8, texts: &[&str]) {
    out.push(kind);
    texts.iter().for_each(|text| field(out, text.as_bytes()));
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_be_bytes());
    out.extend(bytes);
}

fn request(out: &mut Vec<u8>, name: &str, want_reply: bool) {
    texts(out, 80, &[name]);
    out.push(want_reply.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn vector(name: &str) -> Value {
        let path = format!("{}/tests/vectors/apf-{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn hex(value: &Value) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
    }

    /// Messages and payloads of `wire` in pieces of `size` bytes; payloads are joined.
    fn decode(wire: &[u8], size: usize, side: Side) -> Result<Vec<(Message, Vec<u8>)>, Error> {
        let mut decoder = Decoder::new(side, JSON_MAX + 5);
        let mut found: Vec<(Message, Vec<u8>)> = Vec::new();
        for piece in wire.chunks(size.max(1)) {
            let mut at = 0;
            while at < piece.len() {
                let (used, event) = decoder.feed(&piece[at..])?;
                at += used;
                match event {
                    Some(Event::Message(message)) => found.push((message, Vec::new())),
                    Some(Event::Payload(_, bytes)) => found.last_mut().unwrap().1.extend(bytes),
                    None => assert_eq!(at, piece.len()),
                }
            }
        }
        Ok(found)
    }

    fn side_of(name: &str, length: u64) -> Side {
        if name.starts_with("REQUEST_SUCCESS") && length == 5 { Side::Client } else { Side::Server }
    }

    #[test]
    fn every_captured_message_has_its_length_and_fields_in_any_pieces() {
        let v = vector("messages");
        for m in v["messages"].as_array().unwrap() {
            let (name, wire) = (m["name"].as_str().unwrap(), hex(&m["hex"]));
            let mut expected = m["len"].as_u64().unwrap() as usize;
            if name == "USERAUTH_FAILURE 15 bytes" {
                // The second zero is MeshCentral's mistake and no part of the message.
                expected = 14;
            }
            let side = side_of(name, m["len"].as_u64().unwrap());
            let payload = m["decoded"]["length"].as_u64().filter(|_| m["type"] == 94);
            let head = expected - payload.unwrap_or(0) as usize;
            let Ok((message, length)) = parse(&wire, side) else { panic!("{name}") };
            assert_eq!(length, head, "{name}");
            let text = format!("{message:?}");
            for (field, value) in m["decoded"].as_object().unwrap() {
                let known = ["user", "service", "method", "uuid", "port", "window", "recipient"];
                if known.contains(&field.as_str()) {
                    let value = value.as_str().map_or(value.to_string(), str::to_owned);
                    assert!(text.contains(&value), "{name}: {field} {value} in {text}");
                }
            }
            for size in 1..expected {
                let pieces = decode(&wire[..expected], size, side).unwrap();
                assert_eq!(pieces.len(), 1, "{name} in pieces of {size}");
                assert_eq!(pieces[0].0, message, "{name} in pieces of {size}");
            }
        }
    }

    #[test]
    fn what_we_write_is_what_both_servers_and_real_firmware_wrote() {
        // Fields we do not keep: addresses of channels, alerts.
        let skipped = ["USERAUTH_FAILURE 14 bytes", "GLOBAL udp-send-to", "direct-tcpip"];
        for m in vector("messages")["messages"].as_array().unwrap() {
            let (name, wire) = (m["name"].as_str().unwrap(), hex(&m["hex"]));
            if skipped.iter().any(|s| name.contains(s)) {
                continue;
            }
            let side = side_of(name, m["len"].as_u64().unwrap());
            let Ok((message, length)) = parse(&wire, side) else { panic!("{name}") };
            let written = message.to_bytes();
            assert_eq!(written.get(..length), wire.get(..length), "{name}");
        }
    }

    #[test]
    fn captured_sessions_decode_to_the_same_messages_however_they_are_cut() {
        for name in [
            "session-firmware-style",
            "session-meshcentral-apfclient",
            "session-wsman-digest",
            "session-wss-lms",
            "session-wss-relay",
        ] {
            let v = vector(name);
            let messages = v["messages"].as_array().unwrap();
            let from_device: Vec<_> = messages.iter().filter(|m| m["dir"] == "C>S").collect();
            let wire: Vec<u8> = from_device.iter().flat_map(|m| hex(&m["hex"])).collect();
            let whole = decode(&wire, wire.len(), Side::Server).unwrap();
            assert_eq!(whole.len(), from_device.len(), "{name}");
            for ((message, payload), captured) in whole.iter().zip(&from_device) {
                let bytes = [message.to_bytes(), payload.clone()].concat();
                assert_eq!(bytes.first(), hex(&captured["hex"]).first(), "{name}");
            }
            for size in [1, 2, 7, 100, 1000] {
                assert_eq!(decode(&wire, size, Side::Server).unwrap(), whole, "{name} {size}");
            }
        }
    }

    #[test]
    fn a_message_that_begins_wrong_or_claims_too_much_is_an_error() {
        let claim = |kind: u8, length: u32| [&[kind][..], &length.to_be_bytes()].concat();
        for (bytes, error) in [
            (vec![0x0a], Error::UnknownType(0x0a)),
            (b"GET / HTTP".to_vec(), Error::UnknownType(b'G')),
            (claim(5, 3000), Error::TooLong(3000)),
            (claim(50, u32::MAX), Error::TooLong(u32::MAX)),
            (claim(250, 2_000_000), Error::TooLong(2_000_000)),
            (
                Message::Data { recipient: 4, length: 2_000_000 }.to_bytes(),
                Error::TooLong(2_000_000),
            ),
        ] {
            assert_eq!(decode(&bytes, 1, Side::Server), Err(error), "{bytes:02x?}");
        }
        let mut small = Decoder::new(Side::Server, 16);
        let long = Message::ServiceRequest { service: "x".repeat(60) }.to_bytes();
        assert_eq!(small.feed(&long[..20]), Err(Error::Unfinished));
        let mut by_byte = Decoder::new(Side::Server, 16);
        let ends = long.chunks(1).map(|byte| by_byte.feed(byte).err()).find(Option::is_some);
        assert_eq!(ends, Some(Some(Error::Unfinished)));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_alike_in_any_pieces_and_never_panic(
            start in prop::sample::select(vec![1u8, 5, 50, 80, 90, 93, 94, 97, 192, 208, 250]),
            rest in prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..400),
            size in 1usize..50,
        ) {
            let wire = [&[start][..], &rest].concat();
            let whole = decode(&wire, wire.len(), Side::Server);
            let pieces = decode(&wire, size, Side::Server);
            prop_assert_eq!(whole.is_ok(), pieces.is_ok());
            if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
                prop_assert_eq!(whole, pieces);
            }
        }
    }
}
