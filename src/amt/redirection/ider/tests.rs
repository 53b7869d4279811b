//! The recorded session held again, and sessions that go wrong.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::amt::redirection::testing::{cut, hex, unhex};

const FILE: &str = include_str!("../../../../tests/vectors/redir-ider.json");

fn vectors() -> Value {
    serde_json::from_str(FILE).unwrap()
}

/// The images of the recording: a byte of a sector is the sector's number.
fn image(drive: Drive, at: u64, len: usize) -> Vec<u8> {
    let size = u64::from(drive.sector());
    (at..at + len as u64).map(|at| (at / size) as u8).collect()
}

struct Host {
    ider: Ider,
    /// What the firmware was told.
    told: Vec<Vec<u8>>,
    other: Vec<Effect>,
}

impl Host {
    fn new() -> Self {
        let (ider, first) = Ider::begin(Some(2880), Some(40), Start::Now);
        let mut host = Self { ider, told: Vec::new(), other: Vec::new() };
        host.perform(vec![first]);
        host
    }

    /// One that has got as far as commands.
    fn open() -> Self {
        let mut host = Self::new();
        let session = vectors()["session"].clone();
        for name in ["reply41", "status49"] {
            host.say(&unhex(session[0][name].as_str().unwrap()));
        }
        host.told.clear();
        host.other.clear();
        host
    }

    fn say(&mut self, bytes: &[u8]) {
        let effects = self.ider.take(bytes);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(message) => self.told.push(message),
                Effect::Read { drive, at, len } => {
                    let data = image(drive, at, len);
                    let effects = self.ider.data(Some(&data));
                    self.perform(effects);
                }
                other => self.other.push(other),
            }
        }
    }

    /// A command of the host, with the number that is due.
    fn command(&self, select: u8, block: &[u8]) -> Vec<u8> {
        let mut message = vec![0x50, 0, 0, 0];
        message.extend(self.ider.received.to_le_bytes());
        message.extend([0, 0, 0, 0, 0, 8, select, 0xa0]);
        message.extend(block);
        message.resize(28, 0);
        message
    }
}

#[test]
fn the_recorded_session_is_held_again() {
    let mut host = Host::new();
    for step in vectors()["session"].as_array().unwrap() {
        for name in ["reply41", "status49"] {
            if let Some(message) = step[name].as_str() {
                host.say(&unhex(message));
            }
        }
        if let Some(message) = step["cmd"].as_str() {
            let (message, more) = message.split_once('+').unwrap_or((message, "0"));
            let mut message = unhex(message);
            message.resize(message.len() + more.parse::<usize>().unwrap(), 0xee);
            host.say(&message);
        }
        let replies = step["replies"].as_array().unwrap();
        assert_eq!(host.told.len(), replies.len(), "{}", step["name"]);
        for (told, reply) in host.told.drain(..).zip(replies) {
            // Long ones are cut: "…(N bytes)".
            let reply = reply.as_str().unwrap();
            match reply.split_once('…') {
                Some((begin, length)) => {
                    assert!(hex(&told).starts_with(begin), "{}", step["name"]);
                    let length = length.trim_matches(|c: char| !c.is_ascii_digit());
                    assert_eq!(told.len().to_string(), length, "{}", step["name"]);
                }
                None => assert_eq!(hex(&told), reply, "{}", step["name"]),
            }
        }
    }
    assert!(host.other.contains(&Effect::Enabled));
    let asked = Effect::Asked { drive: Drive::Cd, sector: 16, count: 2 };
    assert!(host.other.contains(&asked));
    assert!(!host.other.iter().any(|effect| matches!(effect, Effect::Over(_))));
}

#[test]
fn constant_answers_are_those_of_the_recording() {
    for item in vectors()["data_payloads"]["items"].as_array().unwrap() {
        let mut host = Host::open();
        let is_floppy = item["name"].as_str().unwrap().starts_with("floppy");
        let select = if is_floppy { 0xa0 } else { 0xb0 };
        let message = host.command(select, &unhex(item["cdb"].as_str().unwrap()));
        host.say(&message);
        let data: Vec<_> = host.told.iter().map(|told| hex(&told[34..])).collect();
        let expected: Vec<_> =
            item["data"].as_array().unwrap().iter().map(|data| data.as_str().unwrap()).collect();
        assert_eq!(data, expected, "{}", item["name"]);
    }
}

#[test]
fn every_sector_that_is_asked_for_comes_whole_and_nothing_else() {
    let mut host = Host::open();
    let sectors =
        [(0xb0, Drive::Cd, 0u32, 40u16), (0xb0, Drive::Cd, 39, 1), (0xa0, Drive::Floppy, 7, 33)];
    for (select, drive, sector, count) in sectors {
        let mut block = vec![0x28, 0];
        block.extend(sector.to_be_bytes());
        block.push(0);
        block.extend(count.to_be_bytes());
        let message = host.command(select, &block);
        host.say(&message);
        let got: Vec<u8> = host.told.drain(..).flat_map(|told| told[34..].to_vec()).collect();
        let size = drive.sector();
        let expected = image(drive, u64::from(sector * size), usize::from(count) * size as usize);
        assert!(got == expected, "{drive:?} {sector}+{count}");
    }
}

#[test]
fn a_read_that_fails_is_told_and_the_session_goes_on() {
    let mut host = Host::open();
    let read = host.command(0xb0, &[0x28, 0, 0, 0, 0, 0, 0, 0, 8]);
    let effects = host.ider.take(&read);
    assert!(matches!(effects[..], [Effect::Asked { .. }, Effect::Read { len: 8192, .. }]));
    for data in [None, Some(&[0; 100][..])] {
        let Effect::Send(told) = &host.ider.data(data)[0] else { panic!("nothing is told") };
        assert_eq!(told[20..], [0x87, 0x30, 3, 0, 0, 0, 0xb0, 0x51, 3, 0x11, 0]);
        assert_eq!(host.ider.data(data), [], "there is no read under way");
        let read = host.command(0xb0, &[0x28, 0, 0, 0, 0, 0, 0, 0, 8]);
        host.ider.take(&read);
    }
}

#[test]
fn a_reset_waits_for_the_read_under_way_and_drops_the_others() {
    let mut host = Host::open();
    let mut effects = Vec::new();
    for _ in 0..3 {
        let read = host.command(0xb0, &[0x28, 0, 0, 0, 0, 0, 0, 0, 8]);
        effects.extend(host.ider.take(&read));
    }
    let reads = effects.iter().filter(|effect| matches!(effect, Effect::Read { .. })).count();
    assert_eq!(reads, 1, "one at a time");
    let mut reset = vec![0x46, 0, 0, 0];
    reset.extend(host.ider.received.to_le_bytes());
    reset.push(3);
    assert_eq!(host.ider.take(&reset), []);
    let told = host.ider.data(Some(&[7; 8192]));
    let [Effect::Send(data), Effect::Send(done)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((data[0], done[0]), (0x54, 0x47));
    assert_eq!(host.ider.data(Some(&[7; 8192])), [], "nothing else is read");
}

#[test]
fn what_breaks_the_protocol_ends_it() {
    let over = [Effect::Over(Over::Garbled)];
    let mut skipped = Host::open().command(0xb0, &[0]);
    skipped[4] += 1;
    assert_eq!(Host::open().ider.take(&skipped), over, "a number is missing");
    assert_eq!(Host::open().ider.take(&[0x99]), over);
    let mut large = unhex(vectors()["session"][0]["reply41"].as_str().unwrap());
    for block in [[0, 0], [1, 0x20]] {
        large[16..18].copy_from_slice(&block);
        assert_eq!(Host::new().ider.take(&large), over, "blocks of {block:?}");
    }
    let mut host = Host::open();
    let mut effects = Vec::new();
    for _ in 0..QUEUE + 2 {
        let read = host.command(0xb0, &[0x28, 0, 0, 0, 0, 0, 0, 0, 8]);
        effects = host.ider.take(&read);
    }
    assert_eq!(effects.last(), Some(&over[0]), "more reads than anybody has");
}

#[test]
fn a_firmware_that_does_not_switch_over_says_so() {
    let mut host = Host::new();
    let session = vectors()["session"].clone();
    host.say(&unhex(session[0]["reply41"].as_str().unwrap()));
    let mut status = unhex(session[0]["status49"].as_str().unwrap());
    status[9] = 0;
    assert_eq!(host.ider.take(&status), [Effect::Over(Over::Unsupported)]);
}

proptest! {
    #[test]
    fn how_the_firmwares_bytes_are_cut_makes_no_difference(sizes in cut()) {
        let mut host = Host::open();
        let mut bytes = Vec::new();
        for item in vectors()["data_payloads"]["items"].as_array().unwrap() {
            bytes.extend(host.command(0xb0, &unhex(item["cdb"].as_str().unwrap())));
            host.ider.received += 1;
        }
        for (command, rest) in [(0x53, vec![0, 4, 0, 0, 0, 0, 7, 7, 7, 7]), (0x44, vec![])] {
            bytes.extend([command, 0, 0, 0]);
            bytes.extend(host.ider.received.to_le_bytes());
            bytes.extend(rest);
            host.ider.received += 1;
        }
        let (mut whole, mut pieces) = (Host::open(), Host::open());
        whole.say(&bytes);
        let mut rest = &bytes[..];
        for size in sizes.into_iter().cycle() {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            pieces.say(piece);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(whole.other, []);
        prop_assert_eq!(whole.told, pieces.told);
    }

    #[test]
    fn no_command_breaks_it_or_reads_beyond_the_end(
        select in any::<u8>(),
        block in prop::collection::vec(any::<u8>(), 12),
    ) {
        let mut host = Host::open();
        let message = host.command(select, &block);
        for effect in host.ider.take(&message) {
            if let Effect::Read { drive, at, len } = effect {
                let size = match drive { Drive::Floppy => 2880 * 512, Drive::Cd => 40 * 2048 };
                prop_assert!(at + len as u64 <= size);
            }
        }
    }

    #[test]
    fn nothing_that_comes_breaks_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        Host::open().ider.take(&bytes);
    }
}
