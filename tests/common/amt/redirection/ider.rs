//! Drives: the computer reads a whole disc and a whole floppy, tries to write, and remembers all.

use super::super::firmware::Firmware;
use super::{Counter, Taken, Violation};

/// Longest piece of data it takes at a time.
const BUFFER: u16 = 8192;
/// Sectors it asks for at a time.
const AT_ONCE: u32 = 16;
/// The two drives as they are selected, with the size of their sectors.
const DRIVES: [(u8, u32); 2] = [(0xb0, 2048), (0xa0, 512)];

/// What it has read.
#[derive(Clone, Debug, Default)]
pub struct IderSeen {
    /// Content of the disc.
    pub disc: Vec<u8>,
    /// Content of the floppy.
    pub floppy: Vec<u8>,
    /// Sectors of both, as they were told.
    pub sectors: [u32; 2],
    /// Senses of the refused writes: key, code and qualifier.
    pub refused: Vec<[u8; 3]>,
    /// Whether both drives were read as far as they go.
    pub complete: bool,
}

/// What it does with a drive, one command after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Ready,
    Capacity,
    Read(u32),
    Write,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Never,
    /// At the boot after this many.
    AtBoot(usize),
    Now,
}

/// A session.
pub(super) struct Ider {
    theirs: Counter,
    ours: Counter,
    opened: bool,
    start: Start,
    /// Drive and step of the command that runs.
    running: Option<(usize, Step)>,
    /// Data of that command so far.
    data: Vec<u8>,
}

impl Default for Ider {
    fn default() -> Self {
        Self {
            theirs: Counter::default(),
            ours: Counter::default(),
            opened: false,
            start: Start::Never,
            running: None,
            data: Vec::new(),
        }
    }
}

impl Ider {
    pub(super) fn take(
        &mut self,
        firmware: &mut Firmware,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Taken {
        let Some(kind) = input.first() else { return Ok(0) };
        let length = match kind {
            0x40 => 18,
            0x42 | 0x44 | 0x45 | 0x47 | 0x4b => 8,
            0x48 => 13,
            0x51 | 0x52 => 31,
            0x54 => match input.get(9..11) {
                Some(n) => 34 + usize::from(u16::from_le_bytes([n[0], n[1]])),
                None => return Ok(0),
            },
            _ => return Err(Violation("no message of IDER")),
        };
        let Some(message) = input.get(..length) else { return Ok(0) };
        if (*kind == 0x40) == self.opened {
            return Err(Violation("IDER begins once, with its opening"));
        }
        self.theirs.fits(message)?;
        match kind {
            0x40 => {
                if message[14..18] != [1, 0, 0, 0] {
                    return Err(Violation("another version of IDER"));
                }
                self.opened = true;
                let mut rest = vec![1, 0, 16, 1, 0, 0, 0, 0];
                rest.extend(BUFFER.to_le_bytes());
                rest.extend(BUFFER.to_le_bytes());
                rest.extend([0, 0, 0, 0, 0, 0x57, 1, 0, 0, 0]);
                self.say(out, 0x41, &rest);
            }
            0x42 => self.say(out, 0x43, &[]),
            0x44 => self.say(out, 0x45, &[]),
            0x48 => self.features(firmware, message, out),
            0x51 => self.ended(firmware, message, out)?,
            0x52 => {
                if self.running.map(|(_, step)| step) != Some(Step::Write) {
                    return Err(Violation("it wants data nobody has"));
                }
                let size = u16::from_le_bytes([message[9], message[10]]);
                let mut rest = vec![0; 6];
                rest[1..3].copy_from_slice(&size.to_le_bytes());
                rest.resize(6 + usize::from(size), 0xee);
                self.say(out, 0x53, &rest);
            }
            0x54 => self.data(firmware, message, out)?,
            _ => {}
        }
        Ok(length)
    }

    /// Begins to read when the computer boots from it.
    pub(super) fn tick(&mut self, firmware: &mut Firmware, out: &mut Vec<u8>) {
        let due = match self.start {
            Start::Never => false,
            Start::Now => true,
            Start::AtBoot(count) => firmware.boots.len() > count,
        };
        if due && self.running.is_none() {
            self.start = Start::Never;
            self.command(0, Step::Ready, out);
        }
    }

    fn features(&mut self, firmware: &Firmware, message: &[u8], out: &mut Vec<u8>) {
        let value = message[9];
        let answer: u8 = match message[8] {
            1 => 1,
            2 => {
                if self.start == Start::Never {
                    0
                } else {
                    2
                }
            }
            _ => {
                self.start = match value & 0x18 {
                    0x18 => Start::Now,
                    // 0x10 waits for a graceful moment, which is now.
                    0x10 => Start::Now,
                    _ => Start::AtBoot(firmware.boots.len()),
                };
                1
            }
        };
        self.say(out, 0x49, &[message[8], answer, 0, 0, 0]);
    }

    /// A command has ended without data, well or not.
    fn ended(
        &mut self,
        firmware: &mut Firmware,
        message: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let Some((drive, step)) = self.running.take() else {
            return Err(Violation("the end of no command"));
        };
        let sense = [message[28], message[29], message[30]];
        match step {
            // Until there is no news of a changed disc.
            Step::Ready if sense == [6, 0x28, 0] => self.command(drive, Step::Ready, out),
            Step::Ready if sense[0] == 0 => self.command(drive, Step::Capacity, out),
            Step::Ready | Step::Capacity => self.next_drive(firmware, drive, out),
            Step::Read(_) => return Err(Violation("a sector could not be read")),
            Step::Write => {
                firmware.ider.refused.push(sense);
                self.next_drive(firmware, drive, out);
            }
        }
        Ok(())
    }

    fn data(
        &mut self,
        firmware: &mut Firmware,
        message: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let Some((drive, step)) = self.running else {
            return Err(Violation("data of no command"));
        };
        let data = &message[34..];
        if data.len() > usize::from(BUFFER) {
            return Err(Violation("more data than fits"));
        }
        self.data.extend_from_slice(data);
        let is_last = message[3] & 2 != 0;
        if is_last != (message[20] == 0x85) {
            return Err(Violation("the last piece does not say so"));
        }
        if !is_last {
            return Ok(());
        }
        self.running = None;
        let data = std::mem::take(&mut self.data);
        let size = DRIVES[drive].1;
        match step {
            Step::Capacity => {
                let number = |at: usize| {
                    data.get(at..at + 4).and_then(|n| n.try_into().ok()).map(u32::from_be_bytes)
                };
                let (Some(last), Some(block)) = (number(0), number(4)) else {
                    return Err(Violation("no capacity"));
                };
                if block != size {
                    return Err(Violation("sectors of another size"));
                }
                firmware.ider.sectors[drive] = last + 1;
                self.read(firmware, drive, 0, out);
            }
            Step::Read(at) => {
                let sectors = firmware.ider.sectors[drive];
                let count = AT_ONCE.min(sectors - at);
                if data.len() != (count * size) as usize {
                    return Err(Violation("other data than was asked for"));
                }
                let content = match drive {
                    0 => &mut firmware.ider.disc,
                    _ => &mut firmware.ider.floppy,
                };
                content.extend(data);
                if at + count < sectors {
                    self.read(firmware, drive, at + count, out);
                } else {
                    self.command(drive, Step::Write, out);
                }
            }
            Step::Ready | Step::Write => return Err(Violation("data where there is none")),
        }
        Ok(())
    }

    fn next_drive(&mut self, firmware: &mut Firmware, drive: usize, out: &mut Vec<u8>) {
        if drive + 1 < DRIVES.len() {
            self.command(drive + 1, Step::Ready, out);
        } else {
            firmware.ider.complete = true;
        }
    }

    fn read(&mut self, firmware: &Firmware, drive: usize, at: u32, out: &mut Vec<u8>) {
        let count = AT_ONCE.min(firmware.ider.sectors[drive] - at) as u16;
        let mut block = [0; 12];
        block[0] = 0x28;
        block[2..6].copy_from_slice(&at.to_be_bytes());
        block[7..9].copy_from_slice(&count.to_be_bytes());
        self.send(drive, Step::Read(at), block, out);
    }

    /// A command for no place on the medium, or for the first sector.
    fn command(&mut self, drive: usize, step: Step, out: &mut Vec<u8>) {
        let mut block = [0; 12];
        (block[0], block[8]) = match step {
            Step::Ready => (0, 0),
            Step::Capacity => (0x25, 0),
            Step::Read(_) => (0x28, 1),
            Step::Write => (0x2a, 1),
        };
        self.send(drive, step, block, out);
    }

    fn send(&mut self, drive: usize, step: Step, block: [u8; 12], out: &mut Vec<u8>) {
        let (select, _) = DRIVES[drive];
        let mut rest = vec![0, 0, 0, 0, 0, 8, select, 0xa0];
        rest.extend(block);
        self.running = Some((drive, step));
        self.data.clear();
        self.say(out, 0x50, &rest);
    }

    fn say(&mut self, out: &mut Vec<u8>, kind: u8, rest: &[u8]) {
        out.extend([kind, 0, 0, 0]);
        out.extend(self.ours.next());
        out.extend_from_slice(rest);
    }
}
