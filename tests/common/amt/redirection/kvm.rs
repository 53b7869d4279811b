//! The screen: RFB as firmware speaks it, with a test pattern that keys draw on.

use super::super::firmware::Firmware;
use super::{Taken, Violation};

/// Largest picture in bytes; a larger one ends the session.
const PICTURE_MAX: usize = 9_216_000;
/// Rows of one rectangle.
const ROWS: u16 = 64;

/// A key or the pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A key by its X11 number.
    Key {
        /// Pressed, or let go.
        down: bool,
        /// Which.
        keysym: u32,
    },
    /// The pointer.
    Pointer {
        /// Pressed buttons.
        buttons: u8,
        /// From the left.
        x: u16,
        /// From the top.
        y: u16,
    },
}

/// What the computer shows: eight bars from black to white, and a square for every pressed key.
#[derive(Clone, Debug)]
pub struct Screen {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Keys pressed so far.
    pub keys: Vec<u32>,
}

impl Default for Screen {
    fn default() -> Self {
        Self { width: 320, height: 200, keys: Vec::new() }
    }
}

impl Screen {
    /// Edge of a key's square.
    pub const SQUARE: u16 = 16;

    /// Red, green and blue of a pixel, each of 0 to 255.
    pub fn pixel(&self, x: u16, y: u16) -> [u8; 3] {
        let columns = (self.width / Self::SQUARE).max(1);
        let at =
            usize::from(y / Self::SQUARE) * usize::from(columns) + usize::from(x / Self::SQUARE);
        if x / Self::SQUARE < columns
            && let Some(key) = self.keys.get(at)
        {
            let bits = (key % 7 + 1) as u8;
            return [bits & 1, bits >> 1 & 1, bits >> 2 & 1]
                .map(|on| if on == 1 { 255 } else { 0 });
        }
        let bar = u32::from(x) * 8 / u32::from(self.width.max(1));
        [bar & 4, bar & 2, bar & 1].map(|on| if on > 0 { 255 } else { 0 })
    }
}

/// How pixels are written.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Format {
    bytes: usize,
    max: [u16; 3],
    shift: [u8; 3],
}

const RGB565: Format = Format { bytes: 2, max: [31, 63, 31], shift: [11, 5, 0] };
/// 3-3-2, eight shades of each that overlap nowhere (noVNC), and grey.
const EIGHT_BITS: [Format; 3] = [
    Format { bytes: 1, max: [7, 7, 3], shift: [5, 2, 0] },
    Format { bytes: 1, max: [3, 3, 3], shift: [0, 2, 4] },
    Format { bytes: 1, max: [255, 0, 0], shift: [0, 0, 0] },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    Version,
    Security,
    Init,
    Running,
}

/// A session.
pub(super) struct Kvm {
    stage: Stage,
    format: Format,
    raw: bool,
    /// An update was asked for; whether of everything.
    wanted: Option<bool>,
    /// Keys that are on the picture of the client.
    shown: usize,
}

impl Default for Kvm {
    fn default() -> Self {
        Self { stage: Stage::Open, format: RGB565, raw: true, wanted: None, shown: 0 }
    }
}

impl Kvm {
    pub(super) fn take(
        &mut self,
        firmware: &mut Firmware,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Taken {
        let fixed = |expected: &[u8], answer: &[u8], out: &mut Vec<u8>| {
            let Some(given) = input.get(..expected.len()) else { return Ok(0) };
            if given != expected {
                return Err(Violation("not what KVM waits for"));
            }
            out.extend_from_slice(answer);
            Ok(expected.len())
        };
        let (taken, next) = match self.stage {
            Stage::Open => {
                let answer = b"\x41\0\0\0\0\0\0\0RFB 004.000\n";
                (fixed(&[0x40, 0, 0, 0, 0, 0, 0, 0], answer, out)?, Stage::Version)
            }
            Stage::Version => (fixed(b"RFB 003.008\n", &[1, 1], out)?, Stage::Security),
            Stage::Security => (fixed(&[1], &[0; 4], out)?, Stage::Init),
            Stage::Init => {
                if input.is_empty() {
                    return Ok(0);
                }
                self.check(&firmware.screen)?;
                out.extend(firmware.screen.width.to_be_bytes());
                out.extend(firmware.screen.height.to_be_bytes());
                out.extend([16, 16, 0, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0, 0, 0, 0, 16]);
                out.extend(b"Intel(r) AMT KVM");
                (1, Stage::Running)
            }
            Stage::Running => return self.message(firmware, input),
        };
        if taken > 0 {
            self.stage = next;
        }
        Ok(taken)
    }

    fn check(&self, screen: &Screen) -> Result<(), Violation> {
        let size = self.format.bytes * usize::from(screen.width) * usize::from(screen.height);
        if size > PICTURE_MAX { Err(Violation("the picture is too large")) } else { Ok(()) }
    }

    fn message(&mut self, firmware: &mut Firmware, input: &[u8]) -> Taken {
        let Some(kind) = input.first() else { return Ok(0) };
        let u16_at = |at: usize| Some(u16::from_be_bytes([*input.get(at)?, *input.get(at + 1)?]));
        let length = match kind {
            0 => 20,
            2 => match u16_at(2) {
                Some(count) => 4 + 4 * usize::from(count),
                None => return Ok(0),
            },
            3 => 10,
            4 => 8,
            5 => 6,
            6 => match input.get(4..8) {
                Some(n) => 8 + u32::from_be_bytes([n[0], n[1], n[2], n[3]]).min(1 << 16) as usize,
                None => return Ok(0),
            },
            _ => return Err(Violation("no message of RFB")),
        };
        let Some(message) = input.get(..length) else { return Ok(0) };
        match kind {
            0 => {
                let of = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
                let format = Format {
                    bytes: usize::from(message[4] / 8),
                    max: [of(8), of(10), of(12)],
                    shift: [message[14], message[15], message[16]],
                };
                let little_true_colour = message[6] == 0 && message[7] == 1;
                let known = format == RGB565 || EIGHT_BITS.contains(&format);
                if !known || format.bytes == 2 && !little_true_colour {
                    return Err(Violation("a pixel format firmware does not have"));
                }
                self.format = format;
                self.check(&firmware.screen)?;
            }
            2 => self.raw = message[4..].chunks_exact(4).any(|e| e == [0; 4]),
            3 => self.wanted = Some(self.wanted == Some(true) || message[1] == 0),
            4 => {
                let keysym = u32::from_be_bytes([message[4], message[5], message[6], message[7]]);
                let down = message[1] == 1;
                firmware.input.push(Input::Key { down, keysym });
                if down {
                    firmware.screen.keys.push(keysym);
                }
            }
            5 => {
                let of = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
                firmware.input.push(Input::Pointer { buttons: message[1], x: of(2), y: of(4) });
            }
            _ => {}
        }
        Ok(length)
    }

    /// Sends the picture, when it was asked for and there is something new.
    pub(super) fn tick(&mut self, firmware: &mut Firmware, out: &mut Vec<u8>) {
        let screen = &firmware.screen;
        let changed = self.shown != screen.keys.len();
        match self.wanted {
            Some(true) => {}
            Some(false) if changed => {}
            _ => return,
        }
        if !self.raw {
            // What it could send is not what the client can take.
            return;
        }
        self.wanted = None;
        self.shown = screen.keys.len();
        let rectangles = screen.height.div_ceil(ROWS);
        out.extend([0, 0]);
        out.extend(rectangles.to_be_bytes());
        for top in (0..screen.height).step_by(usize::from(ROWS)) {
            let rows = ROWS.min(screen.height - top);
            for number in [0, top, screen.width, rows, 0, 0] {
                out.extend(number.to_be_bytes());
            }
            for y in top..top + rows {
                for x in 0..screen.width {
                    self.write(screen.pixel(x, y), out);
                }
            }
        }
    }

    fn write(&self, colour: [u8; 3], out: &mut Vec<u8>) {
        let parts = colour.iter().zip(self.format.max).zip(self.format.shift);
        let value: u32 = parts
            .map(|((part, max), shift)| (u32::from(*part) * u32::from(max) / 255) << shift)
            .sum();
        out.extend_from_slice(&value.to_le_bytes()[..self.format.bytes]);
    }
}
