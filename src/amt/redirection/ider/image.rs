//! An image of a disk: a file of which any part can be read, with what was read lately.
//!
//! Hosts read in small steps forward; the disk is asked for [`PIECE`] at a time, in the pool, and
//! [`PIECES`] of them are kept: 1 MB of each image while it is used. The file is opened once and
//! only for reading, so it stays what it was however its name is used meanwhile.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::Drive;
use crate::pool;

/// Bytes that are read at a time.
const PIECE: u64 = 128 << 10;
/// Pieces that are kept.
const PIECES: usize = 8;
/// Every image has a multiple of this many bytes.
const UNIT: u64 = 512;

/// See the module.
pub struct Image {
    file: Arc<File>,
    drive: Drive,
    len: u64,
    /// Number of a piece and its bytes, the one used last in front.
    kept: VecDeque<(u64, Arc<[u8]>)>,
}

/// A file that is no image: its length is not a multiple of 512, is nothing, or more than a drive
/// can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSize;

impl Image {
    /// The image for `drive` in `file`, which has `len` bytes.
    ///
    /// # Errors
    /// It has no length of an image.
    pub fn new(file: File, len: u64, drive: Drive) -> Result<Self, BadSize> {
        let sectors = len.div_ceil(u64::from(drive.sector()));
        if len == 0 || !len.is_multiple_of(UNIT) || u32::try_from(sectors).is_err() {
            return Err(BadSize);
        }
        Ok(Self { file: Arc::new(file), drive, len, kept: VecDeque::new() })
    }

    /// Its sectors. The last one may not be whole.
    pub fn sectors(&self) -> u32 {
        self.len.div_ceil(u64::from(self.drive.sector())) as u32
    }

    /// Reads `len` bytes, which are all within its sectors; behind its end are zeros.
    ///
    /// # Errors
    /// What the disk says, or that the file has become shorter.
    pub async fn read(&mut self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len.min(PIECE as usize));
        while bytes.len() < len {
            let at = at + bytes.len() as u64;
            let left = len - bytes.len();
            if at >= self.len {
                bytes.resize(len, 0);
                break;
            }
            let piece = self.piece(at / PIECE).await?;
            let from = (at % PIECE) as usize;
            let there = piece.get(from..).unwrap_or_default();
            let there = there.get(..left).unwrap_or(there);
            if there.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes.extend_from_slice(there);
        }
        Ok(bytes)
    }

    /// A piece, kept or from the disk.
    async fn piece(&mut self, number: u64) -> io::Result<Arc<[u8]>> {
        if let Some(place) = self.kept.iter().position(|(kept, _)| *kept == number)
            && let Some(found) = self.kept.remove(place)
        {
            let piece = found.1.clone();
            self.kept.push_front(found);
            return Ok(piece);
        }
        let (file, at) = (self.file.clone(), number * PIECE);
        let len = PIECE.min(self.len.saturating_sub(at)) as usize;
        let piece = pool::unblock(move || {
            let mut piece = vec![0; len];
            file.read_exact_at(&mut piece, at).map(|()| Arc::<[u8]>::from(piece))
        })
        .await?;
        self.kept.truncate(PIECES - 1);
        self.kept.push_front((number, piece.clone()));
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;
    use std::io::Write as _;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    /// Bytes of which every two neighbours differ from those elsewhere.
    fn content(len: usize) -> Vec<u8> {
        (0..len as u32)
            .flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_be_bytes())
            .take(len)
            .collect()
    }

    #[test]
    fn any_part_is_read_as_it_is_in_the_file() {
        let content = content(3 * PIECE as usize + 1024);
        let mut image = Image::new(file(&content), content.len() as u64, Drive::Floppy).unwrap();
        assert_eq!(image.sectors() as usize, content.len() / 512);
        for (at, len) in [(0, 512), (512, 8192), (PIECE - 512, 8192), (PIECE * 3 + 512, 512)] {
            let read = block_on(image.read(at, len)).unwrap();
            assert!(read == content[at as usize..][..len], "{at}+{len}");
        }
    }

    #[test]
    fn no_more_is_kept_than_said_and_what_is_used_stays() {
        let content = content((PIECES + 4) * PIECE as usize);
        let mut image = Image::new(file(&content), content.len() as u64, Drive::Cd).unwrap();
        for number in 0..PIECES as u64 + 4 {
            block_on(image.read(number * PIECE, 2048)).unwrap();
            block_on(image.read(0, 2048)).unwrap();
        }
        assert_eq!(image.kept.len(), PIECES);
        assert!(image.kept.iter().any(|(number, _)| *number == 0));
    }

    #[test]
    fn the_last_sector_of_a_cd_is_filled_up() {
        let content = content(2048 + 512);
        let mut image = Image::new(file(&content), content.len() as u64, Drive::Cd).unwrap();
        assert_eq!(image.sectors(), 2);
        let last = block_on(image.read(2048, 2048)).unwrap();
        assert_eq!(last[..512], content[2048..]);
        assert_eq!(last[512..], [0; 1536]);
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let shrunk = file(&content(4096));
        let mut image = Image::new(shrunk.try_clone().unwrap(), 4096, Drive::Cd).unwrap();
        shrunk.set_len(100).unwrap();
        assert!(block_on(image.read(0, 2048)).is_err());
    }

    #[test]
    fn what_cannot_be_an_image_is_refused() {
        for len in [0, 1, 511, 513, 1 << 50] {
            let image = Image::new(file(b""), len, Drive::Floppy);
            assert_eq!(image.err(), Some(BadSize), "{len}");
        }
    }
}
