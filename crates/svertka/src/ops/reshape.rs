//! Another shape for the same elements (ONNX `Flatten`, `Reshape` to two axes), and nodes that compute nothing.

use std::ops::RangeInclusive;

use super::{Example, Layouts, Lowered, Operator, Shapes, elements};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};
use crate::tensor::Tensor;

/// `N x ...` to `N x features`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flatten;

fn copy(io: &mut super::Io<'_>) {
    if let Some(x) = io.first() {
        io.outputs[0].copy_from_slice(x);
    }
}

impl Operator for Flatten {
    fn name(&self) -> &'static str {
        "Flatten"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        match inputs[0] {
            [batch, rest @ ..] => Ok(vec![vec![*batch, elements(rest)]]),
            [] => Err(Error::argument("Flatten", "input", "at least one axis", "a scalar")),
        }
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, _: &Shapes<'_>, _: usize) -> Result<Lowered> {
        Ok(Lowered::new(|_, io| copy(io)).in_place())
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let shape = context.shape(context.input(0)).to_vec();
        let dx = context.push(Unflatten { shape }, &[dy])?;
        context.add(0, dx[0])
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        export.node("Flatten", Attributes::new().int("axis", 1));
        Ok(())
    }
}

/// The way back; `shape` holds the sizes after the batch.
#[derive(Clone, Debug)]
struct Unflatten {
    shape: Vec<usize>,
}

impl Operator for Unflatten {
    fn name(&self) -> &'static str {
        "FlattenGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![[&inputs[0][..1], &self.shape[1..]].concat()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, _: &Shapes<'_>, _: usize) -> Result<Lowered> {
        Ok(Lowered::new(|_, io| copy(io)).in_place())
    }
}

pub(super) fn import_flatten(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let axis = import.axis("axis", 1, import.shape(x).len() + 1)?;
    if axis != 1 {
        return Err(Error::unsupported("Flatten", format!("axis = {axis}")));
    }
    import.push(Flatten, &[x])
}

/// `Reshape` to `[batch, features]`, as exporters write a flatten.
pub(super) fn import_reshape(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let target = import.constant_ints(1)?;
    let (shape, allow_zero) = (import.shape(x).to_vec(), import.int("allowzero", 0)? != 0);
    let features = elements(&shape[1.min(shape.len())..]) as i64;
    let batch_kept = matches!(target.first(), Some(-1 | 1)) || (target.first() == Some(&0) && !allow_zero);
    match target[..] {
        [_, -1] if batch_kept && target[0] != -1 => import.push(Flatten, &[x]),
        [_, wanted] if batch_kept && wanted == features => import.push(Flatten, &[x]),
        _ => Err(Error::unsupported("Reshape", format!("shape {shape:?} to {target:?}"))),
    }
}

pub(super) fn import_identity(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    import.forward(x)
}

pub(super) fn import_constant(import: &mut Import<'_>) -> Result<()> {
    match import.tensor("value")? {
        Some(constant) => import.define_constant(constant),
        None => {
            let scalar = import.float("value_float", f32::NAN)?;
            if scalar.is_nan() {
                return Err(Error::unsupported("Constant", "any attribute but value and value_float"));
            }
            import.define_tensor(Tensor::scalar(scalar))
        }
    }
}

pub(super) fn examples() -> Vec<Example> {
    vec![
        Example::new(Flatten, [&[2, 9, 5, 4]]),
        Example::new(Flatten, [&[3, 2, 7]]),
        Example::new(Flatten, [&[3, 7]]),
    ]
}
