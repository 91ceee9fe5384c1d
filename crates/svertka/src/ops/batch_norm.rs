//! Batch normalization (ONNX `BatchNormalization`; Ioffe and Szegedy, 2015): `y = scale * (x - mean) / sqrt(var + eps) + bias` for each channel.
//!
//! In training mean and variance are the batch's, and the running ones follow them as nodes of their own, [`MovingAverage`]: a graph has no
//! hidden state.

use std::ops::RangeInclusive;
use std::sync::Arc;

use svertka_kernels::activation::Activation;
use svertka_kernels::norm::{self, Affine, After, GradientsMut, Normalization, StatisticsMut};

use super::{
    BatchNormActivation, Domain, Example, Layouts, Lowered, Operator, Role, Shapes, TrainingForm,
    expect_shape, planes,
};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::graph::Value;
use crate::onnx::{Attributes, Export, Import};

/// Batch normalization. Inputs: activation, scale, bias, running mean, running variance (each of as many elements as channels).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Added to the variance.
    pub eps: f32,
    /// Share of the batch's statistics in the new running ones (PyTorch's convention; ONNX has one minus this).
    pub momentum: f32,
    /// Whether the batch's statistics are used. The outputs are then: result, mean, inverse standard deviation, variance.
    pub training: bool,
    /// Whether that variance has Bessel's correction, as PyTorch's running one has and ONNX's has not.
    pub unbiased: bool,
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self { eps: 1e-5, momentum: 0.1, training: false, unbiased: true }
    }
}

impl Operator for BatchNorm {
    fn name(&self) -> &'static str {
        "BatchNormalization"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        5..=5
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        if !(2..=5).contains(&inputs[0].len()) {
            return Err(Error::argument(
                self.name(),
                "input",
                "N x C x spatial",
                format!("shape {:?}", inputs[0]),
            ));
        }
        let channels = [inputs[0][1]];
        for (argument, shape) in ["scale", "bias", "mean", "var"].iter().zip(&inputs[1..]) {
            expect_shape(self, argument, &channels, shape)?;
        }
        let statistics = if self.training { 3 } else { 0 };
        Ok([inputs[0].to_vec()].into_iter().chain(vec![channels.to_vec(); statistics]).collect())
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        if self.training {
            return Ok(self.lower_training(shapes, None));
        }
        let (planes, eps) = (planes(shapes.inputs[0]), self.eps);
        Ok(Lowered::new(move |cpu, io| {
            let [gamma, beta, mean, var] = [1, 2, 3, 4].map(|i| io.inputs.get(i));
            let affine = Affine { gamma, beta, eps, after: After::default() };
            norm::batch_norm_infer(cpu, planes, affine, mean, var, io.first(), &mut io.outputs[0]);
        })
        .in_place())
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let statistics = match self.training {
            true => [1, 2].map(|i| context.output(i)),
            false => [3, 4].map(|i| context.input(i)),
        };
        self.add_gradients(context, dy, statistics, None)
    }

    fn training(&self) -> Option<TrainingForm> {
        let average = MovingAverage { momentum: self.momentum };
        let statistics = vec![(3, 1, average), (4, 3, average)];
        Some(TrainingForm { op: Arc::new(Self { training: true, ..*self }), outputs: 4, statistics })
    }

    fn role(&self, input: usize) -> Role {
        if input <= 2 { Role::Bias } else { Role::Statistic }
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let attributes = Attributes::new().float("epsilon", self.eps);
        if !self.training {
            export.node("BatchNormalization", attributes.float("momentum", 1.0 - self.momentum));
            return Ok(());
        }
        if self.unbiased {
            return Err(Error::unsupported("BatchNormalization", "export to ONNX of its training form"));
        }
        // Running statistics of which nothing stays are those of the batch.
        let outputs = [0, 1, 3].map(|i| export.output(i));
        let attributes = attributes.float("momentum", 0.0).int("training_mode", 1);
        export.node_named("BatchNormalization", &export.inputs(), &outputs, attributes);
        Ok(())
    }
}

impl BatchNorm {
    /// The kernel of the training form, with what else [`BatchNormActivation`] does in the same pass.
    pub(super) fn lower_training(&self, shapes: &Shapes<'_>, activation: Option<Activation>) -> Lowered {
        let (planes, eps) = (planes(shapes.inputs[0]), self.eps);
        let count = (planes.batch * planes.pixels) as f32;
        let bessel = if self.unbiased && count > 1.0 { count / (count - 1.0) } else { 1.0 };
        let has_residual = shapes.inputs.len() > BatchNormActivation::RESIDUAL;
        Lowered::new(move |cpu, io| {
            let [x, gamma, beta] = [0, 1, 2].map(|i| io.inputs.get(i));
            let residual = has_residual.then(|| io.inputs.get(BatchNormActivation::RESIDUAL));
            let [y, mean, inv_std, var] = io.outputs else { unreachable!("four outputs in training") };
            let affine = Affine { gamma, beta, eps, after: After { residual, activation } };
            let statistics = StatisticsMut { mean, var, inv_std };
            norm::batch_norm_train(cpu, planes, affine, x, y, statistics, io.scratch);
            var.iter_mut().for_each(|var| *var *= bessel);
        })
        .scratch(norm::batch_norm_scratch_len(planes))
    }

    /// The gradients by input, scale and bias from `dy`, that of what an activation in the same pass gave, if there is one. `statistics` are mean and
    /// inverse deviation, without training mean and variance.
    pub(super) fn add_gradients(
        &self,
        context: &mut GradientContext<'_>,
        dy: Value,
        [mean, spread]: [Value; 2],
        activation: Option<Activation>,
    ) -> Result<()> {
        let [x, scale, bias] = [0, 1, 2].map(|i| context.input(i));
        let gradient = BatchNormGradient { norm: *self, activation };
        let gradients = context.push(gradient, &[dy, x, scale, bias, mean, spread])?;
        for (i, gradient) in gradients.into_iter().enumerate() {
            if context.needs(i) {
                context.add(i, gradient)?;
            }
        }
        Ok(())
    }
}

/// Inputs: gradient of the output, input, scale, bias, mean, and inverse deviation (training) or variance. Outputs: gradients of input, scale, bias.
#[derive(Clone, Copy, Debug)]
struct BatchNormGradient {
    norm: BatchNorm,
    /// Its gradient is taken in the same pass.
    activation: Option<Activation>,
}

impl Operator for BatchNormGradient {
    fn name(&self) -> &'static str {
        "BatchNormalizationGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec(), inputs[2].to_vec(), inputs[2].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0, 1], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let Self { norm: BatchNorm { eps, training, .. }, activation } = *self;
        let planes = planes(shapes.inputs[0]);
        let sums = norm::batch_norm_scratch_len(planes);
        Ok(Lowered::new(move |cpu, io| {
            let [x, gamma, beta, mean, spread] = [1, 2, 3, 4, 5].map(|i| io.inputs.get(i));
            let dy = io.first();
            let [dx, dgamma, dbeta] = io.outputs else { unreachable!("three outputs") };
            let gradients = GradientsMut { dx, dgamma, dbeta };
            let (scratch, inverse) = io.scratch.split_at_mut(sums);
            let used = |inv_std| Normalization { gamma, beta, mean, inv_std, activation };
            if training {
                norm::batch_norm_backward(cpu, planes, used(spread), x, dy, gradients, scratch);
            } else {
                norm::inv_std(spread, eps, inverse);
                norm::batch_norm_infer_backward(cpu, planes, used(inverse), x, dy, gradients, scratch);
            }
        })
        .scratch(sums + planes.channels)
        .in_place())
    }
}

/// What a [`BatchNorm`] in training made, and an activation behind it, once more from its statistics: the same bits. Inputs: activation, scale, bias,
/// mean, inverse deviation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormalizeAgain {
    /// One that has bounds.
    pub(crate) activation: Option<Activation>,
}

impl Operator for NormalizeAgain {
    fn name(&self) -> &'static str {
        "NormalizeAgain"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (planes, activation) = (planes(shapes.inputs[0]), self.activation);
        Ok(Lowered::new(move |cpu, io| {
            let [x, gamma, beta, mean, inv_std] = [0, 1, 2, 3, 4].map(|i| io.inputs.get(i));
            let normalization = Normalization { gamma, beta, mean, inv_std, activation };
            norm::batch_norm_again(cpu, planes, normalization, x, &mut io.outputs[0]);
        }))
    }
}

/// The new running statistic: `(1 - momentum) * running + momentum * batch`. Inputs: running, batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MovingAverage {
    /// Share of the batch's value.
    pub momentum: f32,
}

impl Operator for MovingAverage {
    fn name(&self) -> &'static str {
        "MovingAverage"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, _: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let momentum = self.momentum;
        Ok(Lowered::new(move |_, io| {
            let (running, batch) = (io.inputs.get(0), io.inputs.get(1));
            for ((new, old), batch) in io.outputs[0].iter_mut().zip(running).zip(batch) {
                *new = old + momentum * (batch - old);
            }
        }))
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        export.own_node("MovingAverage", Attributes::new().float("momentum", self.momentum));
        Ok(())
    }
}

/// `BatchNormalization`. What says that it is training: from opset 14 on `training_mode`, from 7 on that there is more than one output, before that
/// `is_test`. In training the outputs are result, running mean, running variance, and before opset 14 the batch's.
pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let (eps, momentum) = (import.float("epsilon", 1e-5)?, 1.0 - import.float("momentum", 0.9)?);
    let mut inputs = vec![];
    for i in 0..5 {
        inputs.push(import.input(i)?);
    }
    if import.int("spatial", 1)? == 0 && import.shape(inputs[0]).len() != 2 {
        return Err(Error::unsupported("BatchNormalization", "spatial = 0"));
    }
    let training = match import.opset() {
        14.. => import.int("training_mode", 0)? != 0,
        7..14 => import.outputs() > 1,
        _ => import.int("is_test", 0)? == 0,
    };
    if !training {
        return import.push(BatchNorm { eps, momentum, ..BatchNorm::default() }, &inputs);
    }
    let op = BatchNorm { eps, momentum, training: true, unbiased: false };
    let outputs = import.append("normalized", op, &inputs)?;
    import.define(0, outputs[0]);
    for (i, running, batch) in [(1, inputs[3], outputs[1]), (2, inputs[4], outputs[3])] {
        if import.names_output(i + 2) {
            import.define(i + 2, batch);
        }
        if !import.names_output(i) {
            continue;
        }
        let followed = match momentum {
            1.0 => batch,
            momentum => {
                import.append(&format!("running{i}"), MovingAverage { momentum }, &[running, batch])?[0]
            }
        };
        import.define(i, followed);
    }
    Ok(())
}

pub(super) fn import_average(import: &mut Import<'_>) -> Result<()> {
    let inputs = [import.input(0)?, import.input(1)?];
    import.push(MovingAverage { momentum: import.float("momentum", 0.1)? }, &inputs)
}

pub(super) fn examples() -> Vec<Example> {
    let shapes: [&[usize]; 3] = [&[3, 9, 2, 3], &[4, 3, 5], &[5, 4]];
    [true, false]
        .into_iter()
        .flat_map(|training| {
            shapes.map(|x| {
                let channels = &x[1..2];
                Example::new(
                    BatchNorm { training, ..BatchNorm::default() },
                    [x, channels, channels, channels, channels],
                )
                .domain(1, Domain::Positive)
                .domain(4, Domain::Positive)
            })
        })
        .collect()
}
