//! The two small dense products of a position: of its rows with patches, and of factors with rows or patches.

use crate::cpu::WithSimd;
use crate::simd::{LANES, Simd};

/// The products of every row with every patch, along their length: `out[n * out_stride + o]` of image `n` and row `o`.
pub(super) struct Dots<'a> {
    pub(super) rows: &'a [f32],
    pub(super) patches: &'a [f32],
    /// From one patch to the next.
    pub(super) stride: usize,
    /// Elements of a row, and of a patch.
    pub(super) patch: usize,
    pub(super) images: usize,
    pub(super) out: &'a mut [f32],
    pub(super) out_stride: usize,
}

impl WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        let rows = self.rows.len() / self.patch;
        let mut row = 0;
        while row < rows {
            let four = row + 4 <= rows;
            let mut image = 0;
            while image < self.images {
                let two = image + 2 <= self.images;
                match (four, two) {
                    (true, true) => self.tile::<S, 4, 2>(s, row, image),
                    (true, false) => self.tile::<S, 4, 1>(s, row, image),
                    (false, true) => self.tile::<S, 1, 2>(s, row, image),
                    (false, false) => self.tile::<S, 1, 1>(s, row, image),
                }
                image += if two { 2 } else { 1 };
            }
            row += if four { 4 } else { 1 };
        }
    }
}

impl Dots<'_> {
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const I: usize>(&mut self, s: S, row: usize, image: usize) {
        let rows: [&[f32]; R] = std::array::from_fn(|r| &self.rows[(row + r) * self.patch..][..self.patch]);
        let patches: [&[f32]; I] =
            std::array::from_fn(|i| &self.patches[(image + i) * self.stride..][..self.patch]);
        let mut sums = [[s.splat(0.0); I]; R];
        let whole = self.patch - self.patch % LANES;
        for k in (0..whole).step_by(LANES) {
            // SAFETY: `k + LANES <= patch`, the length of every row and patch.
            unsafe { accumulate(s, &mut sums, load(s, rows, k), load(s, patches, k)) };
        }
        for (r, sums) in sums.iter().enumerate() {
            for (i, sum) in sums.iter().enumerate() {
                let mut total = s.sum(*sum);
                for (a, b) in rows[r][whole..].iter().zip(&patches[i][whole..]) {
                    total += a * b;
                }
                self.out[(image + i) * self.out_stride + row + r] = total;
            }
        }
    }
}

/// Rows of sums: `out[r, k] = sum over j of factors[r, j] * values[j, k]`, added to what stands there if `add`.
pub(super) struct Combine<'a> {
    /// `rows x terms`.
    pub(super) factors: &'a [f32],
    pub(super) rows: usize,
    pub(super) terms: usize,
    /// A row for each term, `stride` apart.
    pub(super) values: &'a [f32],
    pub(super) stride: usize,
    /// `rows x len`.
    pub(super) out: &'a mut [f32],
    pub(super) len: usize,
    pub(super) add: bool,
}

impl WithSimd for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        let mut row = 0;
        while row < self.rows {
            let two = row + 2 <= self.rows;
            let mut k = 0;
            while k + LANES <= self.len {
                let four = k + 4 * LANES <= self.len;
                match (two, four) {
                    (true, true) => self.tile::<S, 2, 4>(s, row, k),
                    (true, false) => self.tile::<S, 2, 1>(s, row, k),
                    (false, true) => self.tile::<S, 1, 4>(s, row, k),
                    (false, false) => self.tile::<S, 1, 1>(s, row, k),
                }
                k += if four { 4 * LANES } else { LANES };
            }
            let end = if two { row + 2 } else { row + 1 };
            (row..end).for_each(|row| self.rest(row, k));
            row = end;
        }
    }
}

impl Combine<'_> {
    /// Rows from `row`, vectors from `k`.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(&mut self, s: S, row: usize, k: usize) {
        let factors: [&[f32]; R] =
            std::array::from_fn(|r| &self.factors[(row + r) * self.terms..][..self.terms]);
        let mut sums = [[s.splat(0.0); V]; R];
        if self.add {
            for (r, sums) in sums.iter_mut().enumerate() {
                let out = &self.out[(row + r) * self.len + k..][..V * LANES];
                // SAFETY: `out` has `V` vectors.
                *sums = unsafe { vectors(s, out) };
            }
        }
        for term in 0..self.terms {
            let values = &self.values[term * self.stride + k..][..V * LANES];
            let mut factor = [s.splat(0.0); R];
            for (factor, factors) in factor.iter_mut().zip(factors) {
                *factor = s.splat(factors[term]);
            }
            // SAFETY: `values` has `V` vectors.
            accumulate(s, &mut sums, factor, unsafe { vectors(s, values) });
        }
        for (r, sums) in sums.iter().enumerate() {
            let out = &mut self.out[(row + r) * self.len + k..][..V * LANES];
            for (out, sum) in out.chunks_exact_mut(LANES).zip(sums) {
                s.write(out, *sum);
            }
        }
    }

    /// What is left of a row from `k` on, less than a vector.
    #[inline(always)]
    fn rest(&mut self, row: usize, k: usize) {
        let factors = &self.factors[row * self.terms..][..self.terms];
        for k in k..self.len {
            let out = &mut self.out[row * self.len + k];
            let start = if self.add { *out } else { 0.0 };
            let values = self.values[k..].iter().step_by(self.stride);
            *out = factors.iter().zip(values).fold(start, |sum, (a, b)| sum + a * b);
        }
    }
}

/// The vectors at `k` of some slices. Loops, for a closure might not become part of the code compiled for the instruction set.
///
/// # Safety
/// Every slice has eight floats from `k` on.
#[inline(always)]
unsafe fn load<S: Simd, const N: usize>(s: S, slices: [&[f32]; N], k: usize) -> [S::V; N] {
    let mut loaded = [s.splat(0.0); N];
    for (to, from) in loaded.iter_mut().zip(slices) {
        // SAFETY: the caller's promise.
        *to = unsafe { s.load(from.as_ptr().add(k)) };
    }
    loaded
}

/// The first vectors of a slice.
///
/// # Safety
/// It has as many.
#[inline(always)]
unsafe fn vectors<S: Simd, const N: usize>(s: S, slice: &[f32]) -> [S::V; N] {
    let mut loaded = [s.splat(0.0); N];
    for (v, to) in loaded.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *to = unsafe { s.load(slice.as_ptr().add(v * LANES)) };
    }
    loaded
}

/// Adds the product of each of `a` with each of `b`.
#[inline(always)]
fn accumulate<S: Simd, const A: usize, const B: usize>(
    s: S,
    sums: &mut [[S::V; B]; A],
    a: [S::V; A],
    b: [S::V; B],
) {
    for (sums, a) in sums.iter_mut().zip(a) {
        for (sum, b) in sums.iter_mut().zip(b) {
            *sum = s.fma(a, b, *sum);
        }
    }
}
