//! The smallest client of WS-Management there can be, for tests of the simulator itself.

use super::digest::hash;
use super::xml::{ADDRESSING, SOAP, TRANSFER, WSMAN, uri};
use super::{ADMIN, Computer, Connection, PASSWORD};

/// Asks a computer without a socket between.
pub struct Client {
    computer: Computer,
    /// What it says is the administrator's password.
    pub password: &'static str,
    /// How often its nonce was stale.
    pub stale: u32,
    challenge: Option<(String, String)>,
    count: u32,
}

impl Client {
    /// A client of this computer.
    pub fn new(computer: &Computer) -> Self {
        let (computer, password) = (computer.clone(), PASSWORD);
        Self { computer, password, stale: 0, challenge: None, count: 0 }
    }

    /// Status and body of the answer; proves who it is when it is asked to, once.
    ///
    /// # Panics
    /// If the answer is no HTTP.
    pub fn ask(&mut self, body: &str) -> (u16, String) {
        for _ in 0..2 {
            let (status, head, body) = self.once(body);
            if status != 401 {
                return (status, body);
            }
            let field = |name: &str| {
                let (_, value) = head.split_once(&format!("{name}=\""))?;
                value.split('"').next().map(str::to_owned)
            };
            self.stale += u32::from(field("stale").as_deref() == Some("true"));
            self.challenge = field("realm").zip(field("nonce"));
        }
        (401, String::new())
    }

    fn once(&mut self, body: &str) -> (u16, String, String) {
        let proof = match &self.challenge {
            Some((realm, nonce)) => {
                self.count += 1;
                let nc = format!("{:08x}", self.count);
                let ha1 = hash(&[ADMIN, realm, self.password]);
                let ha2 = hash(&["POST", "/wsman"]);
                let response = hash(&[&ha1, nonce, &nc, "c0ffee", "auth", &ha2]);
                format!(
                    "Authorization: Digest username=\"{ADMIN}\",realm=\"{realm}\",\
                     nonce=\"{nonce}\",uri=\"/wsman\",qop=auth,response=\"{response}\",nc={nc},\
                     cnonce=\"c0ffee\"\r\n"
                )
            }
            None => String::new(),
        };
        let head = format!("POST /wsman HTTP/1.1\r\n{proof}Host: x\r\n");
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let answer = self.computer.firmware(|firmware| {
            let mut connection = Connection::open(firmware, 16992).expect("it listens");
            connection.receive(firmware, request.as_bytes());
            connection.work(firmware);
            let answer = connection.take();
            connection.end(firmware);
            answer
        });
        let answer = String::from_utf8(answer).expect("it is text");
        let (head, rest) = answer.split_once("\r\n\r\n").expect("it has a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect("a status"), head.to_owned(), joined(rest, head))
    }
}

/// A body without its chunks.
fn joined(mut rest: &str, head: &str) -> String {
    if !head.contains("chunked") {
        return rest.to_owned();
    }
    let mut body = String::new();
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
        body.push_str(&tail[..size]);
        rest = tail[size..].strip_prefix("\r\n").expect("the end of a chunk");
    }
    body
}

/// A request: `Get`, `Put` and `Delete`, or a method. `key` is an `InstanceID`; elements of `input`
/// have the prefix `r`.
pub fn request(class: &str, operation: &str, key: Option<&str>, input: &str) -> String {
    let uri = uri(class);
    let (action, body) = match operation {
        "Get" | "Delete" => (format!("{TRANSFER}/{operation}"), String::new()),
        "Put" => {
            let body = format!("<r:{class} xmlns:r=\"{uri}\">{input}</r:{class}>");
            (format!("{TRANSFER}/Put"), body)
        }
        method => {
            let name = format!("{method}_INPUT");
            (format!("{uri}/{method}"), format!("<r:{name} xmlns:r=\"{uri}\">{input}</r:{name}>"))
        }
    };
    let selectors = key.map_or_else(String::new, |key| {
        let selector = format!("<w:Selector Name=\"InstanceID\">{key}</w:Selector>");
        format!("<w:SelectorSet>{selector}</w:SelectorSet>")
    });
    format!(
        "<Envelope xmlns:a=\"{ADDRESSING}\" xmlns:w=\"{WSMAN}\" xmlns=\"{SOAP}\"><Header>\
         <a:Action>{action}</a:Action><a:To>/wsman</a:To><w:ResourceURI>{uri}</w:ResourceURI>\
         <a:MessageID>1</a:MessageID><a:ReplyTo><a:Address>{ADDRESSING}/role/anonymous</a:Address>\
         </a:ReplyTo><w:OperationTimeout>PT60S</w:OperationTimeout>{selectors}</Header>\
         <Body>{body}</Body></Envelope>"
    )
}

/// A redirection session of the administrator, without a socket between.
pub struct Redirected {
    computer: Computer,
    connection: Connection,
}

impl Redirected {
    /// Starts one with its first message, and proves who it is.
    ///
    /// # Panics
    /// If it is refused.
    pub fn begin(computer: &Computer, start: &[u8]) -> Self {
        let connection = computer.firmware(|firmware| Connection::open(firmware, 16994));
        let computer = computer.clone();
        let mut session = Self { computer, connection: connection.expect("it listens") };
        assert_eq!(session.say(start)[..2], [0x11, 0]);
        const URI: &str = "/RedirectionService";
        let challenge = session.say(&proof([ADMIN, "", "", URI, "", "", "", ""]));
        let mut rest = &challenge[9..];
        let mut field = || {
            let (text, tail) = rest[1..].split_at(usize::from(rest[0]));
            rest = tail;
            String::from_utf8(text.to_vec()).expect("a text")
        };
        let (realm, nonce) = (field(), field());
        let (ha1, ha2) = (hash(&[ADMIN, &realm, PASSWORD]), hash(&["POST", URI]));
        let response = hash(&[&ha1, &nonce, "00000001", "c0ffee", "auth", &ha2]);
        let fields = [ADMIN, &realm, &nonce, URI, "c0ffee", "00000001", &response, "auth"];
        assert_eq!(session.say(&proof(fields)), [0x14, 0, 0, 0, 4, 0, 0, 0, 0]);
        session
    }

    /// Says something; what comes back at once.
    pub fn say(&mut self, bytes: &[u8]) -> Vec<u8> {
        let connection = &mut self.connection;
        self.computer.firmware(|firmware| connection.receive(firmware, bytes));
        connection.take()
    }
}

fn proof(fields: [&str; 8]) -> Vec<u8> {
    let payload: Vec<u8> =
        fields.iter().flat_map(|f| [&[f.len() as u8], f.as_bytes()].concat()).collect();
    let length = (payload.len() as u32).to_le_bytes();
    [&[0x13, 0, 0, 0, 4][..], &length, &payload].concat()
}
