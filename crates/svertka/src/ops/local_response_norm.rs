//! Local response normalization (ONNX `LRN`; Krizhevsky et al., 2012).

use std::ops::RangeInclusive;

use svertka_kernels::norm::{LocalResponse, local_response_norm, local_response_norm_backward};

use super::{Example, Layouts, Lowered, Operator, Shapes, planes};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// `x / (bias + alpha / size * sum of x^2)^beta`, the sum over `size` neighbouring channels: `(size - 1) / 2` before, rounded down, and after, rounded
/// up, without those that do not exist. Input: `N x C x spatial`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocalResponseNorm(pub LocalResponse);

impl LocalResponseNorm {
    /// A window of `size` channels, and the other numbers as `torch.nn.LocalResponseNorm` has them: 1e-4, 0.75 and 1.
    pub fn new(size: usize) -> Self {
        Self(LocalResponse { size, alpha: 1e-4, beta: 0.75, bias: 1.0 })
    }
}

impl Operator for LocalResponseNorm {
    fn name(&self) -> &'static str {
        "LRN"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let x = inputs[0];
        if x.len() < 2 {
            let received = format!("shape {x:?}");
            return Err(Error::argument(self.name(), "input", "N x C x spatial", received));
        }
        if self.0.size == 0 {
            return Err(Error::argument(self.name(), "size", "at least 1", 0));
        }
        Ok(vec![x.to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (planes, norm) = (planes(shapes.inputs[0]), self.0);
        Ok(Lowered::new(move |cpu, io| {
            local_response_norm(cpu, norm, planes, io.inputs.get(0), &mut io.outputs[0]);
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let dx = context.push(LocalResponseNormGradient(*self), &[context.input(0), dy])?;
        context.add(0, dx[0])
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let LocalResponse { size, alpha, beta, bias } = self.0;
        let attributes = Attributes::new().int("size", size as i64).float("alpha", alpha);
        export.node("LRN", attributes.float("beta", beta).float("bias", bias));
        Ok(())
    }
}

/// Inputs: input, gradient of the output.
#[derive(Clone, Copy, Debug)]
struct LocalResponseNormGradient(LocalResponseNorm);

impl Operator for LocalResponseNormGradient {
    fn name(&self) -> &'static str {
        "LRNGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (planes, norm) = (planes(shapes.inputs[0]), self.0.0);
        Ok(Lowered::new(move |cpu, io| {
            let (x, dy) = (io.inputs.get(0), io.inputs.get(1));
            local_response_norm_backward(cpu, norm, planes, x, dy, &mut io.outputs[0]);
        }))
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let norm = LocalResponse {
        size: import.int_at_least("size", 0, 1)?,
        alpha: import.float("alpha", 1e-4)?,
        beta: import.float("beta", 0.75)?,
        bias: import.float("bias", 1.0)?,
    };
    import.push(LocalResponseNorm(norm), &[x])
}

pub(super) fn examples() -> Vec<Example> {
    let example = |size, beta, x: &[usize]| {
        Example::new(LocalResponseNorm(LocalResponse { size, alpha: 0.3, beta, bias: 1.5 }), [x])
    };
    vec![
        example(5, 0.75, &[2, 11, 3, 2]),
        example(3, 0.5, &[1, 3, 7]),
        example(4, 1.3, &[2, 9, 2, 1, 3]),
        Example::new(LocalResponseNorm::new(5), [&[2, 3, 5, 4]]),
    ]
}
