//! Root-mean-square normalization (ONNX `RMSNormalization`; Zhang and Sennrich, 2019): layer normalization without the mean.

use std::ops::RangeInclusive;

use svertka_kernels::norm::LineNorm;

use super::layer_norm::{check_trailing, trailing};
use super::line_norm::{self, NormalizesLines, affine_names};
use super::{Domain, Example, Layouts, Lowered, Operator, Role, Shapes};
use crate::error::Result;
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// `x / sqrt(mean(x^2) + eps) * scale`, the mean over the axes from `axis` on. Inputs: tensor, and maybe scale, with the sizes of those axes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsNorm {
    /// The first axis of a line.
    pub axis: usize,
    /// Added to the mean square.
    pub eps: f32,
}

impl NormalizesLines for RmsNorm {
    const GRADIENT: &'static str = "RMSNormalizationGradient";

    fn norm(&self, x: &[usize], scale: Option<&[usize]>) -> LineNorm {
        trailing(x, self.axis, scale, self.eps, false)
    }
}

impl Operator for RmsNorm {
    fn name(&self) -> &'static str {
        "RMSNormalization"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=2
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        check_trailing(self, inputs, self.axis)?;
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        Ok(line_norm::lower(self, shapes))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        line_norm::gradient(self, context)
    }

    fn role(&self, _: usize) -> Role {
        Role::Bias
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let shape = export.shape_of_input(0)[self.axis..].to_vec();
        let inputs = affine_names(export, &shape);
        export.needs_opset(23);
        let attributes = Attributes::new().int("axis", self.axis as i64).float("epsilon", self.eps);
        export.node_with("RMSNormalization", &inputs[..2], attributes);
        Ok(())
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let inputs = [import.input(0)?, import.input(1)?];
    let axis = import.axis("axis", -1, import.shape(inputs[0]).len())?;
    import.push(RmsNorm { axis, eps: import.float("epsilon", 1e-5)? }, &inputs)
}

pub(super) fn examples() -> Vec<Example> {
    let example = |x: &[usize], axis| {
        Example::new(RmsNorm { axis, eps: 1e-5 }, [x, &x[axis..]]).domain(1, Domain::Positive)
    };
    vec![
        example(&[2, 3, 5, 4], 3),
        example(&[2, 3, 5], 1),
        example(&[3, 13], 1),
        Example::new(RmsNorm { axis: 1, eps: 0.1 }, [&[2, 3, 4]]),
    ]
}
