//! Products of many small matrices, `y[i] = a[i] b[i]`, row-major; neither side is a weight that could be packed.

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::threads::SharedMut;

/// The sizes of each product: `a` is `rows x inner`, `b` is `inner x columns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Rows of `a` and `y`.
    pub rows: usize,
    /// Columns of `a`, rows of `b`.
    pub inner: usize,
    /// Columns of `b` and `y`.
    pub columns: usize,
}

/// Terms added in `f32` before a row of `b` is taken up again: it stays in the nearest cache.
const STRIP: usize = 256;

/// `y[i] = a[i] b[i]`; `starts` holds the first elements of `a[i]` and `b[i]`, so that one matrix may stand in several products.
///
/// # Panics
/// Where a matrix leaves its slice, or `y` has another length than that of all products.
pub fn batch_matmul(cpu: &Cpu, sizes: Sizes, starts: &[(usize, usize)], a: &[f32], b: &[f32], y: &mut [f32]) {
    let Sizes { rows, inner, columns } = sizes;
    assert_eq!(y.len(), starts.len() * rows * columns);
    let y = SharedMut::new(y);
    run_ranges(cpu, starts.len() * rows, inner.saturating_mul(columns), |range| {
        for row in range {
            let (a_start, b_start) = starts[row / rows];
            let (a, b) = (&a[a_start + row % rows * inner..][..inner], &b[b_start..][..inner * columns]);
            // SAFETY: each row belongs to one job.
            let y = unsafe { y.slice(row * columns, columns) };
            y.fill(0.0);
            for (strip, y) in y.chunks_mut(STRIP).enumerate() {
                for (i, &factor) in a.iter().enumerate() {
                    let b = &b[i * columns + strip * STRIP..][..y.len()];
                    y.iter_mut().zip(b).for_each(|(y, b)| *y += factor * b);
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_definition() {
        let sizes = Sizes { rows: 3, inner: 5, columns: 300 };
        let numbers = |len: usize, salt: usize| -> Vec<f32> {
            (0..len).map(|i| ((i * 7919 + salt) % 31) as f32 / 8.0 - 2.0).collect()
        };
        let (a, b) = (numbers(2 * 15, 0), numbers(1500, 3));
        // One right side for both.
        let starts = [(0, 0), (15, 0)];
        let mut y = vec![f32::NAN; 2 * 900];
        batch_matmul(&Cpu::new(2), sizes, &starts, &a, &b, &mut y);
        for (at, y) in y.iter().enumerate() {
            let (row, column) = (at / 300, at % 300);
            let expected: f32 = (0..5).map(|i| a[row * 5 + i] * b[i * 300 + column]).sum();
            assert!((y - expected).abs() < 1e-4, "{at}");
        }
    }
}
