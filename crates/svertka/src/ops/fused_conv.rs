//! A convolution with what follows it in one kernel, residual and activation. A plan makes it; no file and no builder does.

use svertka_kernels::conv::{Algorithm, Forward, InputGradient};
use svertka_kernels::geometry::ConvGeometry;

use super::conv::{After, lower_forward, lower_input_gradient};
use super::{Conv, ConvTranspose, Layouts, Lowered, Operator, Shapes};
use crate::error::{Error, Result};

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
    /// Position of the residual among the inputs.
    pub(crate) fn residual_input(self) -> Option<usize> {
        self.after.residual.then(|| self.after.residual_input())
    }

    /// The algorithms that come into question; none but the rule's for a picture, which stands plain for it.
    pub(crate) fn candidates(&self, shapes: &Shapes<'_>) -> Result<Vec<Algorithm>> {
        let geometry = self.geometry(shapes)?;
        let transposed = matches!(self.layer, Layer::Transposed(_));
        let rule = Algorithm::choose(&geometry, shapes.accuracy);
        if rule.reads_plain() && !transposed {
            return Ok(vec![rule]);
        }
        let fits = |algorithm: &Algorithm| {
            algorithm.supports(&geometry)
                && shapes.accuracy.allows(*algorithm)
                && !algorithm.reads_plain()
                && (transposed || *algorithm != Algorithm::WinogradPhases)
        };
        Ok(Algorithm::ALL.into_iter().filter(fits).collect())
    }

    fn geometry(&self, shapes: &Shapes<'_>) -> Result<ConvGeometry> {
        let (x, weight) = (shapes.inputs[0], shapes.inputs[1]);
        match &self.layer {
            Layer::Conv(layer) => layer.geometry(x, weight),
            Layer::Transposed(layer) => layer.geometry(x, weight),
        }
    }

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
        let geometry = self.geometry(shapes)?;
        let algorithm = shapes.algorithm_for(&geometry);
        let lowered = match &self.layer {
            Layer::Conv(_) => Forward::with_algorithm(&geometry, algorithm)
                .map(|plan| lower_forward(plan, threads, self.after)),
            Layer::Transposed(_) => InputGradient::with_algorithm(&geometry, algorithm)
                .map(|plan| lower_input_gradient(plan, threads, self.after)),
        };
        lowered.ok_or_else(|| {
            let expected = "one that can compute the layer";
            Error::argument(self.name(), "algorithm", expected, algorithm.name())
        })
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        self.layer().macs(shapes)
    }
}
