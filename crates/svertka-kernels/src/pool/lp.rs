//! The `p`-norm of windows.

use super::{Cells, Kernel, add, assert_lengths, backward, forward};
use crate::cpu::Cpu;
use crate::geometry::PoolGeometry;
use crate::layout::BLOCK;
use crate::simd::Simd;
use crate::threads::SharedMut;

/// `(sum |x|^p)^(1/p)` over the cells of each window, `p` at least 1.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn lp_forward(cpu: &Cpu, g: &PoolGeometry, p: f32, x: &[f32], y: &mut [f32]) {
    assert_lengths(g, x, y);
    forward(cpu, g, Forward { x, y: SharedMut::new(y), p });
}

/// The gradient of [`lp_forward`], written to `dx`: `dy * sign(x) * (|x| / y)^(p - 1)`, zero where `x` is.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn lp_backward(cpu: &Cpu, g: &PoolGeometry, p: f32, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert_lengths(g, x, dy);
    assert_eq!(dx.len(), x.len());
    let dx = SharedMut::new(dx);
    backward(cpu, g, dx, Backward { x, dy, dx, p });
}

#[inline(always)]
fn magnitude<S: Simd>(s: S, x: S::V) -> S::V {
    s.max(s.sub(s.splat(0.0), x), x)
}

/// `a^p` of numbers that are not negative: by multiplications for a small whole `p`.
#[inline(always)]
fn power<S: Simd>(s: S, a: S::V, p: f32) -> S::V {
    if p == 0.0 {
        s.splat(1.0)
    } else if p == 0.5 {
        s.sqrt(a)
    } else if (1.0..=8.0).contains(&p) && p.fract() == 0.0 {
        let mut power = a;
        for _ in 1..p as usize {
            power = s.mul(power, a);
        }
        power
    } else {
        s.from_slice(&s.to_array(a).map(|a| a.powf(p)))
    }
}

/// The norm of a window.
#[inline(always)]
fn norm<S: Simd>(s: S, x: &[f32], p: f32, cells: Cells<'_>) -> S::V {
    let sum = sum!(s, cells, |cell| {
        // SAFETY: the cell lies in the input, whose length was asserted.
        power(s, magnitude(s, unsafe { s.load(x.as_ptr().add(cell * BLOCK)) }), p)
    });
    power(s, sum, 1.0 / p)
}

#[derive(Clone, Copy)]
struct Forward<'a> {
    x: &'a [f32],
    y: SharedMut<'a>,
    p: f32,
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn window<S: Simd>(&self, s: S, real: S::V, out: usize, cells: Cells<'_>) {
        let y = s.if_gt(real, s.splat(0.0), norm(s, self.x, self.p, cells), s.splat(0.0));
        // SAFETY: each window is visited once, and the output's length was asserted.
        unsafe { s.store(self.y.as_ptr().add(out * BLOCK), y) };
    }
}

#[derive(Clone, Copy)]
struct Backward<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    dx: SharedMut<'a>,
    p: f32,
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    fn window<S: Simd>(&self, s: S, real: S::V, out: usize, cells: Cells<'_>) {
        let zero = s.splat(0.0);
        let y = norm(s, self.x, self.p, cells);
        // SAFETY: the output's length was asserted.
        let dy = unsafe { s.load(self.dy.as_ptr().add(out * BLOCK)) };
        let dy = s.if_gt(real, zero, dy, zero);
        each!(cells, |cell| {
            // SAFETY: the cell lies in the input, whose length was asserted.
            let x = unsafe { s.load(self.x.as_ptr().add(cell * BLOCK)) };
            let share = s.mul(dy, power(s, s.div(magnitude(s, x), y), self.p - 1.0));
            // A norm of zero, of zeros or of numbers whose powers vanish, has no slope. Not-a-number stays.
            let share = s.if_gt(y, zero, share, s.mul(y, zero));
            let positive = s.if_gt(x, zero, share, s.mul(x, zero));
            let share = s.if_gt(zero, x, s.sub(zero, share), positive);
            // SAFETY: the cell lies in the input, and its plane belongs to this job.
            unsafe { add(s, self.dx.as_ptr().add(cell * BLOCK), share) };
        });
    }
}
