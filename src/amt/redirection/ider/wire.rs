//! The codec of IDE redirection.
//!
//! Source: amt-management §19. A head of 8 bytes: command, two zeros, attributes, number; integers are
//! little-endian but for those of SCSI. The length of a message follows from its command.

/// Commands of ours.
pub(super) mod command {
    pub(in super::super) const OPEN: u8 = 0x40;
    pub(in super::super) const CLOSE: u8 = 0x42;
    pub(in super::super) const PONG: u8 = 0x45;
    pub(in super::super) const RESET_DONE: u8 = 0x47;
    pub(in super::super) const FEATURES: u8 = 0x48;
    pub(in super::super) const END: u8 = 0x51;
    pub(in super::super) const WANT_DATA: u8 = 0x52;
    pub(in super::super) const DATA: u8 = 0x54;
}

/// Drive select bit of the CD.
const CD: u8 = 0x10;

/// Largest block the firmware may ask for, in bytes.
const BLOCK_MAX: u16 = 8192;

/// One of the two drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drive {
    /// Sectors of 512 bytes.
    Floppy,
    /// Sectors of 2048 bytes.
    Cd,
}

impl Drive {
    /// Its number in what we say.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Floppy => 0xa0,
            Self::Cd => 0xb0,
        }
    }

    /// Bytes in a sector.
    pub fn sector(self) -> u32 {
        match self {
            Self::Floppy => 512,
            Self::Cd => 2048,
        }
    }
}

/// A SCSI command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) drive: Drive,
    /// The drive select register as it came.
    pub(super) select: u8,
    /// The answer goes by DMA.
    pub(super) dma: bool,
    pub(super) block: [u8; 12],
}

/// What the firmware says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// 0x41
    Opened {
        /// Most bytes of a block of data.
        block: u16,
        /// Bytes of the vendor's that follow.
        more: u8,
    },
    /// 0x43
    Closed,
    /// 0x44
    Ping,
    /// 0x46
    Reset,
    /// 0x49
    Features { kind: u8, value: u32 },
    /// 0x50
    Command(Command),
    /// 0x53: so many bytes to be written follow.
    Data { len: u16 },
    /// 0x45, 0x4A, 0x4B: nothing to be done about.
    Remark,
}

/// Length of the fixed part of a message. `None` for a command nobody knows.
pub(super) fn length(command: u8) -> Option<usize> {
    Some(match command {
        0x41 => 30,
        0x43..=0x45 | 0x4b => 8,
        0x46 => 9,
        0x49 => 13,
        0x4a => 11,
        0x50 => 28,
        0x53 => 14,
        _ => return None,
    })
}

/// Number and meaning of the fixed part of a message. `None` if it makes no sense.
pub(super) fn parse(message: &[u8]) -> Option<(u32, Message)> {
    let ([command, _, _, _, number @ ..], rest) = message.split_first_chunk::<8>()?;
    let meaning = match (command, rest) {
        (0x41, [_, _, _, _, _, _, _, _, low, high, w0, w1, _, protocol, .., more]) => {
            let (block, write) =
                (u16::from_le_bytes([*low, *high]), u16::from_le_bytes([*w0, *w1]));
            let is_sound = *protocol == 0 && (1..=BLOCK_MAX).contains(&block) && write <= BLOCK_MAX;
            is_sound.then_some(Message::Opened { block, more: *more })?
        }
        (0x43, _) => Message::Closed,
        (0x44, _) => Message::Ping,
        (0x46, _) => Message::Reset,
        (0x49, [kind, value @ ..]) => {
            Message::Features { kind: *kind, value: u32::from_le_bytes(value.try_into().ok()?) }
        }
        (0x50, [_, feature, _, _, _, _, select, _, block @ ..]) => Message::Command(Command {
            drive: if select & CD == 0 { Drive::Floppy } else { Drive::Cd },
            select: *select,
            dma: feature & 1 != 0,
            block: block.try_into().ok()?,
        }),
        (0x53, [_, low, high, ..]) => Message::Data { len: u16::from_le_bytes([*low, *high]) },
        (0x45 | 0x4a | 0x4b, _) => Message::Remark,
        _ => return None,
    };
    Some((u32::from_le_bytes(*number), meaning))
}

/// The head of a message.
pub(super) fn head(command: u8, is_complete: bool, dma: bool, number: u32) -> [u8; 8] {
    // Completion is told of commands that answer, not of those that keep the session.
    let complete = if is_complete && command > 0x32 { 2 } else { 0 };
    let [a, b, c, d] = number.to_le_bytes();
    [command, 0, 0, complete | u8::from(dma), a, b, c, d]
}

/// What 0x51 says of a command that went well.
pub(super) fn good(drive: Drive) -> [u8; 23] {
    let mut body = [0; 23];
    body[12..].copy_from_slice(&[0xc5, 0, 3, 0, 0, 0, drive.number(), 0x50, 0, 0, 0]);
    body
}

/// Why a command failed: sense key, code and qualifier of SCSI.
pub(super) type Sense = [u8; 3];

/// What 0x51 says of a command that failed.
pub(super) fn bad(drive: Drive, [key, code, qualifier]: Sense) -> [u8; 23] {
    let mut body = [0; 23];
    let tail = [0x87, key << 4, 3, 0, 0, 0, drive.number(), 0x51, key, code, qualifier];
    body[12..].copy_from_slice(&tail);
    body
}

/// What 0x54 says before `len` bytes of data.
pub(super) fn data(select: u8, len: u16, is_last: bool, dma: bool) -> [u8; 26] {
    let mut body = [0; 26];
    let [low, high] = len.to_le_bytes();
    body[1..3].copy_from_slice(&[low, high]);
    body[4] = if dma { 0xb4 } else { 0xb5 };
    body[6] = 2;
    if !dma {
        body[8..10].copy_from_slice(&[low, high]);
    }
    body[10..12].copy_from_slice(&[select, 0x58]);
    if is_last {
        body[12..20].copy_from_slice(&[0x85, 0, 3, 0, 0, 0, select, 0x50]);
    }
    body
}

/// What 0x52 asks for: so many bytes to be written.
pub(super) fn want_data(drive: Drive, len: u16) -> [u8; 23] {
    let mut body = [0; 23];
    let [low, high] = len.to_le_bytes();
    body[1..3].copy_from_slice(&[low, high]);
    body[4] = 0xb5;
    body[8..12].copy_from_slice(&[low, high, drive.number(), 0x58]);
    body
}
