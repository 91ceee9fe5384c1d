//! A batch normalization that follows a convolution, taken into its weight and bias: they are constant where the network only answers.
//!
//! With `f = scale / sqrt(var + eps)` for each channel, `f (w * x + b - mean) + beta = (f w) * x + (f (b - mean) + beta)`.

use std::ops::Range;

use super::{Layouts, Lowered, Operator, Shapes};
use crate::error::Result;

/// `f w`. Inputs: weight, scale, variance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoldedWeight {
    pub(crate) eps: f32,
    /// Of a transposed convolution, whose weight is `C x out / groups x kernel`: its groups.
    pub(crate) transposed: Option<usize>,
}

impl FoldedWeight {
    /// The channel of part `part`, of `out` neighbours, of a weight with `rows` rows.
    fn channels(self, part: usize, rows: usize, out: usize) -> Range<usize> {
        let first = match self.transposed {
            Some(groups) => part / (rows / groups.max(1)).max(1) * out,
            None => part,
        };
        first..first + out
    }
}

fn factor(scale: f32, var: f32, eps: f32) -> f64 {
    f64::from(scale) / (f64::from(var) + f64::from(eps)).sqrt()
}

impl Operator for FoldedWeight {
    fn name(&self) -> &'static str {
        "FoldedWeight"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (fold, shape) = (*self, shapes.inputs[0]);
        let (rows, out) = (shape[0], if self.transposed.is_some() { shape[1] } else { 1 });
        let taps = shapes.inputs[0].iter().product::<usize>() / (rows * out).max(1);
        Ok(Lowered::new(move |_, io| {
            let [weight, scale, var] = [0, 1, 2].map(|i| io.inputs.get(i));
            let parts = (0..rows).flat_map(|row| fold.channels(row, rows, out));
            let weights = weight.chunks_exact(taps.max(1)).zip(io.outputs[0].chunks_exact_mut(taps.max(1)));
            for (channel, (weight, folded)) in parts.zip(weights) {
                let factor = factor(scale[channel], var[channel], fold.eps);
                for (folded, weight) in folded.iter_mut().zip(weight) {
                    *folded = (f64::from(*weight) * factor) as f32;
                }
            }
        }))
    }
}

/// `f (b - mean) + beta`. Inputs: scale, beta, mean, variance, and bias if there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoldedBias {
    pub(crate) eps: f32,
}

impl Operator for FoldedBias {
    fn name(&self) -> &'static str {
        "FoldedBias"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, _: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let eps = self.eps;
        Ok(Lowered::new(move |_, io| {
            let [scale, beta, mean, var] = [0, 1, 2, 3].map(|i| io.inputs.get(i));
            let bias = (io.inputs.len() == 5).then(|| io.inputs.get(4));
            for (channel, folded) in io.outputs[0].iter_mut().enumerate() {
                let bias = bias.map_or(0.0, |bias| f64::from(bias[channel]));
                let shifted = factor(scale[channel], var[channel], eps) * (bias - f64::from(mean[channel]));
                *folded = (shifted + f64::from(beta[channel])) as f32;
            }
        }))
    }
}
