//! Stochastic pooling (Zeiler and Fergus, 2013): a cell of each window counts with a probability in proportion to its value. Negative values
//! count as zero; a window whose cells sum to zero gives zero and passes no gradient.

use super::{Cells, Kernel, add, assert_lengths, backward, forward};
use crate::cpu::Cpu;
use crate::geometry::PoolGeometry;
use crate::layout::BLOCK;
use crate::simd::Simd;
use crate::threads::SharedMut;

/// One cell of each window, drawn by the number in `uniform` (blocked as `y`, each at least 0 and at most `1 - 2^-23`): the first with which
/// the sum over the window's cells passes that part of the whole.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn stochastic_forward(cpu: &Cpu, g: &PoolGeometry, uniform: &[f32], x: &[f32], y: &mut [f32]) {
    assert_lengths(g, x, y);
    assert_eq!(uniform.len(), y.len());
    forward(cpu, g, Drawn { x, uniform, y: SharedMut::new(y) });
}

/// The gradient of [`stochastic_forward`] with the same numbers, written to `dx`: it goes to the drawn cells.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn stochastic_backward(
    cpu: &Cpu,
    g: &PoolGeometry,
    uniform: &[f32],
    x: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) {
    assert_lengths(g, x, dy);
    assert!(dx.len() == x.len() && uniform.len() == dy.len());
    let dx = SharedMut::new(dx);
    backward(cpu, g, dx, DrawnBackward { x, uniform, dy, dx });
}

/// What [`stochastic_forward`] gives on average: `sum x^2 / sum x` over the cells of each window.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn stochastic_mean_forward(cpu: &Cpu, g: &PoolGeometry, x: &[f32], y: &mut [f32]) {
    assert_lengths(g, x, y);
    forward(cpu, g, Mean { x, y: SharedMut::new(y) });
}

/// The gradient of [`stochastic_mean_forward`], written to `dx`: `dy * (2 x - y) / sum x`.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn stochastic_mean_backward(cpu: &Cpu, g: &PoolGeometry, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert_lengths(g, x, dy);
    assert_eq!(dx.len(), x.len());
    let dx = SharedMut::new(dx);
    backward(cpu, g, dx, MeanBackward { x, dy, dx });
}

/// The weight of a cell; the order of operands keeps not-a-number.
///
/// # Safety
/// `cell` lies in `x`.
#[inline(always)]
unsafe fn weight<S: Simd>(s: S, x: &[f32], cell: usize) -> S::V {
    // SAFETY: the caller's promise.
    s.max(s.splat(0.0), unsafe { s.load(x.as_ptr().add(cell * BLOCK)) })
}

/// Calls `f` with each cell, its weight, and one in the lanes that draw it, zero in the others; gives the sum of the weights.
#[inline(always)]
fn draw<S: Simd>(
    s: S,
    x: &[f32],
    uniform: &[f32],
    out: usize,
    cells: Cells<'_>,
    mut f: impl FnMut(usize, S::V, S::V),
) -> S::V {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    let mut sum = zero;
    // SAFETY: the cell lies in the input, whose length was asserted.
    each!(cells, |cell| sum = s.add(sum, unsafe { weight(s, x, cell) }));
    let goal = s.mul(sum, s.from_slice(&uniform[out * BLOCK..][..BLOCK]));
    let (mut so_far, mut passed) = (zero, zero);
    each!(cells, |cell| {
        // SAFETY: as above.
        let weight = unsafe { weight(s, x, cell) };
        so_far = s.add(so_far, weight);
        let passes = s.if_gt(so_far, goal, one, zero);
        f(cell, weight, s.sub(passes, passed));
        passed = passes;
    });
    sum
}

#[derive(Clone, Copy)]
struct Drawn<'a> {
    x: &'a [f32],
    uniform: &'a [f32],
    y: SharedMut<'a>,
}

impl Kernel for Drawn<'_> {
    #[inline(always)]
    fn window<S: Simd>(&self, s: S, real: S::V, out: usize, cells: Cells<'_>) {
        let zero = s.splat(0.0);
        let mut y = zero;
        let sum = draw(s, self.x, self.uniform, out, cells, |_, weight, drawn| {
            y = s.if_gt(drawn, zero, weight, y);
        });
        // A sum that is not finite draws nothing, and must not look like zero.
        let y = s.if_gt(real, zero, s.fma(sum, zero, y), zero);
        // SAFETY: each window is visited once, and the output's length was asserted.
        unsafe { s.store(self.y.as_ptr().add(out * BLOCK), y) };
    }
}

#[derive(Clone, Copy)]
struct DrawnBackward<'a> {
    x: &'a [f32],
    uniform: &'a [f32],
    dy: &'a [f32],
    dx: SharedMut<'a>,
}

impl Kernel for DrawnBackward<'_> {
    #[inline(always)]
    fn window<S: Simd>(&self, s: S, real: S::V, out: usize, cells: Cells<'_>) {
        let zero = s.splat(0.0);
        // SAFETY: the output's length was asserted.
        let dy = unsafe { s.load(self.dy.as_ptr().add(out * BLOCK)) };
        let dy = s.if_gt(real, zero, dy, zero);
        draw(s, self.x, self.uniform, out, cells, |cell, _, drawn| {
            // SAFETY: the cell lies in the input, and its plane belongs to this job.
            unsafe { add(s, self.dx.as_ptr().add(cell * BLOCK), s.if_gt(drawn, zero, dy, zero)) };
        });
    }
}

/// The sum of the weights, and that of their squares divided by it.
#[inline(always)]
fn mean<S: Simd>(s: S, x: &[f32], cells: Cells<'_>) -> (S::V, S::V) {
    let zero = s.splat(0.0);
    // SAFETY: the cell lies in the input, whose length was asserted.
    let sum = sum!(s, cells, |cell| unsafe { weight(s, x, cell) });
    let squares = sum!(s, cells, |cell| {
        // SAFETY: as above.
        let weight = unsafe { weight(s, x, cell) };
        s.mul(weight, weight)
    });
    // A sum that is not a number is not above zero, and must not look like zero.
    (sum, s.if_gt(sum, zero, s.div(squares, sum), s.mul(sum, zero)))
}

#[derive(Clone, Copy)]
struct Mean<'a> {
    x: &'a [f32],
    y: SharedMut<'a>,
}

impl Kernel for Mean<'_> {
    #[inline(always)]
    fn window<S: Simd>(&self, s: S, real: S::V, out: usize, cells: Cells<'_>) {
        let y = s.if_gt(real, s.splat(0.0), mean(s, self.x, cells).1, s.splat(0.0));
        // SAFETY: each window is visited once, and the output's length was asserted.
        unsafe { s.store(self.y.as_ptr().add(out * BLOCK), y) };
    }
}

#[derive(Clone, Copy)]
struct MeanBackward<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    dx: SharedMut<'a>,
}

impl Kernel for MeanBackward<'_> {
    #[inline(always)]
    fn window<S: Simd>(&self, s: S, real: S::V, out: usize, cells: Cells<'_>) {
        let zero = s.splat(0.0);
        let (sum, y) = mean(s, self.x, cells);
        // SAFETY: the output's length was asserted.
        let dy = unsafe { s.load(self.dy.as_ptr().add(out * BLOCK)) };
        each!(cells, |cell| {
            // SAFETY: the cell lies in the input, whose length was asserted.
            let x = unsafe { weight(s, self.x, cell) };
            let slope = s.div(s.sub(s.add(x, x), y), sum);
            let share = s.if_gt(x, zero, s.mul(dy, slope), s.mul(x, zero));
            // The sum of spare lanes may be infinite.
            let share = s.if_gt(real, zero, share, zero);
            // SAFETY: the cell's plane belongs to this job.
            unsafe { add(s, self.dx.as_ptr().add(cell * BLOCK), share) };
        });
    }
}
