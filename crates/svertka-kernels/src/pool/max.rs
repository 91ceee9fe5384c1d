//! Maximum and minimum of windows. The gradient finds the chosen cells again: no indices are stored unless they are asked for.

use super::{Cells, Kernel, add, assert_lengths, backward, forward, planes};
use crate::cpu::Cpu;
use crate::geometry::PoolGeometry;
use crate::layout::BLOCK;
use crate::simd::Simd;
use crate::threads::SharedMut;

/// The maximum of each window. Not-a-number counts as the maximum, as in PyTorch.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn max_forward(cpu: &Cpu, g: &PoolGeometry, x: &[f32], y: &mut [f32]) {
    assert_lengths(g, x, y);
    forward(cpu, g, Forward::<false> { x, y: SharedMut::new(y) });
}

/// The gradient of [`max_forward`], written to `dx`: each window gives to its first maximum, in the order of its cells. Infinity and
/// not-a-number count as equal here.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn max_backward(cpu: &Cpu, g: &PoolGeometry, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert_lengths(g, x, dy);
    assert_eq!(dx.len(), x.len());
    let dx = SharedMut::new(dx);
    backward(cpu, g, dx, Backward::<false> { x, dy, dx });
}

/// The minimum of each window, `-max(-x)`. Not-a-number counts as the minimum.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn min_forward(cpu: &Cpu, g: &PoolGeometry, x: &[f32], y: &mut [f32]) {
    assert_lengths(g, x, y);
    forward(cpu, g, Forward::<true> { x, y: SharedMut::new(y) });
}

/// The gradient of [`min_forward`], as [`max_backward`].
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn min_backward(cpu: &Cpu, g: &PoolGeometry, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert_lengths(g, x, dy);
    assert_eq!(dx.len(), x.len());
    let dx = SharedMut::new(dx);
    backward(cpu, g, dx, Backward::<true> { x, dy, dx });
}

/// How the cells of a plane are numbered (ONNX `storage_order`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexOrder {
    /// The last axis runs fastest.
    RowMajor,
    /// The first spatial axis runs fastest.
    ColumnMajor,
}

/// [`max_forward`], and where each maximum stands: the index of the cell that [`max_backward`] gives to in the whole plain
/// `N x C x spatial` input, minus one for a window in the padding. `y` and `indices` are blocked.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn max_forward_with_indices(
    cpu: &Cpu,
    g: &PoolGeometry,
    order: IndexOrder,
    x: &[f32],
    y: &mut [f32],
    indices: &mut [f32],
) {
    assert_lengths(g, x, y);
    assert_eq!(indices.len(), y.len());
    let forward_y = Forward { x, y: SharedMut::new(y) };
    forward(cpu, g, WithIndices { forward: forward_y, indices: SharedMut::new(indices), order });
}

/// The minimum is the maximum of the negated cells.
#[inline(always)]
fn signed<S: Simd, const MIN: bool>(s: S, x: S::V) -> S::V {
    if MIN { s.sub(s.splat(0.0), x) } else { x }
}

#[derive(Clone, Copy)]
struct Forward<'a, const MIN: bool> {
    x: &'a [f32],
    y: SharedMut<'a>,
}

impl<const MIN: bool> Kernel for Forward<'_, MIN> {
    #[inline(always)]
    fn window<S: Simd>(&self, s: S, real: S::V, out: usize, cells: Cells<'_>) {
        let (zero, one) = (s.splat(0.0), s.splat(1.0));
        let mut max = s.splat(f32::NEG_INFINITY);
        // The maximum instruction forgets not-a-number; this sum of numbers from 0 to 1 does not.
        let mut spoiled = zero;
        each!(cells, |cell| {
            // SAFETY: the cell lies in the input, whose length was asserted.
            let x = signed::<S, MIN>(s, unsafe { s.load(self.x.as_ptr().add(cell * BLOCK)) });
            max = s.max(max, x);
            spoiled = s.add(spoiled, s.max(zero, s.min(one, x)));
        });
        let y = s.if_gt(real, zero, signed::<S, MIN>(s, s.fma(spoiled, zero, max)), zero);
        // SAFETY: each window is visited once, and the output's length was asserted.
        unsafe { s.store(self.y.as_ptr().add(out * BLOCK), y) };
    }
}

#[derive(Clone, Copy)]
struct WithIndices<'a> {
    forward: Forward<'a, false>,
    indices: SharedMut<'a>,
    order: IndexOrder,
}

impl Kernel for WithIndices<'_> {
    #[inline(always)]
    fn window<S: Simd>(&self, s: S, real: S::V, out: usize, cells: Cells<'_>) {
        self.forward.window(s, real, out, cells);
        // The cell of each lane's maximum, counted in its plane.
        let mut indices = [-1.0; BLOCK];
        if let Some(first) = cells.first() {
            let number = |cell: usize| s.splat((cell - cells.start) as f32);
            let (infinity, mut max, mut at) =
                (s.splat(f32::INFINITY), s.splat(f32::NEG_INFINITY), number(first));
            each!(cells, |cell| {
                // SAFETY: the cell lies in the input, whose length was asserted.
                let x = s.min(unsafe { s.load(self.forward.x.as_ptr().add(cell * BLOCK)) }, infinity);
                at = s.if_gt(x, max, number(cell), at);
                max = s.max(max, x);
            });
            let input = planes(cells.g, cells.g.input);
            let plane = cells.start / input.pixels;
            let channels = input.channels_of(plane % input.blocks());
            let before = plane / input.blocks() * input.channels + channels.start;
            let chosen = s.to_array(at);
            for lane in 0..BLOCK {
                let cell = in_order(cells.g.input, self.order, chosen[lane] as usize);
                indices[lane] = ((before + lane) * input.pixels + cell) as f32;
            }
        }
        let indices = s.if_gt(real, s.splat(0.0), s.from_slice(&indices), s.splat(0.0));
        // SAFETY: each window is visited once, and the indices' length was asserted.
        unsafe { s.store(self.indices.as_ptr().add(out * BLOCK), indices) };
    }
}

/// The number of a cell of a plane, given its row-major one.
fn in_order([depth, height, width]: [usize; 3], order: IndexOrder, cell: usize) -> usize {
    match order {
        IndexOrder::RowMajor => cell,
        IndexOrder::ColumnMajor => {
            let [d, h, w] = [cell / width / height, cell / width % height, cell % width];
            (w * height + h) * depth + d
        }
    }
}

#[derive(Clone, Copy)]
struct Backward<'a, const MIN: bool> {
    x: &'a [f32],
    dy: &'a [f32],
    dx: SharedMut<'a>,
}

impl<const MIN: bool> Kernel for Backward<'_, MIN> {
    #[inline(always)]
    fn window<S: Simd>(&self, s: S, real: S::V, out: usize, cells: Cells<'_>) {
        let (zero, infinity) = (s.splat(0.0), s.splat(f32::INFINITY));
        let value = |cell: usize| {
            // SAFETY: the cell lies in the input, whose length was asserted.
            let x = signed::<S, MIN>(s, unsafe { s.load(self.x.as_ptr().add(cell * BLOCK)) });
            // This minimum turns not-a-number into infinity.
            s.min(x, infinity)
        };
        let mut max = s.splat(f32::NEG_INFINITY);
        each!(cells, |cell| max = s.max(max, value(cell)));
        // SAFETY: the output's length was asserted.
        let dy = unsafe { s.load(self.dy.as_ptr().add(out * BLOCK)) };
        // What no cell has taken yet.
        let mut left = s.if_gt(real, zero, dy, zero);
        each!(cells, |cell| {
            let x = value(cell);
            let taken = s.if_gt(max, x, zero, left);
            left = s.if_gt(max, x, left, zero);
            // SAFETY: the cell lies in the input, and its plane belongs to this job.
            unsafe { add(s, self.dx.as_ptr().add(cell * BLOCK), taken) };
        });
    }
}
