//! The picture as it is now, kept as the fewest image files that draw it.
//!
//! The screen is divided into cells; each cell knows the newest image that covers all of it, and
//! the newer ones that cover a part. An image no cell needs any more is gone. Drawing what is left
//! in the order it came gives the whole picture, so a viewer is a position in that order, and one
//! that is slow finds superseded images gone when it asks for the next.
//!
//! Memory, whatever an agent sends: eight bytes a cell and two bytes a pixel of images, that is
//! 29 KB and at most 1.8 MB at 1280x720, 260 KB and at most 12 MB at 3840x2160 (where a JPEG of
//! quality 50 has 1 to 2 MB), and never more than 0.5 MB and 12 MB, or one image if that is larger.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::picture::Size;

/// Side of a cell in pixels. Agents make tiles of 32x32 pixels; larger screens get larger cells.
const CELL: u32 = 16;
/// Most cells.
const CELLS_MAX: u32 = 65_536;
/// Most cells that are covered in part. Agents that align their tiles have none.
const PARTS_MAX: usize = 4096;
/// What an image costs besides its bytes.
const ENTRY: usize = 96;
/// Least and most bytes of images, apart from the newest one.
const BUDGET: std::ops::RangeInclusive<usize> = (1 << 20)..=(12 << 20);

/// Place of an image in the order of drawing; later ones are larger, none is 0.
pub(in crate::relay) type Position = u64;

/// See the module.
pub(in crate::relay) struct Screen {
    size: Size,
    /// Side of a cell in pixels.
    side: u32,
    columns: u32,
    /// For each cell the newest image that covers all of it; 0 if there is none.
    covers: Vec<Position>,
    /// Images newer than that which cover a part of the cell, oldest first.
    parts: BTreeMap<usize, Vec<Position>>,
    parts_len: usize,
    images: BTreeMap<Position, Image>,
    bytes: usize,
    /// How often cells name an image that is not kept.
    missing: usize,
    next: Position,
}

struct Image {
    data: Bytes,
    /// How often cells name it.
    needed: usize,
}

impl Screen {
    /// A screen of which nothing is known. `after` is the newest position given out before, so
    /// that positions stay valid from screen to screen.
    pub(in crate::relay) fn new(size: Size, after: Position) -> Self {
        let (width, height) = (u32::from(size.width), u32::from(size.height));
        let mut side = CELL;
        while width.div_ceil(side) * height.div_ceil(side) > CELLS_MAX {
            side *= 2;
        }
        let columns = width.div_ceil(side);
        let cells = (columns * height.div_ceil(side)) as usize;
        Self {
            size,
            side,
            columns,
            covers: vec![0; cells],
            parts: BTreeMap::new(),
            parts_len: 0,
            images: BTreeMap::new(),
            bytes: 0,
            missing: cells,
            next: after + 1,
        }
    }

    /// Its size.
    pub(in crate::relay) fn size(&self) -> Size {
        self.size
    }

    /// How many cells an image of that size may cover.
    pub(in crate::relay) fn cells_under(&self, size: Size) -> usize {
        let along = |of: u16, end: u16| usize::from(of.min(end)).div_ceil(self.side as usize);
        along(size.width, self.size.width) * along(size.height, self.size.height)
    }

    /// The newest position given out.
    pub(in crate::relay) fn newest(&self) -> Position {
        self.next - 1
    }

    /// Whether what is kept draws every pixel as it is.
    pub(in crate::relay) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// The first image after `position`.
    pub(in crate::relay) fn after(&self, position: Position) -> Option<(Position, &Bytes)> {
        let (at, image) = self.newer(position).next()?;
        Some((*at, &image.data))
    }

    /// Whether `count` images or more come after `position`.
    pub(in crate::relay) fn is_behind(&self, position: Position, count: usize) -> bool {
        self.newer(position).nth(count.saturating_sub(1)).is_some()
    }

    fn newer(&self, position: Position) -> impl Iterator<Item = (&Position, &Image)> {
        self.images.range((Bound::Excluded(position), Bound::Unbounded))
    }

    /// Takes a new image: `data` draws `size` pixels at `x`, `y`. One beside the screen is dropped.
    /// Returns the newest image that had to go although it is still needed.
    pub(in crate::relay) fn add(
        &mut self,
        x: u16,
        y: u16,
        size: Size,
        data: Bytes,
    ) -> Option<Position> {
        let (x, y) = (u32::from(x), u32::from(y));
        let right = (x + u32::from(size.width)).min(self.size.width.into());
        let bottom = (y + u32::from(size.height)).min(self.size.height.into());
        if x >= right || y >= bottom {
            return None;
        }
        let image = self.next;
        self.next += 1;
        let mut needed = 0;
        let mut freed = Run::default();
        for row in y / self.side..bottom.div_ceil(self.side) {
            let tall = covers(y..bottom, row, self.side, self.size.height);
            for column in x / self.side..right.div_ceil(self.side) {
                let whole = tall && covers(x..right, column, self.side, self.size.width);
                let cell = (row * self.columns + column) as usize;
                needed += 1;
                if whole {
                    self.cover(cell, image, &mut freed);
                } else {
                    self.parts.entry(cell).or_default().push(image);
                    self.parts_len += 1;
                }
            }
        }
        self.free(freed);
        self.bytes += data.len() + ENTRY;
        self.images.insert(image, Image { data, needed });
        self.make_room()
    }

    fn cover(&mut self, cell: usize, image: Position, freed: &mut Run) {
        let Some(cover) = self.covers.get_mut(cell) else { return };
        let old = std::mem::replace(cover, image);
        // Neighbours mostly name the same image: they are freed together.
        if freed.image != old {
            let run = std::mem::replace(freed, Run { image: old, count: 0 });
            self.free(run);
        }
        freed.count += 1;
        if !self.parts.is_empty() {
            let parts = self.parts.remove(&cell).unwrap_or_default();
            self.parts_len -= parts.len();
            for image in parts {
                self.free(Run { image, count: 1 });
            }
        }
    }

    /// Forgets that cells need an image.
    fn free(&mut self, run: Run) {
        let Some(image) = self.images.get_mut(&run.image) else {
            self.missing -= run.count.min(self.missing);
            return;
        };
        image.needed -= run.count.min(image.needed);
        if image.needed == 0 {
            self.bytes -= image.data.len() + ENTRY;
            self.images.remove(&run.image);
        }
    }

    /// Drops what is too much: the oldest images, the newest stays whatever its size; or, if too
    /// many cells are covered in parts, what is known of those cells.
    fn make_room(&mut self) -> Option<Position> {
        let pixels = usize::from(self.size.width) * usize::from(self.size.height);
        let budget = pixels.saturating_mul(2).clamp(*BUDGET.start(), *BUDGET.end());
        let mut dropped = None;
        while self.images.len() > 1 && self.bytes > budget {
            let Some((position, image)) = self.images.pop_first() else { break };
            self.bytes -= image.data.len() + ENTRY;
            self.missing += image.needed;
            dropped = Some(position);
        }
        if self.parts_len > PARTS_MAX {
            self.forget_parts();
            dropped = Some(self.newest());
        }
        dropped
    }

    fn forget_parts(&mut self) {
        self.parts_len = 0;
        for (cell, images) in std::mem::take(&mut self.parts) {
            for image in images {
                self.free(Run { image, count: 1 });
            }
            let cover = self.covers.get_mut(cell).map(std::mem::take).unwrap_or_default();
            self.free(Run { image: cover, count: 1 });
            self.missing += 1;
        }
    }
}

/// Cells in a row that name the same image.
#[derive(Default)]
struct Run {
    image: Position,
    count: usize,
}

/// Whether `span` of one axis covers cell number `cell` of it as far as that is on the screen.
fn covers(span: std::ops::Range<u32>, cell: u32, side: u32, end: u16) -> bool {
    let (from, to) = (cell * side, ((cell + 1) * side).min(end.into()));
    span.start <= from && to <= span.end
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn size(width: u16, height: u16) -> Size {
        Size { width, height }
    }

    fn image(len: usize) -> Bytes {
        vec![1; len].into()
    }

    fn count(screen: &Screen) -> usize {
        screen.newer(0).count()
    }

    #[test]
    fn only_images_that_still_show_are_kept() {
        let mut screen = Screen::new(size(640, 480), 0);
        assert!(!screen.is_complete());
        screen.add(0, 0, size(640, 480), image(1000));
        assert!(screen.is_complete());
        for _ in 0..100 {
            screen.add(32, 64, size(64, 32), image(10));
        }
        assert_eq!(count(&screen), 2, "the whole and the newest piece");
        assert_eq!(screen.newest(), 101);
        screen.add(0, 0, size(640, 480), image(1000));
        assert_eq!((count(&screen), screen.bytes), (1, 1000 + ENTRY));
    }

    #[test]
    fn a_screen_made_of_tiles_is_complete_with_the_last_one() {
        // Tiles run past the edges, which are no multiples of anything.
        let mut screen = Screen::new(size(1000, 700), 7);
        for y in (0..700).step_by(32) {
            for x in (0..1000).step_by(32) {
                assert!(!screen.is_complete());
                screen.add(x, y, size(32, 32), image(10));
            }
        }
        assert!(screen.is_complete());
        assert_eq!(screen.after(7).map(|(at, _)| at), Some(8), "positions go on");
    }

    #[test]
    fn what_covers_a_cell_in_part_hides_nothing_below() {
        let mut screen = Screen::new(size(64, 64), 0);
        screen.add(0, 0, size(64, 64), image(1));
        screen.add(5, 5, size(64, 64), image(2));
        screen.add(16, 16, size(48, 48), image(3));
        assert_eq!(count(&screen), 3, "the second shows at the left and the top");
        screen.add(0, 0, size(64, 64), image(4));
        assert_eq!((count(&screen), screen.parts_len), (1, 0));
    }

    #[test]
    fn too_many_parts_are_forgotten_and_learnt_again() {
        let mut screen = Screen::new(size(64, 64), 0);
        screen.add(0, 0, size(64, 64), image(1));
        let mut dropped = None;
        for _ in 0..=PARTS_MAX {
            dropped = screen.add(1, 1, size(2, 2), image(1));
        }
        assert_eq!(dropped, Some(screen.newest()));
        assert!(!screen.is_complete());
        screen.add(0, 0, size(16, 16), image(1));
        assert!(screen.is_complete());
    }

    #[test]
    fn images_above_the_budget_push_out_the_oldest() {
        let mut screen = Screen::new(size(640, 480), 0);
        let budget = *BUDGET.start();
        for x in 0..3 {
            let dropped = screen.add(x * 64, 0, size(64, 480), image(budget / 2 - 1000));
            assert_eq!(dropped, (x == 2).then_some(1));
        }
        screen.add(0, 0, size(640, 480), image(5 * budget));
        assert_eq!((count(&screen), screen.is_complete()), (1, true), "one image may be larger");
    }

    #[test]
    fn huge_screens_have_larger_cells() {
        for (width, height, side, bytes) in [
            (1280, 720, 16, 28_800),
            (3840, 2160, 16, 259_200),
            (7680, 4320, 32, 259_200),
            (65_535, 65_535, 256, 524_288),
            (65_535, 1, 16, 32_768),
        ] {
            let screen = Screen::new(size(width, height), 0);
            assert_eq!((screen.side, screen.covers.len() * 8), (side, bytes), "{width}x{height}");
        }
    }

    #[derive(Clone, Debug)]
    struct Draw(u16, u16, Size);

    fn draws() -> impl Strategy<Value = Vec<Draw>> {
        let any = (0u16..90, 0u16..70, 1u16..90, 1u16..70);
        let one = any.prop_map(|(x, y, w, h)| Draw(x, y, size(w, h)));
        proptest::collection::vec(one, 1..60)
    }

    /// Pixels after drawing numbered rectangles in order.
    fn paint<'a>(draws: impl Iterator<Item = (u64, &'a Draw)>) -> Vec<u64> {
        let mut pixels = vec![0; 80 * 60];
        for (number, Draw(x, y, size)) in draws {
            for py in *y..(y + size.height).min(60) {
                for px in *x..(x + size.width).min(80) {
                    pixels[usize::from(py) * 80 + usize::from(px)] = number;
                }
            }
        }
        pixels
    }

    proptest! {
        #[test]
        fn what_is_kept_draws_the_same_picture(draws in draws()) {
            let mut screen = Screen::new(size(80, 60), 0);
            let mut numbered = Vec::new();
            for draw in &draws {
                let before = screen.newest();
                screen.add(draw.0, draw.1, draw.2, image(1));
                if screen.newest() > before {
                    numbered.push((screen.newest(), draw));
                }
            }
            let kept = |n: &u64| screen.images.contains_key(n);
            let all = paint(numbered.iter().copied());
            let few = paint(numbered.iter().copied().filter(|(n, _)| kept(n)));
            prop_assert!(few == all);
            prop_assert_eq!(screen.bytes, count(&screen) * (1 + ENTRY));
            // Complete means that every pixel is drawn; in parts it may be so unnoticed.
            prop_assert!(!screen.is_complete() || all.iter().all(|n| *n > 0));
        }

        #[test]
        fn memory_is_bounded_whatever_is_drawn(draws in draws(), len in 0usize..700_000) {
            let mut screen = Screen::new(size(80, 60), 0);
            for draw in draws {
                screen.add(draw.0, draw.1, draw.2, image(len));
                prop_assert!(screen.bytes <= BUDGET.start() + len + ENTRY);
                prop_assert!(screen.images.len() <= screen.covers.len() + screen.parts_len);
            }
        }
    }
}
