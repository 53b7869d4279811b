//! The index of a desktop recording, so that the player can jump.
//!
//! For every ten seconds it lists which messages draw the picture as it was then: place of the next
//! message, width, height, places of the messages to draw, all counted from the first message. It
//! replaces the end block. Source: the stock player and its indexer. Blocks: it reads the beginning
//! of every message.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use serde::Serialize;

use crate::model::Millis;

use super::super::desktop::picture;
use super::super::desktop::screen::Screen;
use super::super::desktop::wire::{self, FromAgent};
use super::repair::{Block, blocks, end_of};
use super::wire::{BINARY, END, FROM_USER, HEAD, Head, INDEXED_END, TRAILER, kind};

/// Seconds from one entry to the next.
const INTERVAL: u64 = 10;
/// Numbers in an index, at most. Of a longer recording the rest cannot be jumped to.
const NUMBERS_MAX: usize = 500_000;
/// Bytes of a message that are read: enough for the head of any image agents make.
const BEGINNING: usize = 4096;

#[derive(Serialize)]
struct Index {
    #[serde(rename = "indexInterval")]
    interval: u64,
    #[serde(rename = "indexStartTime")]
    start: Millis,
    indexes: Vec<Vec<u64>>,
}

/// Gives a whole desktop recording an index. False if it has one, has no end, or has no message.
pub fn add(file: &File) -> io::Result<bool> {
    let len = file.metadata()?.len();
    let Some((end, None)) = end_of(file, len)? else { return Ok(false) };
    let Some(index) = read(file, len - TRAILER as u64)? else { return Ok(false) };
    let json = serde_json::to_vec(&index).map_err(io::Error::other)?;
    let Ok(size) = u32::try_from(json.len()) else { return Ok(false) };
    // A crash in between leaves a file without an end, which is repaired.
    let place = len - TRAILER as u64;
    let head = Head { kind: kind::INDEX, flags: 0, size, time: end.time };
    let tail = Head::trailer(Millis(place), INDEXED_END);
    debug_assert_ne!(END, INDEXED_END);
    file.write_all_at(&[&head.encode()[..], &json, &tail].concat(), place)?;
    file.sync_data()?;
    Ok(true)
}

fn read(file: &File, len: u64) -> io::Result<Option<Index>> {
    let mut first: Option<Block> = None;
    let mut screen: Option<Screen> = None;
    let (mut indexes, mut numbers) = (Vec::new(), 0);
    let mut beginning = vec![0; BEGINNING];
    for block in blocks(file, len) {
        let block = block?;
        if block.head.kind != kind::MESSAGE {
            continue;
        }
        let base = *first.get_or_insert(block);
        let place = block.at - base.at;
        let elapsed = block.head.time.0.saturating_sub(base.head.time.0);
        while (indexes.len() as u64 + 1) * INTERVAL * 1000 < elapsed {
            let entry = entry(place, screen.as_ref());
            numbers += entry.len();
            if numbers > NUMBERS_MAX {
                return Ok(Some(Index { interval: INTERVAL, start: base.head.time, indexes }));
            }
            indexes.push(entry);
        }
        if block.head.flags & (BINARY | FROM_USER) == BINARY {
            let seen = beginning.len().min(block.head.size as usize);
            let Some(seen) = beginning.get_mut(..seen) else { continue };
            file.read_exact_at(seen, block.at + HEAD as u64)?;
            draw(&mut screen, seen, place);
        }
    }
    Ok(first.map(|base| Index { interval: INTERVAL, start: base.head.time, indexes }))
}

/// Draws a message that is only its place.
fn draw(screen: &mut Option<Screen>, beginning: &[u8], place: u64) {
    match wire::first_of(beginning).as_ref().and_then(FromAgent::parse) {
        Some(FromAgent::ScreenSize(size))
            if screen.as_ref().is_none_or(|screen| screen.size() != size) =>
        {
            *screen = Some(Screen::new(size, 0));
        }
        Some(FromAgent::Tile { x, y, image }) => {
            if let (Some(screen), Some(size)) = (screen, picture::size(image)) {
                let place = Bytes::copy_from_slice(&place.to_be_bytes());
                screen.add(x, y, size, place);
            }
        }
        _ => {}
    }
}

fn entry(place: u64, screen: Option<&Screen>) -> Vec<u64> {
    let Some(screen) = screen else { return vec![place, 0, 0] };
    let mut entry = vec![place, screen.size().width.into(), screen.size().height.into()];
    let mut seen = 0;
    while let Some((at, place)) = screen.after(seen) {
        seen = at;
        entry.extend(place.first_chunk().map(|place| u64::from_be_bytes(*place)));
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::super::name::Form;
    use super::super::recorder::{From, Next, Recorder, Work};
    use super::super::repair::{Outcome, repair};
    use super::super::wire::Metadata;
    use super::*;
    use serde_json::{Value, json};

    fn record(messages: &[(u64, Vec<u8>)]) -> File {
        let start = Millis(1_795_326_010_000);
        let at = |seconds: u64| Millis(start.0 + seconds * 1000);
        let metadata = Metadata { protocol: 2, ..Metadata::default() };
        let mut recorder = Recorder::new(Form::Blocks, &metadata, start);
        for (seconds, message) in messages {
            recorder.message(From::Device, true, message.len() as u64, at(*seconds));
            recorder.payload(From::Device, message, at(*seconds));
        }
        recorder.finish(at(messages.last().map_or(0, |(seconds, _)| *seconds)));
        let file = tempfile::tempfile().unwrap();
        let Next::Work(work @ Work::Close { .. }) = recorder.next(std::time::Instant::now()) else {
            panic!("it ends at once");
        };
        super::super::folder::perform(&file, work).unwrap();
        file
    }

    fn tile(x: u16, width: u32) -> Vec<u8> {
        let mut image = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        image.extend([width, 64].into_iter().flat_map(u32::to_be_bytes));
        FromAgent::Tile { x, y: 0, image: &image }.encode()
    }

    #[test]
    fn an_index_names_the_messages_that_draw_each_moment() {
        let size = picture::Size { width: 128, height: 64 };
        let file = record(&[
            (0, FromAgent::ScreenSize(size).encode()),
            (1, tile(0, 128)),
            (3, tile(64, 64)),
            (4, tile(64, 64)),
            (25, tile(0, 128)),
            (31, tile(0, 64)),
        ]);
        assert!(add(&file).unwrap());
        let len = file.metadata().unwrap().len();
        let (head, place) = end_of(&file, len).unwrap().unwrap();
        let mut json = vec![0; head.size as usize];
        file.read_exact_at(&mut json, place.unwrap() + HEAD as u64).unwrap();
        // A size is 24 bytes with its head, a tile 48.
        let at = |tiles: u64| 24 + tiles * 48;
        let expected = json!({
            "indexInterval": 10,
            "indexStartTime": 1_795_326_010_000_u64,
            "indexes": [
                [at(3), 128, 64, at(0), at(2)],
                [at(3), 128, 64, at(0), at(2)],
                [at(4), 128, 64, at(3)],
            ],
        });
        assert_eq!(serde_json::from_slice::<Value>(&json).unwrap(), expected);
        assert!(!add(&file).unwrap(), "once is enough");
        assert_eq!(repair(&file, Form::Blocks).unwrap(), Outcome::Whole);
    }

    #[test]
    fn what_is_not_whole_gets_no_index() {
        let file = record(&[]);
        assert!(!add(&file).unwrap(), "nothing to jump to");
        file.set_len(20).unwrap();
        assert!(!add(&file).unwrap());
    }
}
