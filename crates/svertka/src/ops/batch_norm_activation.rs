//! Batch normalization in training with what follows it in one pass: a residual, and an activation of bounds. Training makes it of three nodes; no file
//! and no builder does.

use std::ops::RangeInclusive;

use svertka_kernels::activation::Activation;

use super::{Activate, BatchNorm, Layouts, Lowered, Operator, Role, Shapes, expect_shape};
use crate::error::Result;
use crate::gradient::GradientContext;

/// `activation(norm(x) + residual)`, with the bits of the three operators. Inputs: those of the norm, and the residual if there is one. Outputs: result,
/// mean, inverse standard deviation, variance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchNormActivation {
    /// In training.
    pub(crate) norm: BatchNorm,
    /// One that has [`Activation::bounds`].
    pub(crate) activation: Activation,
}

impl BatchNormActivation {
    /// Position of the residual among the inputs.
    pub(crate) const RESIDUAL: usize = 5;
}

impl Operator for BatchNormActivation {
    fn name(&self) -> &'static str {
        self.norm.name()
    }

    fn arity(&self) -> RangeInclusive<usize> {
        Self::RESIDUAL..=Self::RESIDUAL + 1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let outputs = self.norm.infer(&inputs[..Self::RESIDUAL])?;
        if let Some(residual) = inputs.get(Self::RESIDUAL) {
            expect_shape(self, "residual", inputs[0], residual)?;
        }
        Ok(outputs)
    }

    fn layouts(&self, shapes: &Shapes<'_>) -> Layouts {
        let inputs: &[usize] = if shapes.inputs.len() > Self::RESIDUAL { &[0, Self::RESIDUAL] } else { &[0] };
        Layouts::Blocked { inputs, outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        Ok(self.norm.lower_training(shapes, Some(self.activation)))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let statistics = [1, 2].map(|i| context.output(i));
        if context.inputs() == Self::RESIDUAL {
            return self.norm.add_gradients(context, dy, statistics, Some(self.activation));
        }
        // The residual's gradient is needed by itself.
        let y = context.output(0);
        let sum = context.push(Activate(self.activation).backward(), &[dy, y])?[0];
        if context.needs(Self::RESIDUAL) {
            context.add(Self::RESIDUAL, sum)?;
        }
        self.norm.add_gradients(context, sum, statistics, None)
    }

    fn role(&self, input: usize) -> Role {
        self.norm.role(input)
    }
}
