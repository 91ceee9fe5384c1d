//! The loss of classification: cross-entropy of softmax, with label smoothing (Szegedy et al., 2016).

use std::ops::RangeInclusive;

use svertka_kernels::softmax;

use super::{Domain, Example, Layouts, Lowered, Operator, Shapes, expect_shape};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;

/// Mean over the rows of `-sum target * log softmax(logits)`. Inputs: logits and targets (probabilities), both `N x classes`. Outputs: the
/// loss, without axes, and each row's loss, `N`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossEntropy {
    /// Share of each target spread evenly over all classes, `0.0..1.0`.
    pub label_smoothing: f32,
}

impl Operator for CrossEntropy {
    fn name(&self) -> &'static str {
        "CrossEntropy"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        2..=2
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let &[rows, _] = inputs[0] else {
            return Err(Error::argument(
                self.name(),
                "logits",
                "N x classes",
                format!("shape {:?}", inputs[0]),
            ));
        };
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return Err(Error::argument(
                self.name(),
                "label_smoothing",
                "at least 0 and below 1",
                self.label_smoothing,
            ));
        }
        expect_shape(self, "targets", inputs[0], inputs[1])?;
        Ok(vec![vec![], vec![rows]])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (rows, classes, smoothing) = (shapes.inputs[0][0], shapes.inputs[0][1], self.label_smoothing);
        Ok(Lowered::new(move |cpu, io| {
            let (logits, targets) = (io.inputs.get(0), io.inputs.get(1));
            let [loss, losses] = io.outputs else { unreachable!("two outputs") };
            softmax::cross_entropy(cpu, classes, logits, targets, smoothing, losses);
            loss[0] = (losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / rows.max(1) as f64) as f32;
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let dx = context.push(CrossEntropyGradient(*self), &[context.input(0), context.input(1), dy])?;
        context.add(0, dx[0])
    }
}

/// Inputs: logits, targets, gradient of the loss.
#[derive(Clone, Copy, Debug)]
struct CrossEntropyGradient(CrossEntropy);

impl Operator for CrossEntropyGradient {
    fn name(&self) -> &'static str {
        "CrossEntropyGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (rows, classes, smoothing) = (shapes.inputs[0][0], shapes.inputs[0][1], self.0.label_smoothing);
        Ok(Lowered::new(move |cpu, io| {
            let [logits, targets, dy] = [0, 1, 2].map(|i| io.inputs.get(i));
            let scale = dy[0] / rows.max(1) as f32;
            softmax::cross_entropy_backward(
                cpu,
                classes,
                logits,
                targets,
                smoothing,
                scale,
                &mut io.outputs[0],
            );
        }))
    }
}

pub(super) fn examples() -> Vec<Example> {
    [0.0, 0.1]
        .map(|label_smoothing| {
            Example::new(CrossEntropy { label_smoothing }, [&[3, 7], &[3, 7]])
                .domain(1, Domain::Probabilities)
        })
        .into()
}
