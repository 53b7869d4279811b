//! A client that speaks redirection by itself, without the password: the stock page.
//!
//! Source: amt-management §15, `p=2` and `p=4` of `/webrelay.ashx`. The client logs in with anything;
//! what it says instead of a proof is replaced by one of ours. Nothing else is changed, but for input
//! of those who may only look, which is taken out ([`sol::Gate`], [`rfb::Viewer`]). At most a message
//! of 1 KB of each side is kept, and only until the client is in.

use super::super::digest::Credentials;
use super::handshake::{OwnNonce, Prover};
use super::held::{Held, Misuse};
use super::kvm::OPEN;
use super::mediator::{Mail, Mediator, Over};
use super::permit::Permit;
use super::wire::{self, Challenge, Malformed, Reply, Request, Service, method};
use super::{rfb, sol};

/// What follows the login.
enum Gate {
    /// The client has not said yet what it wants.
    Unknown,
    Sol(sol::Gate),
    /// The screen is opened first.
    Kvm(Held, rfb::Viewer),
    /// Nothing is taken out of it.
    Ider,
}

/// See the module.
pub struct Interceptor {
    permit: Permit,
    /// `None`: the client logs in with a password of its own.
    prover: Option<Prover>,
    challenge: Option<Challenge>,
    /// Answers given so far.
    count: u32,
    gate: Gate,
    service: Option<Service>,
    /// The client is in.
    is_open: bool,
    from_user: Vec<u8>,
    from_firmware: Vec<u8>,
}

impl Interceptor {
    /// For a client that is logged in with `credentials`, or logs in itself.
    pub fn new(permit: Permit, credentials: Option<(Credentials, OwnNonce)>) -> Self {
        Self {
            permit,
            prover: credentials.map(|(credentials, own_nonce)| Prover { credentials, own_nonce }),
            challenge: None,
            count: 0,
            gate: Gate::Unknown,
            service: None,
            is_open: false,
            from_user: Vec::new(),
            from_firmware: Vec::new(),
        }
    }

    /// Passes on what is said in the protocol of the service.
    fn pass(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Misuse> {
        let input = self.permit.input();
        match &mut self.gate {
            Gate::Unknown => Err(Misuse),
            Gate::Sol(gate) => gate.pass(bytes, input, out),
            Gate::Kvm(opening, viewer) => {
                if opening.first(bytes) == Some(OPEN[0]) {
                    let Some(open) = opening.take(&mut bytes, OPEN.len()) else { return Ok(()) };
                    out.extend_from_slice(&open);
                }
                viewer.pass(bytes, input, out)
            }
            Gate::Ider => {
                out.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// One message of the client before it is in.
    fn ask(&mut self, request: Request, message: &[u8], mail: &mut Mail) {
        match (request, &self.prover) {
            (Request::Start(Some(service)), _) if self.permit.allows(service) => {
                self.service = Some(service);
                self.gate = match service {
                    Service::Sol => Gate::Sol(sol::Gate::default()),
                    Service::Kvm => Gate::Kvm(Held::default(), rfb::Viewer::default()),
                    Service::Ider => Gate::Ider,
                };
            }
            (Request::Start(_), _) => return mail.end(Over::NoRight),
            (Request::Authenticate(method::DIGEST), Some(prover)) => {
                let proof = match &self.challenge {
                    Some(challenge) => {
                        self.count = self.count.wrapping_add(1);
                        prover.answer(challenge, &format!("{:08}", self.count))
                    }
                    None => prover.ask(),
                };
                return mail.to_firmware.extend_from_slice(&proof);
            }
            (Request::Authenticate(_) | Request::End, _) => {}
        }
        mail.to_firmware.extend_from_slice(message);
    }
}

impl Mediator for Interceptor {
    fn user_says(&mut self, bytes: &[u8], mail: &mut Mail) {
        if !self.is_open {
            self.from_user.extend_from_slice(bytes);
            loop {
                match wire::request(&self.from_user) {
                    Ok(Some((request, length))) => {
                        let message: Vec<u8> = self.from_user.drain(..length).collect();
                        self.ask(request, &message, mail);
                    }
                    Ok(None) => return,
                    Err(Malformed) => return mail.end(Over::Misuse),
                }
            }
        }
        if let Err(Misuse) = self.pass(bytes, &mut mail.to_firmware) {
            mail.end(Over::Misuse);
        }
    }

    fn firmware_says(&mut self, bytes: &[u8], mail: &mut Mail) {
        if self.is_open {
            return mail.to_user.extend_from_slice(bytes);
        }
        self.from_firmware.extend_from_slice(bytes);
        while !self.is_open {
            match wire::reply(&self.from_firmware) {
                Ok(Some((reply, length))) => {
                    mail.to_user.extend(self.from_firmware.drain(..length));
                    match reply {
                        Reply::Challenge(challenge) => self.challenge = Some(challenge),
                        Reply::Accepted => self.is_open = true,
                        _ => {}
                    }
                }
                Ok(None) => return,
                Err(Malformed) => return mail.end(Over::Garbled),
            }
        }
        mail.to_user.append(&mut self.from_firmware);
        // Nobody waits for the end of what he says before he is in.
        let early = std::mem::take(&mut self.from_user);
        if let Err(Misuse) = self.pass(&early, &mut mail.to_firmware) {
            mail.end(Over::Misuse);
        }
    }

    fn set_permit(&mut self, permit: Permit) -> bool {
        let narrows = permit.input() != self.permit.input();
        self.permit = permit;
        let is_understood = match &self.gate {
            Gate::Kvm(_, viewer) => viewer.is_understood(),
            _ => true,
        };
        let allows = self.service.map_or(permit.allows_any(), |service| permit.allows(service));
        allows && (!narrows || is_understood)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amt::redirection::testing::{cut, hex, lines};
    use crate::model::Rights;
    use proptest::prelude::*;

    const FILE: &str = include_str!("../../../tests/vectors/redir-handshake.json");
    const SESSIONS: [(&str, &[u8; 10]); 2] = [("sol", b"d2011a5bb8"), ("kvm", b"e7eb6e36f3")];

    fn interceptor(rights: Rights, own_nonce: &OwnNonce) -> Interceptor {
        let credentials = Credentials { user: "admin".into(), password: "P@ssw0rd".into() };
        let permit = Permit { rights, view_only: false };
        Interceptor::new(permit, Some((credentials, *own_nonce)))
    }

    /// What a page says that has neither name nor password.
    fn page(service: Service) -> [Vec<u8>; 4] {
        let login = |user| wire::digest([user, "", "", wire::URI, "", "", "", ""]);
        let proof = wire::digest(["*", "any", "thing", wire::URI, "it", "1", "likes", "auth"]);
        [service.start().to_vec(), wire::query(), login("*"), proof]
    }

    /// Lets a page in; what the firmware was told.
    fn let_in(interceptor: &mut Interceptor, name: &str, service: Service, size: usize) -> Mail {
        let mut mail = Mail::default();
        let mut said = page(service).into_iter();
        for line in lines(FILE, name).into_iter().filter(|line| line.by_firmware) {
            let said = said.next().unwrap();
            said.chunks(size).for_each(|piece| interceptor.user_says(piece, &mut mail));
            line.bytes.chunks(size).for_each(|piece| interceptor.firmware_says(piece, &mut mail));
        }
        mail
    }

    #[test]
    fn the_firmware_is_told_what_the_stock_server_tells_it() {
        for (name, own_nonce) in SESSIONS {
            let service = if name == "kvm" { Service::Kvm } else { Service::Sol };
            for size in [1, 7, 1000] {
                let mut interceptor = interceptor(Rights::REMOTE_CONTROL, own_nonce);
                let mail = let_in(&mut interceptor, name, service, size);
                let said = |by_firmware: bool| -> Vec<u8> {
                    let lines = lines(FILE, name).into_iter();
                    let lines = lines.filter(|line| line.by_firmware == by_firmware);
                    lines.flat_map(|line| line.bytes).collect()
                };
                assert_eq!(hex(&mail.to_firmware), hex(&said(false)), "{name}");
                assert_eq!(hex(&mail.to_user), hex(&said(true)), "{name}");
                assert_eq!(mail.over, None);
            }
        }
    }

    #[test]
    fn the_password_never_reaches_the_page() {
        let mut interceptor = interceptor(Rights::REMOTE_CONTROL, b"e7eb6e36f3");
        let mail = let_in(&mut interceptor, "kvm", Service::Kvm, 1000);
        for secret in ["admin", "P@ssw0rd", "f80de5423ccde8a9053c80a93ae7ad63"] {
            let shown = mail.to_user.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!shown, "{secret}");
        }
    }

    #[test]
    fn without_credentials_the_page_logs_in_itself() {
        let permit = Permit { rights: Rights::REMOTE_CONTROL, view_only: false };
        let mut interceptor = Interceptor::new(permit, None);
        let mail = let_in(&mut interceptor, "kvm", Service::Kvm, 1000);
        assert_eq!(mail.to_firmware, page(Service::Kvm).concat());
    }

    #[test]
    fn what_is_not_allowed_is_not_asked_for() {
        const CONTROL: Rights = Rights::REMOTE_CONTROL;
        for (rights, service) in [
            (CONTROL | Rights::NO_DESKTOP, Service::Kvm),
            (CONTROL | Rights::NO_TERMINAL, Service::Sol),
            (CONTROL | Rights::VIEW_ONLY, Service::Ider),
        ] {
            let mut mail = Mail::default();
            interceptor(rights, b"0123456789").user_says(&service.start(), &mut mail);
            assert_eq!((mail.over, mail.to_firmware), (Some(Over::NoRight), vec![]));
        }
        for bytes in [&b"\x10\0\0\0XYZ!"[..], b"\x20\0\0\0\x01\0\0\0", b"GET /"] {
            let mut mail = Mail::default();
            interceptor(CONTROL, b"0123456789").user_says(bytes, &mut mail);
            assert!(mail.over.is_some() && mail.to_firmware.is_empty(), "{bytes:?}");
        }
    }

    #[test]
    fn keys_of_those_who_may_only_look_are_taken_out() {
        let looking = Rights::REMOTE_CONTROL | Rights::VIEW_ONLY;
        let mut interceptor = interceptor(looking, b"e7eb6e36f3");
        let_in(&mut interceptor, "kvm", Service::Kvm, 1000);
        let mut mail = Mail::default();
        let greeting = [&OPEN[..], b"RFB 003.008\n\x01\x01"].concat();
        for byte in &greeting {
            interceptor.user_says(&[*byte], &mut mail);
        }
        interceptor.user_says(&[4, 1, 0, 0, 0, 0, 0, b'a'], &mut mail);
        interceptor.user_says(&[5, 1, 0, 0, 0, 0], &mut mail);
        assert_eq!(mail.to_firmware, greeting);
        let mut mail = Mail::default();
        interceptor.firmware_says(b"\x41picture", &mut mail);
        assert_eq!(mail.to_user, b"\x41picture");
    }

    proptest! {
        #[test]
        fn nothing_that_comes_breaks_it(
            pieces in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..20),
            sizes in cut(),
        ) {
            let mut interceptor = interceptor(Rights::REMOTE_CONTROL, b"e7eb6e36f3");
            let_in(&mut interceptor, "kvm", Service::Kvm, sizes.first().copied().unwrap_or(1));
            let mut mail = Mail::default();
            for (by_user, bytes) in pieces {
                match by_user {
                    true => interceptor.user_says(&bytes, &mut mail),
                    false => interceptor.firmware_says(&bytes, &mut mail),
                }
            }
        }
    }
}
