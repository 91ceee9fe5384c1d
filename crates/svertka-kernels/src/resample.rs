//! Linear maps along single axes: each output cell a weighted sum of input cells of its row, by a [`Table`] made at planning.
//!
//! Resizing, padding and cropping are all separable: they go axis by axis, and each mode is only a way to make the table. The gradient is the
//! transposed tables in the opposite order.

use std::ops::Range;

use crate::cpu::{Cpu, WithSimd};
use crate::elementwise::run_ranges;
use crate::simd::{LANES, Simd};
use crate::threads::SharedMut;

/// Which input cells each output cell along one axis reads, and their weights. A cell that reads none holds the constant of its
/// [`Resampling`].
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    input: usize,
    /// Where the taps of each output cell begin; one more at the end.
    starts: Vec<usize>,
    /// Input cells with their weights.
    taps: Vec<(usize, f32)>,
}

impl Table {
    /// For an axis of `input` cells, from the taps of each output cell.
    ///
    /// # Panics
    /// Where a tap lies outside the input.
    pub fn new(
        input: usize,
        cells: impl IntoIterator<Item = impl IntoIterator<Item = (usize, f32)>>,
    ) -> Self {
        let (mut starts, mut taps) = (vec![0], vec![]);
        for cell in cells {
            taps.extend(cell);
            starts.push(taps.len());
        }
        assert!(taps.iter().all(|tap| tap.0 < input), "taps lie in the input");
        Self { input, starts, taps }
    }

    /// Number of output cells.
    pub fn output(&self) -> usize {
        self.starts.len() - 1
    }

    /// The taps of output cell `cell`.
    pub fn taps(&self, cell: usize) -> &[(usize, f32)] {
        &self.taps[self.starts[cell]..self.starts[cell + 1]]
    }

    /// What each input cell gives to which output cells: the map of the gradient.
    #[must_use]
    pub fn transposed(&self) -> Self {
        let mut cells = vec![vec![]; self.input];
        for out in 0..self.output() {
            self.taps(out).iter().for_each(|&(cell, weight)| cells[cell].push((out, weight)));
        }
        Self::new(self.output(), cells)
    }

    fn is_identity(&self) -> bool {
        self.output() == self.input && (0..self.input).all(|cell| self.taps(cell) == [(cell, 1.0)])
    }
}

/// Tables for some axes of a tensor, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Resampling {
    passes: Vec<Pass>,
    constant: f32,
    input: usize,
    output: usize,
}

/// One table, on a tensor seen as `outer x axis x inner`.
#[derive(Clone, Debug, PartialEq)]
struct Pass {
    table: Table,
    outer: usize,
    inner: usize,
}

impl Pass {
    fn output(&self) -> usize {
        self.outer * self.table.output() * self.inner
    }

    fn macs(&self) -> u64 {
        (self.outer * self.inner) as u64 * self.table.taps.len() as u64
    }
}

impl Resampling {
    /// Of a tensor of `shape`, by a table for each of some axes; output cells without taps hold `constant`. What shrinks most goes first.
    ///
    /// # Panics
    /// Where a table is not one for its axis.
    pub fn new(shape: &[usize], tables: Vec<(usize, Table)>, constant: f32) -> Self {
        let mut tables = tables;
        tables.retain(|(_, table)| !table.is_identity());
        tables.sort_by(|(_, a), (_, b)| {
            (a.output() as u128 * b.input as u128).cmp(&(b.output() as u128 * a.input as u128))
        });
        let (mut shape, input) = (shape.to_vec(), shape.iter().product());
        let passes = tables.into_iter().map(|(axis, table)| {
            assert_eq!(table.input, shape[axis], "a table for axis {axis}");
            shape[axis] = table.output();
            Pass { table, outer: shape[..axis].iter().product(), inner: shape[axis + 1..].iter().product() }
        });
        let passes: Vec<Pass> = passes.collect();
        Self { passes, constant, input, output: shape.iter().product() }
    }

    /// The gradient: from the gradient of the output to that of the input.
    #[must_use]
    pub fn gradient(&self) -> Self {
        let transposed = |pass: &Pass| Pass { table: pass.table.transposed(), ..*pass };
        let passes = self.passes.iter().rev().map(transposed).collect();
        Self { passes, constant: 0.0, input: self.output, output: self.input }
    }

    /// Elements of scratch memory that [`Resampling::run`] needs.
    pub fn scratch_len(&self) -> usize {
        let [even, odd] = self.halves();
        even + odd
    }

    /// Multiply-accumulates of one run.
    pub fn macs(&self) -> u64 {
        self.passes.iter().map(Pass::macs).fold(0, u64::saturating_add)
    }

    /// Elements of the results between passes: of those after an even and an odd number of passes.
    fn halves(&self) -> [usize; 2] {
        let between = &self.passes[..self.passes.len().saturating_sub(1)];
        let most = |parity| between.iter().skip(parity).step_by(2).map(Pass::output).max().unwrap_or(0);
        [most(0), most(1)]
    }

    /// Writes the resampled `x` into `y`.
    ///
    /// # Panics
    /// Where a slice has not the length of its tensor, or `scratch` is shorter than [`Resampling::scratch_len`].
    pub fn run(&self, cpu: &Cpu, x: &[f32], y: &mut [f32], scratch: &mut [f32]) {
        assert!(x.len() == self.input && y.len() == self.output);
        let Some((last, before)) = self.passes.split_last() else { return y.copy_from_slice(x) };
        let (mut to, mut from) = scratch[..self.scratch_len()].split_at_mut(self.halves()[0]);
        for (index, pass) in before.iter().enumerate() {
            let read = if index == 0 { x } else { &from[..pass.outer * pass.table.input * pass.inner] };
            self.pass(cpu, pass, read, &mut to[..pass.output()]);
            (to, from) = (from, to);
        }
        let read = if before.is_empty() { x } else { &from[..last.outer * last.table.input * last.inner] };
        self.pass(cpu, last, read, y);
    }

    fn pass(&self, cpu: &Cpu, pass: &Pass, x: &[f32], y: &mut [f32]) {
        let (rows, inner) = (pass.outer * pass.table.output(), pass.inner);
        let taps = pass.table.taps.len().div_ceil(pass.table.output().max(1)).max(1);
        let y = SharedMut::new(y);
        run_ranges(cpu, rows, inner.saturating_mul(taps), |rows| {
            // SAFETY: ranges of rows do not overlap.
            let y = unsafe { y.slice(rows.start * inner, rows.len() * inner) };
            cpu.isa.dispatch(Rows { pass, rows, constant: self.constant, x, y });
        });
    }
}

/// Some rows of a pass: row `r` is output cell `r % output` of slab `r / output`.
struct Rows<'a> {
    pass: &'a Pass,
    rows: Range<usize>,
    constant: f32,
    x: &'a [f32],
    y: &'a mut [f32],
}

/// Elements of a row that are summed at once where it is long.
const WIDE: usize = 4 * LANES;

/// Taps that are summed before the sum goes on in another: a gradient may have thousands.
const GROUP: usize = 32;

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { pass: Pass { table, inner, .. }, rows, constant, x, y } = self;
        let (slab, out) = (table.input * inner, table.output());
        for (row, y) in rows.zip(y.chunks_exact_mut((*inner).max(1))) {
            let x = &x[row / out * slab..][..slab];
            match table.taps(row % out) {
                [] => y.fill(constant),
                // Also keeps what is not a number as it is.
                &[(cell, 1.0)] => y.copy_from_slice(&x[cell * inner..][..*inner]),
                taps => {
                    let (wide, rest) = y.as_chunks_mut::<WIDE>();
                    wide.iter_mut().enumerate().for_each(|(i, y)| *y = sum(taps, x, *inner, i * WIDE));
                    let done = wide.len() * WIDE;
                    let (lanes, rest) = rest.as_chunks_mut::<LANES>();
                    lanes
                        .iter_mut()
                        .enumerate()
                        .for_each(|(i, y)| *y = sum(taps, x, *inner, done + i * LANES));
                    let done = done + lanes.len() * LANES;
                    for (i, y) in rest.iter_mut().enumerate() {
                        [*y] = sum(taps, x, *inner, done + i);
                    }
                }
            }
        }
    }
}

/// The weighted sum of elements `at..at + N` of the cells' rows.
#[inline(always)]
fn sum<const N: usize>(taps: &[(usize, f32)], x: &[f32], inner: usize, at: usize) -> [f32; N] {
    let mut sum = [0.0; N];
    for group in taps.chunks(GROUP) {
        let mut part = [0.0; N];
        for &(cell, weight) in group {
            let x = &x[cell * inner + at..][..N];
            (0..N).for_each(|i| part[i] += weight * x[i]);
        }
        (0..N).for_each(|i| sum[i] += part[i]);
    }
    sum
}
