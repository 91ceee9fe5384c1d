//! Whether a kernel is a column times a row, so that two small passes do the work of one large.

use serde_json::{Value, json};
use svertka::{Error, Result, Tensor};

use super::numbers::{number, to_json};

/// What a kernel is.
pub(super) enum Rank {
    /// `kernel[i][j] = column[i] * row[j]`.
    One { column: Vec<f32>, row: Vec<f32> },
    /// Not so, which four cells prove: their rows and their columns.
    Higher([usize; 2], [usize; 2]),
}

/// Finds column and row by cross products, which `f64` holds exactly. Of fractions, which were rounded to `f32`, they may differ by that rounding.
pub(super) fn separate(kernel: &Tensor) -> Result<Rank> {
    let &[height, width] = kernel.shape() else {
        let received = format!("shape {:?}", kernel.shape());
        return Err(Error::argument("--separate", "kernel", "rows and columns", received));
    };
    let cell = |i: usize, j: usize| f64::from(kernel.data()[i * width + j]);
    let whole = kernel.data().iter().all(|value| value.fract() == 0.0);
    let slack = if whole { 0.0 } else { f64::from(f32::EPSILON) * 2.0 };
    let Some(pivot) = kernel.data().iter().position(|value| *value != 0.0) else {
        return Ok(Rank::One { column: vec![0.0; height], row: vec![0.0; width] });
    };
    let (top, left) = (pivot / width, pivot % width);
    for i in 0..height {
        for j in 0..width {
            let (a, b) = (cell(top, left) * cell(i, j), cell(top, j) * cell(i, left));
            if (a - b).abs() > slack * a.abs().max(b.abs()) {
                return Ok(Rank::Higher([top, i], [left, j]));
            }
        }
    }
    // The row is the first of the kernel that is not zero, in lowest terms and mostly positive; the column says how much of it each row is.
    let row: Vec<f64> = (0..width).map(|j| cell(top, j)).collect();
    let divisor = if whole { row.iter().copied().fold(0.0, greatest_common_divisor) } else { 1.0 };
    let sign = if row.iter().all(|value| *value <= 0.0) { -1.0 } else { 1.0 };
    let row: Vec<f64> = row.into_iter().map(|value| value / divisor * sign).collect();
    let column = (0..height).map(|i| (cell(i, left) / row[left]) as f32).collect();
    Ok(Rank::One { column, row: row.into_iter().map(|value| value as f32).collect() })
}

fn greatest_common_divisor(a: f64, b: f64) -> f64 {
    if b == 0.0 { a.abs() } else { greatest_common_divisor(b, a % b) }
}

impl Rank {
    /// Column and row, or `null`.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::One { column, row } => {
                json!({ "column": to_json(&[column.len()], column), "row": to_json(&[row.len()], row) })
            }
            Self::Higher(..) => Value::Null,
        }
    }

    /// In words.
    pub(super) fn lines(&self, kernel: &Tensor) -> Vec<String> {
        match self {
            Self::One { column, row } => {
                let words = |values: &[f32]| values.iter().copied().map(number).collect::<Vec<_>>().join(" ");
                let (height, width) = (column.len(), row.len());
                let (all, few) = (height * width, height + width);
                vec![
                    format!("column: {}", words(column)),
                    format!("row: {}", words(row)),
                    format!("{height} x {width} = {all} weights become {height} + {width} = {few}"),
                ]
            }
            Self::Higher([top, bottom], [left, right]) => {
                let width = kernel.shape()[1];
                let cell = |i: &usize, j: &usize| number(kernel.data()[i * width + j]);
                let diagonal = format!("{}*{}", cell(top, left), cell(bottom, right));
                let other = format!("{}*{}", cell(top, right), cell(bottom, left));
                vec![
                    "not a column times a row: not every kernel is".to_owned(),
                    format!("rows {top} and {bottom}, columns {left} and {right}: {diagonal} is not {other}"),
                ]
            }
        }
    }
}
