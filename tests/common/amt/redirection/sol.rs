//! The serial line: what is typed comes back, as a shell echoes it.

use super::super::firmware::Firmware;
use super::{Counter, Taken, Violation};

/// What it shows first.
const GREETING: &[u8] = b"\x1b[2J\x1b[1;1HHello SOL\r\n";

/// A session.
pub(super) struct Sol {
    theirs: Counter,
    ours: Counter,
    started: bool,
}

impl Default for Sol {
    fn default() -> Self {
        Self { theirs: Counter(1), ours: Counter::default(), started: false }
    }
}

impl Sol {
    pub(super) fn take(
        &mut self,
        firmware: &mut Firmware,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Taken {
        let Some(kind) = input.first() else { return Ok(0) };
        let length = match kind {
            0x20 => 24,
            0x27 => 14,
            0x22 | 0x24 | 0x25 | 0x2b => 8,
            0x28 => match input.get(8..10) {
                Some(length) => 10 + usize::from(u16::from_le_bytes([length[0], length[1]])),
                None => return Ok(0),
            },
            _ => return Err(Violation("no message of SOL")),
        };
        let Some(message) = input.get(..length) else { return Ok(0) };
        if (*kind == 0x20) == self.started {
            return Err(Violation("SOL begins once, with its start"));
        }
        self.theirs.fits(message)?;
        match kind {
            0x20 => {
                self.started = true;
                self.say(out, 0x21, &[16, 0x27, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                self.say(out, 0x29, &[3, 4]);
                self.data(out, GREETING);
            }
            0x22 => self.say(out, 0x23, &[]),
            0x24 => self.say(out, 0x25, &[]),
            0x28 => {
                let typed = &message[10..];
                firmware.typed.extend_from_slice(typed);
                let mut echo = Vec::new();
                for byte in typed {
                    echo.push(*byte);
                    if *byte == b'\r' {
                        echo.push(b'\n');
                    }
                }
                self.data(out, &echo);
            }
            _ => {}
        }
        Ok(length)
    }

    fn data(&mut self, out: &mut Vec<u8>, data: &[u8]) {
        for piece in data.chunks(1024) {
            let length = (piece.len() as u16).to_le_bytes();
            self.say(out, 0x2a, &[&length[..], piece].concat());
        }
    }

    fn say(&mut self, out: &mut Vec<u8>, kind: u8, rest: &[u8]) {
        out.extend([kind, 0, 0, 0]);
        out.extend(self.ours.next());
        out.extend_from_slice(rest);
    }
}
