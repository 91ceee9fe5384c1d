//! Sums and products of activations, elementwise on any layout or by one factor for each image and channel.

use crate::cpu::Cpu;
use crate::elementwise::{CHUNK, Lanewise, fold, map, map_part, run_ranges};
use crate::layout::BLOCK;
use crate::planes::Planes;
use crate::simd::Simd;
use crate::threads::SharedMut;

/// `out = a + b`; without `a`, `out += b`.
///
/// # Panics
/// Where the lengths differ.
pub fn add(cpu: &Cpu, a: Option<&[f32]>, b: &[f32], out: &mut [f32]) {
    map(cpu, Add, [a, Some(b)], [out]);
}

/// `out = a b`, elementwise; without `a`, `out *= b`.
///
/// # Panics
/// Where the lengths differ.
pub fn mul(cpu: &Cpu, a: Option<&[f32]>, b: &[f32], out: &mut [f32]) {
    map(cpu, Mul, [a, Some(b)], [out]);
}

/// `out = factor x`; without `x`, `out *= factor`.
///
/// # Panics
/// Where the lengths differ.
pub fn scale(cpu: &Cpu, x: Option<&[f32]>, factor: f32, out: &mut [f32]) {
    map(cpu, Scale(factor), [x], [out]);
}

/// `y += alpha x`.
///
/// # Panics
/// Where the lengths differ.
pub fn axpy(cpu: &Cpu, alpha: f32, x: &[f32], y: &mut [f32]) {
    map(cpu, Axpy(alpha), [Some(x)], [y]);
}

/// What [`sum_of_squares`] needs as scratch for `len` elements.
pub fn sum_of_squares_scratch_len(len: usize) -> usize {
    len.div_ceil(CHUNK)
}

/// The sum of `x^2`: the square of a gradient's norm. One order for any number of threads, relative error below 3e-6.
///
/// # Panics
/// Where `scratch` is shorter than [`sum_of_squares_scratch_len`].
pub fn sum_of_squares(cpu: &Cpu, x: &[f32], scratch: &mut [f32]) -> f64 {
    let scratch = &mut scratch[..sum_of_squares_scratch_len(x.len())];
    let partial = SharedMut::new(scratch);
    run_ranges(cpu, x.len(), 1, |range| {
        let part = &x[range.clone()];
        let [sums] = fold(cpu.isa, Dot, [part, part]);
        // SAFETY: each job writes the element of its chunk.
        unsafe { partial.slice(range.start / CHUNK, 1) }.fill(sums.iter().sum::<f64>() as f32);
    });
    scratch.iter().map(|&p| f64::from(p)).sum()
}

/// `y = factor x`, with one factor for each image and channel: `x` and `y` are blocked `planes`, `factor` is `planes.reduced()`. Without `x`, in
/// place on `y`. The gradient by `x` is the same function of `dy`. Spare lanes of `y` are zero where those of `factor` are.
///
/// # Panics
/// Where a slice has not the length of its planes.
pub fn scale_channels(cpu: &Cpu, planes: Planes, factor: &[f32], x: Option<&[f32]>, y: &mut [f32]) {
    assert_eq!(factor.len(), planes.reduced().elements());
    assert_eq!(y.len(), planes.elements());
    assert!(x.is_none_or(|x| x.len() == y.len()));
    let y = SharedMut::new(y);
    planes.run(cpu, |plane, _| {
        let range = planes.range(plane);
        let step = ScaleLanes(lanes(factor, plane));
        // SAFETY: planes do not overlap.
        let y = unsafe { y.slice(range.start, range.len()) };
        map_part(cpu.isa, step, [x.map(|x| &x[range])], [y]);
    });
}

/// The gradient of [`scale_channels`] by its factor: the sum of `x dy` over the pixels, for each image and channel.
///
/// # Panics
/// Where a slice has not the length of its planes.
pub fn scale_channels_factor_gradient(cpu: &Cpu, planes: Planes, x: &[f32], dy: &[f32], dfactor: &mut [f32]) {
    assert!(x.len() == planes.elements() && dy.len() == x.len());
    assert_eq!(dfactor.len(), planes.reduced().elements());
    let dfactor = SharedMut::new(dfactor);
    planes.run(cpu, |plane, block| {
        let [sums] = fold(cpu.isa, Dot, [&x[planes.range(plane)], &dy[planes.range(plane)]]);
        // SAFETY: planes do not overlap.
        let out = unsafe { dfactor.slice(plane * BLOCK, BLOCK) };
        let real = planes.channels_of(block).len();
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum as f32);
        out[real..].fill(0.0);
    });
}

/// The eight values of `plane` in reduced planes.
pub(crate) fn lanes(reduced: &[f32], plane: usize) -> [f32; BLOCK] {
    std::array::from_fn(|lane| reduced[plane * BLOCK + lane])
}

#[derive(Clone, Copy)]
struct Add;

impl Lanewise<2, 1> for Add {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [a, b]: [S::V; 2], _: [S::V; 1]) -> [S::V; 1] {
        [s.add(a, b)]
    }
}

#[derive(Clone, Copy)]
struct Mul;

impl Lanewise<2, 1> for Mul {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [a, b]: [S::V; 2], _: [S::V; 1]) -> [S::V; 1] {
        [s.mul(a, b)]
    }
}

#[derive(Clone, Copy)]
struct Scale(f32);

impl Lanewise<1, 1> for Scale {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [x]: [S::V; 1], _: [S::V; 1]) -> [S::V; 1] {
        [s.mul(x, s.splat(self.0))]
    }
}

#[derive(Clone, Copy)]
struct ScaleLanes([f32; BLOCK]);

impl Lanewise<1, 1> for ScaleLanes {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [x]: [S::V; 1], _: [S::V; 1]) -> [S::V; 1] {
        [s.mul(x, s.from_slice(&self.0))]
    }
}

#[derive(Clone, Copy)]
struct Axpy(f32);

impl Lanewise<1, 1> for Axpy {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [x]: [S::V; 1], [y]: [S::V; 1]) -> [S::V; 1] {
        [s.fma(x, s.splat(self.0), y)]
    }
}

#[derive(Clone, Copy)]
struct Dot;

impl Lanewise<2, 1> for Dot {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [a, b]: [S::V; 2], [sum]: [S::V; 1]) -> [S::V; 1] {
        [s.fma(a, b, sum)]
    }
}
