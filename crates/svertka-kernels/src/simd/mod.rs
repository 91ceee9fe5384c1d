//! Vectors of eight `f32`, one implementation for each instruction set; and of sixteen, for what knows only lanes.
//!
//! A value of a type that implements [`Simd`] proves that the CPU has the instructions. Kernels are generic over it, written once,
//! `#[inline(always)]` throughout, and entered through [`Isa::dispatch`](crate::cpu::Isa::dispatch), which compiles them for the instruction set.

mod avx2;
mod avx512;
mod math;
mod neon;
mod portable;

pub use avx2::Avx2;
pub use avx512::Avx512;
pub use neon::Neon;
pub use portable::Portable;

use crate::cpu::WithSimd;

/// Lanes of a vector; one block of a blocked activation.
pub const LANES: usize = 8;

/// Arithmetic, lane by lane, on vectors of one width. Implementations are zero-sized.
///
/// # Safety
/// A value may exist only where the CPU has the instructions that the methods use.
pub unsafe trait Lanes: Copy + Send + Sync + 'static {
    /// [`Lanes::WIDTH`] `f32`.
    type V: Copy;
    /// Floats of a vector.
    const WIDTH: usize = LANES;

    /// `x` in all lanes.
    fn splat(self, x: f32) -> Self::V;
    /// Reads a vector; any alignment.
    ///
    /// # Safety
    /// `p` points to so many readable floats.
    unsafe fn load(self, p: *const f32) -> Self::V;
    /// The eight floats at `p`, as often as a vector holds them.
    ///
    /// # Safety
    /// `p` points to eight readable floats.
    #[inline(always)]
    unsafe fn repeat(self, p: *const f32) -> Self::V {
        // SAFETY: the caller's promise; a vector of eight is all of them.
        unsafe { self.load(p) }
    }
    /// Reads the cells, eight floats each, whose four bits in `mask` are set; others become zeros.
    ///
    /// # Safety
    /// The cells that are read are readable.
    #[inline(always)]
    unsafe fn load_cells(self, p: *const f32, mask: u8) -> Self::V {
        // SAFETY: the caller's promise; a vector of eight is one cell.
        if mask == 0 { self.splat(0.0) } else { unsafe { self.load(p) } }
    }
    /// Lane `l` of each cell is lane `from[l] % 4` of its half of the cell.
    #[inline(always)]
    fn permute_halves(self, v: Self::V, from: &[i32; LANES]) -> Self::V {
        let (mut lanes, mut permuted) = ([0.0; 2 * LANES], [0.0; 2 * LANES]);
        // SAFETY: no vector has more than sixteen lanes.
        unsafe { self.store(lanes.as_mut_ptr(), v) };
        for (l, lane) in permuted.iter_mut().enumerate().take(Self::WIDTH) {
            *lane = lanes[l / 4 * 4 + (from[l % LANES] & 3) as usize];
        }
        // SAFETY: as above.
        unsafe { self.load(permuted.as_ptr()) }
    }
    /// Of the cells of `a` and then `b`, eight floats each, as many as a vector has from the second on.
    #[inline(always)]
    fn after_first_cell(self, _a: Self::V, b: Self::V) -> Self::V {
        b
    }
    /// Writes a vector; any alignment.
    ///
    /// # Safety
    /// `p` points to so many writable floats.
    unsafe fn store(self, p: *mut f32, v: Self::V);
    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, fused where the instruction set can.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger; `b` where `a` is not a number.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller; `b` where `a` is not a number.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// Square root.
    fn sqrt(self, a: Self::V) -> Self::V;
    /// `yes` in the lanes where `a > b`, else `no`.
    fn if_gt(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    /// The float whose exponent field is the eight low bits of `a`, and its sign bit the ninth.
    fn exponent_from_low_bits(self, a: Self::V) -> Self::V;
}

/// The operations of one instruction set, on vectors of eight.
pub trait Simd: Lanes {
    /// Sixteen `f32`: `[Self::V; 2]`, or one register where there are such.
    type Panel: Row<Self>;
    /// The widest vectors that there are, of the same bits in each lane.
    type Wide: Lanes + From<Self>;
    /// Whether a product over the eight channels of a block is unrolled. Not where the sums leave so few registers that scalars which the
    /// compiler loads ahead have no place.
    const UNROLLS_BLOCKS: bool = true;
    /// Panels that a tile multiplies side by side, so that its sums are as many as the units have products in flight: one or two.
    const PANELS: usize = 1;

    /// Runs `work` as a function of its own, where one that takes in everything would keep the compiler for minutes.
    fn apart<W: WithSimd>(self, work: W) -> W::Output;
    /// Asks for the cache line at `p`, for the second-level cache; any address will do. Nothing where the instruction set can't.
    #[inline(always)]
    fn prefetch(self, _p: *const f32) {}

    /// Lane `i` of vector `j` becomes lane `j` of vector `i`.
    #[inline(always)]
    fn transpose(self, square: [Self::V; LANES]) -> [Self::V; LANES] {
        let rows = square.map(|row| self.to_array(row));
        std::array::from_fn(|i| self.from_slice(&rows.map(|row| row[i])))
    }

    /// The lanes as an array.
    #[inline(always)]
    fn to_array(self, v: Self::V) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        // SAFETY: the array has eight floats.
        unsafe { self.store(lanes.as_mut_ptr(), v) };
        lanes
    }

    /// A vector of the first eight values; missing ones are zero.
    #[inline(always)]
    #[expect(
        clippy::wrong_self_convention,
        reason = "`self` proves the instruction set; the vector comes from the slice"
    )]
    fn from_slice(self, values: &[f32]) -> Self::V {
        if values.len() >= LANES {
            // SAFETY: `values` has eight floats.
            return unsafe { self.load(values.as_ptr()) };
        }
        let mut lanes = [0.0; LANES];
        lanes[..values.len()].copy_from_slice(values);
        // SAFETY: the array has eight floats.
        unsafe { self.load(lanes.as_ptr()) }
    }

    /// Writes the first lanes, as many as `out` has, at most eight.
    #[inline(always)]
    fn write(self, out: &mut [f32], v: Self::V) {
        if out.len() >= LANES {
            // SAFETY: `out` has eight floats.
            unsafe { self.store(out.as_mut_ptr(), v) };
        } else {
            out.copy_from_slice(&self.to_array(v)[..out.len()]);
        }
    }

    /// Sum of the lanes, in a fixed order: `((0+4)+(2+6)) + ((1+5)+(3+7))`.
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        let l = self.to_array(v);
        ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
    }
}

/// Vectors side by side, as the sums and operands in one row of a matrix product.
pub trait Row<S: Simd>: Copy {
    /// The row of these vectors, as many as it has.
    fn join(s: S, vectors: &[S::V]) -> Self;
    /// Writes the vectors of the row, as many as it has.
    fn split(self, s: S, vectors: &mut [S::V]);
    /// The row whose vectors lie `at` floats behind `places`, one for each.
    ///
    /// # Safety
    /// At each there are eight readable floats.
    unsafe fn load(s: S, places: &[*const f32], at: usize) -> Self;
    /// As [`Row::load`], where each panel lies side by side: the place of its first vector says where.
    ///
    /// # Safety
    /// As for [`Row::load`].
    #[inline(always)]
    unsafe fn load_panels(s: S, places: &[*const f32], at: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::load(s, places, at) }
    }
    /// `a * b + self`, fused where the instruction set can.
    fn fma(self, s: S, a: f32, b: Self) -> Self;
    /// Adds what lies at `start` and each `pitch` floats behind it, for the first `count` vectors; others keep what they are.
    ///
    /// # Safety
    /// At each place there are eight readable floats.
    unsafe fn add(self, s: S, start: *const f32, pitch: usize, count: usize) -> Self;
    /// The smaller of `high` and the larger of `low` and each value; what is not a number stays so.
    fn clamp(self, s: S, low: f32, high: f32) -> Self;
    /// Writes the first `count` vectors to `start` and each `pitch` floats behind it.
    ///
    /// # Safety
    /// At each place there are eight writable floats.
    unsafe fn store(self, s: S, start: *mut f32, pitch: usize, count: usize);
}

impl<S: Simd, const N: usize> Row<S> for [S::V; N] {
    #[inline(always)]
    fn join(_: S, vectors: &[S::V]) -> Self {
        let mut row = [vectors[0]; N];
        row.copy_from_slice(vectors);
        row
    }

    #[inline(always)]
    fn split(self, _: S, vectors: &mut [S::V]) {
        vectors.copy_from_slice(&self);
    }

    #[inline(always)]
    unsafe fn load(s: S, places: &[*const f32], at: usize) -> Self {
        let mut row = [s.splat(0.0); N];
        for (vector, place) in row.iter_mut().zip(places) {
            // SAFETY: the caller's promise.
            *vector = unsafe { s.load(place.add(at)) };
        }
        row
    }

    #[inline(always)]
    fn fma(mut self, s: S, a: f32, b: Self) -> Self {
        let a = s.splat(a);
        for (sum, b) in self.iter_mut().zip(b) {
            *sum = s.fma(a, b, *sum);
        }
        self
    }

    #[inline(always)]
    unsafe fn add(mut self, s: S, start: *const f32, pitch: usize, count: usize) -> Self {
        for (j, vector) in self.iter_mut().enumerate().take(count) {
            // SAFETY: the caller's promise.
            *vector = s.add(*vector, unsafe { s.load(start.add(j * pitch)) });
        }
        self
    }

    #[inline(always)]
    fn clamp(mut self, s: S, low: f32, high: f32) -> Self {
        for vector in &mut self {
            *vector = s.min(s.splat(high), s.max(s.splat(low), *vector));
        }
        self
    }

    #[inline(always)]
    unsafe fn store(self, s: S, start: *mut f32, pitch: usize, count: usize) {
        for (j, vector) in self.iter().enumerate().take(count) {
            // SAFETY: the caller's promise.
            unsafe { s.store(start.add(j * pitch), *vector) };
        }
    }
}

/// Two rows of the same kind side by side.
#[derive(Clone, Copy, Debug)]
pub struct Pair<R>([R; 2]);

impl<S: Simd, R: Row<S>> Row<S> for Pair<R> {
    // Arrays of their own for the two: of one that is cut, LLVM keeps the parts in memory.
    #[inline(always)]
    fn join(s: S, vectors: &[S::V]) -> Self {
        let &[a, b, c, d] = vectors else { unreachable!("two panels are four vectors") };
        Self([R::join(s, &[a, b]), R::join(s, &[c, d])])
    }

    #[inline(always)]
    fn split(self, s: S, vectors: &mut [S::V]) {
        let [a, b, c, d] = vectors else { unreachable!("two panels are four vectors") };
        let (mut left, mut right) = ([*a, *b], [*c, *d]);
        self.0[0].split(s, &mut left);
        self.0[1].split(s, &mut right);
        [*a, *b] = left;
        [*c, *d] = right;
    }

    #[inline(always)]
    unsafe fn load(s: S, places: &[*const f32], at: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self([R::load(s, &places[..2], at), R::load(s, &places[2..], at)]) }
    }

    #[inline(always)]
    unsafe fn load_panels(s: S, places: &[*const f32], at: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self([R::load_panels(s, &places[..2], at), R::load_panels(s, &places[2..], at)]) }
    }

    #[inline(always)]
    fn fma(self, s: S, a: f32, b: Self) -> Self {
        Self([self.0[0].fma(s, a, b.0[0]), self.0[1].fma(s, a, b.0[1])])
    }

    #[inline(always)]
    unsafe fn add(self, s: S, start: *const f32, pitch: usize, count: usize) -> Self {
        let Self([left, right]) = self;
        // SAFETY: the caller's promise.
        unsafe {
            Self([
                left.add(s, start, pitch, count.min(2)),
                right.add(s, start.wrapping_add(2 * pitch), pitch, count.saturating_sub(2)),
            ])
        }
    }

    #[inline(always)]
    fn clamp(self, s: S, low: f32, high: f32) -> Self {
        Self([self.0[0].clamp(s, low, high), self.0[1].clamp(s, low, high)])
    }

    #[inline(always)]
    unsafe fn store(self, s: S, start: *mut f32, pitch: usize, count: usize) {
        let Self([left, right]) = self;
        // SAFETY: the caller's promise.
        unsafe {
            left.store(s, start, pitch, count.min(2));
            right.store(s, start.wrapping_add(2 * pitch), pitch, count.saturating_sub(2));
        }
    }
}

pub use math::{erf, exp, exp_m1, ln_1p_exp, sigmoid, tanh};

#[cfg(test)]
mod tests;
