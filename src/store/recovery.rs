//! Opening `state`: what is read, what is lost, and the sentence about it.

use std::fmt;
use std::io;

use crate::model::Millis;

use super::disk::{self, Disk, Extent};
use super::frame::{Damage, Scanner};
use super::journal::{self, STATE, STATE_NEW};
use super::state::{Applied, State};
use super::vault::Vault;

/// What was found in the `state` file. Its text is one sentence for the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Frames read.
    pub frames: u64,
    /// Bytes read as frames.
    pub bytes: u64,
    /// The last wall time known from disk, zero if none: no clock should show less.
    pub floor: Millis,
    /// Frames of a newer version, which are carried along unread.
    pub carried: usize,
    /// What could not be read.
    pub lost: Option<Lost>,
}

/// The part of the `state` file that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// What is wrong with its first frame.
    pub damage: Damage,
    /// Bytes from there to the end of the file.
    pub bytes: u64,
    /// The file they were moved to, or why that was not possible. Then they are left where they
    /// are, and nothing is written to the file before it becomes possible.
    pub kept: Result<String, String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, bytes, .. } = self;
        match &self.lost {
            None if *frames == 0 => write!(f, "the state file is new and empty")?,
            None => write!(f, "the state file is sound: {frames} frames, {bytes} bytes")?,
            Some(lost) => {
                write!(
                    f,
                    "the state file is damaged: the frame at byte {bytes} {}, so only the {frames} \
                     frames before it are in force and {} bytes are not",
                    lost.damage, lost.bytes
                )?;
                match &lost.kept {
                    Ok(name) => write!(f, "; these were moved to {name}")?,
                    Err(error) => write!(
                        f,
                        "; these could not be moved aside ({error}), and the file stays as it is \
                         until they can"
                    )?,
                }
            }
        }
        if self.carried > 0 {
            write!(
                f,
                "; {} frames of a newer version, or sealed with another key, are carried along unread",
                self.carried
            )?;
        }
        f.write_str(".")
    }
}

/// What [`recover`] read.
pub(super) struct Recovered {
    pub(super) state: State,
    pub(super) extent: Extent,
    /// End of the last snapshot in the file.
    pub(super) base: u64,
    pub(super) report: Report,
}

/// Reads `state` up to its first bad frame, and moves what follows aside. Only a file that exists
/// but cannot be read at all is an error.
pub(super) fn recover(disk: &dyn Disk, vault: Vault) -> io::Result<Recovered> {
    let state = State::sealed_in(vault);
    let (mut reading, mut base) = (Reading { state, ..Reading::default() }, 0);
    let extent = disk::scan(disk, STATE, |at, frame| {
        if reading.apply(&frame) == Applied::SnapshotEnd {
            base = at + frame.raw.len() as u64;
        }
    })?;
    let Extent { good, len, frames, damage } = extent;
    let lost = damage.map(|damage| Lost {
        damage,
        bytes: len - good,
        kept: journal::cut(disk, good).map_err(|e| e.to_string()),
    });
    // Half a snapshot may be left over; one that cannot be removed now is overwritten later.
    let _ = disk.remove(STATE_NEW);
    let report = reading.report(good, frames, lost);
    Ok(Recovered { state: reading.state, extent, base, report })
}

/// What [`recover`] would make of a `state` file with these bytes. Changes nothing.
pub fn examine(bytes: &[u8]) -> Report {
    let state = State::sealed_in(Vault::blind());
    let (mut reading, mut scanner) = (Reading { state, ..Reading::default() }, Scanner::new());
    scanner.push(bytes);
    let damage = loop {
        match scanner.next() {
            Ok(Some(frame)) => drop(reading.apply(&frame)),
            Ok(None) => break (!scanner.at_boundary()).then_some(Damage::Torn),
            Err(damage) => break Some(damage),
        }
    };
    let (good, frames) = (scanner.good(), scanner.frames());
    let kept = || Err("only examined".to_owned());
    let lost = damage.map(|d| Lost { damage: d, bytes: bytes.len() as u64 - good, kept: kept() });
    reading.report(good, frames, lost)
}

#[derive(Default)]
struct Reading {
    state: State,
    floor: Millis,
}

impl Reading {
    fn apply(&mut self, frame: &super::frame::Frame<'_>) -> Applied {
        let applied = self.state.apply(frame);
        if let Applied::Floor(floor) = applied {
            self.floor = floor;
        }
        applied
    }

    fn report(&self, bytes: u64, frames: u64, lost: Option<Lost>) -> Report {
        Report { frames, bytes, floor: self.floor, carried: self.state.carried(), lost }
    }
}
