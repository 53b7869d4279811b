//! What of RFB has to be understood here: enough to keep input from a screen, and to know why the
//! firmware hangs up. The picture is never looked at.
//!
//! Source: RFC 6143, amt-management §18. [`Viewer`] follows the client and lets through what may be,
//! [`Screen`] follows the firmware until it has said how large the screen is.

use super::held::{Held, Misuse, run};
use super::permit::Input;

/// Most bytes of a picture the firmware sends: bytes per pixel times width times height.
const PICTURE_MAX: u64 = 9_216_000;
/// Bytes per pixel unless the client asks for others.
const DEPTH: u8 = 2;

/// Keysyms that limited input has besides Latin-1: backspace, enter, both shifts.
const LIMITED: [u32; 4] = [0xff08, 0xff0d, 0xffe1, 0xffe2];

mod kind {
    pub(super) const PIXEL_FORMAT: u8 = 0;
    pub(super) const ENCODINGS: u8 = 2;
    pub(super) const REQUEST: u8 = 3;
    pub(super) const KEY: u8 = 4;
    pub(super) const POINTER: u8 = 5;
    pub(super) const CUT_TEXT: u8 = 6;
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Said {
    #[default]
    Nothing,
    /// Its version.
    Version,
    /// How it proves itself: not at all.
    Security,
    /// That it shares the screen; messages follow.
    All,
    /// Something that is not known here, so that it cannot be told where messages begin.
    Unknown,
}

/// A client, and what of its words goes through.
#[derive(Debug)]
pub(super) struct Viewer {
    said: Said,
    head: Held,
    /// Bytes of the message's body that are still to come.
    body: u64,
    is_dropping: bool,
    depth: u8,
}

impl Default for Viewer {
    fn default() -> Self {
        Self {
            said: Said::Nothing,
            head: Held::default(),
            body: 0,
            is_dropping: false,
            depth: DEPTH,
        }
    }
}

impl Viewer {
    /// Passes on what may go through.
    pub(super) fn pass(
        &mut self,
        mut bytes: &[u8],
        input: Input,
        out: &mut Vec<u8>,
    ) -> Result<(), Misuse> {
        loop {
            let body = run(&mut bytes, &mut self.body);
            if !self.is_dropping {
                out.extend_from_slice(body);
            }
            let Some(first) = self.head.first(bytes) else { return Ok(()) };
            let length = match self.said {
                Said::Nothing => 12,
                Said::Version | Said::Security => 1,
                Said::All => match length(first) {
                    Some(length) => length,
                    // Who may do everything may say what this server does not understand.
                    None if input == Input::Full => {
                        self.said = Said::Unknown;
                        continue;
                    }
                    None => return Err(Misuse),
                },
                Said::Unknown if input == Input::Full => {
                    out.extend_from_slice(&self.head.release());
                    out.extend_from_slice(bytes);
                    return Ok(());
                }
                Said::Unknown => return Err(Misuse),
            };
            let Some(message) = self.head.take(&mut bytes, length) else { return Ok(()) };
            self.is_dropping = !self.judge(&message, input)?;
            if !self.is_dropping {
                out.extend_from_slice(&message);
            }
        }
    }

    /// Whether a message, or its beginning, goes through.
    fn judge(&mut self, message: &[u8], input: Input) -> Result<bool, Misuse> {
        match (self.said, message) {
            (Said::Nothing, b"RFB 003.003\n") => self.said = Said::Security,
            (Said::Nothing, [b'R', b'F', b'B', b' ', ..]) => self.said = Said::Version,
            (Said::Version, [1]) => self.said = Said::Security,
            (Said::Security, _) => self.said = Said::All,
            (Said::All, [kind::PIXEL_FORMAT, _, _, _, bits, ..]) => self.depth = bits / 8,
            (Said::All, [kind::ENCODINGS, _, high, low]) => {
                self.body = 4 * u64::from(u16::from_be_bytes([*high, *low]));
            }
            (Said::All, [kind::REQUEST, ..]) => {}
            (Said::All, [kind::KEY, down, _, _, key @ ..]) => {
                return Ok(match (input, <[u8; 4]>::try_from(key)) {
                    (Input::Full, _) => true,
                    // A release does nothing on its own.
                    (Input::Limited, Ok(key)) => *down == 0 || is_limited(u32::from_be_bytes(key)),
                    _ => false,
                });
            }
            (Said::All, [kind::POINTER, ..]) => return Ok(input != Input::Nothing),
            (Said::All, [kind::CUT_TEXT, _, _, _, length @ ..]) => {
                self.body = length.try_into().map_or(0, u32::from_be_bytes).into();
                return Ok(input == Input::Full);
            }
            _ => return Err(Misuse),
        }
        Ok(true)
    }

    /// Whether it can still be told what goes through.
    pub(super) fn is_understood(&self) -> bool {
        self.said != Said::Unknown
    }
}

/// Length of a message without its body.
fn length(kind: u8) -> Option<usize> {
    Some(match kind {
        kind::PIXEL_FORMAT => 20,
        kind::ENCODINGS => 4,
        kind::REQUEST => 10,
        kind::KEY | kind::CUT_TEXT => 8,
        kind::POINTER => 6,
        _ => return None,
    })
}

fn is_limited(key: u32) -> bool {
    matches!(key, 0x20..=0x7e | 0xa0..=0xff) || LIMITED.contains(&key)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Heard {
    #[default]
    Nothing,
    Version,
    /// So many ways to prove oneself follow.
    Offers(u8),
    Security,
    /// The size of the screen; nothing more is listened to.
    Size {
        pixels: u64,
    },
    /// Something else.
    Unknown,
}

/// The firmware's side, until it has said how large the screen is.
#[derive(Debug, Default)]
pub(super) struct Screen {
    heard: Heard,
    head: Held,
    /// Bytes since then.
    picture: u64,
}

impl Screen {
    /// Takes note of what the firmware says.
    pub(super) fn hear(&mut self, mut bytes: &[u8]) {
        loop {
            let length = match self.heard {
                Heard::Nothing => 12,
                Heard::Version => 1,
                Heard::Offers(count) => usize::from(count),
                // The result of the proof and the size stand behind each other.
                Heard::Security => 8,
                Heard::Size { .. } => {
                    self.picture = self.picture.saturating_add(bytes.len() as u64);
                    return;
                }
                Heard::Unknown => return,
            };
            let Some(message) = self.head.take(&mut bytes, length) else { return };
            self.heard = match (self.heard, message.as_slice()) {
                (Heard::Nothing, [b'R', b'F', b'B', b' ', ..]) => Heard::Version,
                (Heard::Version, [count]) if *count > 0 => Heard::Offers(*count),
                (Heard::Offers(_), _) => Heard::Security,
                (Heard::Security, [0, 0, 0, 0, width @ .., high, low]) => {
                    let width = width.try_into().map_or(0, u16::from_be_bytes);
                    let height = u16::from_be_bytes([*high, *low]);
                    Heard::Size { pixels: u64::from(width) * u64::from(height) }
                }
                _ => Heard::Unknown,
            };
        }
    }

    /// Whether the firmware, which has hung up, was asked for more than it sends. Some says how large
    /// the screen is before it does so, some does not; so it is without any screen, too.
    pub(super) fn was_too_large_for(&self, viewer: &Viewer) -> bool {
        // The rest of the greeting comes behind the size, a picture is longer.
        const GREETING: u64 = 200;
        match self.heard {
            Heard::Size { pixels } => {
                self.picture < GREETING && pixels * u64::from(viewer.depth) > PICTURE_MAX
            }
            Heard::Security => viewer.said == Said::All,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amt::redirection::testing::{Line, cut, lines};
    use proptest::prelude::*;

    /// The recorded session without its first message, which is no RFB.
    fn recorded() -> Vec<Line> {
        let file = include_str!("../../../tests/vectors/redir-kvm.json");
        lines(file, "messages")
            .into_iter()
            .filter(|line| line.bytes.first() != Some(&0x40))
            .collect()
    }

    fn said() -> Vec<u8> {
        recorded().into_iter().filter(|l| !l.by_firmware).flat_map(|l| l.bytes).collect()
    }

    fn passed(input: Input, sizes: &[usize]) -> Vec<u8> {
        let (mut viewer, mut out) = (Viewer::default(), Vec::new());
        let said = said();
        let mut rest = &said[..];
        for size in sizes.iter().cycle() {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            viewer.pass(piece, input, &mut out).unwrap();
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        out
    }

    #[test]
    fn who_may_only_look_gets_the_picture_and_nothing_else() {
        let whole = passed(Input::Full, &[1000]);
        assert_eq!(whole, said());
        let looking = passed(Input::Nothing, &[1000]);
        // Version, security, share, encodings, two requests: no keys, no text.
        assert_eq!(looking.len(), 12 + 1 + 1 + 20 + 10 + 10);
        assert_eq!(looking[..34], whole[..34]);
        assert_eq!(looking[34..], [3, 1, 0, 0, 0, 0, 0, 0x80, 0, 0x40].repeat(2));
    }

    fn after_greeting() -> Viewer {
        let mut viewer = Viewer::default();
        viewer.pass(b"RFB 003.008\n\x01\x01", Input::Full, &mut Vec::new()).unwrap();
        viewer
    }

    #[test]
    fn limited_input_is_letters_digits_and_the_mouse() {
        let key = |down: u8, key: u32| {
            let mut message = vec![4, down, 0, 0];
            message.extend(key.to_be_bytes());
            message
        };
        for (message, passes) in [
            (key(1, u32::from('a')), true),
            (key(1, 0xff0d), true),
            (key(1, 0xffe3), false),
            (key(0, 0xffe3), true),
            (key(1, 0xffc2), false),
            (vec![5, 1, 0, 1, 0, 1], true),
            (vec![6, 0, 0, 0, 0, 0, 0, 2, b'h', b'i'], false),
            (vec![3, 0, 0, 0, 0, 0, 0, 8, 0, 8], true),
        ] {
            let mut out = Vec::new();
            after_greeting().pass(&message, Input::Limited, &mut out).unwrap();
            assert_eq!(out, if passes { message } else { vec![] });
        }
    }

    #[test]
    fn what_is_not_understood_is_for_those_who_may_do_everything() {
        let mut viewer = after_greeting();
        let mut out = Vec::new();
        viewer.pass(&[150, 1, 2, 3], Input::Full, &mut out).unwrap();
        viewer.pass(&[4, 5, 6], Input::Full, &mut out).unwrap();
        assert_eq!(out, [150, 1, 2, 3, 4, 5, 6]);
        assert!(!viewer.is_understood());
        assert_eq!(viewer.pass(&[3], Input::Nothing, &mut out), Err(Misuse));
        assert_eq!(after_greeting().pass(&[150], Input::Limited, &mut out), Err(Misuse));
    }

    #[test]
    fn a_firmware_that_hangs_up_over_a_large_screen_is_understood() {
        let greeting = |width: u16, height: u16| {
            let mut bytes = b"RFB 004.000\n\x01\x01\0\0\0\0".to_vec();
            bytes.extend(width.to_be_bytes());
            bytes.extend(height.to_be_bytes());
            bytes.extend([16, 16, 0, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0]);
            bytes
        };
        let shallow = || {
            let mut viewer = after_greeting();
            let format = [0, 0, 0, 0, 8, 8, 0, 1, 0, 3, 0, 3, 0, 3, 0, 2, 4, 0, 0, 0];
            viewer.pass(&format, Input::Full, &mut Vec::new()).unwrap();
            viewer
        };
        for (viewer, width, height, picture, too_large) in [
            (after_greeting(), 1920, 1080, 0, false),
            (after_greeting(), 2560, 1800, 0, false),
            (after_greeting(), 2560, 1801, 0, true),
            (shallow(), 3840, 2160, 0, false),
            (shallow(), 3840, 2401, 0, true),
            (after_greeting(), 3840, 2160, 1000, false),
        ] {
            for size in [1, 7, 100] {
                let mut screen = Screen::default();
                let mut bytes = greeting(width, height);
                bytes.extend(vec![0; picture]);
                bytes.chunks(size).for_each(|piece| screen.hear(piece));
                assert_eq!(screen.was_too_large_for(&viewer), too_large, "{width}x{height}");
            }
        }
        let mut screen = Screen::default();
        screen.hear(b"RFB 004.000\n\x01\x01\0\0\0\0");
        assert!(screen.was_too_large_for(&after_greeting()), "it does not even say");
        assert!(!screen.was_too_large_for(&Viewer::default()), "it was not asked");
    }

    proptest! {
        #[test]
        fn how_the_clients_bytes_are_cut_makes_no_difference(sizes in cut()) {
            for input in [Input::Full, Input::Limited, Input::Nothing] {
                prop_assert_eq!(passed(input, &sizes), passed(input, &[1000]));
            }
        }

        #[test]
        fn who_may_only_look_never_gets_a_key_through(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..20),
        ) {
            let (mut viewer, mut out) = (after_greeting(), Vec::new());
            for message in messages {
                if viewer.pass(&message, Input::Nothing, &mut out).is_err() {
                    break;
                }
            }
            // What came through is understood again, and has no input in it.
            let (mut again, mut seen) = (after_greeting(), Vec::new());
            again.pass(&out, Input::Nothing, &mut seen).unwrap();
            prop_assert_eq!(seen, out);
        }

        #[test]
        fn nothing_the_firmware_says_breaks_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut screen = Screen::default();
            screen.hear(b"RFB 003.008\n");
            screen.hear(&bytes);
            screen.was_too_large_for(&Viewer::default());
        }
    }
}
