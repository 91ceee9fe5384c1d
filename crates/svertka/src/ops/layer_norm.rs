//! Layer normalization (ONNX `LayerNormalization`; Ba et al., 2016) over the last axes, or over the channels of each cell as ConvNeXt has it.

use std::ops::RangeInclusive;

use svertka_kernels::lines::Lines;
use svertka_kernels::norm::{LineNorm, Parameters};

use super::line_norm::{self, NormalizesLines, affine_names, expect_affine};
use super::{Domain, Example, Layouts, Lowered, Operator, Role, Shapes};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// `(x - mean) / sqrt(var + eps) * scale + bias`, statistics over the axes from `axis` on. Inputs: tensor, and maybe scale and bias, with the sizes of
/// those axes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNorm {
    /// The first axis of a line.
    pub axis: usize,
    /// Added to the variance.
    pub eps: f32,
    /// Whether mean and inverse standard deviation are outputs too, of the input's shape with size one from `axis` on. They pass no gradient.
    pub statistics: bool,
}

/// `(x - mean) / sqrt(var + eps) * scale + bias`, statistics over the channels of each cell. Inputs: activation `N x C x spatial`, and maybe scale and
/// bias, `C` each. ONNX has it only between two transpositions; it is written as an operator of this library's own domain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelLayerNorm {
    /// Added to the variance.
    pub eps: f32,
}

/// The lines of the axes from `axis` on.
pub(super) fn trailing(
    x: &[usize],
    axis: usize,
    scale: Option<&[usize]>,
    eps: f32,
    centered: bool,
) -> LineNorm {
    let lines = Lines::along(x, axis..x.len());
    let parameters = scale.map_or(Parameters::NONE, |_| Parameters { run: 1, count: lines.len });
    LineNorm { lines, parameters, eps, centered }
}

/// Fails unless `x` has an axis `axis`, from which on scale and bias have its sizes.
pub(super) fn check_trailing(op: &dyn Operator, inputs: &[&[usize]], axis: usize) -> Result<()> {
    let x = inputs[0];
    if axis >= x.len() {
        return Err(Error::argument(op.name(), "axis", format!("an axis of shape {x:?}"), axis));
    }
    expect_affine(op, inputs, &x[axis..])
}

impl NormalizesLines for LayerNorm {
    const GRADIENT: &'static str = "LayerNormalizationGradient";

    fn norm(&self, x: &[usize], scale: Option<&[usize]>) -> LineNorm {
        trailing(x, self.axis, scale, self.eps, true)
    }
}

impl Operator for LayerNorm {
    fn name(&self) -> &'static str {
        "LayerNormalization"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=3
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        check_trailing(self, inputs, self.axis)?;
        let x = inputs[0].to_vec();
        let mut statistics = x.clone();
        statistics[self.axis..].fill(1);
        Ok(if self.statistics { vec![x, statistics.clone(), statistics] } else { vec![x] })
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
        let attributes = Attributes::new().int("axis", self.axis as i64).float("epsilon", self.eps);
        let outputs: Vec<String> =
            (0..if self.statistics { 3 } else { 1 }).map(|i| export.output(i)).collect();
        export.node_named("LayerNormalization", &inputs, &outputs, attributes);
        Ok(())
    }
}

impl NormalizesLines for ChannelLayerNorm {
    const GRADIENT: &'static str = "ChannelLayerNormalizationGradient";

    fn norm(&self, x: &[usize], scale: Option<&[usize]>) -> LineNorm {
        let lines = Lines::along(x, 1..2);
        let parameters =
            scale.map_or(Parameters::NONE, |_| Parameters { run: lines.inner, count: lines.len });
        LineNorm { lines, parameters, eps: self.eps, centered: true }
    }
}

impl Operator for ChannelLayerNorm {
    fn name(&self) -> &'static str {
        "ChannelLayerNormalization"
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
        export.own_node("ChannelLayerNormalization", Attributes::new().float("epsilon", self.eps));
        Ok(())
    }
}

/// `stash_type`, the precision of the statistics, does not matter: sums are in `f64` here.
pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let inputs: Vec<_> =
        [Some(import.input(0)?), import.optional(1)?, import.optional(2)?].into_iter().flatten().collect();
    let axis = import.axis("axis", -1, import.shape(inputs[0]).len())?;
    let eps = import.float("epsilon", 1e-5)?;
    let statistics = import.names_output(1) || import.names_output(2);
    import.push(LayerNorm { axis, eps, statistics }, &inputs)
}

pub(super) fn import_channels(import: &mut Import<'_>) -> Result<()> {
    let inputs = import.all_inputs()?;
    import.push(ChannelLayerNorm { eps: import.float("epsilon", 1e-5)? }, &inputs)
}

pub(super) fn examples() -> Vec<Example> {
    let layer = |x: &[usize], axis, statistics| {
        Example::new(LayerNorm { axis, eps: 1e-5, statistics }, [x, &x[axis..], &x[axis..]])
            .domain(1, Domain::Positive)
    };
    let channels = |x: &[usize]| {
        Example::new(ChannelLayerNorm { eps: 1e-6 }, [x, &x[1..2], &x[1..2]]).domain(1, Domain::Positive)
    };
    vec![
        layer(&[2, 3, 5, 4], 3, false),
        layer(&[2, 3, 5, 4], 1, false),
        layer(&[3, 9, 2], 1, true),
        layer(&[4, 13], 1, false),
        Example::new(LayerNorm { axis: 2, eps: 0.1, statistics: false }, [&[2, 3, 4]]),
        Example::new(LayerNorm { axis: 1, eps: 1e-5, statistics: false }, [&[2, 7], &[7]])
            .domain(1, Domain::Positive),
        channels(&[2, 9, 3, 2]),
        channels(&[2, 3, 5]),
        channels(&[3, 7]),
    ]
}
