//! A small dense product on one thread, `y += a b`, for matrices that lie in scratch memory.

use crate::cpu::WithSimd;
use crate::simd::{LANES, Simd};

/// Vectors of a tile.
const VECTORS: usize = 2;
/// Columns of a tile: the width of `b` and `y` is a multiple of it.
pub(super) const WIDTH: usize = VECTORS * LANES;
/// Rows of a tile; with [`VECTORS`] this fills half the registers.
const ROWS: usize = 4;

/// `y[i][j] += sum over k of a[i][k] * b[k][j]`; `b` and `y` are row-major, element `[i][k]` of `a` stands at `i * a_strides[0] + k * a_strides[1]`.
pub(super) struct Product<'a> {
    pub(super) a: &'a [f32],
    pub(super) a_strides: [usize; 2],
    pub(super) b: &'a [f32],
    pub(super) y: &'a mut [f32],
    pub(super) rows: usize,
    pub(super) depth: usize,
    pub(super) width: usize,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        let &mut Self { rows, depth, width, a_strides, .. } = &mut self;
        if rows == 0 || depth == 0 {
            return;
        }
        assert!((rows - 1) * a_strides[0] + (depth - 1) * a_strides[1] < self.a.len());
        assert!(depth * width <= self.b.len() && rows * width <= self.y.len() && width.is_multiple_of(WIDTH));
        for column in (0..width).step_by(WIDTH) {
            for row in (0..rows).step_by(ROWS) {
                match rows - row {
                    1 => self.tile::<S, 1>(s, row, column),
                    2 => self.tile::<S, 2>(s, row, column),
                    3 => self.tile::<S, 3>(s, row, column),
                    _ => self.tile::<S, ROWS>(s, row, column),
                }
            }
        }
    }
}

impl Product<'_> {
    /// `R` rows from `row` and a tile's columns from `column`, which lie inside the matrices.
    #[inline(always)]
    fn tile<S: Simd, const R: usize>(&mut self, s: S, row: usize, column: usize) {
        let mut sums = [[s.splat(0.0); VECTORS]; R];
        for k in 0..self.depth {
            // SAFETY: `with_simd` has checked that row `k` of `b` has `WIDTH` elements from `column`.
            let b: [S::V; VECTORS] = std::array::from_fn(|v| unsafe {
                s.load(self.b.as_ptr().add(k * self.width + column + v * LANES))
            });
            for (r, sums) in sums.iter_mut().enumerate() {
                let index = (row + r) * self.a_strides[0] + k * self.a_strides[1];
                // SAFETY: `with_simd` has checked the last element, and no other lies behind it.
                let a = s.splat(unsafe { *self.a.get_unchecked(index) });
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = s.fma(a, b, *sum);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (v, sum) in sums.into_iter().enumerate() {
                // SAFETY: `with_simd` has checked that row `row + r` of `y` has `WIDTH` elements from `column`.
                unsafe {
                    let y = self.y.as_mut_ptr().add((row + r) * self.width + column + v * LANES);
                    s.store(y, s.add(s.load(y), sum));
                }
            }
        }
    }
}
