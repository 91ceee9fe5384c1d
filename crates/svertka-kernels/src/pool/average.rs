//! Averages and sums of windows, and of whole planes.

use super::{Cells, Kernel, add, assert_lengths, backward, forward};
use crate::cpu::Cpu;
use crate::elementwise::{Sum, fold};
use crate::geometry::PoolGeometry;
use crate::layout::BLOCK;
use crate::planes::Planes;
use crate::simd::Simd;
use crate::threads::SharedMut;

/// What the sum of a window is divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Divisor {
    /// Its cells in the input; one where there are none.
    Inside,
    /// Its cells in the input and its padding. Cells beyond the padding, which `ceil_mode` adds, never count (PyTorch, ONNX from opset 19 on).
    Padded,
    /// This: one for the sum itself.
    Fixed(f32),
}

impl Divisor {
    #[inline(always)]
    fn of(self, cells: Cells<'_>) -> f32 {
        let product = |sides: [usize; 3]| sides.into_iter().product::<usize>().max(1) as f32;
        match self {
            Self::Inside => product(cells.spans.map(|span| span.count)),
            Self::Padded => product(cells.spans.map(|span| span.padded)),
            Self::Fixed(divisor) => divisor,
        }
    }
}

/// The sum of each window over its cells in the input, divided by `divisor`.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn average_forward(cpu: &Cpu, g: &PoolGeometry, divisor: Divisor, x: &[f32], y: &mut [f32]) {
    assert_lengths(g, x, y);
    forward(cpu, g, Forward { x, y: SharedMut::new(y), divisor });
}

/// The gradient of [`average_forward`], written to `dx`.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn average_backward(cpu: &Cpu, g: &PoolGeometry, divisor: Divisor, dy: &[f32], dx: &mut [f32]) {
    assert_lengths(g, dx, dy);
    let dx = SharedMut::new(dx);
    backward(cpu, g, dx, Backward { dy, dx, divisor });
}

/// The sum over all pixels, divided by `divisor`: `planes` to `planes.reduced()`. Of no pixels it is zero.
///
/// # Panics
/// Where a slice has not the length of its planes.
pub fn global_average_forward(cpu: &Cpu, planes: Planes, divisor: Divisor, x: &[f32], y: &mut [f32]) {
    assert!(x.len() == planes.elements() && y.len() == planes.reduced().elements());
    let (y, divisor) = (SharedMut::new(y), global(divisor, planes));
    planes.run(cpu, |plane, block| {
        let [sums] = fold(cpu.isa, Sum, [&x[planes.range(plane)]]);
        // SAFETY: planes do not overlap.
        let y = unsafe { y.slice(plane * BLOCK, BLOCK) };
        y.fill(0.0);
        let real = planes.channels_of(block).len();
        y[..real].iter_mut().zip(sums).for_each(|(y, sum)| *y = (sum / f64::from(divisor)) as f32);
    });
}

/// The gradient of [`global_average_forward`], written to `dx`.
///
/// # Panics
/// Where a slice has not the length of its planes.
pub fn global_average_backward(cpu: &Cpu, planes: Planes, divisor: Divisor, dy: &[f32], dx: &mut [f32]) {
    assert!(dx.len() == planes.elements() && dy.len() == planes.reduced().elements());
    let (dx, divisor) = (SharedMut::new(dx), global(divisor, planes));
    planes.run(cpu, |plane, block| {
        let mut share = [0.0; BLOCK];
        let real = planes.channels_of(block).len();
        let dy = &dy[plane * BLOCK..][..real];
        share.iter_mut().zip(dy).for_each(|(share, dy)| *share = dy / divisor);
        let range = planes.range(plane);
        // SAFETY: planes do not overlap.
        unsafe { dx.slice(range.start, range.len()) }.as_chunks_mut().0.fill(share);
    });
}

fn global(divisor: Divisor, planes: Planes) -> f32 {
    match divisor {
        Divisor::Inside | Divisor::Padded => planes.pixels.max(1) as f32,
        Divisor::Fixed(divisor) => divisor,
    }
}

#[derive(Clone, Copy)]
struct Forward<'a> {
    x: &'a [f32],
    y: SharedMut<'a>,
    divisor: Divisor,
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn window<S: Simd>(&self, s: S, real: S::V, out: usize, cells: Cells<'_>) {
        // SAFETY: the cell lies in the input, whose length was asserted.
        let sum = sum!(s, cells, |cell| unsafe { s.load(self.x.as_ptr().add(cell * BLOCK)) });
        let average = s.div(sum, s.splat(self.divisor.of(cells)));
        let y = s.if_gt(real, s.splat(0.0), average, s.splat(0.0));
        // SAFETY: each window is visited once, and the output's length was asserted.
        unsafe { s.store(self.y.as_ptr().add(out * BLOCK), y) };
    }
}

#[derive(Clone, Copy)]
struct Backward<'a> {
    dy: &'a [f32],
    dx: SharedMut<'a>,
    divisor: Divisor,
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    fn window<S: Simd>(&self, s: S, real: S::V, out: usize, cells: Cells<'_>) {
        // SAFETY: the output's length was asserted.
        let dy = unsafe { s.load(self.dy.as_ptr().add(out * BLOCK)) };
        let share = s.div(dy, s.splat(self.divisor.of(cells)));
        let share = s.if_gt(real, s.splat(0.0), share, s.splat(0.0));
        // SAFETY: the cell lies in the input, and its plane belongs to this job.
        each!(cells, |cell| unsafe { add(s, self.dx.as_ptr().add(cell * BLOCK), share) });
    }
}
