//! The loss of labels (ONNX `NegativeLogLikelihoodLoss`, and `SoftmaxCrossEntropyLoss`, which is a [`LogSoftmax`] before it), for one label an image or
//! one a cell.

use std::ops::RangeInclusive;

use svertka_kernels::likelihood::Labels;

use super::{Example, Layouts, LogSoftmax, Lowered, Operator, Shapes, elements, expect_shape, planes};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};
use crate::ops::Domain;

/// Classes whose numbers an `f32` holds.
const MAX_CLASSES: usize = 1 << 24;
/// ONNX's number of the element type `int64`.
const INT64: i64 = 7;

/// What becomes of the losses of all cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossReduction {
    /// They are the result, `N x spatial`.
    None,
    /// Their sum, without axes.
    Sum,
    /// Their sum divided by the sum of the cells' weights, without axes; not a number where no cell counts.
    Mean,
}

/// `-weight[label] * log_probability[label]` of each cell. Inputs: logarithms of probabilities `N x C x spatial` (any number of spatial axes), labels
/// `N x spatial` (whole numbers), and maybe a weight for each class, `C`.
///
/// The loss of a label that is no class, nor the one to ignore, is not a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LikelihoodLoss {
    /// What becomes of the losses.
    pub reduction: LossReduction,
    /// Cells of this label have loss and weight zero.
    pub ignore_index: Option<i64>,
}

impl LikelihoodLoss {
    /// The shape of the labels.
    fn cells(x: &[usize]) -> Vec<usize> {
        [&x[..1], &x[2..]].concat()
    }
}

impl Operator for LikelihoodLoss {
    fn name(&self) -> &'static str {
        "NegativeLogLikelihoodLoss"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        2..=3
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let x = inputs[0];
        if x.len() < 2 {
            return Err(Error::argument(self.name(), "input", "N x C x spatial", format!("shape {x:?}")));
        }
        if x[1] > MAX_CLASSES {
            return Err(Error::argument(self.name(), "classes", format!("at most {MAX_CLASSES}"), x[1]));
        }
        if let Some(index) = self.ignore_index.filter(|index| index.unsigned_abs() > MAX_CLASSES as u64) {
            let expected = format!("a magnitude of at most {MAX_CLASSES}");
            return Err(Error::argument(self.name(), "ignore_index", expected, index));
        }
        let cells = Self::cells(x);
        expect_shape(self, "labels", &cells, inputs[1])?;
        if let Some(weight) = inputs.get(2) {
            expect_shape(self, "weight", &x[1..2], weight)?;
        }
        Ok(vec![if self.reduction == LossReduction::None { cells } else { vec![] }])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (planes, reduction) = (planes(shapes.inputs[0]), self.reduction);
        let ignored = self.ignore_index.map(|index| index as f32);
        let cells = elements(shapes.inputs[1]);
        let scratch = if reduction == LossReduction::None { 0 } else { cells };
        Ok(Lowered::new(move |cpu, io| {
            let weights = (io.inputs.len() > 2).then(|| io.inputs.get(2));
            let labels = Labels { planes, labels: io.inputs.get(1), weights, ignored };
            if reduction == LossReduction::None {
                return labels.losses(cpu, io.inputs.get(0), &mut io.outputs[0]);
            }
            let losses = &mut io.scratch[..cells];
            labels.losses(cpu, io.inputs.get(0), losses);
            let sum: f64 = losses.iter().map(|&loss| f64::from(loss)).sum();
            let divisor = if reduction == LossReduction::Mean { labels.total_weight() } else { 1.0 };
            io.outputs[0][0] = (sum / divisor) as f32;
        })
        .scratch(scratch))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        if context.needs(2) {
            return Err(Error::unsupported(self.name(), "the gradient of the weights"));
        }
        if context.needs(0) {
            let read = [1, 0, 2].into_iter().take(context.inputs()).map(|i| context.input(i));
            let inputs: Vec<_> = [dy].into_iter().chain(read).collect();
            let dx = context.push(LikelihoodLossGradient(*self), &inputs)?;
            context.add(0, dx[0])?;
        }
        Ok(())
    }

    /// The labels as integers.
    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let mut inputs = export.inputs();
        inputs[1] = export.inner("Cast", &inputs[1..2], Attributes::new().int("to", INT64));
        let reduction = match self.reduction {
            LossReduction::None => "none",
            LossReduction::Sum => "sum",
            LossReduction::Mean => "mean",
        };
        let attributes = Attributes::new().string("reduction", reduction);
        let attributes = match self.ignore_index {
            Some(index) => attributes.int("ignore_index", index),
            None => attributes,
        };
        export.node_with("NegativeLogLikelihoodLoss", &inputs, attributes);
        Ok(())
    }
}

/// Inputs: gradient of the loss, labels, the logarithms (for their shape), and weights where there are some.
#[derive(Clone, Copy, Debug)]
struct LikelihoodLossGradient(LikelihoodLoss);

impl Operator for LikelihoodLossGradient {
    fn name(&self) -> &'static str {
        "NegativeLogLikelihoodLossGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[2].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (planes, reduction) = (planes(shapes.inputs[2]), self.0.reduction);
        let ignored = self.0.ignore_index.map(|index| index as f32);
        Ok(Lowered::new(move |cpu, io| {
            let (dy, weights) = (io.inputs.get(0), (io.inputs.len() > 3).then(|| io.inputs.get(3)));
            let labels = Labels { planes, labels: io.inputs.get(1), weights, ignored };
            let gradient = &mut io.outputs[0];
            match reduction {
                LossReduction::None => labels.backward(cpu, |cell| dy[cell], gradient),
                LossReduction::Sum => labels.backward(cpu, |_| dy[0], gradient),
                LossReduction::Mean => {
                    let each = (f64::from(dy[0]) / labels.total_weight()) as f32;
                    labels.backward(cpu, |_| each, gradient);
                }
            }
        }))
    }
}

fn import_loss(import: &mut Import<'_>) -> Result<LikelihoodLoss> {
    let reduction = match import.string("reduction", "mean")?.as_str() {
        "none" => LossReduction::None,
        "sum" => LossReduction::Sum,
        "mean" => LossReduction::Mean,
        other => return Err(Error::unsupported(import.op_type(), format!("reduction = {other:?}"))),
    };
    // No label is the least integer, so that it stands for an attribute that is missing.
    let ignore_index = Some(import.int("ignore_index", i64::MIN)?).filter(|&index| index != i64::MIN);
    Ok(LikelihoodLoss { reduction, ignore_index })
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let op = import_loss(import)?;
    let inputs = [Some(import.input(0)?), Some(import.input(1)?), import.optional(2)?];
    import.push(op, &inputs.into_iter().flatten().collect::<Vec<_>>())
}

/// `SoftmaxCrossEntropyLoss`: the second output is the logarithm of the softmax.
pub(super) fn import_softmax(import: &mut Import<'_>) -> Result<()> {
    let op = import_loss(import)?;
    let (x, labels, weight) = (import.input(0)?, import.input(1)?, import.optional(2)?);
    let log_probability = import.append("log_softmax", LogSoftmax::new(1), &[x])?[0];
    let inputs: Vec<_> = [Some(log_probability), Some(labels), weight].into_iter().flatten().collect();
    let loss = import.append("loss", op, &inputs)?[0];
    import.define(0, loss);
    import.define(1, log_probability);
    Ok(())
}

pub(super) fn examples() -> Vec<Example> {
    let shapes: [&[usize]; 3] = [&[3, 5], &[2, 9, 3, 4], &[2, 3, 2, 1, 2, 3]];
    let mut examples = vec![];
    for (x, ignore_index) in shapes.into_iter().zip([None, Some(1), Some(-100)]) {
        for reduction in [LossReduction::None, LossReduction::Sum, LossReduction::Mean] {
            let (op, cells) = (LikelihoodLoss { reduction, ignore_index }, LikelihoodLoss::cells(x));
            examples.push(Example::new(op, [x, &cells]).domain(1, Domain::Indices(x[1])));
        }
    }
    examples
}
