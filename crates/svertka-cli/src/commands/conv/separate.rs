//! Whether a kernel is a column times a row, in words and for programs.

use serde_json::{Value, json};
use svertka::{Error, OuterProduct, Result, Tensor, outer_product};

use super::numbers::{number, to_json};

/// What the kernel is.
///
/// # Errors
/// Where it has not rows and columns.
pub(super) fn separate(kernel: &Tensor) -> Result<OuterProduct> {
    if kernel.shape().len() != 2 {
        let received = format!("shape {:?}", kernel.shape());
        return Err(Error::argument("--separate", "kernel", "rows and columns", received));
    }
    outer_product(kernel)
}

/// Column and row, or `null`.
pub(super) fn json(product: &OuterProduct) -> Value {
    match product {
        OuterProduct::Of { column, row } => {
            json!({ "column": to_json(&[column.len()], column), "row": to_json(&[row.len()], row) })
        }
        OuterProduct::Not { .. } => Value::Null,
    }
}

/// In words.
pub(super) fn lines(product: &OuterProduct, kernel: &Tensor) -> Vec<String> {
    match product {
        OuterProduct::Of { column, row } => {
            let words = |values: &[f32]| values.iter().copied().map(number).collect::<Vec<_>>().join(" ");
            let (height, width) = (column.len(), row.len());
            let (all, few) = (height * width, height + width);
            vec![
                format!("column: {}", words(column)),
                format!("row: {}", words(row)),
                format!("{height} x {width} = {all} weights become {height} + {width} = {few}"),
            ]
        }
        OuterProduct::Not { rows: [top, bottom], columns: [left, right] } => {
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
