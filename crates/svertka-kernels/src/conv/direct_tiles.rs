//! The work of `direct.rs`: panel after panel, the tiles of a job.

use super::direct::{Direct, Panel, Tile};
use super::tile::{
    Ahead, Fetching, NextCells, ROWS, Resting, Sink, Step, tile_of_blocks, tile_of_single_steps, with_rows,
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
const SETTLED_TILES: usize = 8;

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

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let plan = self.plan;
        let (set, rest) = (self.job % plan.panel_sets, self.job / plan.panel_sets);
        let (chunk, group) = (rest % plan.chunks, rest / plan.chunks);
        let tiles = &plan.tiles[share(plan.tiles.len(), plan.chunks, chunk)];
        let pairs = share(plan.panels.len().div_ceil(2), plan.panel_sets, set);
        let (mut number, end) = (pairs.start * 2, (pairs.end * 2).min(plan.panels.len()));
        let image = group * plan.group_images;
        while number < end {
            let beside = S::PANELS == 2 && number + 1 < end && plan.read_alike(number);
            // The first to read the cells.
            let first = number == pairs.start * 2;
            let work = Panels { job: &self, image, number, tiles, first };
            match (beside, plan.write.blocks() - number * 2) {
                (true, 3) => s.apart(PanelsBySize::<PLAIN, 4, 3>(work)),
                (true, _) => s.apart(PanelsBySize::<PLAIN, 4, 4>(work)),
                (false, 1) => s.apart(PanelsBySize::<PLAIN, 1, 1>(work)),
                (false, _) => s.apart(PanelsBySize::<PLAIN, 2, 2>(work)),
            }
            number += if beside { 2 } else { 1 };
        }
    }
}

/// The tiles of a panel, or of two side by side.
#[derive(Clone, Copy)]
struct Panels<'a, const PLAIN: bool> {
    job: &'a Job<'a, PLAIN>,
    /// The first of a group.
    image: usize,
    /// Of the first panel.
    number: usize,
    tiles: &'a [Tile],
    /// Whether these panels are the first to read the cells.
    first: bool,
}

/// `NV` blocks are computed, of which there are `BLOCKS`. Each size is a function of its own: in one for all, the compiler would take ten minutes.
struct PanelsBySize<'a, const PLAIN: bool, const NV: usize, const BLOCKS: usize>(Panels<'a, PLAIN>);

impl<const PLAIN: bool, const NV: usize, const BLOCKS: usize> WithSimd
    for PanelsBySize<'_, PLAIN, NV, BLOCKS>
{
    type Output = ();

    /// Tiles ask for the weights of the panels behind theirs where that pays.
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Panels { job, number, .. } = self.0;
        if NV == 1 || job.packed.len() < COLD_WEIGHTS {
            return self.0.walk::<S, _, NV, BLOCKS>(s, |_, _| Resting);
        }
        let panels = &job.plan.panels;
        let [start, end] = [1, 2]
            .map(|set| panels.get(number + set * S::PANELS).map_or(job.packed.len(), |panel| panel.packed));
        let next = &job.packed[start..end];
        if S::PANELS == 2 {
            // Half as many tiles, each for two panels.
            self.0.walk::<S, _, NV, BLOCKS>(s, |tile, steps| Fetching::<4>::of_tile(next, tile / 2, steps));
        } else {
            self.0.walk::<S, _, NV, BLOCKS>(s, |tile, steps| Fetching::<1>::of_tile(next, tile, steps));
        }
    }
}

impl<const PLAIN: bool> Panels<'_, PLAIN> {
    /// Computes the tiles; `ahead` says what one of them, by its number and its number of steps, asks for.
    #[inline(always)]
    fn walk<S: Simd, A: Ahead, const NV: usize, const BLOCKS: usize>(
        self,
        s: S,
        ahead: impl Fn(usize, usize) -> A,
    ) {
        let Self { job, image, number, tiles, first } = self;
        let plan = job.plan;
        let panel = &plan.panels[number];
        let mut start = [s.splat(0.0); NV];
        for (j, start) in start.iter_mut().enumerate().take(BLOCKS) {
            *start = job.finish.start(s, number * 2 + j);
        }
        let block = panel.channels.start - panel.channels.start % plan.read.lanes;
        let x = image * plan.read.image_len() + plan.read.at(block, 0);
        let plane = plan.write.cells * BLOCK;
        let blocks: [usize; BLOCKS] =
            std::array::from_fn(|j| image * plan.write.image_len() + (number * 2 + j) * plane);
        let cold = first && plan.taps == 1 && job.x.len() >= COLD_PICTURES;
        // Twice the rows, where registers have place for them. The single steps of a plain picture have more to do with the places of rows than with weights.
        let wide = S::PANELS == 2 && !PLAIN;
        let (mut at, mut settled) = (0, 0);
        while at < tiles.len() {
            let Tile { class, cells: of_tile } = &tiles[at];
            let steps = &plan.steps[panel.steps[*class].clone()];
            let ahead = ahead(at, steps.len());
            // The next tile's cells follow, mostly of the same class.
            let next = tiles.get(at + 1).filter(|next| wide && next.class == *class);
            let cells = &plan.cells[of_tile.start..next.map_or(of_tile.end, |next| next.cells.end)];
            let [start_of_tile, last] = [cells[0].read, cells[cells.len() - 1].read];
            let side_by_side = last == start_of_tile + (cells.len() - 1) * BLOCK;
            with_tile_rows!(S, cells.len(), MR => {
                // SAFETY: `run` has checked the lengths that the tables were made for; no other job writes these cells of this panel.
                unsafe { job.tile::<S, A, MR, NV, BLOCKS>(s, x, blocks, panel, start, steps, cells, ahead, cold && side_by_side) }
            });
            at += 1 + usize::from(next.is_some());
            if at - settled >= SETTLED_TILES || at == tiles.len() {
                // Tiles side by side have their cells side by side.
                let written = tiles[settled].cells.start..tiles[at - 1].cells.end;
                for block in blocks {
                    let cells = plan.cells[written.clone()].iter();
                    // SAFETY: the places that these tiles have written.
                    unsafe { job.finish.settle(cells.map(|cell| block + cell.write)) };
                }
                settled = at;
            }
        }
    }
}

impl<const PLAIN: bool> Job<'_, PLAIN> {
    /// A tile. Where its cells are `cold`, it asks for those behind them.
    ///
    /// # Safety
    /// `x` and `blocks` are starts for which the tables stay inside the slices; no other thread writes these cells. With four vectors, the panel behind `panel`
    /// is as long as it.
    #[inline(always)]
    #[expect(
        clippy::too_many_arguments,
        reason = "one tile: three places, the start of its sums, and its two tables"
    )]
    unsafe fn tile<S: Simd, A: Ahead, const MR: usize, const NV: usize, const BLOCKS: usize>(
        &self,
        s: S,
        x: usize,
        blocks: [usize; BLOCKS],
        panel: &Panel,
        start: [S::V; NV],
        steps: &[Step],
        cells: &[Cell],
        ahead: A,
        cold: bool,
    ) {
        let start = [start; MR];
        let sink = Store { finish: self.finish, cells, blocks };
        // SAFETY: the caller's promise; a cell without taps has no steps, and its start is not read.
        unsafe {
            let a = std::array::from_fn(|i| self.x.as_ptr().wrapping_add(x + cells[i].read));
            let (packed, len) = (self.packed.as_ptr().wrapping_add(panel.packed), self.plan.panel_len(panel));
            let b = std::array::from_fn(|j| packed.wrapping_add(j / 2 * len + j % 2 * BLOCK));
            if PLAIN {
                tile_of_single_steps(s, start, a, b, steps, sink);
            } else if MR == S::PANELS * ROWS && NV == S::PANELS * 2 && cold {
                tile_of_blocks(s, start, a, b, steps, NextCells::<MR, A>(ahead), sink);
            } else {
                tile_of_blocks(s, start, a, b, steps, ahead, sink);
            }
        }
    }
}

/// Finishes the sums of a tile.
struct Store<'a, const BLOCKS: usize> {
    finish: Finish<'a>,
    cells: &'a [Cell],
    /// Where the blocks start.
    blocks: [usize; BLOCKS],
}

impl<S: Simd, const MR: usize, const BLOCKS: usize> Sink<S, MR> for Store<'_, BLOCKS> {
    #[inline(always)]
    unsafe fn take<R: Row<S>>(self, s: S, sums: [R; MR]) {
        let cells: &[Cell; MR] = self.cells.try_into().expect("a cell for each row");
        // SAFETY: the caller's promise.
        unsafe { self.finish.store_rows(s, sums, |row| cells[row].write, self.blocks) };
    }
}
