//! Reads ONNX `Upsample`, and `Resize` as it was before opset 11, as [`Resize`].

use svertka_kernels::resize::{Coordinates, Interpolation, Rounding, Target};

use super::Resize;
use crate::error::{Error, Result};
use crate::onnx::Import;

/// `Upsample`, and `Resize` before opset 11: scales from an attribute or input 1, the corners of the pictures together at 0.
pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let scales = match import.floats("scales")? {
        Some(scales) => scales,
        None => import.constant(1)?.data().to_vec(),
    };
    let shape = import.shape(x).to_vec();
    if scales.len() != shape.len() {
        return Err(Error::argument(
            import.op_type(),
            "scales",
            format!("one for each of {} axes", shape.len()),
            scales.len(),
        ));
    }
    let resize = |axes: Vec<usize>, interpolation| {
        let scales = axes.iter().map(|&axis| scales[axis]).collect();
        Resize::new(axes, Target::Scales(scales), interpolation, Coordinates::Asymmetric)
    };
    let (smaller, others): (Vec<usize>, Vec<usize>) =
        (0..shape.len()).filter(|&axis| scales[axis] != 1.0).partition(|&axis| scales[axis] < 1.0);
    match import.string("mode", "nearest")?.as_str() {
        "nearest" => {
            // What runtimes do and the files of that time expect: an axis that shrinks takes the next cell, one that grows the last.
            let shrunk = resize(smaller, Interpolation::Nearest(Rounding::Ceil));
            let x = if shrunk.axes.is_empty() { x } else { import.append("shrink", shrunk, &[x])?[0] };
            import.push(resize(others, Interpolation::Nearest(Rounding::Floor)), &[x])
        }
        "linear" | "bilinear" => import.push(resize([smaller, others].concat(), Interpolation::Linear), &[x]),
        other => Err(Error::unsupported(import.op_type(), format!("mode = {other:?}"))),
    }
}
