//! How pictures are to be compressed: each viewer has a wish, the agent gets one setting.
//!
//! The best quality and the shortest time between two pictures that anybody wants win, and JPEG
//! where formats differ.

use super::wire::{FromViewer, Pace};

/// A wish, or what has been made of several. Always within what agents take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quality {
    format: u8,
    quality: u8,
    scale: u16,
    timer: u16,
}

const JPEG: u8 = 1;

impl Default for Quality {
    /// What agents begin with.
    fn default() -> Self {
        Self { format: JPEG, quality: 50, scale: 1024, timer: 100 }
    }
}

impl Quality {
    /// This wish changed by what command 5 says.
    pub(super) fn compressed(self, format: u8, quality: u8, pace: Option<Pace>) -> Self {
        let pace = pace.unwrap_or(Pace { scale: self.scale, timer: self.timer });
        let known = if (1..=4).contains(&format) { format } else { JPEG };
        Self {
            format: known,
            quality: quality.clamp(1, 100),
            scale: pace.scale.clamp(64, 4096),
            ..self.paced(pace.timer)
        }
    }

    /// This wish with another time between two pictures, in milliseconds.
    pub(super) fn paced(self, timer: u16) -> Self {
        Self { timer: timer.clamp(20, 5000), ..self }
    }

    /// What pleases everybody.
    pub(super) fn merged(self, other: Self) -> Self {
        Self {
            format: if self.format == other.format { self.format } else { JPEG },
            quality: self.quality.max(other.quality),
            scale: self.scale.max(other.scale),
            timer: self.timer.min(other.timer),
        }
    }

    /// Whether pictures made with `before` look different from what this asks for.
    pub(super) fn looks_better_than(self, before: Self) -> bool {
        self.quality > before.quality || self.scale != before.scale || self.format != before.format
    }

    /// The command that tells an agent; `short` is the only form agents on macOS take.
    pub(super) fn command(self, short: bool) -> Vec<u8> {
        let pace = Pace { scale: self.scale, timer: self.timer };
        let (format, quality) = (self.format, self.quality);
        FromViewer::Quality { format, quality, pace: (!short).then_some(pace) }.encode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(format: u8, quality: u8, scale: u16, timer: u16) -> Quality {
        Quality::default().compressed(format, quality, Some(Pace { scale, timer }))
    }

    #[test]
    fn the_most_demanding_wins() {
        let merged = wish(2, 30, 512, 100).merged(wish(1, 80, 256, 500));
        assert_eq!(merged, wish(1, 80, 512, 100));
        assert_eq!(wish(2, 1, 64, 20).merged(wish(2, 1, 64, 20)), wish(2, 1, 64, 20));
    }

    #[test]
    fn wishes_stay_within_what_agents_take() {
        assert_eq!(wish(9, 0, 0, 0), wish(1, 1, 64, 20));
        assert_eq!(wish(4, 255, 65_535, 65_535), wish(4, 100, 4096, 5000));
        let short = Quality::default().compressed(1, 70, None);
        assert_eq!((short, short.command(true)), (wish(1, 70, 1024, 100), vec![0, 5, 0, 6, 1, 70]));
        assert_eq!(short.command(false), [0, 5, 0, 10, 1, 70, 4, 0, 0, 100]);
    }
}
