//! Instance normalization (ONNX `InstanceNormalization`; Ulyanov et al., 2016): each channel of each image by its own mean and variance.

use std::ops::RangeInclusive;

use svertka_kernels::lines::Lines;
use svertka_kernels::norm::{LineNorm, Parameters};

use super::line_norm::{self, NormalizesLines, affine_names, expect_affine};
use super::{Domain, Example, Layouts, Lowered, Operator, Role, Shapes, elements};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// `(x - mean) / sqrt(var + eps) * scale + bias`, statistics over the spatial axes. Inputs: activation `N x C x spatial`, and maybe scale and bias,
/// `C` each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InstanceNorm {
    /// Added to the variance.
    pub eps: f32,
}

impl Default for InstanceNorm {
    fn default() -> Self {
        Self { eps: 1e-5 }
    }
}

impl NormalizesLines for InstanceNorm {
    const GRADIENT: &'static str = "InstanceNormalizationGradient";

    fn norm(&self, x: &[usize], scale: Option<&[usize]>) -> LineNorm {
        let (lines, pixels) = (x[0] * x[1], elements(&x[2..]));
        let parameters = scale.map_or(Parameters::NONE, |_| Parameters { run: pixels, count: x[1] });
        LineNorm { lines: Lines::rows(lines, pixels), parameters, eps: self.eps, centered: true }
    }
}

impl Operator for InstanceNorm {
    fn name(&self) -> &'static str {
        "InstanceNormalization"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=3
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let x = inputs[0];
        if x.len() < 3 {
            let received = format!("shape {x:?}");
            return Err(Error::argument(self.name(), "input", "N x C x spatial", received));
        }
        expect_affine(self, inputs, &x[1..2])?;
        Ok(vec![x.to_vec()])
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
        let channels = export.shape_of_input(0)[1];
        let inputs = affine_names(export, &[channels]);
        export.node_with("InstanceNormalization", &inputs, Attributes::new().float("epsilon", self.eps));
        Ok(())
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let inputs = import.all_inputs()?;
    import.push(InstanceNorm { eps: import.float("epsilon", 1e-5)? }, &inputs)
}

pub(super) fn examples() -> Vec<Example> {
    let shapes: [&[usize]; 4] = [&[2, 3, 5, 4], &[1, 9, 7], &[2, 2, 3, 2, 3], &[2, 11, 1, 3]];
    let affine = shapes
        .map(|x| Example::new(InstanceNorm::default(), [x, &x[1..2], &x[1..2]]).domain(1, Domain::Positive));
    [vec![Example::new(InstanceNorm { eps: 0.1 }, [shapes[0]])], affine.into()].concat()
}
