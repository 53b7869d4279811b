//! A look at the ClientHello, once: who can serve this client?
//!
//! Intel AMT before version 12 speaks TLS 1.0 or 1.1 with RSA key exchange, which rustls refuses for
//! good reasons; some of version 12 to 14 may speak TLS 1.2 with suites of that time only. What
//! is read here (RFC 5246 and 8446, section 4.1.2 each) decides, and tells the journal what a
//! client that cannot be served has offered.

use std::fmt;

/// Longest ClientHello that is looked at, with its record headers, in bytes.
pub const HELLO_MAX: usize = 16 * 1024;
/// Numbers kept of each list; longer lists are cut.
const LIST: usize = 128;

const TLS_1_2: u16 = 0x0303;
const TLS_1_3: u16 = 0x0304;

/// What rustls with ring has for an RSA certificate.
const SUITES_1_2: [u16; 3] = [0xc02f, 0xc030, 0xcca8];
const SUITES_1_3: [u16; 3] = [0x1301, 0x1302, 0x1303];
const GROUPS: [u16; 3] = [0x001d, 0x0017, 0x0018];
const SCHEMES_1_3: [u16; 3] = [0x0804, 0x0805, 0x0806];
const SCHEMES_1_2: [u16; 6] = [0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601];

type List = heapless::Vec<u16, LIST>;

/// What a client offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// Highest version offered.
    pub version: u16,
    /// Cipher suites.
    pub suites: List,
    /// `supported_versions`; empty without the extension.
    versions: List,
    /// `supported_groups`.
    groups: List,
    /// `signature_algorithms`.
    schemes: List,
}

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peek {
    /// More is needed.
    Unfinished,
    /// A ClientHello.
    Hello(Box<Hello>),
    /// Something else.
    NotTls,
}

/// Looks at the first bytes of a connection.
pub fn peek(bytes: &[u8]) -> Peek {
    match assemble(bytes) {
        Ok(Some(message)) => match parse(&message) {
            Some(hello) => Peek::Hello(Box::new(hello)),
            None => Peek::NotTls,
        },
        Ok(None) if bytes.len() < HELLO_MAX => Peek::Unfinished,
        Ok(None) | Err(()) => Peek::NotTls,
    }
}

/// The body of the first handshake message, put together from its records. `None` while it is
/// not complete.
fn assemble(bytes: &[u8]) -> Result<Option<Vec<u8>>, ()> {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        let Some((&[kind, major, _, high, low], after)) = rest.split_first_chunk::<5>() else {
            let begins = match *rest {
                [] => true,
                [kind] => kind == 22,
                [kind, major, ..] => kind == 22 && major == 3,
            };
            return if begins { Ok(None) } else { Err(()) };
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if kind != 22 || major != 3 || length == 0 || length > HELLO_MAX {
            return Err(());
        }
        let Some(fragment) = after.get(..length) else {
            message.extend_from_slice(after);
            return if is_hello(&message) { Ok(None) } else { Err(()) };
        };
        message.extend_from_slice(fragment);
        if !is_hello(&message) {
            return Err(());
        }
        if let Some((&[_, a, b, c], body)) = message.split_first_chunk::<4>() {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if length > HELLO_MAX {
                return Err(());
            }
            if let Some(body) = body.get(..length) {
                return Ok(Some(body.to_vec()));
            }
        }
        rest = after.get(length..).unwrap_or_default();
    }
}

fn is_hello(message: &[u8]) -> bool {
    message.first().is_none_or(|kind| *kind == 1)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn short(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// Bytes behind a length of one byte.
    fn field8(&mut self) -> Option<&'a [u8]> {
        let length = *self.take(1)?.first()?;
        self.take(length.into())
    }

    /// Bytes behind a length of two bytes.
    fn field16(&mut self) -> Option<&'a [u8]> {
        let length = self.short()?;
        self.take(length.into())
    }
}

fn list(bytes: &[u8]) -> List {
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs.iter().map(|pair| u16::from_be_bytes(*pair)).take(LIST).collect()
}

fn parse(body: &[u8]) -> Option<Hello> {
    let mut r = Reader(body);
    let mut hello = Hello { version: r.short()?, ..Hello::default() };
    r.take(32)?;
    r.field8()?;
    hello.suites = list(r.field16()?);
    r.field8()?;
    // TLS 1.0 has no extensions at all.
    let mut extensions = Reader(r.field16().unwrap_or_default());
    while let Some(kind) = extensions.short() {
        let mut data = Reader(extensions.field16()?);
        match kind {
            10 => hello.groups = list(data.field16()?),
            13 => hello.schemes = list(data.field16()?),
            43 => hello.versions = list(data.field8()?),
            _ => {}
        }
    }
    // Random numbers stand among them, so that nobody relies on knowing all (RFC 8701).
    let real = hello.versions.iter().filter(|v| (0x0300..=TLS_1_3).contains(*v)).max();
    hello.version = real.copied().unwrap_or(hello.version.min(TLS_1_2));
    Some(hello)
}

impl Hello {
    fn offers(&self, version: u16) -> bool {
        match self.versions.is_empty() {
            true => self.version >= version && version <= TLS_1_2,
            false => self.versions.contains(&version),
        }
    }

    /// Whether rustls can serve this client with an RSA certificate.
    pub fn is_modern(&self) -> bool {
        let any = |offered: &List, ours: &[u16]| offered.iter().any(|n| ours.contains(n));
        let both = |suites: &[u16], schemes: &[u16]| {
            any(&self.suites, suites) && any(&self.schemes, schemes) && any(&self.groups, &GROUPS)
        };
        self.offers(TLS_1_3) && both(&SUITES_1_3, &SCHEMES_1_3)
            || self.offers(TLS_1_2) && both(&SUITES_1_2, &SCHEMES_1_2)
    }

    /// Whether the client wants nothing below AES-256 with SHA-384: firmware that does so refuses
    /// RSA keys of 2048 bits, too.
    pub fn wants_long_keys(&self) -> bool {
        let is_signalling =
            |suite: u16| matches!(suite, 0x00ff | 0x5600) || suite & 0x0f0f == 0x0a0a;
        let mut real =
            self.suites.iter().copied().filter(|suite| !is_signalling(*suite)).peekable();
        real.peek().is_some()
            && real.all(|suite| matches!(suite, 0x1302 | 0xc030 | 0xc02c | 0x009f | 0x009d))
    }
}

/// `TLS 1.0, suites 002f 0035`.
impl fmt::Display for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            0x0300 => f.write_str("SSL 3.0")?,
            0x0301..=0x0304 => write!(f, "TLS 1.{}", self.version - 0x0301)?,
            other => write!(f, "version {other:#06x}")?,
        }
        f.write_str(", suites")?;
        for suite in self.suites.iter().take(16) {
            write!(f, " {suite:04x}")?;
        }
        if self.suites.len() > 16 {
            write!(f, " and {} more", self.suites.len() - 16)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn hello(version: u16, suites: &[u16], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let shorts = |list: &[u16]| list.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<_>>();
        let field = |bytes: Vec<u8>| [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
        let mut body = [&version.to_be_bytes()[..], &[7; 32], &[0]].concat();
        body.extend(field(shorts(suites)));
        body.extend([1, 0]);
        if !extensions.is_empty() {
            let all = extensions.iter().flat_map(|(kind, data)| {
                [kind.to_be_bytes().to_vec(), field(data.clone())].concat()
            });
            body.extend(field(all.collect()));
        }
        let length = (body.len() as u32).to_be_bytes();
        [&[1][..], &length[1..], &body].concat()
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let record =
            |part: &[u8]| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat();
        message.chunks(size).flat_map(record).collect()
    }

    fn seen(bytes: &[u8]) -> Hello {
        match peek(bytes) {
            Peek::Hello(hello) => *hello,
            other => panic!("{other:?}"),
        }
    }

    fn groups() -> (u16, Vec<u8>) {
        (10, vec![0, 2, 0, 0x1d])
    }

    fn schemes() -> (u16, Vec<u8>) {
        (13, vec![0, 4, 4, 1, 8, 4])
    }

    #[test]
    fn who_can_serve_is_told_from_what_is_offered() {
        let versions = (43, vec![4, 3, 4, 3, 3]);
        for (what, bytes, modern, text) in [
            ("AMT 9", hello(0x0301, &[0x2f, 0x35], &[]), false, "TLS 1.0, suites 002f 0035"),
            ("AMT 11", hello(0x0302, &[0x35], &[]), false, "TLS 1.1, suites 0035"),
            (
                "TLS 1.2 with RSA key exchange",
                hello(0x0303, &[0x9c, 0x2f], &[groups(), schemes()]),
                false,
                "TLS 1.2, suites 009c 002f",
            ),
            (
                "TLS 1.2 without signature algorithms",
                hello(0x0303, &[0xc030], &[groups()]),
                false,
                "TLS 1.2, suites c030",
            ),
            (
                "AMT 16",
                hello(0x0303, &[0xc030, 0x9c], &[groups(), schemes()]),
                true,
                "TLS 1.2, suites c030 009c",
            ),
            (
                "TLS 1.3",
                hello(0x0303, &[0x1302], &[groups(), schemes(), versions]),
                true,
                "TLS 1.3, suites 1302",
            ),
            (
                "TLS 1.3 by its old number alone",
                hello(0x0304, &[0x1302], &[groups(), schemes()]),
                false,
                "TLS 1.2, suites 1302",
            ),
        ] {
            let hello = seen(&records(&bytes, 16384));
            assert_eq!((hello.is_modern(), hello.to_string().as_str()), (modern, text), "{what}");
        }
        assert!(seen(&records(&hello(0x0303, &[0x1302, 0xc030, 0xff], &[]), 99)).wants_long_keys());
        assert!(!seen(&records(&hello(0x0303, &[0x1302, 0xc02f], &[]), 99)).wants_long_keys());
        assert!(!seen(&records(&hello(0x0303, &[], &[]), 99)).wants_long_keys());
    }

    #[test]
    fn rustls_is_served_by_rustls() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let config = rustls::ClientConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            let name = rustls_pki_types::ServerName::try_from("a.b").unwrap();
            let mut client = rustls::ClientConnection::new(config.into(), name).unwrap();
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            assert!(seen(&bytes).is_modern(), "{version:?}");
        }
    }

    #[test]
    fn what_is_no_hello_is_known_at_once() {
        for bytes in [
            &b"GET / HTTP/1.1"[..],
            b"SSH-2.0",
            &[0x80, 0x2e, 1, 3, 1],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0xff, 0xff],
            &[22, 3, 1, 0, 9, 2],
            &[23, 3],
            &[22, 2],
        ] {
            assert_eq!(peek(bytes), Peek::NotTls, "{bytes:02x?}");
        }
        for bytes in [&[][..], &[22], &[22, 3, 1, 0], &[22, 3, 1, 0, 9, 1]] {
            assert_eq!(peek(bytes), Peek::Unfinished, "{bytes:02x?}");
        }
        assert_eq!(peek(&records(&[1, 0, 60, 0], 4).repeat(2000)), Peek::NotTls);
    }

    proptest! {
        #[test]
        fn a_hello_is_found_however_its_records_are_cut(
            suites in prop::collection::vec(any::<u16>(), 0..100),
            size in 1usize..400,
            cut in 0usize..1000,
        ) {
            let message = hello(0x0303, &suites, &[groups(), schemes()]);
            let whole = records(&message, 16384);
            let cut_up = records(&message, size);
            prop_assert_eq!(peek(&cut_up), peek(&whole));
            let part = cut_up.get(..cut.min(cut_up.len() - 1)).unwrap();
            prop_assert_eq!(peek(part), Peek::Unfinished);
        }

        #[test]
        fn any_bytes_are_judged_without_a_panic(
            head in prop::sample::select(vec![vec![], vec![22, 3, 1], vec![22, 3, 3, 0, 90, 1, 0, 0, 86, 3, 3]]),
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            peek(&[head, bytes].concat());
        }
    }
}
