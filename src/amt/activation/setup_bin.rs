//! `setup.bin`: what a USB key brings to the firmware of a computer that starts from it: the password
//! of its menu (MEBx), a root it is to trust, and its DNS suffix.
//!
//! Two chunks of 512 bytes: a header, and one record of variables, each `module u16 | variable u16 |
//! length u16 | 0 u16 | value`, padded to 4 bytes; all numbers little-endian. Version 3, of AMT 7 and
//! later. Source: amt-activation-and-lan §6, and the notes on the format in the stock package.

use std::fmt;

use super::password;
use super::room::is_name;

/// Bytes of a chunk.
const CHUNK: usize = 512;
/// Of files of version 3.
const KIND: [u8; 16] = [
    0xa7, 0xf7, 0xf6, 0xc6, 0x89, 0xc4, 0xf6, 0x47, 0x93, 0xed, 0xe2, 0xe5, 0x02, 0x0d, 0xa5, 0x1d,
];
const VERSION: u8 = 3;
/// Header of the file without modules, and of a record.
const HEADER: u16 = 42;
const RECORD: u16 = 24;
/// The file is as good for the next computer.
const NOT_CONSUMED: u16 = 1;
/// A data record that is valid and not scrambled.
const DATA: u32 = 1;
const VALID: u32 = 1;
/// Modules: the menu and its passwords, and setting up.
const MENU: u16 = 1;
const SETUP: u16 = 2;
/// SHA-256.
const HASH_KIND: u8 = 2;
/// What firmware calls the root.
pub const ROOT_NAME: &str = "MeshCentral";
/// The password of the factory.
pub const FACTORY: &str = "admin";
/// Characters of a password of the menu.
const PASSWORD: std::ops::RangeInclusive<usize> = 8..=16;

/// What there is to bring.
pub struct SetupBin<'a> {
    /// The password of the menu as it is.
    pub old: &'a str,
    /// And as it shall be.
    pub new: &'a str,
    /// SHA-256 of the root.
    pub root: [u8; 32],
    /// The DNS suffix that certificates have to be for.
    pub suffix: &'a str,
}

/// Why there is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The password as it is cannot be that.
    Old,
    /// The firmware would not take the new one.
    New,
    /// No DNS name.
    Suffix,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Old => "the present password of MEBx is `admin`, or has 8 to 16 characters",
            Self::New => {
                "MEBx takes a password of 8 to 16 characters with a digit, a small and a capital \
                 letter and a special character, but none of : , \""
            }
            Self::Suffix => "the DNS suffix has to be a name like lab.example.com",
        })
    }
}

impl SetupBin<'_> {
    /// The file: 1,024 bytes.
    ///
    /// # Errors
    /// What the firmware would not take.
    pub fn encode(&self) -> Result<Vec<u8>, Unfit> {
        let is_ascii = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if self.old != FACTORY && !(PASSWORD.contains(&self.old.len()) && is_ascii(self.old)) {
            return Err(Unfit::Old);
        }
        if !PASSWORD.contains(&self.new.len()) || !password::is_acceptable(self.new) {
            return Err(Unfit::New);
        }
        if !is_name(self.suffix) {
            return Err(Unfit::Suffix);
        }
        let mut file = Vec::with_capacity(2 * CHUNK);
        file.extend(KIND);
        let modules = [MENU, SETUP];
        for number in [1, HEADER + 2 * modules.len() as u16] {
            file.extend(number.to_le_bytes());
        }
        file.extend(0_u32.to_le_bytes());
        file.extend([VERSION, 0]);
        file.extend(NOT_CONSUMED.to_le_bytes());
        // Records in the file, those that were used up, and chunks in each.
        file.extend(1_u32.to_le_bytes());
        file.extend(0_u32.to_le_bytes());
        file.extend(1_u16.to_le_bytes());
        file.extend(0_u16.to_le_bytes());
        modules.iter().for_each(|module| file.extend(module.to_le_bytes()));
        file.resize(CHUNK, 0);

        for number in [DATA, VALID, 0, 0] {
            file.extend(number.to_le_bytes());
        }
        file.extend(1_u16.to_le_bytes());
        file.extend(RECORD.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
        let name = [&[ROOT_NAME.len() as u8], ROOT_NAME.as_bytes()].concat();
        let root = [&[HASH_KIND], &self.root[..], &name].concat();
        // The passwords first, and last that firmware is not to begin by itself.
        for (module, variable, value) in [
            (MENU, 1, self.old.as_bytes()),
            (MENU, 2, self.new.as_bytes()),
            (SETUP, 3, self.suffix.as_bytes()),
            (SETUP, 8, &root),
            (SETUP, 28, &[0]),
        ] {
            for number in [module, variable, value.len() as u16, 0] {
                file.extend(number.to_le_bytes());
            }
            file.extend(value);
            file.resize(file.len().next_multiple_of(4), 0);
        }
        // A suffix of 253 bytes and the longest passwords leave room.
        file.resize(2 * CHUNK, 0);
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "P@ssw0rd1";

    /// Variables of the one record, read as the layout says, with everything checked on the way.
    fn parse(file: &[u8]) -> Vec<(u16, u16, Vec<u8>)> {
        let u16_at = |at: usize| u16::from_le_bytes(file[at..at + 2].try_into().unwrap());
        let u32_at = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        assert_eq!(file.len(), 1024);
        assert_eq!(file[..16], KIND);
        assert_eq!((u16_at(16), u16_at(18), u32_at(20)), (1, 46, 0), "chunks, header, number");
        assert_eq!((file[24], file[25], u16_at(26)), (3, 0, 1), "version, not consumed");
        assert_eq!((u32_at(28), u32_at(32), u16_at(36), u16_at(38)), (1, 0, 1, 0), "records");
        assert_eq!((u16_at(40), u16_at(42), u16_at(44)), (1, 2, 0), "modules, and their end");
        assert!(file[44..512].iter().all(|byte| *byte == 0));
        assert_eq!((u32_at(512), u32_at(516), u32_at(520), u32_at(524)), (1, 1, 0, 0));
        assert_eq!((u16_at(528), u16_at(530), u32_at(532)), (1, 24, 1));
        let (mut at, mut variables) = (512 + 24, Vec::new());
        while u16_at(at) != 0 {
            let length = usize::from(u16_at(at + 4));
            assert_eq!(u16_at(at + 6), 0, "reserved");
            let value = file[at + 8..at + 8 + length].to_vec();
            variables.push((u16_at(at), u16_at(at + 2), value));
            at += 8 + length.next_multiple_of(4);
        }
        assert!(file[at..].iter().all(|byte| *byte == 0));
        variables
    }

    #[test]
    fn a_file_has_the_documented_layout() {
        let longest = format!(
            "{}.example",
            ["a".repeat(60), "b".repeat(60), "c".repeat(60), "d".repeat(60)].join(".")
        );
        for (old, suffix) in [("admin", "lab.example.com"), ("Old&P@ssw0rd1234", &*longest)] {
            let file = SetupBin { old, new: NEW, root: [7; 32], suffix }.encode().unwrap();
            let root = [&[2][..], &[7; 32], &[11], b"MeshCentral"].concat();
            let expected = [
                (1, 1, old.as_bytes().to_vec()),
                (1, 2, NEW.into()),
                (2, 3, suffix.into()),
                (2, 8, root),
                (2, 28, vec![0]),
            ];
            assert_eq!(parse(&file), expected);
        }
    }

    #[test]
    fn what_firmware_would_not_take_makes_no_file() {
        let of = |old, new, suffix| SetupBin { old, new, root: [0; 32], suffix }.encode().err();
        for (old, new, suffix, why) in [
            ("admin", NEW, "lab.example.com", None),
            ("P@ssw0rd", NEW, "lab.example.com", None),
            ("", NEW, "lab.example.com", Some(Unfit::Old)),
            ("short", NEW, "lab.example.com", Some(Unfit::Old)),
            ("12345678901234567", NEW, "lab.example.com", Some(Unfit::Old)),
            ("Gr\u{fc}\u{df}e12345", NEW, "lab.example.com", Some(Unfit::Old)),
            ("admin", "admin", "lab.example.com", Some(Unfit::New)),
            ("admin", "Passw0rd1", "lab.example.com", Some(Unfit::New)),
            ("admin", "P@ssw0rd123456789", "lab.example.com", Some(Unfit::New)),
            ("admin", NEW, "", Some(Unfit::Suffix)),
            ("admin", NEW, "lab..com", Some(Unfit::Suffix)),
            ("admin", NEW, "lab example.com", Some(Unfit::Suffix)),
        ] {
            assert_eq!(of(old, new, suffix), why, "{old} {new} {suffix}");
        }
    }
}
