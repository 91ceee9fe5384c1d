//! Quantized numbers (ONNX `QuantizeLinear`, `DequantizeLinear`, `ConvInteger`, `QLinearConv`), for inference: whole numbers in `f32`, made from operators that
//! there are, so that such a file is written as these.
//!
//! A number `x` is `scale * (q - zero_point)` for a whole `q` of some type; `q = saturate(round(x / scale) + zero_point)`, where one half is rounded to
//! the even side. Sums of a convolution are exact as long as `f32` holds them, below `2^24`; above they are rounded to its 24 bits.

use svertka_formats::onnx::DataType;
use svertka_kernels::activation::Activation;

use super::{Activate, BinaryFunction, Broadcast, Operator, Reshape, Unary, UnaryFunction, conv};
use crate::error::{Error, Result};
use crate::graph::Value;
use crate::onnx::Import;

pub(super) fn import_quantize(import: &mut Import<'_>) -> Result<()> {
    whole_axes(import)?;
    let (x, scale) = (import.input(0)?, along_axis(import, 1)?);
    let precision = import.int("precision", 0)?;
    if !matches!(precision, 0 | 1) {
        return Err(Error::unsupported("QuantizeLinear", format!("precision {precision}")));
    }
    let kind = import.int("output_dtype", 0)?;
    let kind = match (import.has_input(2), kind) {
        (true, _) => import.constant_type(2)?,
        (false, 0) => DataType::Uint8,
        (false, kind) => i32::try_from(kind).ok().and_then(|kind| kind.try_into().ok()).unwrap_or_default(),
    };
    let zero_point = if import.has_input(2) { Some(along_axis(import, 2)?) } else { None };
    let scaled = one(import, "scaled", Broadcast(BinaryFunction::Div), &[x, scale])?;
    quantized(import, scaled, zero_point, kind)
}

pub(super) fn import_dequantize(import: &mut Import<'_>) -> Result<()> {
    whole_axes(import)?;
    let kind = import.int("output_dtype", 0)?;
    if !matches!(kind, 0 | 1) {
        return Err(Error::unsupported("DequantizeLinear", format!("output_dtype {kind}")));
    }
    let (x, scale) = (import.input(0)?, along_axis(import, 1)?);
    let zero_point = if import.has_input(2) { Some(along_axis(import, 2)?) } else { None };
    let x = centred(import, "centred", x, zero_point)?;
    import.push(Broadcast(BinaryFunction::Mul), &[x, scale])
}

/// Sums of products of whole numbers, each less its zero point; so padding is with the zero point.
pub(super) fn import_conv_integer(import: &mut Import<'_>) -> Result<()> {
    let [x, weight] = [import.input(0)?, import.input(1)?];
    let zero_points = [import.optional(2)?, import.optional(3)?];
    let sums = whole_conv(import, [x, weight], zero_points, None)?;
    import.define(0, sums);
    Ok(())
}

pub(super) fn import_q_linear_conv(import: &mut Import<'_>) -> Result<()> {
    let kind = import.constant_type(7)?;
    let [x, x_scale, x_zero, weight, w_scale, w_zero, y_scale, y_zero] = {
        let mut values = Vec::new();
        for i in 0..8 {
            values.push(import.input(i)?);
        }
        values.try_into().map_err(|_| Error::argument("QLinearConv", "inputs", "at least 8", "fewer"))?
    };
    let bias = import.optional(8)?;
    let sums = whole_conv(import, [x, weight], [Some(x_zero), Some(w_zero)], bias)?;
    let products = one(import, "scale", Broadcast(BinaryFunction::Mul), &[x_scale, w_scale])?;
    let factor = one(import, "factor", Broadcast(BinaryFunction::Div), &[products, y_scale])?;
    let factor = aligned(import, "factors", factor, sums, 1)?;
    let scaled = one(import, "scaled", Broadcast(BinaryFunction::Mul), &[sums, factor])?;
    quantized(import, scaled, Some(y_zero), kind)
}

/// The convolution of `x` and weight, both less their zero points. A convolution may leave the whole numbers by its rounding; the result does not.
fn whole_conv(
    import: &mut Import<'_>,
    [x, weight]: [Value; 2],
    [x_zero, w_zero]: [Option<Value>; 2],
    bias: Option<Value>,
) -> Result<Value> {
    let op = conv::of_node(import, x, weight)?;
    let x = centred(import, "x", x, x_zero)?;
    let w_zero = w_zero.map(|zero| aligned(import, "w_zeros", zero, weight, 0)).transpose()?;
    let weight = centred(import, "w", weight, w_zero)?;
    let inputs: Vec<Value> = [x, weight].into_iter().chain(bias).collect();
    let sums = one(import, "sums", op, &inputs)?;
    one(import, "whole", Unary(UnaryFunction::Round), &[sums])
}

/// `value - zero_point`.
fn centred(import: &mut Import<'_>, suffix: &str, value: Value, zero_point: Option<Value>) -> Result<Value> {
    match zero_point {
        Some(zero_point) => one(import, suffix, Broadcast(BinaryFunction::Sub), &[value, zero_point]),
        None => Ok(value),
    }
}

/// The node's output is `scaled` rounded, moved by the zero point and kept within the type.
fn quantized(
    import: &mut Import<'_>,
    scaled: Value,
    zero_point: Option<Value>,
    kind: DataType,
) -> Result<()> {
    let (min, max) = match kind {
        DataType::Uint8 => (0.0, 255.0),
        DataType::Int8 => (-128.0, 127.0),
        DataType::Uint16 => (0.0, 65_535.0),
        DataType::Int16 => (-32_768.0, 32_767.0),
        other => return Err(Error::unsupported(import.op_type(), format!("numbers of type {other:?}"))),
    };
    let mut value = one(import, "rounded", Unary(UnaryFunction::Round), &[scaled])?;
    if let Some(zero_point) = zero_point {
        value = one(import, "moved", Broadcast(BinaryFunction::Add), &[value, zero_point])?;
    }
    import.push(Activate(Activation::Clip { min, max }), &[value])
}

/// Input `i`, one number or one for each place along `axis` of the first input, so that it broadcasts.
fn along_axis(import: &mut Import<'_>, i: usize) -> Result<Value> {
    let (x, value) = (import.input(0)?, import.input(i)?);
    match import.shape(value).len() {
        0 => Ok(value),
        1 if import.shape(value) == [1] => Ok(value),
        1 => {
            let axis = import.axis("axis", 1, import.shape(x).len())?;
            aligned(import, &format!("input{i}"), value, x, axis)
        }
        _ => {
            let expected = "one number or one for each place along an axis";
            let received = format!("shape {:?}", import.shape(value));
            Err(Error::argument(import.op_type(), format!("input {i}"), expected, received))
        }
    }
}

/// `row`, where it has several numbers, with axes behind it, so that they lie along `axis` of `like`.
fn aligned(import: &mut Import<'_>, suffix: &str, row: Value, like: Value, axis: usize) -> Result<Value> {
    if import.shape(row).iter().product::<usize>() == 1 {
        return Ok(row);
    }
    let behind = import.shape(like).len().saturating_sub(axis + 1);
    let target = std::iter::once(-1).chain(std::iter::repeat_n(1, behind)).collect();
    one(import, suffix, Reshape { target }, &[row])
}

/// Blocks of numbers with a scale each are left out.
fn whole_axes(import: &Import<'_>) -> Result<()> {
    match import.int("block_size", 0)? {
        0 => Ok(()),
        size => Err(Error::unsupported(import.op_type(), format!("block_size {size}"))),
    }
}

fn one(
    import: &mut Import<'_>,
    suffix: &str,
    op: impl Operator + 'static,
    inputs: &[Value],
) -> Result<Value> {
    Ok(import.append(suffix, op, inputs)?[0])
}
