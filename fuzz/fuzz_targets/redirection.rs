//! Any bytes of a user and of Intel AMT through screen, serial line, drives and what logs in to
//! them: the same in any split, no more to either side than there was to say, and bounded memory.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meshboard::amt::digest::Credentials;
use meshboard::amt::redirection::handshake::{Handshake, OwnNonce};
use meshboard::amt::redirection::ider::{Effect, Ider, Start};
use meshboard::amt::redirection::interceptor::Interceptor;
use meshboard::amt::redirection::kvm::Kvm;
use meshboard::amt::redirection::sol::Sol;
use meshboard::amt::redirection::{Mail, Mediator, Over, Permit, Service, wire};
use meshboard::model::Rights;

const NONCE: OwnNonce = *b"0123456789";

fn credentials() -> Credentials {
    Credentials { user: "admin".into(), password: "P@ssw0rd1".into() }
}

fn mediator(kind: u8, permit: Permit) -> Box<dyn Mediator> {
    match kind % 4 {
        0 => Box::new(Interceptor::new(permit, Some((credentials(), NONCE)))),
        1 => Box::new(Interceptor::new(permit, None)),
        2 => Box::new(Kvm::new(permit)),
        _ => Box::new(Sol::new(permit)),
    }
}

/// What was said to user and firmware, and why it ended. Each turn begins with who speaks, and how
/// much: the lowest bit, and the rest.
fn play(
    mut who: Box<dyn Mediator>,
    mut bytes: &[u8],
    piece: usize,
) -> (Vec<u8>, Vec<u8>, Option<Over>) {
    let (mut to_user, mut to_firmware) = (Vec::new(), Vec::new());
    let mut mail = Mail::default();
    who.begin(&mut mail);
    while let [turn, rest @ ..] = bytes {
        let (said, rest) = rest.split_at(usize::from(turn >> 1).min(rest.len()));
        bytes = rest;
        for part in said.chunks(piece) {
            match turn & 1 {
                0 => who.user_says(part, &mut mail),
                _ => who.firmware_says(part, &mut mail),
            }
            to_user.append(&mut mail.to_user);
            to_firmware.append(&mut mail.to_firmware);
            if mail.over.is_some() {
                return (to_user, to_firmware, mail.over);
            }
        }
    }
    (to_user, to_firmware, None)
}

/// What a login comes to.
fn log_in(bytes: &[u8], piece: usize) -> (Vec<u8>, Option<Vec<u8>>, Option<Over>) {
    let (mut handshake, _) = Handshake::begin(Service::Kvm, credentials(), NONCE);
    let mut said = Vec::new();
    let mut parts = bytes.chunks(piece);
    while let Some(part) = parts.next() {
        match handshake.take(part) {
            Ok(progress) => {
                said.extend(progress.send);
                if let Some(mut open) = progress.open {
                    open.extend(parts.flatten());
                    return (said, Some(open), None);
                }
            }
            Err(over) => return (said, None, Some(over)),
        }
    }
    (said, None, None)
}

/// What drives say, when every read succeeds.
fn drive(bytes: &[u8], piece: usize) -> Vec<u8> {
    let (mut ider, first) = Ider::begin(Some(2880), Some(100), Start::Now);
    let (mut said, mut turns) = (Vec::new(), 0);
    let mut effects = vec![first];
    for part in bytes.chunks(piece) {
        effects.extend(ider.take(part));
        let mut next = effects.drain(..).collect::<std::collections::VecDeque<_>>();
        while let Some(effect) = next.pop_front() {
            match effect {
                Effect::Send(bytes) => said.extend(bytes),
                Effect::Read { len, at, .. } => {
                    assert!(len <= 8192, "{len} bytes at once");
                    turns += 1;
                    // A host may ask for the whole disc over and over.
                    if turns > 500 {
                        return said;
                    }
                    let data = vec![at as u8; len];
                    next.extend(ider.data(Some(&data)));
                }
                Effect::Over(_) => return said,
                Effect::Asked { .. } | Effect::Enabled => {}
            }
        }
    }
    said
}

fuzz_target!(|input: &[u8]| {
    let [kind, rights, size, bytes @ ..] = input else { return };
    let size = usize::from(*size) + 1;
    let _ = (wire::reply(bytes), wire::request(bytes));
    match kind % 6 {
        4 => {
            let whole = log_in(bytes, bytes.len().max(1));
            for split in [log_in(bytes, size), log_in(bytes, 1)] {
                assert_eq!((&split.1, split.2), (&whole.1, whole.2));
                // What is said before a refusal depends on how much has come until then.
                assert!(split.0 == whole.0 || whole.2.is_some());
            }
        }
        5 => {
            drive(bytes, bytes.len().max(1));
            drive(bytes, size);
        }
        kind => {
            let mut permit = Permit { rights: Rights::REMOTE_CONTROL, view_only: rights & 1 != 0 };
            if rights & 2 != 0 {
                permit.rights |= Rights::LIMITED_INPUT;
            }
            let whole = play(mediator(kind, permit), bytes, usize::MAX);
            let split = play(mediator(kind, permit), bytes, size);
            assert_eq!(whole.2, split.2);
            // A serial line frames what a user says as it comes, and an end cuts off what is said.
            if kind != 3 && whole.2.is_none() {
                assert_eq!(whole, split);
            }
        }
    }
});
