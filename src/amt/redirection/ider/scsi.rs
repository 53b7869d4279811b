//! What two drives answer to the commands of SCSI: a floppy and a CD, both read-only.
//!
//! Source: amt-management §19. The answers are those of the stock server, which firmware and BIOSes
//! of fifteen years have seen, its oddities included: it says "good" where a drive should say that
//! there is no medium, that the medium has changed, or that a sector lies beyond the end. The reader
//! finds out by what it gets.

use super::wire::{Command, Drive, Sense};

/// Sense: no such command, or not of this drive.
const UNKNOWN: Sense = [5, 0x20, 0];
/// Sense: a field of the command makes no sense.
const BAD_FIELD: Sense = [5, 0x24, 0];
/// Sense: no medium.
const NO_MEDIUM: Sense = [2, 0x3a, 0];
/// Sense: write protected.
pub(super) const PROTECTED: Sense = [7, 0x27, 0];
/// Sense: the medium cannot be read.
pub(super) const UNREADABLE: Sense = [3, 0x11, 0];

/// Sectors of a floppy of 1.44 MB; larger ones are taken for an LS-120.
const FLOPPY: u32 = 2880;

/// What follows from a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Good,
    Bad(Sense),
    /// These bytes, at most 100.
    Data(Vec<u8>),
    /// The capacity, said of the drive as it was asked.
    Capacity([u8; 8]),
    /// These sectors, of which there are so many.
    Read {
        sector: u32,
        count: u32,
    },
    /// So many bytes are to be sent, and will be refused.
    Write {
        len: u16,
    },
}

/// Answers a command to a drive whose medium has so many sectors; `None` without medium.
pub(super) fn answer(command: &Command, sectors: Option<u32>) -> Answer {
    let Command { drive, block, .. } = *command;
    let is_cd = drive == Drive::Cd;
    let medium = sectors.filter(|sectors| *sectors > 0);
    let [code, b1, b2, b3, b4, b5, _, b7, b8, b9, ..] = block;
    let room = u16::from_be_bytes([b7, b8]);
    match code {
        // TEST UNIT READY, START STOP, ALLOW MEDIUM REMOVAL; WRITE(6), which nothing comes of.
        0x00 | 0x1b | 0x1e | 0x0a => Answer::Good,
        0x08 => {
            let count = if b4 == 0 { 256 } else { u32::from(b4) };
            read(u32::from_be_bytes([0, b1 & 0x1f, b2, b3]), count, medium)
        }
        0x28 => read(u32::from_be_bytes([b2, b3, b4, b5]), u32::from(room), medium),
        // WRITE(10), WRITE AND VERIFY: in sectors of a floppy.
        0x2a | 0x2e => Answer::Write { len: room.saturating_mul(512) },
        // MODE SENSE(6), all pages.
        0x1a if (b2, b3) == (0x3f, 0) && medium.is_some() => {
            Answer::Data(vec![0, if is_cd { 5 } else { 0 }, 0x80, 0])
        }
        0x1a => Answer::Good,
        // READ FORMAT CAPACITIES: 1.44 MB, whatever there is.
        0x23 => match medium {
            Some(_) => Answer::Data(vec![0, 0, 0, 8, 0, 0, 0x0b, 0x40, 2, 0, 2, 0]),
            None => Answer::Bad(BAD_FIELD),
        },
        0x25 => match medium {
            Some(sectors) => {
                let [a, b, c, d] = (sectors - 1).to_be_bytes();
                let [e, f, g, h] = drive.sector().to_be_bytes();
                Answer::Capacity([a, b, c, d, e, f, g, h])
            }
            None => Answer::Bad(NO_MEDIUM),
        },
        0x43 if is_cd => contents(b1 & 2 != 0, if b2 & 7 == 0 { b9 >> 6 } else { b2 & 7 }),
        0x43 => Answer::Good,
        0x46 | 0x5a if room == 0 => Answer::Data(vec![0, 0, 0, 0x3c, 0, 0, 0, 8]),
        0x46 => {
            let mut data = configuration(b1 != 2, u16::from_be_bytes([b2, b3]));
            data.truncate(room.into());
            Answer::Data(data)
        }
        // GET EVENT STATUS: by polling, or of the medium.
        0x4a if b1 == 1 || b4 == 0x10 => {
            Answer::Data(vec![0, if sectors.is_some() { 2 } else { 0 }, 0x80, 0])
        }
        0x4a | 0x55 => Answer::Good,
        0x5a => match mode_pages(drive, b2 & 0x3f, sectors.is_some_and(|n| n > FLOPPY)) {
            Some(data) => Answer::Data(data),
            None => Answer::Bad(UNKNOWN),
        },
        // GET PERFORMANCE
        0xac => Answer::Data(vec![0, 0, 0, 4, 2, 0, 0, 0]),
        _ => Answer::Bad(UNKNOWN),
    }
}

fn read(sector: u32, count: u32, medium: Option<u32>) -> Answer {
    let end = sector.checked_add(count);
    match (medium, end) {
        (Some(sectors), Some(end)) if count > 0 && end <= sectors => Answer::Read { sector, count },
        _ => Answer::Good,
    }
}

/// READ TOC: one track of data, the same for every CD; sectors or minutes.
fn contents(in_minutes: bool, format: u8) -> Answer {
    let (track, out): ([u8; 3], [u8; 3]) = match in_minutes {
        true => ([0, 2, 0], [0, 0x34, 0x13]),
        false => ([0, 0, 0], [0, 0, 0]),
    };
    match format {
        0 => {
            let mut data = vec![0, 0x12, 1, 1, 0, 0x14, 1, 0, 0];
            data.extend_from_slice(&track);
            data.extend_from_slice(&[0, 0x14, 0xaa, 0, 0]);
            data.extend_from_slice(&out);
            Answer::Data(data)
        }
        1 => Answer::Data(vec![0, 0x0a, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0]),
        _ => Answer::Good,
    }
}

/// GET CONFIGURATION: one feature, which of all is the last.
fn configuration(all: bool, first: u16) -> Vec<u8> {
    const FEATURES: [(u16, &[u8]); 8] = [
        // Profiles: a CD.
        (0x00, &[0x03, 0x04, 0x00, 0x08, 0x01, 0x00]),
        // Core, morphing, removable medium.
        (0x01, &[0x03, 0x04, 0x00, 0x00, 0x00, 0x02]),
        (0x02, &[0x03, 0x04, 0x00, 0x00, 0x00, 0x00]),
        (0x03, &[0x03, 0x04, 0x29, 0x00, 0x00, 0x02]),
        // Random reading, in blocks of 2048 bytes.
        (0x10, &[0x01, 0x08, 0x00, 0x00, 0x08, 0x00, 0x00, 0x01, 0x00, 0x00]),
        // Reading of CDs, power, time-outs.
        (0x1e, &[0x03, 0x00]),
        (0x100, &[0x03, 0x00]),
        (0x105, &[0x03, 0x00]),
    ];
    let found = match all {
        true => FEATURES.last().filter(|(code, _)| first <= *code),
        false => FEATURES.iter().find(|(code, _)| *code == first),
    };
    let mut data = vec![0, 0, 0, 8, 0, 0, 0, 4];
    if let Some((code, feature)) = found {
        data.extend_from_slice(&code.to_be_bytes());
        data.extend_from_slice(feature);
        if let Some(length) = data.get_mut(7) {
            *length += 2 + feature.len() as u8;
        }
    }
    data
}

/// MODE SENSE(10): head and pages.
fn mode_pages(drive: Drive, page: u8, is_large: bool) -> Option<Vec<u8>> {
    const ERRORS: &[u8] = &[0x01, 0x0a, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0];
    // Two bytes shorter than it says, as the stock server has it.
    const FORMAT: &[u8] =
        &[0x03, 0x16, 0, 0xa0, 0, 0, 0, 0, 0, 0x12, 2, 0, 0, 0, 0, 0, 0, 0, 0xa0, 0, 0, 0];
    const CACHE: &[u8] = &[0x08, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const REMOVABLE: &[u8] = &[0x0b, 6, 0, 0, 0, 0x11, 0x24, 0x31];
    const CD_ERRORS: &[u8] = &[0x01, 6, 0, 0xff, 0, 0, 0, 0];
    const CD_POWER: &[u8] = &[0x1a, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const CD_TIMES: &[u8] = &[0x1d, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // Transfer rate, heads, sectors, bytes per sector, cylinders; the motor's times; its speed.
    let geometry: &[u8] = match is_large {
        true => &[0x10, 0xa9, 8, 0x20, 2, 0, 3, 0xc3],
        false => &[0x04, 0xb0, 2, 0x12, 2, 0, 0, 0x50],
    };
    let disk = [&[5, 0x1e][..], geometry, &[0; 10], &[0x28], &[0; 7], &[2, 0xd0, 0, 0]].concat();
    // What the drive can, with a byte that differs when all pages are asked for.
    let odd = if page == 0x3f { 2 } else { 0x20 };
    let abilities = [&[0x2a, 0x18, 0, 0, 0, 0, odd][..], &[0; 6], &[0x80], &[0; 12]].concat();
    let floppy = if is_large { 0x31 } else { 0x24 };
    let (medium, pages) = match (drive, page) {
        (Drive::Floppy, 0x01) => (floppy, vec![ERRORS]),
        (Drive::Floppy, 0x05) => (floppy, vec![&disk[..]]),
        (Drive::Floppy, 0x3f) => (0x24, vec![ERRORS, FORMAT, &disk, CACHE, REMOVABLE]),
        (Drive::Cd, 0x01) => (1, vec![CD_ERRORS]),
        (Drive::Cd, 0x1a) => (1, vec![CD_POWER]),
        (Drive::Cd, 0x1d) => (1, vec![CD_TIMES]),
        (Drive::Cd, 0x2a) => (1, vec![&abilities[..]]),
        (Drive::Cd, 0x3f) => (1, vec![CD_ERRORS, &abilities]),
        _ => return None,
    };
    Some(with_head(medium, &pages.concat()))
}

/// Pages behind their head: the length of what follows it, the medium, read-only.
fn with_head(medium: u8, pages: &[u8]) -> Vec<u8> {
    let mut data = vec![0, 6 + pages.len() as u8, medium, 0x80, 0, 0, 0, 0];
    data.extend_from_slice(pages);
    data
}
