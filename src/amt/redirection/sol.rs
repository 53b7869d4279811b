//! Serial over LAN: the serial line of a computer as bytes.
//!
//! Source: amt-management §17. Every message has a type, three zeros and a number; data stand behind
//! a length of two bytes. [`Sol`] makes plain bytes of it for a user, [`Gate`] keeps a user who
//! speaks the protocol himself from typing. Neither keeps more than one head of 24 bytes.

use std::time::Duration;

use super::held::{Held, Misuse, run};
use super::mediator::{Mail, Mediator, Over};
use super::permit::{Input, Permit};
use super::wire::Service;

/// How often the firmware is told that we are there.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Bytes put into one message; the firmware takes ten times as many.
const PIECE: usize = 1000;

mod kind {
    pub(super) const START: u8 = 0x20;
    pub(super) const STARTED: u8 = 0x21;
    pub(super) const END: u8 = 0x22;
    pub(super) const ENDED: u8 = 0x23;
    pub(super) const PING: u8 = 0x24;
    pub(super) const PONG: u8 = 0x25;
    pub(super) const CONTROLS: u8 = 0x27;
    pub(super) const DATA: u8 = 0x28;
    pub(super) const HOST_CONTROLS: u8 = 0x29;
    pub(super) const HOST_DATA: u8 = 0x2a;
    pub(super) const HEARTBEAT: u8 = 0x2b;
}

/// Buffers of 10,000 bytes that may wait 10 s (to us) or 0.1 s (to the host), no heartbeat wanted.
const TERMS: [u8; 16] = [0x10, 0x27, 0x64, 0, 0, 0, 0x10, 0x27, 0x64, 0, 0, 0, 0, 0, 0, 0];
/// Lets the host send.
const CONTROLS: [u8; 6] = [0, 0, 0x1b, 0, 0, 0];

/// Length of a message of the firmware, without data.
fn length_from_firmware(kind: u8) -> Option<usize> {
    Some(match kind {
        kind::STARTED => 23,
        kind::ENDED | kind::PING | kind::PONG | kind::HEARTBEAT => 8,
        kind::HOST_CONTROLS | kind::HOST_DATA => 10,
        _ => return None,
    })
}

/// Length of a message of a client, without data.
fn length_from_client(kind: u8) -> Option<usize> {
    Some(match kind {
        kind::START => 24,
        kind::END | kind::PING | kind::PONG | kind::HEARTBEAT => 8,
        kind::CONTROLS => 14,
        kind::DATA => 10,
        _ => return None,
    })
}

/// The length of the data behind a head.
fn data_behind(head: &[u8]) -> u64 {
    match head {
        [.., low, high] => u64::from(u16::from_le_bytes([*low, *high])),
        _ => 0,
    }
}

/// A serial line as bytes. See the module.
pub struct Sol {
    permit: Permit,
    /// Of the next message.
    number: u32,
    /// The firmware has agreed.
    is_open: bool,
    head: Held,
    /// Bytes of data that are still to come.
    data: u64,
}

impl Sol {
    /// A session that begins, once its user was let in.
    pub fn new(permit: Permit) -> Self {
        Self { permit, number: 1, is_open: false, head: Held::default(), data: 0 }
    }

    fn say(&mut self, kind: u8, rest: &[&[u8]], mail: &mut Mail) {
        let out = &mut mail.to_firmware;
        out.extend_from_slice(&[kind, 0, 0, 0]);
        out.extend_from_slice(&self.number.to_le_bytes());
        rest.iter().for_each(|part| out.extend_from_slice(part));
        self.number = self.number.wrapping_add(1);
    }

    fn hear(&mut self, head: &[u8], mail: &mut Mail) {
        match head {
            [kind::STARTED, 0, ..] => {
                self.is_open = true;
                mail.begun = true;
                self.say(kind::CONTROLS, &[&CONTROLS], mail);
            }
            [kind::STARTED, ..] => mail.end(Over::Unsupported),
            [kind::ENDED, ..] => mail.end(Over::ByDevice),
            [kind::PING, ..] => self.say(kind::PONG, &[], mail),
            [kind::HOST_DATA, ..] => self.data = data_behind(head),
            // What the line's control signals are is of no use to a terminal.
            _ => {}
        }
    }
}

impl Mediator for Sol {
    fn begin(&mut self, mail: &mut Mail) {
        self.say(kind::START, &[&TERMS], mail);
    }

    fn user_says(&mut self, bytes: &[u8], mail: &mut Mail) {
        if self.permit.input() == Input::Nothing || !self.is_open {
            return;
        }
        for piece in bytes.chunks(PIECE) {
            self.say(kind::DATA, &[&(piece.len() as u16).to_le_bytes(), piece], mail);
        }
    }

    fn firmware_says(&mut self, mut bytes: &[u8], mail: &mut Mail) {
        while mail.over.is_none() {
            mail.to_user.extend_from_slice(run(&mut bytes, &mut self.data));
            let Some(kind) = self.head.first(bytes) else { return };
            let Some(length) = length_from_firmware(kind) else {
                return mail.end(Over::Garbled);
            };
            let Some(head) = self.head.take(&mut bytes, length) else { return };
            self.hear(&head, mail);
        }
    }

    fn every(&self) -> Option<Duration> {
        Some(HEARTBEAT)
    }

    fn tick(&mut self, mail: &mut Mail) {
        if self.is_open {
            self.say(kind::HEARTBEAT, &[], mail);
        }
    }

    fn set_permit(&mut self, permit: Permit) -> bool {
        self.permit = permit;
        permit.allows(Service::Sol)
    }

    fn closed(&self) -> Over {
        if self.is_open { Over::ByDevice } else { Over::Unsupported }
    }
}

/// What a client says to the firmware, without what it types if it may not. Messages are numbered
/// anew, so that none is missing.
#[derive(Debug, Default)]
pub(super) struct Gate {
    head: Held,
    data: u64,
    is_dropping: bool,
    /// Messages dropped so far.
    dropped: u32,
}

impl Gate {
    /// Passes on what may go through.
    pub(super) fn pass(
        &mut self,
        mut bytes: &[u8],
        input: Input,
        out: &mut Vec<u8>,
    ) -> Result<(), Misuse> {
        loop {
            let data = run(&mut bytes, &mut self.data);
            if !self.is_dropping {
                out.extend_from_slice(data);
            }
            let Some(kind) = self.head.first(bytes) else { return Ok(()) };
            let length = length_from_client(kind).ok_or(Misuse)?;
            let Some(mut head) = self.head.take(&mut bytes, length) else { return Ok(()) };
            self.is_dropping = kind == kind::DATA && input == Input::Nothing;
            if kind == kind::DATA {
                self.data = data_behind(&head);
            }
            if self.is_dropping {
                self.dropped = self.dropped.wrapping_add(1);
                continue;
            }
            if let Some(number) = head.get_mut(4..).and_then(|rest| rest.first_chunk_mut::<4>()) {
                *number = u32::from_le_bytes(*number).wrapping_sub(self.dropped).to_le_bytes();
            }
            out.extend_from_slice(&head);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amt::redirection::testing::{Line, cut, hex, lines};
    use crate::model::Rights;
    use proptest::prelude::*;

    fn permit(rights: Rights) -> Permit {
        Permit { rights, view_only: false }
    }

    /// The recorded session: what the firmware said, and what is to be said to it.
    fn recorded() -> Vec<Line> {
        lines(include_str!("../../../tests/vectors/redir-sol.json"), "messages")
    }

    fn said_by_firmware() -> Vec<u8> {
        recorded().into_iter().filter(|line| line.by_firmware).flat_map(|line| line.bytes).collect()
    }

    #[test]
    fn the_recorded_session_is_held_again() {
        let mut sol = Sol::new(permit(Rights::FULL));
        let mut mail = Mail::default();
        sol.begin(&mut mail);
        sol.user_says(b"too early", &mut mail);
        sol.firmware_says(&said_by_firmware(), &mut mail);
        sol.tick(&mut mail);
        sol.user_says(b"ls\r", &mut mail);
        sol.tick(&mut mail);
        let expected: Vec<u8> =
            recorded().into_iter().filter(|l| !l.by_firmware).flat_map(|l| l.bytes).collect();
        assert_eq!(hex(&mail.to_firmware), hex(&expected));
        assert_eq!(mail.to_user, b"\x1b[2J\x1b[1;1HHello SOL");
        assert!(mail.begun);
        assert_eq!(mail.over, None);
    }

    #[test]
    fn who_may_only_look_sees_and_types_nothing() {
        let mut sol = Sol::new(permit(Rights::REMOTE_CONTROL | Rights::VIEW_ONLY));
        let mut mail = Mail::default();
        sol.begin(&mut mail);
        sol.firmware_says(&said_by_firmware(), &mut mail);
        let before = mail.to_firmware.len();
        sol.user_says(b"rm\r", &mut mail);
        assert_eq!(mail.to_firmware.len(), before);
        assert!(!mail.to_user.is_empty());
        assert!(sol.set_permit(permit(Rights::REMOTE_CONTROL)));
        sol.user_says(b"ls\r", &mut mail);
        assert!(mail.to_firmware.ends_with(b"\x03\0ls\r"));
        assert!(!sol.set_permit(permit(Rights::REMOTE_CONTROL | Rights::NO_TERMINAL)));
    }

    #[test]
    fn long_input_goes_in_pieces_and_pings_are_answered() {
        let mut sol = Sol { is_open: true, ..Sol::new(permit(Rights::FULL)) };
        let mut mail = Mail::default();
        sol.user_says(&[7; 2500], &mut mail);
        assert_eq!(mail.to_firmware.len(), 3 * 10 + 2500);
        let mut mail = Mail::default();
        sol.firmware_says(&[kind::PING, 0, 0, 0, 9, 0, 0, 0], &mut mail);
        assert_eq!(mail.to_firmware, [kind::PONG, 0, 0, 0, 4, 0, 0, 0]);
    }

    #[test]
    fn a_firmware_that_refuses_ends_or_babbles_ends_the_session() {
        for (bytes, why) in [
            (&[kind::STARTED, 1][..], Over::Unsupported),
            (&[kind::ENDED], Over::ByDevice),
            (&[0x99], Over::Garbled),
        ] {
            let mut bytes = bytes.to_vec();
            bytes.resize(23, 0);
            let mut mail = Mail::default();
            Sol::new(permit(Rights::FULL)).firmware_says(&bytes, &mut mail);
            assert_eq!(mail.over, Some(why));
        }
    }

    #[test]
    fn at_the_gate_typing_is_taken_out_and_the_numbers_stay_whole() {
        let message = |kind: u8, number: u8, rest: &[u8]| {
            [&[kind, 0, 0, 0, number, 0, 0, 0][..], rest].concat()
        };
        let said = [
            message(kind::START, 1, &TERMS),
            message(kind::DATA, 2, b"\x03\0ls\r"),
            message(kind::HEARTBEAT, 3, &[]),
            message(kind::DATA, 4, b"\x02\0ls"),
            message(kind::HEARTBEAT, 5, &[]),
        ];
        let passed = |input: Input, size: usize| {
            let mut gate = Gate::default();
            let mut out = Vec::new();
            for piece in said.concat().chunks(size) {
                gate.pass(piece, input, &mut out).unwrap();
            }
            out
        };
        let without = [
            message(kind::START, 1, &TERMS),
            message(kind::HEARTBEAT, 2, &[]),
            message(kind::HEARTBEAT, 3, &[]),
        ];
        for size in [1, 3, 1000] {
            assert_eq!(passed(Input::Full, size), said.concat());
            assert_eq!(passed(Input::Nothing, size), without.concat());
        }
        assert_eq!(Gate::default().pass(&[0x99], Input::Nothing, &mut Vec::new()), Err(Misuse));
    }

    proptest! {
        #[test]
        fn how_the_firmwares_bytes_are_cut_makes_no_difference(sizes in cut()) {
            let (mut whole, mut pieces) = (Mail::default(), Mail::default());
            let bytes = said_by_firmware();
            Sol::new(permit(Rights::FULL)).firmware_says(&bytes, &mut whole);
            let mut sol = Sol::new(permit(Rights::FULL));
            let mut rest = &bytes[..];
            for size in sizes.into_iter().cycle() {
                let (piece, after) = rest.split_at(size.min(rest.len()));
                sol.firmware_says(piece, &mut pieces);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(whole.to_user, pieces.to_user);
            prop_assert_eq!(whole.to_firmware, pieces.to_firmware);
        }

        #[test]
        fn nothing_that_comes_breaks_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut mail = Mail::default();
            Sol::new(permit(Rights::FULL)).firmware_says(&bytes, &mut mail);
            prop_assert!(mail.to_user.len() <= bytes.len());
            let mut out = Vec::new();
            let _ = Gate::default().pass(&bytes, Input::Full, &mut out);
            prop_assert!(out.len() <= bytes.len());
        }
    }
}
