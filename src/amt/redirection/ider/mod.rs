//! IDE redirection: a computer reads a floppy and a CD that are images here.
//!
//! Source: amt-management §19. The firmware passes on what its host says to two drives; [`scsi`] knows
//! the answers, [`wire`] their form, [`image`] reads sectors. [`Ider`] is told how large the images
//! are and asks for bytes of them; it never learns where they are, and nothing is ever written. One
//! read is under way at a time, at most [`QUEUE`] wait.

pub mod image;
mod scsi;
mod wire;

use std::collections::VecDeque;

use super::held::{Held, run};
use super::mediator::Over;
use scsi::{Answer, PROTECTED, UNREADABLE};
use wire::{Command, Message, command};

pub use wire::Drive;

/// Reads that wait for the one under way; a host has one or two.
const QUEUE: usize = 16;
/// Milliseconds the firmware waits for us and we for it (for ever), and between its heartbeats; then
/// the version of the protocol.
const TERMS: [u8; 10] = [0x30, 0x75, 0, 0, 0x20, 0x4e, 1, 0, 0, 0];
/// `REGS_TOGGLE` of 0x48.
const TOGGLE: u8 = 3;

/// From when on the host sees the drives; the numbers are the stock page's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// 0: when it boots the next time.
    OnReboot,
    /// 1: soon, without harm.
    Graceful,
    /// 2: at once.
    Now,
}

impl Start {
    /// From the stock page's number.
    pub fn from_number(n: u64) -> Option<Self> {
        Some(match n {
            0 => Self::OnReboot,
            1 => Self::Graceful,
            2 => Self::Now,
            _ => return None,
        })
    }

    fn bits(self) -> u32 {
        match self {
            Self::OnReboot => 0x09,
            Self::Graceful => 0x11,
            Self::Now => 0x19,
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Say this to the firmware.
    Send(Vec<u8>),
    /// Read this much of an image and hand it to [`Ider::data`]; the effects of that come next.
    Read {
        /// Whose image.
        drive: Drive,
        /// Offset in bytes.
        at: u64,
        /// How much, at most 8 KB.
        len: usize,
    },
    /// A host has asked for sectors.
    Asked {
        /// Of which drive.
        drive: Drive,
        /// The first one.
        sector: u32,
        /// How many.
        count: u32,
    },
    /// The host sees the drives, or will when it boots.
    Enabled,
    /// It is over.
    Over(Over),
}

/// Sectors that a host waits for.
#[derive(Clone, Copy, Debug)]
struct Reading {
    drive: Drive,
    dma: bool,
    at: u64,
    left: u64,
}

/// See the module.
pub struct Ider {
    /// Sectors of the floppy and of the CD.
    floppy: Option<u32>,
    cd: Option<u32>,
    start: Start,
    head: Held,
    /// Bytes that are passed over: a vendor's text, or what a host would write.
    skip: u64,
    /// A refusal follows what is passed over.
    is_writing: bool,
    received: u32,
    sent: u32,
    /// Most bytes of a block of data; `None` until the firmware has said so.
    block: Option<u16>,
    reading: Option<Reading>,
    waiting: VecDeque<Reading>,
    /// The host was reset; it is answered when the read under way has come.
    is_resetting: bool,
}

impl Ider {
    /// A session with images of so many sectors, once its user was let in; what is said first.
    pub fn begin(floppy: Option<u32>, cd: Option<u32>, start: Start) -> (Self, Effect) {
        let mut ider = Self {
            floppy,
            cd,
            start,
            head: Held::default(),
            skip: 0,
            is_writing: false,
            received: 0,
            sent: 0,
            block: None,
            reading: None,
            waiting: VecDeque::new(),
            is_resetting: false,
        };
        let open = ider.say(command::OPEN, &[&TERMS], false, false);
        (ider, open)
    }

    /// Takes what the firmware says.
    pub fn take(&mut self, mut bytes: &[u8]) -> Vec<Effect> {
        let mut effects = Vec::new();
        loop {
            run(&mut bytes, &mut self.skip);
            if self.skip == 0 && std::mem::take(&mut self.is_writing) {
                effects.push(self.say_end(&wire::bad(Drive::Floppy, PROTECTED)));
            }
            let Some(first) = self.head.first(bytes) else { return effects };
            let message = match wire::length(first) {
                Some(length) => match self.head.take(&mut bytes, length) {
                    Some(message) => wire::parse(&message),
                    None => return effects,
                },
                None => None,
            };
            match message {
                Some((number, message)) if number == self.received => {
                    self.received = self.received.wrapping_add(1);
                    self.hear(message, &mut effects);
                }
                _ => effects.push(Effect::Over(Over::Garbled)),
            }
            if effects.iter().any(|effect| matches!(effect, Effect::Over(_))) {
                return effects;
            }
        }
    }

    fn hear(&mut self, message: Message, effects: &mut Vec<Effect>) {
        match message {
            Message::Opened { block, more } => {
                self.block = Some(block);
                self.skip = more.into();
                let bits = self.start.bits().to_le_bytes();
                effects.push(self.say(command::FEATURES, &[&[TOGGLE], &bits], false, false));
            }
            Message::Closed => effects.push(Effect::Over(Over::ByDevice)),
            Message::Ping => effects.push(self.say(command::PONG, &[], false, false)),
            Message::Reset => {
                self.waiting.clear();
                match self.reading {
                    Some(_) => self.is_resetting = true,
                    None => effects.push(self.say(command::RESET_DONE, &[], false, false)),
                }
            }
            Message::Features { kind: TOGGLE, value } => effects.push(match value {
                1 => Effect::Enabled,
                _ => Effect::Over(Over::Unsupported),
            }),
            Message::Features { .. } | Message::Remark => {}
            Message::Command(command) => self.obey(&command, effects),
            Message::Data { len } => {
                self.skip = len.into();
                self.is_writing = true;
            }
        }
    }

    /// Answers a command of the host.
    fn obey(&mut self, command: &Command, effects: &mut Vec<Effect>) {
        let Command { drive, select, dma, .. } = *command;
        let sectors = match drive {
            Drive::Floppy => self.floppy,
            Drive::Cd => self.cd,
        };
        match scsi::answer(command, sectors) {
            Answer::Good => effects.push(self.say_end(&wire::good(drive))),
            Answer::Bad(sense) => effects.push(self.say_end(&wire::bad(drive, sense))),
            Answer::Data(data) => effects.push(self.say_data(drive.number(), &data, true, dma)),
            Answer::Capacity(data) => effects.push(self.say_data(select, &data, true, dma)),
            Answer::Write { len } => {
                let body = wire::want_data(drive, len);
                effects.push(self.say(command::WANT_DATA, &[&body], false, false));
            }
            Answer::Read { sector, count } => {
                effects.push(Effect::Asked { drive, sector, count });
                let size = u64::from(drive.sector());
                let (at, left) = (u64::from(sector) * size, u64::from(count) * size);
                let reading = Reading { drive, dma, at, left };
                match &self.reading {
                    None => {
                        self.reading = Some(reading);
                        effects.extend(self.next_read());
                    }
                    Some(_) if self.waiting.len() < QUEUE => self.waiting.push_back(reading),
                    Some(_) => effects.push(Effect::Over(Over::Garbled)),
                }
            }
        }
    }

    /// The next block of the read under way.
    fn next_read(&self) -> Option<Effect> {
        let Reading { drive, at, left, .. } = self.reading?;
        let len = left.min(u64::from(self.block?)) as usize;
        Some(Effect::Read { drive, at, len })
    }

    /// Takes what was read for the last [`Effect::Read`]; `None` if that failed.
    pub fn data(&mut self, data: Option<&[u8]>) -> Vec<Effect> {
        let expected = self.next_read();
        let (Some(mut reading), Some(Effect::Read { len, .. })) = (self.reading.take(), expected)
        else {
            return Vec::new();
        };
        let mut effects = Vec::new();
        match data.filter(|data| data.len() == len) {
            Some(data) => {
                reading.at += len as u64;
                reading.left -= len as u64;
                let is_last = reading.left == 0;
                let number = reading.drive.number();
                effects.push(self.say_data(number, data, is_last, reading.dma));
                self.reading = Some(reading).filter(|_| !is_last && !self.is_resetting);
            }
            None => effects.push(self.say_end(&wire::bad(reading.drive, UNREADABLE))),
        }
        if self.reading.is_none() && std::mem::take(&mut self.is_resetting) {
            effects.push(self.say(command::RESET_DONE, &[], false, false));
        }
        if self.reading.is_none() {
            self.reading = self.waiting.pop_front();
        }
        effects.extend(self.next_read());
        effects
    }

    /// What is said last.
    pub fn close(&mut self) -> Effect {
        self.say(command::CLOSE, &[], false, false)
    }

    fn say_end(&mut self, body: &[u8]) -> Effect {
        self.say(command::END, &[body], true, false)
    }

    fn say_data(&mut self, select: u8, data: &[u8], is_last: bool, dma: bool) -> Effect {
        // Blocks are of 8 KB at most.
        let body = wire::data(select, data.len() as u16, is_last, dma);
        self.say(command::DATA, &[&body, data], is_last, dma)
    }

    fn say(&mut self, command: u8, rest: &[&[u8]], is_complete: bool, dma: bool) -> Effect {
        let mut message = wire::head(command, is_complete, dma, self.sent).to_vec();
        self.sent = self.sent.wrapping_add(1);
        rest.iter().for_each(|part| message.extend_from_slice(part));
        Effect::Send(message)
    }
}

#[cfg(test)]
mod tests;
