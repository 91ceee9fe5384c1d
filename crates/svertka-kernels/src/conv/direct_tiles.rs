//! The work of `direct.rs`: panel after panel, the tiles of a job.

use std::ops::Range;

use super::ahead::{Fetching, NextCells};
use super::direct::{Direct, Tile};
use super::tile::{
    Alike, ROWS, Sink, panel_vectors, tile_of_blocks, tile_of_single_steps, with_blocks, with_rows,
    with_tile_rows,
};
use super::windows::Cell;
use crate::cpu::WithSimd;
use crate::epilogue::Finish;
use crate::layout::BLOCK;
use crate::simd::{Row, Simd};
use crate::threads::share;

/// Packed weights of this many elements have left the second-level cache when their turn comes again, so tiles ask for them ahead of time. It
/// costs smaller layers a hundredth and more.
const COLD_WEIGHTS: usize = 128 << 10;

/// Tiles that are settled together, see [`Finish::settle`].
const SETTLED_TILES: usize = 32;

/// Activations of this many elements have, at least in part, left the second-level cache when the layer before has written the last of them.
const COLD_PICTURES: usize = 512 << 10;

/// `PLAIN` says what the layout of `x` is: each has machine code of its own, or pointers that the loop of one needs would be on the stack for the other's sake.
pub(super) struct Job<'a, const PLAIN: bool> {
    pub(super) plan: &'a Direct,
    pub(super) x: &'a [f32],
    pub(super) packed: &'a [f32],
    pub(super) finish: Finish<'a>,
    pub(super) job: usize,
}

impl<const PLAIN: bool> WithSimd for Job<'_, PLAIN> {
    type Output = ();

    /// Tiles ask for the weights of the panels behind theirs where that pays.
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { plan, packed, .. } = self;
        let (set, rest) = (self.job % plan.panel_sets, self.job / plan.panel_sets);
        let (chunk, group) = (rest % plan.chunks, rest / plan.chunks);
        let tiles = &plan.tiles[share(plan.tiles.len(), plan.chunks, chunk)];
        let pairs = share(plan.panels.len().div_ceil(2), plan.panel_sets, set);
        let (mut number, end) = (pairs.start * 2, (pairs.end * 2).min(plan.panels.len()));
        let image = group * plan.group_images;
        while number < end {
            let beside = number + 1 < end && plan.read_alike(number);
            let [next, behind] = [1, 2].map(|set| {
                plan.panels.get(number + set * S::PANELS).map_or(packed.len(), |panel| panel.packed)
            });
            // The first panels are those that bring the cells into the cache.
            let cold = number == pairs.start * 2 && plan.taps == 1 && self.x.len() >= COLD_PICTURES;
            let work = Panels { job: &self, image, number, tiles, next: &packed[next..behind], cold };
            let most = if beside { 4 } else { 2 };
            with_blocks!(S, (plan.write.blocks() - number * 2).min(most), (NV, BLOCKS) => {
                if NV == 1 || packed.len() < COLD_WEIGHTS {
                    work.walk::<S, 0, NV, BLOCKS>(s);
                } else if const { S::PANELS == 2 } {
                    // Half as many tiles, each for two panels.
                    work.walk::<S, 4, NV, BLOCKS>(s);
                } else {
                    work.walk::<S, 1, NV, BLOCKS>(s);
                }
                number += NV.div_ceil(2);
            });
        }
    }
}

/// The tiles of a panel, or of two side by side.
struct Panels<'a, const PLAIN: bool> {
    job: &'a Job<'a, PLAIN>,
    /// The first of a group.
    image: usize,
    /// Of the first panel.
    number: usize,
    tiles: &'a [Tile],
    /// The packed weights that are multiplied next.
    next: &'a [f32],
    /// Whether the cells are not in the caches, so that tiles ask for those behind theirs.
    cold: bool,
}

impl<const PLAIN: bool> Panels<'_, PLAIN> {
    /// Computes the tiles for `NV` blocks, of which there are `BLOCKS`. A step asks for `LINES` cache lines of weights.
    #[inline(always)]
    fn walk<S: Simd, const LINES: usize, const NV: usize, const BLOCKS: usize>(self, s: S) {
        let plan = self.job.plan;
        let mut at = 0;
        while let Some(Together { cells, .. }) = self.tile::<S>(at) {
            let first = cells.start;
            let end = if PLAIN {
                with_rows!(cells.len(), MR in [1 2 3 4 5 6] => self.run::<S, LINES, MR, NV, BLOCKS>(s, at))
            } else {
                with_tile_rows!(S, cells.len(), MR => self.run::<S, LINES, MR, NV, BLOCKS>(s, at))
            };
            // Tiles side by side have their cells side by side.
            let written = first..self.tiles[end - 1].cells.end;
            for block in 0..BLOCKS {
                let start = self.written() + block * plan.write.cells * BLOCK;
                // SAFETY: the places that these tiles have written.
                unsafe {
                    self.job.finish.settle(plan.cells[written.clone()].iter().map(|cell| start + cell.write))
                };
            }
            at = end;
        }
    }

    /// Computes tiles of `MR` rows from number `at` on. Returns the number of the tile behind them.
    #[inline(always)]
    fn run<S: Simd, const LINES: usize, const MR: usize, const NV: usize, const BLOCKS: usize>(
        &self,
        s: S,
        at: usize,
    ) -> usize {
        s.apart(Run::<PLAIN, LINES, MR, NV, BLOCKS> { panels: self, at })
    }

    /// What is computed from tile `at` on, if there is one: two of a class are one where registers have place for twice the rows. The single steps of a
    /// plain picture have more to do with the places of rows than with weights.
    #[inline(always)]
    fn tile<S: Simd>(&self, at: usize) -> Option<Together> {
        let Tile { class, cells } = self.tiles.get(at)?;
        let next = self.tiles.get(at + 1).filter(|next| S::PANELS == 2 && !PLAIN && next.class == *class);
        Some(Together {
            class: *class,
            cells: cells.start..next.map_or(cells.end, |next| next.cells.end),
            tiles: 1 + usize::from(next.is_some()),
        })
    }

    /// Where the first block starts.
    #[inline(always)]
    fn written(&self) -> usize {
        let write = self.job.plan.write;
        self.image * write.image_len() + self.number * 2 * write.cells * BLOCK
    }
}

/// One tile, or two that are computed as one.
struct Together {
    class: usize,
    cells: Range<usize>,
    tiles: usize,
}

/// Tiles of one size from number `at` on, [`SETTLED_TILES`] or a few less. A function of its own: the compiler's time grows with the square of its length.
struct Run<'a, const PLAIN: bool, const LINES: usize, const MR: usize, const NV: usize, const BLOCKS: usize> {
    panels: &'a Panels<'a, PLAIN>,
    at: usize,
}

impl<const PLAIN: bool, const LINES: usize, const MR: usize, const NV: usize, const BLOCKS: usize> WithSimd
    for Run<'_, PLAIN, LINES, MR, NV, BLOCKS>
{
    /// The number of the tile behind them.
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> usize {
        let Self { panels, mut at } = self;
        let Panels { job, image, number, next, cold, .. } = *panels;
        let (plan, end) = (job.plan, at + SETTLED_TILES);
        let panel = &plan.panels[number];
        let mut start = [s.splat(0.0); NV];
        for (j, start) in start.iter_mut().enumerate().take(BLOCKS) {
            *start = job.finish.start(s, number * 2 + j);
        }
        let block = panel.channels.start - panel.channels.start % plan.read.lanes;
        let x = job.x.as_ptr().wrapping_add(image * plan.read.image_len() + plan.read.at(block, 0));
        let b = panel_vectors::<NV>(job.packed.as_ptr().wrapping_add(panel.packed), plan.panel_len(panel));
        let (written, pitch) = (panels.written(), plan.write.cells * BLOCK);
        while let Some(Together { class, cells, tiles }) = panels.tile::<S>(at)
            && cells.len() == MR
            && at < end
        {
            let steps = &plan.steps[panel.steps[class].clone()];
            let cells: &[Cell; MR] = plan.cells[cells].try_into().expect("a cell for each row");
            let a = reads(x, cells);
            let sink = Store::<MR, BLOCKS> { finish: job.finish, cells, start: written, pitch };
            let ahead = Fetching::<LINES>::of_tile(next, at / S::PANELS, steps.len());
            // SAFETY: `run` has checked the lengths that the tables were made for; no other job writes these cells of this panel. With four vectors, the panel
            // behind this one is as long as it. A cell without taps has no steps, and its start is not read.
            unsafe {
                if PLAIN {
                    tile_of_single_steps(s, Alike(start), a, b, steps, sink);
                } else if const { MR == S::PANELS * ROWS && NV == S::PANELS * 2 } && cold && contiguous(cells)
                {
                    tile_of_blocks(s, Alike(start), a, b, steps, NextCells::<MR, _>(ahead), sink);
                } else {
                    tile_of_blocks(s, Alike(start), a, b, steps, ahead, sink);
                }
            }
            at += tiles;
        }
        at
    }
}

/// Where cells are read.
#[inline(always)]
fn reads<const MR: usize>(x: *const f32, cells: &[Cell; MR]) -> [*const f32; MR] {
    std::array::from_fn(|i| x.wrapping_add(cells[i].read))
}

/// Whether the blocks of cells are read side by side.
#[inline(always)]
fn contiguous(cells: &[Cell]) -> bool {
    cells[cells.len() - 1].read == cells[0].read + (cells.len() - 1) * BLOCK
}

/// Finishes the sums of a tile.
struct Store<'a, const MR: usize, const BLOCKS: usize> {
    finish: Finish<'a>,
    cells: &'a [Cell; MR],
    /// Where the first block starts, and how far the next is from it.
    start: usize,
    pitch: usize,
}

impl<S: Simd, const MR: usize, const BLOCKS: usize> Sink<S, MR> for Store<'_, MR, BLOCKS> {
    #[inline(always)]
    unsafe fn take<R: Row<S>>(self, s: S, sums: [R; MR]) {
        let cell = |row: usize| self.cells[row].write;
        // SAFETY: the caller's promise.
        unsafe { self.finish.store_rows::<S, R, MR, BLOCKS>(s, sums, cell, self.start, self.pitch) };
    }
}
