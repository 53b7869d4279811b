//! The machine that speaks to the firmware's web server: requests in, bytes out, without a socket.
//!
//! ```text
//! start ──► bytes ──► receive ──► Send (again, with a proof) ──► receive ──► Done
//!                        └──────► Reconnect (the same, on a new connection)
//! ```
//!
//! A 401 may come at any time, because a nonce grew old or the users changed; one that answers a
//! proof made with a nonce of this very request means that the password is wrong, and is not tried
//! again: firmware counts failures.

use super::super::digest::{Challenge, Credentials, Request, Session};
use super::answer::Refused;
use super::http::{self, Decoder, Response};

/// Times a request is sent: without a proof, with one, and once more when the nonce grew old.
const SENT_MAX: u8 = 4;

/// What is to be done after something happened on the connection.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Wait for more.
    More,
    /// Send this on the same connection.
    Send(Vec<u8>),
    /// Open a new connection and send this.
    Reconnect(Vec<u8>),
    /// The answer is there.
    Done(Result<Response, Refused>),
}

/// See the module.
pub struct Client {
    credentials: Credentials,
    host: String,
    session: Option<Session>,
    decoder: Decoder,
    request: Option<Underway>,
    version: Option<String>,
    /// The connection cannot be used for another request.
    closed: bool,
}

struct Underway {
    body: String,
    sent: u8,
    /// The proof was made with a nonce that came as an answer to this request.
    fresh: bool,
    /// Whether it was sent on a connection that had been used before.
    reused: bool,
}

impl Client {
    /// A client that has no connection yet. `remembered` is a challenge of an earlier one: with it
    /// the first request already carries its proof.
    pub fn new(credentials: Credentials, host: &str, remembered: Option<Challenge>) -> Self {
        let session = remembered.map(|challenge| Session::new(&credentials, challenge));
        let (decoder, host) = (Decoder::default(), host.to_owned());
        Self { credentials, host, session, decoder, request: None, version: None, closed: true }
    }

    /// The last challenge, to be remembered.
    pub fn challenge(&self) -> Option<&Challenge> {
        self.session.as_ref().map(Session::challenge)
    }

    /// The version of the firmware, as its web server tells it.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Whether a new connection has to be opened before the next request.
    pub fn needs_connection(&self) -> bool {
        self.closed
    }

    /// Begins a request with this document. Whatever was under way is given up.
    pub fn start(&mut self, body: String) -> Vec<u8> {
        let reused = !std::mem::replace(&mut self.closed, false);
        self.decoder = Decoder::default();
        self.request = Some(Underway { body, sent: 0, fresh: false, reused });
        self.say().unwrap_or_default()
    }

    /// The connection is given up.
    pub fn abandon(&mut self) {
        (self.closed, self.request) = (true, None);
    }

    /// Takes bytes of the connection.
    pub fn receive(&mut self, bytes: &[u8]) -> Step {
        if self.request.is_none() {
            // Nothing was asked, so nothing is heard.
            self.closed = true;
            return Step::More;
        }
        match self.decoder.receive(bytes) {
            Ok(Some(response)) => self.judge(response),
            Ok(None) => Step::More,
            Err(error) => self.done(Err(Refused::Malformed(error.0.to_owned())), true),
        }
    }

    /// The connection was ended by the other side.
    pub fn ended(&mut self) -> Step {
        self.closed = true;
        if let Some(response) = self.decoder.end() {
            return self.judge(response);
        }
        match &mut self.request {
            // Nothing was heard of a request on an idle connection: it ended before.
            Some(request) if request.reused && !self.decoder.has_begun() => {
                request.reused = false;
                self.decoder = Decoder::default();
                self.closed = false;
                self.say().map_or(Step::More, Step::Reconnect)
            }
            Some(_) => {
                self.done(Err(Refused::Malformed("the connection ended before it".into())), true)
            }
            None => Step::More,
        }
    }

    fn judge(&mut self, response: Response) -> Step {
        if let Some(version) = response.server.as_deref().and_then(http::version) {
            self.version = Some(version);
        }
        let Some(request) = &mut self.request else { return Step::More };
        if response.status != 401 {
            let close = response.close;
            return self.done(Ok(response), close);
        }
        let Some(challenge) = response.challenge else {
            return self.done(Err(Refused::Status(401)), true);
        };
        let proven = std::mem::replace(&mut request.fresh, true) && !challenge.stale;
        if proven || request.sent >= SENT_MAX {
            self.session = None;
            return self.done(Err(Refused::Credentials), true);
        }
        self.session = Some(Session::new(&self.credentials, challenge));
        let Some(bytes) = self.say() else { return Step::More };
        if response.close || self.closed {
            self.decoder = Decoder::default();
            self.closed = false;
            if let Some(request) = &mut self.request {
                request.reused = false;
            }
            return Step::Reconnect(bytes);
        }
        Step::Send(bytes)
    }

    fn done(&mut self, outcome: Result<Response, Refused>, close: bool) -> Step {
        self.request = None;
        self.closed |= close;
        Step::Done(outcome)
    }

    /// The request under way, with a proof if there is something to prove.
    fn say(&mut self) -> Option<Vec<u8>> {
        let request = self.request.as_mut()?;
        request.sent += 1;
        let authorization = self.session.as_mut().map(|session| {
            let body = request.body.as_bytes();
            let what = Request { method: "POST", uri: "/wsman", body };
            session.authorize(what, &own_nonce())
        });
        Some(http::request(&self.host, authorization.as_deref(), &request.body))
    }
}

/// Random text of 16 digits; without randomness the count alone keeps proofs apart.
fn own_nonce() -> String {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    data_encoding::HEXLOWER.encode(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REALM: &str = "Digest:A4070000000000000000000000000001";

    fn client(remembered: Option<&str>) -> Client {
        let credentials = Credentials { user: "admin".into(), password: "P@ssw0rd".into() };
        let remembered = remembered.map(challenge);
        Client::new(credentials, "device", remembered)
    }

    fn challenge(nonce: &str) -> Challenge {
        let text = format!(r#"Digest realm="{REALM}", nonce="{nonce}",stale="false",qop="auth""#);
        Challenge::parse(&text).unwrap()
    }

    fn ask(nonce: &str, stale: bool, close: bool) -> String {
        let close = if close { "Connection: close\r\n" } else { "" };
        format!(
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"{REALM}\", \
             nonce=\"{nonce}\",stale=\"{stale}\",qop=\"auth\"\r\n{close}Content-Length: 2\r\n\r\nno"
        )
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nServer: AMT 16.1.25.1\r\nContent-Length: 2\r\n\r\nok";

    /// The nonce and count that a request proves itself with.
    fn proof(bytes: &[u8]) -> Option<(String, String)> {
        let text = std::str::from_utf8(bytes).unwrap();
        let part = |from: &str, to: char| {
            let (_, rest) = text.split_once(from)?;
            Some(rest.split(to).next()?.to_owned())
        };
        Some((part(",nonce=\"", '"')?, part("nc=", ',')?))
    }

    fn sent(step: Step) -> (bool, Vec<u8>) {
        match step {
            Step::Send(bytes) => (false, bytes),
            Step::Reconnect(bytes) => (true, bytes),
            other => panic!("{other:?}"),
        }
    }

    fn proven(nonce: &str, count: u32) -> Option<(String, String)> {
        Some((nonce.to_owned(), format!("{count:08x}")))
    }

    #[test]
    fn the_first_answer_asks_for_a_proof_and_closes() {
        let mut client = client(None);
        assert!(client.needs_connection());
        assert_eq!(proof(&client.start("<x/>".into())), None);
        let (again, bytes) = sent(client.receive(ask("n1", false, true).as_bytes()));
        assert!(again);
        assert_eq!(proof(&bytes), proven("n1", 1));
        let Step::Done(Ok(response)) = client.receive(OK.as_bytes()) else { panic!() };
        assert_eq!((response.status, client.version()), (200, Some("16.1.25")));
        assert!(!client.needs_connection());
        assert_eq!(proof(&client.start("<y/>".into())), proven("n1", 2));
    }

    #[test]
    fn a_nonce_that_grew_old_is_replaced_whatever_is_said_of_it() {
        for stale in [true, false] {
            let mut client = client(Some("old"));
            assert_eq!(proof(&client.start("<x/>".into())), proven("old", 1));
            let (again, bytes) = sent(client.receive(ask("new", stale, false).as_bytes()));
            assert_eq!((again, proof(&bytes)), (false, proven("new", 1)));
            assert!(matches!(client.receive(OK.as_bytes()), Step::Done(Ok(_))));
        }
    }

    #[test]
    fn a_challenge_that_is_remembered_is_counted_on() {
        let mut first = client(Some("n1"));
        assert_eq!(proof(&first.start("<x/>".into())), proven("n1", 1));
        assert!(matches!(first.receive(OK.as_bytes()), Step::Done(Ok(_))));
        let mut second = client(None);
        second.session = first.challenge().cloned().map(|c| Session::new(&second.credentials, c));
        assert_eq!(proof(&second.start("<y/>".into())), proven("n1", 2));
    }

    #[test]
    fn a_wrong_password_is_tried_once() {
        let mut client = client(None);
        client.start("<x/>".into());
        sent(client.receive(ask("n1", false, true).as_bytes()));
        let refused = client.receive(ask("n2", false, true).as_bytes());
        assert_eq!(refused, Step::Done(Err(Refused::Credentials)));
        assert!(client.needs_connection() && client.challenge().is_none());
    }

    #[test]
    fn a_device_that_asks_for_ever_is_left() {
        let mut client = client(None);
        client.start("<x/>".into());
        for n in 0..SENT_MAX - 1 {
            sent(client.receive(ask(&format!("n{n}"), true, false).as_bytes()));
        }
        let refused = client.receive(ask("last", true, false).as_bytes());
        assert_eq!(refused, Step::Done(Err(Refused::Credentials)));
    }

    #[test]
    fn a_connection_that_ended_while_idle_is_opened_again_once() {
        let mut client = client(Some("n"));
        client.start("<x/>".into());
        assert!(matches!(client.receive(OK.as_bytes()), Step::Done(Ok(_))));
        client.start("<y/>".into());
        let (again, bytes) = sent(client.ended());
        assert_eq!((again, proof(&bytes)), (true, proven("n", 3)));
        assert!(matches!(client.ended(), Step::Done(Err(Refused::Malformed(_)))));
        // On a connection of its own, a request that is not answered is not repeated: it may have
        // been performed.
        client.start("<z/>".into());
        assert!(matches!(client.ended(), Step::Done(Err(Refused::Malformed(_)))));
    }

    #[test]
    fn half_an_answer_and_what_is_none_end_the_connection() {
        let mut client = client(Some("n"));
        client.start("<x/>".into());
        assert_eq!(client.receive(b"HTTP/1.1 200 OK\r\nContent-Le"), Step::More);
        assert!(matches!(client.ended(), Step::Done(Err(Refused::Malformed(_)))));
        client.start("<x/>".into());
        assert!(matches!(client.receive(b"nonsense\r\n\r\n"), Step::Done(Err(_))));
        assert!(client.needs_connection());
    }
}
