//! Products of matrices that are both values (ONNX `MatMul`, and `Gemm` where the weight is no constant).

use std::ops::RangeInclusive;

use svertka_kernels::batch_matmul::{Sizes, batch_matmul};
use svertka_kernels::strided::View;

use super::broadcast::{SumTo, broadcast};
use super::{Domain, Example, Field, Layouts, Lowered, Operator, Shapes, Transpose, elements};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::graph::Value;
use crate::onnx::{Attributes, Export, Import};

/// The product of the last two axes, `rows x inner` by `inner x columns`; axes before them broadcast. NumPy's `matmul` of two axes or more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MatMul;

/// Axes before the matrix, and the matrix.
fn split(shape: &[usize]) -> Option<(&[usize], [usize; 2])> {
    let at = shape.len().checked_sub(2)?;
    Some((&shape[..at], [shape[at], shape[at + 1]]))
}

/// The axes before the matrices, and the sizes of a product.
fn sizes(a: &[usize], b: &[usize]) -> Option<(Vec<usize>, Sizes)> {
    let ((a_batch, [rows, inner]), (b_batch, [b_rows, columns])) = (split(a)?, split(b)?);
    (inner == b_rows).then_some(())?;
    Some((broadcast(a_batch, b_batch)?, Sizes { rows, inner, columns }))
}

impl Operator for MatMul {
    fn name(&self) -> &'static str {
        "MatMul"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        2..=2
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let (mut shape, sizes) = sizes(inputs[0], inputs[1]).ok_or_else(|| {
            let expected = format!("matrices that {:?} can be multiplied by", inputs[0]);
            Error::argument("MatMul", "second input", expected, format!("shape {:?}", inputs[1]))
        })?;
        shape.extend([sizes.rows, sizes.columns]);
        Ok(vec![shape])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let [a, b] = [shapes.inputs[0], shapes.inputs[1]];
        let (batch, sizes) = sizes(a, b).ok_or_else(|| Error::unsupported("MatMul", "these shapes"))?;
        // Which matrix of each side stands in each product.
        let start = |shape: &[usize], product: usize| {
            let (own, matrix) = (&shape[..shape.len() - 2], elements(&shape[shape.len() - 2..]));
            let strides = View::broadcast(own, &batch).strides;
            let mut rest = product;
            let places = batch.iter().zip(strides).rev().map(|(&size, stride)| {
                let at = rest % size;
                rest /= size;
                at * stride as usize
            });
            places.sum::<usize>() * matrix
        };
        let starts: Vec<_> = (0..elements(&batch)).map(|i| (start(a, i), start(b, i))).collect();
        Ok(Lowered::new(move |cpu, io| {
            batch_matmul(cpu, sizes, &starts, io.inputs.get(0), io.inputs.get(1), &mut io.outputs[0]);
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let inputs = [context.input(0), context.input(1)];
        for side in 0..2 {
            if !context.needs(side) {
                continue;
            }
            let other = inputs[1 - side];
            let rank = context.shape(other).len();
            let mut axes: Vec<usize> = (0..rank).collect();
            axes.swap(rank - 2, rank - 1);
            let other = context.push(Transpose { axes }, &[other])?[0];
            let factors = if side == 0 { [dy, other] } else { [other, dy] };
            let mut gradient = context.push(Self, &factors)?[0];
            if context.shape(gradient) != context.shape(inputs[side]) {
                gradient = context.push(SumTo, &[gradient, inputs[side]])?[0];
            }
            context.add(side, gradient)?;
        }
        Ok(())
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        let inner = shapes.inputs[0].last().copied().unwrap_or(0);
        elements(shapes.outputs[0]) as u64 * inner as u64
    }

    fn field(&self) -> Field {
        Field::All
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        export.node("MatMul", Attributes::new());
        Ok(())
    }
}

/// The product of two values of any rank: one axis alone is a row on the left and a column on the right, and goes afterwards.
pub(super) fn import_values(import: &mut Import<'_>, a: Value, b: Value) -> Result<()> {
    use super::Reshape;
    let (a_shape, b_shape) = (import.shape(a).to_vec(), import.shape(b).to_vec());
    let row = |import: &mut Import<'_>, value, suffix: &str, target| -> Result<Value> {
        Ok(import.append(suffix, Reshape { target }, &[value])?[0])
    };
    let a = if a_shape.len() == 1 { row(import, a, "row", vec![1, -1])? } else { a };
    let b = if b_shape.len() == 1 { row(import, b, "column", vec![-1, 1])? } else { b };
    if a_shape.len() != 1 && b_shape.len() != 1 {
        return import.push(MatMul, &[a, b]);
    }
    let product = import.append("product", MatMul, &[a, b])?[0];
    let mut target: Vec<i64> = import.shape(product).iter().map(|&size| size as i64).collect();
    let rank = target.len();
    if b_shape.len() == 1 {
        target.remove(rank - 1);
    }
    if a_shape.len() == 1 {
        target.remove(rank - 2);
    }
    import.push(Reshape { target }, &[product])
}

pub(super) fn examples() -> Vec<Example> {
    let example = |a: &[usize], b: &[usize]| {
        Example::new(MatMul, [a, b]).domain(0, Domain::Unit).domain(1, Domain::Unit)
    };
    vec![example(&[1, 3, 7], &[7, 5]), example(&[2, 3, 1, 4], &[3, 4, 6]), example(&[4, 2], &[3, 2, 5])]
}
