//! Group normalization (ONNX `GroupNormalization`; Wu and He, 2018): groups of channels of each image by their own mean and variance.

use std::ops::RangeInclusive;

use svertka_kernels::lines::Lines;
use svertka_kernels::norm::{LineNorm, Parameters};

use super::line_norm::{self, NormalizesLines, affine_names, expect_affine};
use super::{Domain, Example, Layouts, Lowered, Operator, Role, Shapes, elements};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// `(x - mean) / sqrt(var + eps) * scale + bias`, statistics over a group of channels and the spatial axes. Inputs: activation `N x C x spatial` or
/// `N x C`, and maybe scale and bias, with one number for each channel, or for each group as ONNX had it before opset 21.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNorm {
    /// How many groups; they divide the channels.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f32,
}

impl GroupNorm {
    /// Whether scales of this shape belong to groups, not to channels.
    fn by_group(&self, x: &[usize], scale: &[usize]) -> bool {
        scale == [self.groups] && self.groups != x[1]
    }
}

impl NormalizesLines for GroupNorm {
    const GRADIENT: &'static str = "GroupNormalizationGradient";

    fn norm(&self, x: &[usize], scale: Option<&[usize]>) -> LineNorm {
        let (pixels, of_group) = (elements(&x[2..]), x[1] / self.groups);
        let parameters = match scale {
            None => Parameters::NONE,
            Some(scale) if self.by_group(x, scale) => {
                Parameters { run: of_group * pixels, count: self.groups }
            }
            Some(_) => Parameters { run: pixels, count: x[1] },
        };
        let lines = Lines::rows(x[0] * self.groups, of_group * pixels);
        LineNorm { lines, parameters, eps: self.eps, centered: true }
    }
}

impl Operator for GroupNorm {
    fn name(&self) -> &'static str {
        "GroupNormalization"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=3
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let x = inputs[0];
        if x.len() < 2 {
            let received = format!("shape {x:?}");
            return Err(Error::argument(self.name(), "input", "N x C x spatial", received));
        }
        if self.groups == 0 || !x[1].is_multiple_of(self.groups) {
            let expected = format!("a divisor of the {} channels", x[1]);
            return Err(Error::argument(self.name(), "groups", expected, self.groups));
        }
        let by_group = inputs.get(1).is_some_and(|scale| self.by_group(x, scale));
        expect_affine(self, inputs, &[if by_group { self.groups } else { x[1] }])?;
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

    /// The form of opset 21: that of opset 18 is withdrawn. Scales of groups become those of their channels.
    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let x = export.shape_of_input(0).to_vec();
        let mut inputs = affine_names(export, &x[1..2]);
        if export.inputs().len() > 1 && self.by_group(&x, export.shape_of_input(1)) {
            let of_channel: Vec<i64> = (0..x[1]).map(|c| (c / (x[1] / self.groups)) as i64).collect();
            let index = export.constant_ints("group", &of_channel);
            for name in &mut inputs[1..] {
                *name = export.inner("Gather", &[name.clone(), index.clone()], Attributes::new());
            }
        }
        export.needs_opset(21);
        let attributes = Attributes::new().int("num_groups", self.groups as i64).float("epsilon", self.eps);
        export.node_with("GroupNormalization", &inputs, attributes);
        Ok(())
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let op =
        GroupNorm { groups: import.int_at_least("num_groups", 0, 1)?, eps: import.float("epsilon", 1e-5)? };
    let inputs = import.all_inputs()?;
    import.push(op, &inputs)
}

pub(super) fn examples() -> Vec<Example> {
    let example = |groups, x: &[usize]| {
        Example::new(GroupNorm { groups, eps: 1e-5 }, [x, &x[1..2], &x[1..2]]).domain(1, Domain::Positive)
    };
    vec![
        example(2, &[2, 6, 3, 2]),
        example(1, &[1, 9, 2, 3]),
        example(3, &[2, 3, 5]),
        example(2, &[3, 10]),
        example(2, &[2, 4, 2, 1, 3]),
        Example::new(GroupNorm { groups: 3, eps: 0.1 }, [&[1, 9, 2, 3]]),
    ]
}
