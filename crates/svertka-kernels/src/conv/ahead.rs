//! What a tile asks the caches for while it multiplies. Weights that come from memory would otherwise hold up the first tile of each panel.

use super::tile::PANEL;
use crate::layout::BLOCK;
use crate::simd::Simd;
use crate::threads::share;

/// What is asked for in each step.
pub(crate) trait Ahead: Copy {
    /// Asks for what belongs to the next step, where the first row of this one is at `a`.
    fn step<S: Simd>(&mut self, s: S, a: *const f32);
}

/// Nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resting;

impl Ahead for Resting {
    #[inline(always)]
    fn step<S: Simd>(&mut self, _s: S, _a: *const f32) {}
}

/// Floats of a cache line.
const LINE: usize = 16;

/// `LINES` cache lines a step: one for each panel of the tile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetching<const LINES: usize> {
    next: *const f32,
    stride: usize,
}

impl<const LINES: usize> Fetching<LINES> {
    /// For tile `tile`, of `steps` steps, of those that together ask for all of `wanted`.
    pub(crate) fn of_tile(wanted: &[f32], tile: usize, steps: usize) -> Self {
        match wanted.get(tile * steps * LINES * LINE..) {
            Some(rest) if !rest.is_empty() => Self { next: rest.as_ptr(), stride: LINE },
            _ => Self { next: wanted.as_ptr(), stride: 0 },
        }
    }
}

/// Some cache lines of each block of `PANELS` panels, where a step is a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchingShare<const PANELS: usize> {
    next: *const f32,
    lines: usize,
}

impl<const PANELS: usize> FetchingShare<PANELS> {
    /// For tile `tile` of `tiles`, which together ask for the panels that start at `panel`; they may lie beyond the last.
    pub(crate) fn of_tile(panel: *const f32, tile: usize, tiles: usize) -> Self {
        let lines = share(BLOCK * PANELS, tiles, tile);
        Self { next: panel.wrapping_add(lines.start * PANEL), lines: lines.len() }
    }
}

impl<const PANELS: usize> Ahead for FetchingShare<PANELS> {
    #[inline(always)]
    fn step<S: Simd>(&mut self, s: S, _a: *const f32) {
        for line in 0..self.lines {
            s.prefetch(self.next.wrapping_add(line * PANEL));
        }
        self.next = self.next.wrapping_add(BLOCK * PANELS * PANEL);
    }
}

impl<const LINES: usize> Ahead for Fetching<LINES> {
    #[inline(always)]
    fn step<S: Simd>(&mut self, s: S, _a: *const f32) {
        for _ in 0..LINES {
            s.prefetch(self.next);
            self.next = self.next.wrapping_add(self.stride);
        }
    }
}

/// The `CELLS` cells, a block each, that lie behind the `CELLS` of the step; and what else is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NextCells<const CELLS: usize, A>(pub(crate) A);

impl<const CELLS: usize, A: Ahead> Ahead for NextCells<CELLS, A> {
    #[inline(always)]
    fn step<S: Simd>(&mut self, s: S, a: *const f32) {
        for cell in (CELLS..2 * CELLS).step_by(LINE / BLOCK) {
            s.prefetch(a.wrapping_add(cell * BLOCK));
        }
        self.0.step(s, a);
    }
}
