//! A kernel as a sum of columns times rows: each such product is two small passes in place of one large.

use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// A kernel taken apart by [`separate`].
#[derive(Clone, Debug, PartialEq)]
pub struct Separated {
    /// The columns, the most important first; each has the square root of its singular value as its length, as has its row.
    pub columns: Vec<Vec<f32>>,
    /// The rows that belong to them.
    pub rows: Vec<Vec<f32>>,
    /// All singular values of the kernel, the largest first.
    pub singular_values: Vec<f64>,
    /// How many of them are above the rounding of the kernel's numbers: so many products give the whole kernel.
    pub rank: usize,
    /// `errors[r]` is what the first `r` products miss, relative to the kernel, in the Frobenius norm.
    pub errors: Vec<f64>,
}

impl Separated {
    /// The sum of the columns times their rows.
    ///
    /// # Errors
    /// Where lengths were changed so that they do not fit.
    pub fn kernel(&self) -> Result<Tensor> {
        let (height, width) =
            (self.columns.first().map_or(0, Vec::len), self.rows.first().map_or(0, Vec::len));
        let mut sum = vec![0.0_f64; height * width];
        for (column, row) in self.columns.iter().zip(&self.rows) {
            let cells = column.iter().flat_map(|a| row.iter().map(|b| f64::from(*a) * f64::from(*b)));
            sum.iter_mut().zip(cells).for_each(|(sum, cell)| *sum += cell);
        }
        Tensor::new([height, width], &sum.into_iter().map(|value| value as f32).collect::<Vec<_>>())
    }

    /// What the products found miss of the kernel, relative to it, in the Frobenius norm.
    pub fn error(&self) -> f64 {
        self.errors.get(self.columns.len()).copied().unwrap_or(0.0)
    }
}

/// Takes a kernel of two axes apart into the sum of `rank` columns times rows that is nearest to it (Eckart and Young, "The approximation of one
/// matrix by another of lower rank", 1936): the first terms of its singular value decomposition. A kernel of three axes is taken apart
/// in two steps, first as `depth x (height * width)`, then each row as `height x width`.
///
/// # Errors
/// Where the kernel has not two axes, numbers that are not finite, or less rows or columns than `rank`.
///
/// ```
/// use svertka::{Tensor, separate};
/// let sobel = Tensor::new([3, 3], &[1.0, 0.0, -1.0, 2.0, 0.0, -2.0, 1.0, 0.0, -1.0])?;
/// let separated = separate(&sobel, 1)?;
/// assert_eq!(separated.rank, 1);
/// assert!(separated.error() < 1e-12);
/// // Not every kernel is: what a single product keeps of a Laplacian.
/// let laplacian = Tensor::new([3, 3], &[0.0, 1.0, 0.0, 1.0, -4.0, 1.0, 0.0, 1.0, 0.0])?;
/// let separated = separate(&laplacian, 1)?;
/// assert_eq!(separated.rank, 2);
/// assert!(separated.error() > 0.09);
/// # Ok::<(), svertka::Error>(())
/// ```
pub fn separate(kernel: &Tensor, rank: usize) -> Result<Separated> {
    let [height, width] = matrix("separate", kernel)?;
    let most = height.min(width);
    if !(1..=most).contains(&rank) {
        return Err(Error::argument("separate", "rank", format!("1 to {most}"), rank));
    }
    let terms = decompose(kernel.data(), height, width);
    let singular_values: Vec<f64> = terms.iter().map(|term| term.value).collect();
    // The numbers themselves were rounded to 32 bits.
    let slack = singular_values[0] * height.max(width) as f64 * f64::from(f32::EPSILON);
    let norm = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
    let whole = norm(&singular_values);
    let errors = (0..=most).map(|r| if whole > 0.0 { norm(&singular_values[r..]) / whole } else { 0.0 });
    let scaled = |side: fn(&Term) -> &[f64]| {
        let scale = |term: &Term| side(term).iter().map(|x| (x * term.value.sqrt()) as f32).collect();
        terms[..rank].iter().map(scale).collect()
    };
    Ok(Separated {
        columns: scaled(|term| &term.column),
        rows: scaled(|term| &term.row),
        rank: singular_values.iter().filter(|value| **value > slack).count(),
        errors: errors.collect(),
        singular_values,
    })
}

/// One term of a singular value decomposition: `value * column * row^T`, both of length one where the value is not zero.
struct Term {
    value: f64,
    column: Vec<f64>,
    row: Vec<f64>,
}

/// All terms, the largest first, by one-sided Jacobi rotations (Hestenes, "Inversion of matrices by biorthogonalization and related results",
/// 1958): pairs of columns are turned until all are orthogonal; what is left of them are the left vectors times the singular values.
fn decompose(kernel: &[f32], height: usize, width: usize) -> Vec<Term> {
    // As many columns as the smaller side has: of a wide kernel the columns are its rows.
    let wide = width > height;
    let (count, len) = if wide { (height, width) } else { (width, height) };
    let cell =
        |i: usize, j: usize| f64::from(if wide { kernel[j * width + i] } else { kernel[i * width + j] });
    let mut columns: Vec<Vec<f64>> = (0..count).map(|j| (0..len).map(|i| cell(i, j)).collect()).collect();
    let mut turned: Vec<Vec<f64>> =
        (0..count).map(|j| (0..count).map(|i| f64::from(u8::from(i == j))).collect()).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    // Each sweep squares what is left; far fewer are needed.
    for _ in 0..64 {
        let mut rotated = false;
        for p in 0..count {
            for q in p + 1..count {
                let (pp, qq, pq) = (
                    dot(&columns[p], &columns[p]),
                    dot(&columns[q], &columns[q]),
                    dot(&columns[p], &columns[q]),
                );
                if pq.abs() <= f64::EPSILON * (pp * qq).sqrt() {
                    continue;
                }
                rotated = true;
                let zeta = (qq - pp) / (2.0 * pq);
                let tangent = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
                let cosine = tangent.hypot(1.0).recip();
                for vectors in [&mut columns, &mut turned] {
                    let (first, second) = vectors.split_at_mut(q);
                    for (a, b) in first[p].iter_mut().zip(&mut second[0]) {
                        (*a, *b) = (cosine * (*a - tangent * *b), cosine * (tangent * *a + *b));
                    }
                }
            }
        }
        if !rotated {
            break;
        }
    }
    let mut terms: Vec<Term> = columns
        .into_iter()
        .zip(turned)
        .map(|(column, row)| {
            let value = dot(&column, &column).sqrt();
            let column = column.into_iter().map(|x| if value > 0.0 { x / value } else { 0.0 }).collect();
            let (column, row) = if wide { (row, column) } else { (column, row) };
            // Both may change sign together: rows are mostly positive.
            let sign = if row.iter().sum::<f64>() < 0.0 { -1.0 } else { 1.0 };
            let signed = |side: Vec<f64>| side.into_iter().map(|x| sign * x).collect();
            Term { value, column: signed(column), row: signed(row) }
        })
        .collect();
    terms.sort_by(|a, b| b.value.total_cmp(&a.value));
    terms
}

/// Whether a kernel is one column times one row.
#[derive(Clone, Debug, PartialEq)]
pub enum OuterProduct {
    /// `kernel[i][j] = column[i] * row[j]`.
    Of {
        /// A number for each row of the kernel.
        column: Vec<f32>,
        /// A number for each column of the kernel; of whole numbers the smallest ones.
        row: Vec<f32>,
    },
    /// It is not, which four cells prove, whose cross products differ.
    Not {
        /// Their rows.
        rows: [usize; 2],
        /// Their columns.
        columns: [usize; 2],
    },
}

/// Finds the column and the row by cross products, which `f64` holds exactly: of whole numbers the answer is exact, unlike that of [`separate`]. Of
/// fractions, which were rounded to `f32`, the products may differ by that rounding.
///
/// # Errors
/// Where the kernel has not two axes, or numbers that are not finite.
///
/// ```
/// use svertka::{OuterProduct, Tensor, outer_product};
/// let sobel = Tensor::new([3, 3], &[1.0, 0.0, -1.0, 2.0, 0.0, -2.0, 1.0, 0.0, -1.0])?;
/// let (column, row) = (vec![1.0, 2.0, 1.0], vec![1.0, 0.0, -1.0]);
/// assert_eq!(outer_product(&sobel)?, OuterProduct::Of { column, row });
/// # Ok::<(), svertka::Error>(())
/// ```
pub fn outer_product(kernel: &Tensor) -> Result<OuterProduct> {
    let [height, width] = matrix("outer_product", kernel)?;
    let cell = |i: usize, j: usize| f64::from(kernel.data()[i * width + j]);
    let whole = kernel.data().iter().all(|value| value.fract() == 0.0);
    let slack = if whole { 0.0 } else { f64::from(f32::EPSILON) * 2.0 };
    let Some(pivot) = kernel.data().iter().position(|value| *value != 0.0) else {
        return Ok(OuterProduct::Of { column: vec![0.0; height], row: vec![0.0; width] });
    };
    let (top, left) = (pivot / width, pivot % width);
    for i in 0..height {
        for j in 0..width {
            let (a, b) = (cell(top, left) * cell(i, j), cell(top, j) * cell(i, left));
            if (a - b).abs() > slack * a.abs().max(b.abs()) {
                return Ok(OuterProduct::Not { rows: [top, i], columns: [left, j] });
            }
        }
    }
    // The row is the first of the kernel that is not zero, in lowest terms and mostly positive; the column says how much of it each row is.
    let row: Vec<f64> = (0..width).map(|j| cell(top, j)).collect();
    let divisor = if whole { row.iter().copied().fold(0.0, greatest_common_divisor) } else { 1.0 };
    let sign = if row.iter().all(|value| *value <= 0.0) { -1.0 } else { 1.0 };
    let row: Vec<f64> = row.into_iter().map(|value| value / divisor * sign).collect();
    let column = (0..height).map(|i| (cell(i, left) / row[left]) as f32).collect();
    Ok(OuterProduct::Of { column, row: row.into_iter().map(|value| value as f32).collect() })
}

fn greatest_common_divisor(a: f64, b: f64) -> f64 {
    if b == 0.0 { a.abs() } else { greatest_common_divisor(b, a % b) }
}

/// Height and width.
fn matrix(subject: &str, kernel: &Tensor) -> Result<[usize; 2]> {
    let (height, width) = match *kernel.shape() {
        [height, width] if height > 0 && width > 0 => (height, width),
        ref shape => {
            return Err(Error::argument(subject, "kernel", "rows and columns", format!("shape {shape:?}")));
        }
    };
    match kernel.data().iter().find(|value| !value.is_finite()) {
        Some(value) => Err(Error::argument(subject, "kernel", "finite numbers", value)),
        None => Ok([height, width]),
    }
}
