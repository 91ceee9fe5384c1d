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
            let (rows, patches) = unsafe {
                (rows.map(|row| s.load(row.as_ptr().add(k))), patches.map(|p| s.load(p.as_ptr().add(k))))
            };
            accumulate(s, &mut sums, rows, patches);
        }
        if whole < self.patch {
            let rest = |slice: &[f32]| s.from_slice(&slice[whole..]);
            accumulate(s, &mut sums, rows.map(rest), patches.map(rest));
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (i, sum) in sums.into_iter().enumerate() {
                self.out[(image + i) * self.out_stride + row + r] = s.sum(sum);
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
        let mut k = 0;
        while k < self.len {
            let four = k + 4 * LANES <= self.len;
            let mut row = 0;
            while row < self.rows {
                let two = row + 2 <= self.rows;
                match (two, four) {
                    (true, true) => self.tile::<S, 2, 4>(s, row, k),
                    (true, false) => self.tile::<S, 2, 1>(s, row, k),
                    (false, true) => self.tile::<S, 1, 4>(s, row, k),
                    (false, false) => self.tile::<S, 1, 1>(s, row, k),
                }
                row += if two { 2 } else { 1 };
            }
            k += if four { 4 * LANES } else { LANES };
        }
    }
}

impl Combine<'_> {
    /// Rows from `row`, vectors from `k`; the last may hang over the end.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(&mut self, s: S, row: usize, k: usize) {
        let count = (V * LANES).min(self.len - k);
        let factors: [&[f32]; R] =
            std::array::from_fn(|r| &self.factors[(row + r) * self.terms..][..self.terms]);
        let mut sums = [[s.splat(0.0); V]; R];
        if self.add {
            for (r, sums) in sums.iter_mut().enumerate() {
                let out = &self.out[(row + r) * self.len + k..][..count];
                *sums = std::array::from_fn(|v| s.from_slice(&out[v * LANES..]));
            }
        }
        for term in 0..self.terms {
            let values = &self.values[term * self.stride + k..][..count];
            let values: [S::V; V] = std::array::from_fn(|v| s.from_slice(&values[v * LANES..]));
            accumulate(s, &mut sums, factors.map(|factors| s.splat(factors[term])), values);
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let out = &mut self.out[(row + r) * self.len + k..][..count];
            for (out, sum) in out.chunks_mut(LANES).zip(sums) {
                s.write(out, sum);
            }
        }
    }
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
