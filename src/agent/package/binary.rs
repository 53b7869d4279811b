//! Agent executables: the hash that survives signing, and settings embedded in a download.
//!
//! An agent reports a normalised SHA-384 of itself: a PE file without its checksum, the entry of
//! its security directory and its certificate table; any file without the `.msh` block at its
//! end. That block ("trailer") is `content | u32 BE length | 16-byte GUID`. In a signed PE file it
//! lies inside the certificate table, which the signature does not cover.
//!
//! Everything streams: no file is ever whole in memory, and any file at all is accepted.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

use ring::digest::{Context, SHA384};

use crate::model::Key48;

/// Ends a block of `.msh` settings.
const POLICY_GUID: [u8; 16] = *b"\xb9\x96\x01\x58\x80\x54\x4a\x19\xb7\xf7\xe9\xbe\x44\x91\x4c\x19";
/// Ends an embedded script: MeshCmd, the graphical installer.
const SCRIPT_GUID: [u8; 16] = *b"\xb9\x96\x01\x58\x80\x54\x4a\x19\xb7\xf7\xe9\xbe\x44\x91\x4c\x18";
/// Length and GUID after the content of a trailer.
const TRAILER_END: u64 = 20;

/// Where the parts of an executable are; all offsets in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Length of the file.
    len: u64,
    /// Length without the `.msh` block at the end, if there is one.
    body: u64,
    pe: Option<Pe>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pe {
    /// The checksum, 4 bytes.
    checksum: u64,
    /// The security directory entry: offset and size of the certificate table, 4 bytes each.
    security: u64,
    table: Table,
}

/// The certificate table of a PE file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    /// The file is not signed.
    None,
    /// The directory points into the headers or beyond the end of the file.
    Outside,
    /// The file is signed.
    Found(Certificates),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Certificates {
    offset: u64,
    /// Size as the security directory states it.
    size: u32,
    /// `dwLength` of the first `WIN_CERTIFICATE`.
    first: u32,
}

impl Layout {
    /// Finds the parts. A file that is not well-formed PE is taken as one piece, like ELF.
    pub fn read<R: Read + Seek>(file: &mut R) -> io::Result<Self> {
        let len = file.seek(SeekFrom::End(0))?;
        let pe = Pe::read(file, len)?;
        let headers = pe.map_or(0, |pe| pe.security + 8);
        let body = policy_start(file, len)?.filter(|start| *start >= headers).unwrap_or(len);
        Ok(Self { len, body, pe })
    }

    /// The bytes that count for the agent's hash are those before this offset.
    fn hashed(&self) -> u64 {
        match self.pe.map(|pe| pe.table) {
            Some(Table::Found(table)) => table.offset,
            _ => self.body,
        }
    }
}

impl Pe {
    fn read<R: Read + Seek>(file: &mut R, len: u64) -> io::Result<Option<Self>> {
        let Some(dos) = read_at::<64, _>(file, 0)? else { return Ok(None) };
        if &dos[..2] != b"MZ" {
            return Ok(None);
        }
        let nt = u64::from(u32_le(&dos[60..]));
        let Some(signature) = read_at::<4, _>(file, nt)? else { return Ok(None) };
        let optional = nt + 24;
        let Some(magic) = read_at::<2, _>(file, optional)? else { return Ok(None) };
        let security = match (&signature, u16::from_le_bytes(magic)) {
            (b"PE\0\0", 0x10b) => optional + 128,
            (b"PE\0\0", 0x20b) => optional + 144,
            _ => return Ok(None),
        };
        let Some(entry) = read_at::<8, _>(file, security)? else { return Ok(None) };
        let offset = u64::from(u32_le(&entry));
        let table = match read_at::<4, _>(file, offset)? {
            _ if offset == 0 => Table::None,
            Some(first) if offset >= security + 8 && offset + 8 <= len => {
                Table::Found(Certificates {
                    offset,
                    size: u32_le(&entry[4..]),
                    first: u32_le(&first),
                })
            }
            _ => Table::Outside,
        };
        Ok(Some(Self { checksum: optional + 64, security, table }))
    }
}

/// Where the `.msh` block at the end of the file begins.
fn policy_start<R: Read + Seek>(file: &mut R, len: u64) -> io::Result<Option<u64>> {
    let Some(at) = len.checked_sub(TRAILER_END) else { return Ok(None) };
    let Some(end) = read_at::<20, _>(file, at)? else { return Ok(None) };
    if end[4..] != POLICY_GUID {
        return Ok(None);
    }
    let content = u32::from_be_bytes([end[0], end[1], end[2], end[3]]);
    Ok(at.checked_sub(u64::from(content)))
}

/// Exactly `N` bytes at `offset`; `None` if the file ends before.
fn read_at<const N: usize, R: Read + Seek>(
    file: &mut R,
    offset: u64,
) -> io::Result<Option<[u8; N]>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = [0; N];
    match file.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// The first four bytes, little-endian; missing bytes count as zero.
fn u32_le(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// What is known of an executable once it has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// The normalised hash, as the agent reports it of itself.
    pub agent: Key48,
    /// SHA-384 of the file as it is.
    pub raw: Key48,
    /// Length in bytes.
    pub size: u64,
}

impl Digests {
    /// Hashes a file in one pass, 64 KB at a time.
    pub fn read<R: Read + Seek>(file: &mut R) -> io::Result<Self> {
        let layout = Layout::read(file)?;
        file.rewind()?;
        let (mut agent, mut raw) = (Context::new(&SHA384), Context::new(&SHA384));
        let mut buffer = vec![0; 64 * 1024];
        let mut at = 0;
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let chunk = &mut buffer[..count];
            raw.update(chunk);
            if let Some(pe) = layout.pe {
                overwrite(chunk, at, pe.checksum, &[0; 4]);
                overwrite(chunk, at, pe.security, &[0; 8]);
            }
            let left = layout.hashed().saturating_sub(at);
            agent.update(&chunk[..count.min(usize::try_from(left).unwrap_or(usize::MAX))]);
            at += count as u64;
        }
        Ok(Self { agent: finish(agent), raw: finish(raw), size: at })
    }
}

/// The digest as a key.
pub(super) fn finish(context: Context) -> Key48 {
    let digest = context.finish();
    // SHA-384 is 48 bytes long, so the prefix is all of it.
    Key48::from_prefix(digest.as_ref()).unwrap_or(Key48::ZERO)
}

/// Writes the part of `bytes` (for file offset `offset`) that falls into `chunk`, which holds the
/// file from `at` on.
fn overwrite(chunk: &mut [u8], at: u64, offset: u64, bytes: &[u8]) {
    for (offset, byte) in (offset..).zip(bytes) {
        let place = offset.checked_sub(at).and_then(|place| usize::try_from(place).ok());
        if let Some(target) = place.and_then(|place| chunk.get_mut(place)) {
            *target = *byte;
        }
    }
}

/// Why settings or a script cannot be embedded in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbedError {
    /// The certificate table or the content would not fit a 32-bit length.
    TooLong,
    /// A script would break the signature of the file.
    Signed,
    /// The file's certificate table is not inside the file.
    Malformed,
}

impl fmt::Display for EmbedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the embedded part does not fit a 32-bit length",
            Self::Signed => "a script cannot be embedded in a signed executable",
            Self::Malformed => "the executable's certificate table is not inside the file",
        })
    }
}

impl std::error::Error for EmbedError {}

/// A download that is not on disk as such: how to make it from the file while it is sent.
///
/// The stream is the first [`Self::copied`] bytes of the file with at most two patches applied,
/// then [`Self::tail`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedded {
    copied: u64,
    patches: heapless::Vec<Patch, 2>,
    tail: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Patch {
    offset: u64,
    bytes: [u8; 4],
}

impl Embedded {
    /// Embeds `.msh` settings. The agent's hash stays what it was, and so does a signature.
    /// Settings already at the end of the file are replaced.
    pub fn settings(layout: &Layout, msh: &[u8]) -> Result<Self, EmbedError> {
        let (pe, table) = match layout.pe {
            Some(pe @ Pe { table: Table::Found(table), .. }) => (pe, table),
            Some(Pe { table: Table::Outside, .. }) => return Err(EmbedError::Malformed),
            Some(Pe { table: Table::None, .. }) | None => {
                let tail = trailer(0, msh, &POLICY_GUID)?;
                return Ok(Self { copied: layout.body, patches: heapless::Vec::new(), tail });
            }
        };
        let content = u32::try_from(msh.len()).map_err(|_| EmbedError::TooLong)?;
        let unpadded = u64::from(table.first) + u64::from(content) + TRAILER_END;
        // The table stays aligned to 8 bytes.
        let padding = (8 - unpadded % 8) % 8;
        let tail = trailer(padding as usize, msh, &POLICY_GUID)?;
        let grown = |size: u32| {
            let size = u64::from(size) + tail.len() as u64;
            u32::try_from(size).map(u32::to_le_bytes).map_err(|_| EmbedError::TooLong)
        };
        let patches = [
            Patch { offset: pe.security + 4, bytes: grown(table.size)? },
            Patch { offset: table.offset, bytes: grown(table.first)? },
        ];
        Ok(Self { copied: layout.len, patches: heapless::Vec::from_array(patches), tail })
    }

    /// Embeds a script that the binary runs instead of connecting as an agent.
    pub fn script(layout: &Layout, script: &[u8]) -> Result<Self, EmbedError> {
        match layout.pe.map(|pe| pe.table) {
            Some(Table::Found(_)) => return Err(EmbedError::Signed),
            Some(Table::Outside) => return Err(EmbedError::Malformed),
            Some(Table::None) | None => {}
        }
        let tail = trailer(0, script, &SCRIPT_GUID)?;
        Ok(Self { copied: layout.len, patches: heapless::Vec::new(), tail })
    }

    /// How many bytes of the file are sent before the tail.
    pub fn copied(&self) -> u64 {
        self.copied
    }

    /// What follows the file: padding, content, length, GUID.
    pub fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Length of the whole download.
    pub fn total_len(&self) -> u64 {
        self.copied + self.tail.len() as u64
    }

    /// The download as a stream; `file` must be at its start and unchanged since its
    /// [`Layout`] was read. A file that got shorter ends with `UnexpectedEof`.
    pub fn reader<R: Read>(self, file: R) -> EmbeddedReader<R> {
        EmbeddedReader { file, embedded: self, at: 0 }
    }
}

/// A script as it is appended to an unsigned binary.
pub(super) fn script_trailer(script: &[u8]) -> Result<Vec<u8>, EmbedError> {
    trailer(0, script, &SCRIPT_GUID)
}

fn trailer(padding: usize, content: &[u8], guid: &[u8; 16]) -> Result<Vec<u8>, EmbedError> {
    let len = u32::try_from(content.len()).map_err(|_| EmbedError::TooLong)?;
    Ok([&[0; 7][..padding.min(7)], content, &len.to_be_bytes(), guid].concat())
}

/// Reads an [`Embedded`] download from the file below it.
#[derive(Debug)]
pub struct EmbeddedReader<R> {
    file: R,
    embedded: Embedded,
    at: u64,
}

impl<R: Read> Read for EmbeddedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Embedded { copied, patches, tail } = &self.embedded;
        let count = match copied.checked_sub(self.at).filter(|left| *left > 0) {
            Some(left) => {
                let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let count = self.file.read(&mut buffer[..wanted])?;
                if count == 0 && wanted > 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                for patch in patches {
                    overwrite(&mut buffer[..count], self.at, patch.offset, &patch.bytes);
                }
                count
            }
            None => {
                let sent = usize::try_from(self.at - copied).unwrap_or(usize::MAX);
                let mut left = tail.get(sent..).unwrap_or_default();
                left.read(buffer)?
            }
        };
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../../../tests/vectors/agent-binaries.json")).unwrap()
    }

    fn hex(value: &serde_json::Value) -> Vec<u8> {
        HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
    }

    fn agent_hash(file: &[u8]) -> Key48 {
        Digests::read(&mut Cursor::new(file)).unwrap().agent
    }

    fn layout(file: &[u8]) -> Layout {
        Layout::read(&mut Cursor::new(file)).unwrap()
    }

    fn stream(embedded: Embedded, file: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let total = embedded.total_len();
        embedded.reader(file).read_to_end(&mut out).unwrap();
        assert_eq!(out.len() as u64, total);
        out
    }

    /// A PE file with a certificate table at the end, if `table` is not empty.
    fn pe(wide: bool, headers_at: u32, body: &[u8], table: &[u8]) -> Vec<u8> {
        let optional = headers_at as usize + 24;
        let security = optional + if wide { 144 } else { 128 };
        let mut file = vec![0x11; security + 8];
        file[..2].copy_from_slice(b"MZ");
        file[60..64].copy_from_slice(&headers_at.to_le_bytes());
        file[headers_at as usize..][..4].copy_from_slice(b"PE\0\0");
        let magic: u16 = if wide { 0x20b } else { 0x10b };
        file[optional..][..2].copy_from_slice(&magic.to_le_bytes());
        file.extend_from_slice(body);
        let (offset, size) =
            if table.is_empty() { (0, 0) } else { (file.len() as u32, 8 + table.len() as u32) };
        file[security..][..4].copy_from_slice(&offset.to_le_bytes());
        file[security + 4..][..4].copy_from_slice(&size.to_le_bytes());
        if size > 0 {
            file.extend_from_slice(&size.to_le_bytes());
            file.extend_from_slice(&[0, 2, 2, 0]);
            file.extend_from_slice(table);
        }
        file
    }

    #[test]
    fn hashes_and_embedding_are_those_of_the_reference() {
        let vectors = vectors();
        let image = hex(&vectors["syntheticPe64"]["fileHex"]);
        let expected = hex(&vectors["syntheticPe64"]["hash"]);
        assert_eq!(agent_hash(&image).0.as_slice(), expected);

        let unsigned = &vectors["syntheticPe64UnsignedWithMsh"];
        let msh = hex(&unsigned["mshHex"]);
        let embedded = stream(Embedded::settings(&layout(&image), &msh).unwrap(), &image);
        assert_eq!(embedded, [image.clone(), hex(&unsigned["appendHex"])].concat());
        assert_eq!(agent_hash(&embedded).0.as_slice(), expected);

        // The signed image is the same with a certificate table, which the directory points to.
        let table = hex(&vectors["syntheticPe64Signed"]["certTableHex"]);
        let security = vectors["syntheticPe64"]["securityDirPos"].as_u64().unwrap() as usize;
        let mut signed = [image.clone(), table.clone()].concat();
        signed[security..][..4].copy_from_slice(&(image.len() as u32).to_le_bytes());
        signed[security + 4..][..4].copy_from_slice(&(table.len() as u32).to_le_bytes());
        assert_eq!(agent_hash(&signed).0.as_slice(), expected);
        let embedded = stream(Embedded::settings(&layout(&signed), &msh).unwrap(), &signed);
        assert_eq!(embedded, hex(&vectors["syntheticPe64SignedWithMsh"]["fileHex"]));
        assert_eq!(agent_hash(&embedded).0.as_slice(), expected);

        let linux = &vectors["linuxTrailer"];
        let elf = b"\x7fELF and so on";
        let embedded = Embedded::settings(&layout(elf), &hex(&linux["mshHex"])).unwrap();
        assert_eq!(embedded.tail(), hex(&linux["trailerHex"]));
        assert_eq!(agent_hash(&stream(embedded, elf)), agent_hash(elf));
    }

    #[test]
    fn settings_replace_older_settings_instead_of_piling_up() {
        let elf = b"\x7fELF";
        let once = stream(Embedded::settings(&layout(elf), b"a=1").unwrap(), elf);
        let twice = stream(Embedded::settings(&layout(&once), b"b=2").unwrap(), &once);
        assert_eq!(twice, stream(Embedded::settings(&layout(elf), b"b=2").unwrap(), elf));
    }

    #[test]
    fn a_script_never_breaks_a_signature() {
        let signed = pe(true, 128, b"code", b"certificate");
        assert_eq!(Embedded::script(&layout(&signed), b"x"), Err(EmbedError::Signed));
        let unsigned = pe(true, 128, b"code", b"");
        let embedded = stream(Embedded::script(&layout(&unsigned), b"x").unwrap(), &unsigned);
        assert_eq!(embedded, [unsigned, script_trailer(b"x").unwrap()].concat());
    }

    #[test]
    fn a_certificate_table_that_would_overflow_is_an_error() {
        let mut signed = pe(false, 128, b"code", b"certificate");
        let at = signed.len() - b"certificate".len() - 8;
        signed[at..][..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Embedded::settings(&layout(&signed), b"x"), Err(EmbedError::TooLong));
    }

    #[test]
    fn a_certificate_table_outside_the_file_is_an_error() {
        // Were it taken as unsigned, what is embedded could become the table.
        let mut file = pe(true, 128, b"code", b"");
        let security = 128 + 24 + 144;
        for offset in [1, file.len() as u32 - 4, file.len() as u32, u32::MAX] {
            file[security..][..4].copy_from_slice(&offset.to_le_bytes());
            let layout = layout(&file);
            assert_eq!(Embedded::settings(&layout, b"x"), Err(EmbedError::Malformed), "{offset}");
            assert_eq!(Embedded::script(&layout, b"x"), Err(EmbedError::Malformed), "{offset}");
        }
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_sent_is_an_error() {
        let embedded = Embedded::settings(&layout(b"0123456789"), b"x").unwrap();
        let error = embedded.reader(&b"01234"[..]).read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    /// Files that look like something: PE headers, trailers with any stated length.
    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
        let trailer = proptest::option::of(any::<u32>());
        let header = (any::<bool>(), 64u32..300, any::<(u32, u32)>(), any::<bool>());
        (bytes(), bytes(), header, trailer, any::<bool>()).prop_map(
            |(body, table, (wide, at, entry, mangled), trailer, is_pe)| {
                let mut file = if is_pe { pe(wide, at, &body, &table) } else { body };
                if is_pe && mangled {
                    let security = at as usize + 24 + if wide { 144 } else { 128 };
                    let offset = entry.0 % (file.len() as u32 + 16);
                    file[security..][..4].copy_from_slice(&offset.to_le_bytes());
                    file[security + 4..][..4].copy_from_slice(&entry.1.to_le_bytes());
                }
                if let Some(len) = trailer {
                    file.extend_from_slice(&(len % 512).to_be_bytes());
                    file.extend_from_slice(&POLICY_GUID);
                }
                file
            },
        )
    }

    proptest! {
        #[test]
        fn embedding_never_changes_the_agents_hash(
            file in hostile(), msh in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            if let Ok(embedded) = Embedded::settings(&layout(&file), &msh) {
                let out = stream(embedded, &file);
                prop_assert_eq!(agent_hash(&out), agent_hash(&file));
                prop_assert!(out.ends_with(&trailer(0, &msh, &POLICY_GUID).unwrap()));
            }
        }

        #[test]
        fn any_bytes_at_all_have_a_hash(file in proptest::collection::vec(any::<u8>(), 0..400)) {
            let digests = Digests::read(&mut Cursor::new(&file)).unwrap();
            prop_assert_eq!(digests.size, file.len() as u64);
        }

        #[test]
        fn a_download_read_in_small_pieces_is_the_same(file in hostile(), size in 1usize..9) {
            if let Ok(embedded) = Embedded::settings(&layout(&file), b"k=v") {
                let whole = stream(embedded.clone(), &file);
                let mut reader = embedded.reader(&file[..]);
                let (mut pieces, mut piece) = (Vec::new(), vec![0; size]);
                while let count @ 1.. = reader.read(&mut piece).unwrap() {
                    pieces.extend_from_slice(&piece[..count]);
                }
                prop_assert_eq!(pieces, whole);
            }
        }
    }
}
