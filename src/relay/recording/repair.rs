//! Recordings the server did not live to finish.
//!
//! A file without an end is cut behind its last whole block and gets one. This reads the head of
//! every block, so it runs in the pool.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::model::Millis;

use super::chat;
use super::name::Form;
use super::wire::{END, HEAD, Head, INDEXED_END, TRAILER, kind};

/// What was done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is whole.
    Whole,
    /// It has an end now.
    Ended {
        /// Bytes that were cut off.
        lost: u64,
    },
    /// It does not begin like a recording.
    Unknown,
}

/// Where the blocks of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it begins.
    pub at: u64,
    /// How it begins.
    pub head: Head,
}

/// The whole blocks of a file from its beginning up to the end block, an index, or what is no
/// block, in order.
pub fn blocks(file: &File, len: u64) -> impl Iterator<Item = io::Result<Block>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let block = match read_head(file, at, len) {
            Ok(head) => head.map(|head| Block { at, head }),
            Err(error) => return Some(Err(error)),
        };
        let first = at == 0;
        let block = block.filter(|block| match block.head.kind {
            kind::METADATA => first,
            kind::MESSAGE => !first,
            _ => false,
        })?;
        at += HEAD as u64 + u64::from(block.head.size);
        Some(Ok(block))
    })
}

/// The head at `at`, if all of its block is there.
fn read_head(file: &File, at: u64, len: u64) -> io::Result<Option<Head>> {
    if len.saturating_sub(at) < HEAD as u64 {
        return Ok(None);
    }
    let mut bytes = [0; HEAD];
    file.read_exact_at(&mut bytes, at)?;
    let fits = |head: &Head| at + HEAD as u64 + u64::from(head.size) <= len;
    Ok(Head::parse(&bytes).filter(fits))
}

/// The end block of a recording that has one: its time, and whether there is an index, at which
/// place.
pub fn end_of(file: &File, len: u64) -> io::Result<Option<(Head, Option<u64>)>> {
    let Some(at) = len.checked_sub(TRAILER as u64) else { return Ok(None) };
    let Some(head) = read_head(file, at, len)? else { return Ok(None) };
    let mut magic = [0; END.len()];
    file.read_exact_at(&mut magic, at + HEAD as u64)?;
    Ok(match (head.kind, magic) {
        (kind::END, END) => Some((head, None)),
        (kind::END, INDEXED_END) => {
            let place = head.time.0;
            let index = read_head(file, place, at)?;
            index.filter(|index| index.kind == kind::INDEX).map(|index| (index, Some(place)))
        }
        _ => None,
    })
}

/// Makes a recording whole.
pub fn repair(file: &File, form: Form) -> io::Result<Outcome> {
    match form {
        Form::Blocks => end_blocks(file),
        Form::Chat => end_chat(file),
    }
}

fn end_blocks(file: &File) -> io::Result<Outcome> {
    let len = file.metadata()?.len();
    if end_of(file, len)?.is_some() {
        return Ok(Outcome::Whole);
    }
    let (mut end, mut time) = (0, Millis(0));
    for block in blocks(file, len) {
        let Block { at, head } = block?;
        end = at + HEAD as u64 + u64::from(head.size);
        time = time.max(head.time);
    }
    if end == 0 {
        return Ok(Outcome::Unknown);
    }
    file.write_all_at(&Head::trailer(time, END), end)?;
    file.set_len(end + TRAILER as u64)?;
    file.sync_data()?;
    Ok(Outcome::Ended { lost: len.saturating_sub(end) })
}

fn end_chat(file: &File) -> io::Result<Outcome> {
    let len = file.metadata()?.len();
    let kept = len.min(256);
    let mut tail = vec![0; kept as usize];
    file.read_exact_at(&mut tail, len - kept)?;
    let last = String::from_utf8_lossy(&tail);
    if last.trim_end().ends_with(chat::END) {
        return Ok(Outcome::Whole);
    }
    if len == 0 {
        return Ok(Outcome::Unknown);
    }
    let modified = file.metadata()?.modified()?.duration_since(std::time::UNIX_EPOCH);
    let time = Millis(modified.unwrap_or_default().as_millis() as u64);
    let broken = if last.ends_with('\n') { "" } else { "\r\n" };
    file.write_all_at(format!("{broken}{}", chat::end(time)).as_bytes(), len)?;
    file.sync_data()?;
    Ok(Outcome::Ended { lost: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const TIME: Millis = Millis(1_795_326_010_000);

    fn block(kind: u16, data: &[u8], time: u64) -> Vec<u8> {
        let head = Head { kind, flags: 0, size: data.len() as u32, time: Millis(TIME.0 + time) };
        [&head.encode(), data].concat()
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn content(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn a_recording_cut_anywhere_gets_its_end_behind_the_last_whole_block() {
        let parts = [block(1, b"{}", 0), block(2, b"one", 5), block(2, b"", 6), block(2, b"2", 7)];
        let whole = parts.concat();
        let mut ends = vec![0];
        ends.extend(parts.iter().scan(0, |at, part| {
            *at += part.len();
            Some(*at)
        }));
        for cut in 0..=whole.len() {
            let file = file(&whole[..cut]);
            let last = ends.iter().rposition(|end| *end <= cut).unwrap();
            let end = ends[last];
            let outcome = repair(&file, Form::Blocks).unwrap();
            if last == 0 {
                assert_eq!((outcome, content(&file)), (Outcome::Unknown, whole[..cut].to_vec()));
                continue;
            }
            assert_eq!(outcome, Outcome::Ended { lost: (cut - end) as u64 }, "{cut}");
            let time = Millis(TIME.0 + [0, 0, 5, 6, 7][last]);
            assert_eq!(content(&file), [&whole[..end], &Head::trailer(time, END)].concat());
            assert_eq!(repair(&file, Form::Blocks).unwrap(), Outcome::Whole, "and that is it");
        }
    }

    #[test]
    fn what_comes_behind_a_hole_is_lost() {
        let good = [block(1, b"{}", 0), block(2, b"one", 5)].concat();
        for tail in [vec![0; 100], block(4, b"{}", 9), block(1, b"{}", 9), block(3, b"END", 9)] {
            let file = file(&[&good[..], &tail, &block(2, b"late", 10)].concat());
            assert!(matches!(repair(&file, Form::Blocks).unwrap(), Outcome::Ended { .. }));
            assert!(content(&file).starts_with(&good));
            assert_eq!(content(&file).len(), good.len() + TRAILER);
        }
    }

    #[test]
    fn an_index_whose_place_is_a_lie_is_no_end() {
        let good = [block(1, b"{}", 0), block(2, b"one", 5)].concat();
        for place in [0, 1, good.len() as u64, u64::MAX >> 16] {
            let trailer = Head::trailer(Millis(place), INDEXED_END);
            let file = file(&[&good[..], &trailer].concat());
            assert!(matches!(repair(&file, Form::Blocks).unwrap(), Outcome::Ended { .. }));
        }
    }

    #[test]
    fn a_chat_gets_its_last_line() {
        for (text, outcome) in [
            ("", Outcome::Unknown),
            ("{}\r\nx, <<<START>>>\r\n", Outcome::Ended { lost: 0 }),
            ("{}\r\nx, <<<START>>>\r\nx, --> hal", Outcome::Ended { lost: 0 }),
            ("{}\r\nx, <<<START>>>\r\nx, <<<END>>>\r\n", Outcome::Whole),
        ] {
            let file = file(text.as_bytes());
            assert_eq!(repair(&file, Form::Chat).unwrap(), outcome, "{text:?}");
            let after = String::from_utf8(content(&file)).unwrap();
            assert!(after.starts_with(text));
            assert!(outcome == Outcome::Unknown || after.ends_with(", <<<END>>>\r\n"), "{after:?}");
        }
    }
}
