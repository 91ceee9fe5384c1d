//! Fully connected layer (ONNX `Gemm` with `transB = 1`): `y = x w^T + bias`.

use std::ops::RangeInclusive;
use std::sync::Arc;

use svertka_kernels::matmul::{Forward, InputGradient, WeightGradient};

use super::{
    BinaryFunction, Broadcast, Domain, Example, Layouts, Lowered, MatMul, Operator, Role, Shapes, Transpose,
    expect_shape, mat_mul,
};
use crate::error::{Error, Result};
use crate::function::apply;
use crate::gradient::GradientContext;
use crate::graph::Value;
use crate::onnx::{Attributes, Export, Import};

/// Fully connected layer. Inputs: `N x in`, weight `out x in`, and maybe bias `out`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear;

impl Operator for Linear {
    fn name(&self) -> &'static str {
        "Gemm"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        2..=3
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let &[batch, features] = inputs[0] else {
            return Err(Error::argument("Gemm", "input", "N x features", format!("shape {:?}", inputs[0])));
        };
        let out = inputs[1].first().copied().unwrap_or(0);
        expect_shape(self, "weight", &[out, features], inputs[1])?;
        if let Some(bias) = inputs.get(2) {
            expect_shape(self, "bias", &[out], bias)?;
        }
        Ok(vec![vec![batch, out]])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered> {
        let plan = Arc::new(Forward::new(shapes.inputs[0][0], shapes.inputs[0][1], shapes.inputs[1][0]));
        let (packer, packed, scratch) = (Arc::clone(&plan), plan.packed_len(), plan.scratch_len(threads));
        Ok(Lowered::new(move |cpu, io| {
            let bias = (io.inputs.len() == 3).then(|| io.inputs.get(2));
            plan.run(cpu, io.inputs.get(0), io.inputs.get(1), bias, &mut io.outputs[0], io.scratch);
        })
        .scratch(scratch)
        .pack(1, packed, move |cpu, io| packer.pack(cpu, io.inputs.get(0), &mut io.outputs[0])))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let bias = context.needs(2);
        context.add_layer(dy, LinearInputGradient, LinearWeightGradient { bias })
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        shapes.inputs[0].iter().product::<usize>() as u64 * shapes.inputs[1][0] as u64
    }

    fn role(&self, input: usize) -> Role {
        if input == 1 { Role::Weight } else { Role::Bias }
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        export.node("Gemm", Attributes::new().int("transB", 1));
        Ok(())
    }
}

/// The gradient of the input; inputs: gradient of the output, weight.
#[derive(Clone, Copy, Debug)]
struct LinearInputGradient;

impl Operator for LinearInputGradient {
    fn name(&self) -> &'static str {
        "GemmInputGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![vec![inputs[0][0], inputs[1][1]]])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered> {
        let plan =
            Arc::new(InputGradient::new(shapes.inputs[0][0], shapes.inputs[1][1], shapes.inputs[1][0]));
        let (packer, packed, scratch) = (Arc::clone(&plan), plan.packed_len(), plan.scratch_len(threads));
        Ok(Lowered::new(move |cpu, io| {
            plan.run(cpu, io.inputs.get(0), io.inputs.get(1), &mut io.outputs[0], io.scratch);
        })
        .scratch(scratch)
        .pack(1, packed, move |cpu, io| packer.pack(cpu, io.inputs.get(0), &mut io.outputs[0])))
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        Linear.macs(&Shapes::new(&[shapes.outputs[0], shapes.inputs[1]], &[]))
    }
}

/// The gradients of weight and bias; inputs: input, gradient of the output.
#[derive(Clone, Copy, Debug)]
struct LinearWeightGradient {
    bias: bool,
}

impl Operator for LinearWeightGradient {
    fn name(&self) -> &'static str {
        "GemmWeightGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let out = inputs[1][1];
        Ok([vec![out, inputs[0][1]]].into_iter().chain(self.bias.then(|| vec![out])).collect())
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered> {
        let plan = WeightGradient::new(shapes.inputs[0][0], shapes.inputs[0][1], shapes.inputs[1][1]);
        let scratch = plan.scratch_len(threads);
        Ok(Lowered::new(move |cpu, io| {
            let (weight, bias) = io.outputs.split_at_mut(1);
            let bias = bias.first_mut().map(|bias| &mut **bias);
            plan.run(cpu, io.inputs.get(0), io.inputs.get(1), &mut weight[0], bias, io.scratch);
        })
        .scratch(scratch))
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        Linear.macs(&Shapes::new(&[shapes.inputs[0], shapes.outputs[0]], &[]))
    }
}

/// `Gemm`: a fully connected layer where the weight is constant and the bias a constant row; one that is not transposed is transposed once here.
pub(super) fn import_gemm(import: &mut Import<'_>) -> Result<()> {
    let (alpha, beta) = (import.float("alpha", 1.0)?, import.float("beta", 1.0)?);
    let (trans_a, trans_b) = (import.int("transA", 0)? != 0, import.int("transB", 0)? != 0);
    if alpha == 1.0 && beta == 1.0 && !trans_a && is_layer(import, trans_b) {
        return import_layer(import, trans_b);
    }
    let mut sides = [import.input(0)?, import.input(1)?];
    for (side, transposed) in sides.iter_mut().zip([trans_a, trans_b]) {
        if transposed {
            *side = import.append("transposed", Transpose { axes: vec![1, 0] }, &[*side])?[0];
        }
    }
    let times = |import: &mut Import<'_>, value: Value, name: &str, factor: f32| {
        if factor == 1.0 {
            return Ok(value);
        }
        let factor = import.scalar(name, factor);
        Ok::<_, Error>(
            import.append(&format!("times_{name}"), Broadcast(BinaryFunction::Mul), &[value, factor])?[0],
        )
    };
    let product = import.append("product", MatMul, &sides)?[0];
    let mut y = times(import, product, "alpha", alpha)?;
    if let Some(c) = import.optional(2)? {
        let c = times(import, c, "beta", beta)?;
        y = import.append("sum", Broadcast(BinaryFunction::Add), &[y, c])?[0];
    }
    import.define(0, y);
    Ok(())
}

/// Whether the weight is constant, and the bias absent or a constant with one number a feature: ONNX lets it be any shape that broadcasts.
fn is_layer(import: &Import<'_>, trans_b: bool) -> bool {
    let Ok(weight) = import.constant(1) else { return false };
    let &[a, b] = weight.shape() else { return false };
    let out = if trans_b { a } else { b };
    !import.has_input(2)
        || import.constant(2).is_ok_and(|bias| [&[out][..], &[1, out]].contains(&bias.shape()))
}

/// `MatMul` of an activation `N x in` with a constant `in x out`, or of any two values.
pub(super) fn import_mat_mul(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    if import.shape(x).len() == 2 && import.constant(1).is_ok_and(|weight| weight.shape().len() == 2) {
        return import_layer(import, false);
    }
    let other = import.input(1)?;
    mat_mul::import_values(import, x, other)
}

fn import_layer(import: &mut Import<'_>, transposed: bool) -> Result<()> {
    let (x, mut weight) = (import.input(0)?, import.input(1)?);
    if !transposed {
        let data = apply(Arc::new(Transpose { axes: vec![1, 0] }), &[&import.constant(1)?])?;
        weight = import.replace_parameter(1, data);
    }
    let mut inputs = vec![x, weight];
    if let Some(mut bias) = import.optional(2)? {
        if let &[1, out] = import.shape(bias) {
            let row = import.constant(2)?.reshape([out])?;
            bias = import.replace_parameter(2, row);
        }
        inputs.push(bias);
    }
    import.push(Linear, &inputs)
}

pub(super) fn examples() -> Vec<Example> {
    vec![
        Example::new(Linear, [&[3, 11], &[5, 11], &[5]]).domain(1, Domain::Unit),
        Example::new(Linear, [&[1, 4], &[17, 4]]).domain(1, Domain::Unit),
    ]
}
