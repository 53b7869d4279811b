//! How large an image is, read from the head of its file without decoding a pixel.
//!
//! Agents send JPEG; those on Windows also PNG and TIFF, and the protocol knows WebP. The head is
//! walked segment by segment, never beyond what has arrived. Sources: ITU-T T.81 annex B, the PNG
//! and WebP container specifications, TIFF 6.0.

/// A size in pixels; neither side is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Pixels from left to right.
    pub width: u16,
    /// Pixels from top to bottom.
    pub height: u16,
}

impl Size {
    /// A size, unless a side is zero.
    pub fn new(width: u16, height: u16) -> Option<Self> {
        (width > 0 && height > 0).then_some(Self { width, height })
    }

    fn of(width: u32, height: u32) -> Option<Self> {
        Self::new(width.try_into().ok()?, height.try_into().ok()?)
    }

    /// Width and height, big-endian.
    pub fn to_bytes(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.width.to_be_bytes(), self.height.to_be_bytes());
        [a, b, c, d]
    }
}

/// The size of `image`; `None` if it is none of the four kinds, cut off, or larger than 65535 on a
/// side.
pub fn size(image: &[u8]) -> Option<Size> {
    if image.starts_with(&[0xff, 0xd8, 0xff]) {
        jpeg(image.get(2..)?)
    } else if image.starts_with(b"\x89PNG\r\n\x1a\n") {
        let header = image.get(12..24)?.strip_prefix(b"IHDR")?;
        Size::of(be32(header, 0)?, be32(header, 4)?)
    } else if image.starts_with(b"RIFF") && image.get(8..12)? == b"WEBP" {
        webp(image.get(12..)?)
    } else {
        tiff(image)
    }
}

/// `rest` is what follows the start-of-image marker.
fn jpeg(mut rest: &[u8]) -> Option<Size> {
    loop {
        // Any number of fill bytes may stand before a marker.
        let at = rest.iter().position(|b| *b != 0xff).filter(|at| *at > 0)?;
        let marker = *rest.get(at)?;
        rest = rest.get(at + 1..)?;
        match marker {
            // Markers without a segment.
            0x01 | 0xd0..=0xd7 => continue,
            // The pixels begin, or the image ends.
            0x00 | 0xd8..=0xda => return None,
            _ => {}
        }
        let len = usize::from(be16(rest, 0)?);
        let segment = rest.get(2..len)?;
        // Start of frame, in one of its kinds; between them are three other tables.
        if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
            return Size::new(be16(segment, 3)?, be16(segment, 1)?);
        }
        rest = rest.get(len..)?;
    }
}

/// `chunk` is the first one of the file.
fn webp(chunk: &[u8]) -> Option<Size> {
    let (kind, body) = (chunk.get(..4)?, chunk.get(8..)?);
    match kind {
        b"VP8X" => Size::of(le24(body, 4)? + 1, le24(body, 7)? + 1),
        b"VP8L" if body.first() == Some(&0x2f) => {
            let bits = le32(body, 1)?;
            Size::of((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1)
        }
        b"VP8 " if body.get(3..6)? == [0x9d, 0x01, 0x2a] => {
            let side = |at| Some(u16::from_le_bytes(*body.get(at..)?.first_chunk()?) & 0x3fff);
            Size::new(side(6)?, side(8)?)
        }
        _ => None,
    }
}

fn tiff(image: &[u8]) -> Option<Size> {
    let little = match image.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |bytes: &[u8], at: usize| -> Option<u16> {
        let pair = *bytes.get(at..)?.first_chunk()?;
        Some(if little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) })
    };
    let long = |bytes: &[u8], at| if little { le32(bytes, at) } else { be32(bytes, at) };
    let directory = image.get(usize::try_from(long(image, 4)?).ok()?..)?;
    let count = usize::from(short(directory, 0)?);
    let (mut width, mut height) = (None, None);
    for entry in directory.get(2..)?.chunks_exact(12).take(count) {
        let value = match short(entry, 2)? {
            3 => short(entry, 8).map(u32::from),
            4 => long(entry, 8),
            _ => None,
        };
        match short(entry, 0)? {
            256 => width = value,
            257 => height = value,
            _ => {}
        }
    }
    Size::of(width?, height?)
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn le24(bytes: &[u8], at: usize) -> Option<u32> {
    let [a, b, c] = *bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes([a, b, c, 0]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Heads of files as other programs write them, 300 x 200 pixels.
    const HEADS: [(&str, &str); 8] = [
        ("JPEG", "ffd8ffe000104a46494600010100000100010000ffc00011080 0c8012c03012200021101031101"),
        ("progressive JPEG", "ffd8ffdb000401 02ffffffc2000b0800c8012c01011100"),
        ("PNG", "89504e470d0a1a0a0000000d49484452 0000012c000000c80802000000"),
        ("WebP, lossy", "524946460000000057454250 56503820000000 00 3001009d012a2c01c800"),
        ("WebP, lossless", "524946460000000057454250 5650384c00000000 2f2bc13100"),
        ("WebP, extended", "524946460000000057454250 565038580a000000 10000000 2b0100 c70000"),
        (
            "TIFF, little",
            "49492a0008000000 0200 0001 0300 01000000 2c010000 0101 0400 01000000 c8000000",
        ),
        (
            "TIFF, big",
            "4d4d002a00000008 0002 0100 0003 00000001 012c0000 0101 0004 00000001 000000c8",
        ),
    ];

    /// Blanks between the digits do not count.
    fn bytes(hex: &str) -> Vec<u8> {
        let hex = hex.replace(' ', "");
        data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()
    }

    #[test]
    fn every_kind_tells_its_size_and_none_when_cut() {
        for (kind, head) in HEADS {
            let head = bytes(head);
            assert_eq!(size(&head), Size::new(300, 200), "{kind}");
            let enough = (0..head.len()).find(|n| size(&head[..*n]).is_some());
            assert!(enough.is_none_or(|n| size(&head[..n]) == Size::new(300, 200)), "{kind}");
        }
    }

    #[test]
    fn what_is_no_picture_has_no_size() {
        for bytes in [&b""[..], b"GIF89a", b"\xff\xd8\xff\xda\0\x02", b"\xff\xd8\xff\xc0\0\x02"] {
            assert_eq!(size(bytes), None, "{bytes:?}");
        }
        let zero = bytes(HEADS[2].1.replace("0000012c", "00000000").as_str());
        assert_eq!(size(&zero), None);
    }

    proptest! {
        #[test]
        fn hostile_heads_are_sizes_or_nothing(
            kind in 0..HEADS.len(), at: proptest::sample::Index, patch: [u8; 3],
        ) {
            let mut head = bytes(HEADS[kind].1);
            let at = at.index(head.len());
            for (old, new) in head.iter_mut().skip(at).zip(patch) {
                *old = new;
            }
            if let Some(size) = size(&head) {
                prop_assert!(size.width > 0 && size.height > 0);
            }
        }
    }
}
