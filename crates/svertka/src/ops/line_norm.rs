//! What instance, group, layer and root-mean-square normalization share: `(x - mean) / sqrt(var + eps) * scale + bias` along lines of a plain
//! tensor, with or without scale and bias.

use svertka_kernels::norm::{LineGradientsMut, LineNorm, line_norm, line_norm_backward};

use super::{Layouts, Lowered, Operator, Shapes, elements, expect_shape};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::Export;

/// An operator that normalizes lines. Inputs: tensor, and maybe scale, and maybe bias of the same shape.
pub(super) trait NormalizesLines: Operator + Copy + 'static {
    /// The name of the gradient's operator.
    const GRADIENT: &'static str;

    /// The lines of a tensor of shape `x`, with scales of this shape.
    fn norm(&self, x: &[usize], scale: Option<&[usize]>) -> LineNorm;
}

/// Fails unless scale and bias, where given, have this shape.
pub(super) fn expect_affine(op: &dyn Operator, inputs: &[&[usize]], shape: &[usize]) -> Result<()> {
    ["scale", "bias"].iter().zip(&inputs[1..]).try_for_each(|(name, own)| expect_shape(op, name, shape, own))
}

/// The names of input, scale and bias; ones and zeros where there are none.
pub(super) fn affine_names(export: &mut Export<'_>, shape: &[usize]) -> Vec<String> {
    let mut names = export.inputs();
    for (name, value) in [("scale", 1.0), ("bias", 0.0)].into_iter().skip(names.len() - 1) {
        names.push(export.constant(name, shape, &vec![value; elements(shape)]));
    }
    names
}

pub(super) fn lower(op: &impl NormalizesLines, shapes: &Shapes<'_>) -> Lowered {
    let norm = op.norm(shapes.inputs[0], shapes.inputs.get(1).copied());
    Lowered::new(move |cpu, io| {
        let affine = [1, 2].map(|i| (io.inputs.len() > i).then(|| io.inputs.get(i)));
        let (y, statistics) = io.outputs.split_at_mut(1);
        let statistics = match statistics {
            [mean, inv_std] => Some([&mut **mean, &mut **inv_std]),
            _ => None,
        };
        line_norm(cpu, norm, affine, io.inputs.get(0), &mut y[0], statistics);
    })
}

pub(super) fn gradient<T: NormalizesLines>(op: &T, context: &mut GradientContext<'_>) -> Result<()> {
    if context.gradient_of(1).is_some() || context.gradient_of(2).is_some() {
        return Err(Error::unsupported(op.name(), "the gradient through its statistics"));
    }
    let Some(dy) = context.output_gradient() else { return Ok(()) };
    let gradient = LineNormGradient { of: *op, scale: context.needs(1), bias: context.needs(2) };
    let inputs: Vec<_> =
        [dy].into_iter().chain((0..context.inputs().min(2)).map(|i| context.input(i))).collect();
    let mut gradients = context.push(gradient, &inputs)?.into_iter();
    for i in (0..3).filter(|&i| i == 0 || context.needs(i)).collect::<Vec<_>>() {
        if let Some(gradient) = gradients.next() {
            context.add(i, gradient)?;
        }
    }
    Ok(())
}

/// Inputs: gradient of the output, input, and scale where there is one. Outputs: the gradient of the input, and of scale and bias where wanted.
#[derive(Clone, Copy, Debug)]
struct LineNormGradient<T> {
    of: T,
    scale: bool,
    bias: bool,
}

impl<T: NormalizesLines> Operator for LineNormGradient<T> {
    fn name(&self) -> &'static str {
        T::GRADIENT
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let wanted = [self.scale, self.bias].into_iter().filter(|wanted| *wanted);
        Ok([inputs[0].to_vec()].into_iter().chain(wanted.map(|_| inputs[2].to_vec())).collect())
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let norm = self.of.norm(shapes.inputs[1], shapes.inputs.get(2).copied());
        let Self { scale: wants_scale, bias: wants_bias, .. } = *self;
        Ok(Lowered::new(move |cpu, io| {
            let (dy, x) = (io.inputs.get(0), io.inputs.get(1));
            let scale = (io.inputs.len() > 2).then(|| io.inputs.get(2));
            let mut outputs = io.outputs.iter_mut().map(|output| &mut **output);
            let dx = outputs.next().expect("the gradient of the input");
            let mut output = |wanted: bool| if wanted { outputs.next() } else { None };
            let gradients = LineGradientsMut { dx, dscale: output(wants_scale), dbias: output(wants_bias) };
            line_norm_backward(cpu, norm, scale, x, dy, gradients, io.scratch);
        })
        .scratch(norm.scratch_len()))
    }
}
