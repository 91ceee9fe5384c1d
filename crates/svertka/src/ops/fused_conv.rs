//! A convolution with what follows it in one kernel, residual and activation. A plan makes it; no file and no builder does.

use svertka_kernels::conv::{Forward, InputGradient};

use super::conv::{After, lower_forward, lower_input_gradient};
use super::{Conv, ConvTranspose, Layouts, Lowered, Operator, Shapes};
use crate::error::Result;

/// Inputs: activation, weight, bias if there is one, residual if there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FusedConv {
    pub(crate) layer: Layer,
    pub(crate) after: After,
}

/// What is computed first.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layer {
    Conv(Conv),
    Transposed(ConvTranspose),
}

impl FusedConv {
    fn layer(&self) -> &dyn Operator {
        match &self.layer {
            Layer::Conv(layer) => layer,
            Layer::Transposed(layer) => layer,
        }
    }
}

impl Operator for FusedConv {
    fn name(&self) -> &'static str {
        self.layer().name()
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        self.layer().infer(&inputs[..2])
    }

    fn layouts(&self, shapes: &Shapes<'_>) -> Layouts {
        let plain = matches!(&self.layer, Layer::Conv(layer) if layer.reads_plain(shapes));
        let all: &[usize] = match (self.after.residual, self.after.bias) {
            (false, _) => &[0],
            (true, false) => &[0, 2],
            (true, true) => &[0, 3],
        };
        let inputs = if plain { &all[1..] } else { all };
        Layouts::Blocked { inputs, outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered> {
        let (x, weight) = (shapes.inputs[0], shapes.inputs[1]);
        Ok(match &self.layer {
            Layer::Conv(layer) => lower_forward(
                Forward::with_accuracy(&layer.geometry(x, weight)?, shapes.accuracy),
                threads,
                self.after,
            ),
            Layer::Transposed(layer) => lower_input_gradient(
                InputGradient::with_accuracy(&layer.geometry(x, weight)?, shapes.accuracy),
                threads,
                self.after,
            ),
        })
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        self.layer().macs(shapes)
    }
}
