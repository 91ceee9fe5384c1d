//! Vectors of eight `f32`, one implementation for each instruction set.
//!
//! A value of a type that implements [`Simd`] proves that the CPU has the instructions. Kernels are generic over it, written once,
//! `#[inline(always)]` throughout, and entered through [`Isa::dispatch`](crate::cpu::Isa::dispatch), which compiles them for the instruction set.

mod avx2;
mod math;
mod portable;

pub use avx2::Avx2;
pub use portable::Portable;

/// Lanes of a vector; one block of a blocked activation.
pub const LANES: usize = 8;

/// The operations of one instruction set. Implementations are zero-sized.
///
/// # Safety
/// A value may exist only where the CPU has the instructions that the methods use.
pub unsafe trait Simd: Copy + Send + Sync + 'static {
    /// Eight `f32`.
    type V: Copy;

    /// `x` in all lanes.
    fn splat(self, x: f32) -> Self::V;
    /// Reads eight floats; any alignment.
    ///
    /// # Safety
    /// `p` points to eight readable floats.
    unsafe fn load(self, p: *const f32) -> Self::V;
    /// Writes eight floats; any alignment.
    ///
    /// # Safety
    /// `p` points to eight writable floats.
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
    /// `x * 2^n` for the integer nearest to `n`; lanes of `n` between -126 and 127.
    fn mul_pow2(self, x: Self::V, n: Self::V) -> Self::V;
    /// Nearest integer.
    fn round(self, a: Self::V) -> Self::V;

    /// Asks for the cache line at `p`, which may point anywhere, to come near: into the second-level cache, where the instruction set can say so.
    #[inline(always)]
    fn prefetch(self, _p: *const f32) {}

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

pub use math::{erf, exp, exp_m1, ln_1p_exp, sigmoid, tanh};

#[cfg(test)]
mod tests;
