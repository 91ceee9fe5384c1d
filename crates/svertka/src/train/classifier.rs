//! A trained network on pictures: probabilities, and how good they are over a split.

use std::sync::Arc;

use svertka_kernels::Cpu;

use super::metrics::Confusion;
use super::step::logits;
use crate::data::{Loader, LoaderOptions, Preprocessing, Split};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::ops::Softmax;
use crate::plan::{Plan, Weights};
use crate::tensor::Tensor;

/// A network ready to classify pictures, a batch at a time.
///
/// ```
/// use svertka::train::Classifier;
/// use svertka::{Cpu, Model, Network, Tensor};
/// let model = Model::new(Network::from_text("conv4 relu pool2 linear3", &[1, 6, 6], 0)?.finish());
/// let cpu = Cpu::new(1);
/// let mut classifier = Classifier::new(&model.graph, 8, &cpu)?;
/// let p = classifier.probabilities(&cpu, model.graph.parameters(), &Tensor::zeros([2, 1, 6, 6]))?;
/// assert_eq!(p.len(), 2 * 3);
/// # Ok::<(), svertka::Error>(())
/// ```
pub struct Classifier {
    plan: Plan,
    /// Pictures of a batch that is not full, with anything behind them.
    padded: Tensor,
    classes: usize,
}

/// A network's answers over a split.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Right and wrong answers.
    pub confusion: Confusion,
    /// Mean cross-entropy.
    pub loss: f64,
    /// Probabilities of each picture, in the order of the split.
    pub probabilities: Vec<f32>,
}

impl Classifier {
    /// A batch for `pictures` of this size: enough to keep the cores busy, 2^20 pixels and 64 pictures at most, so that memory stays small.
    ///
    /// ```
    /// use svertka::train::Classifier;
    /// assert_eq!([(1000, 28), (1000, 224), (3, 28)].map(|(n, side)| Classifier::batch_for(n, side, side)), [64, 20, 3]);
    /// ```
    pub fn batch_for(pictures: usize, height: usize, width: usize) -> usize {
        ((1 << 20) / (height * width).max(1)).clamp(1, 64).min(pictures.max(1))
    }

    /// Plans for batches of `batch` pictures; smaller ones are filled up. Works for networks that end in logits or in a softmax.
    ///
    /// # Errors
    /// Where the network has not one input of pictures and an output of classes.
    pub fn new(graph: &Graph, batch: usize, cpu: &Cpu) -> Result<Self> {
        let logits = logits(graph)?;
        // The plan leaves out what the logits do not need; the parameters stay those of the caller's graph.
        let mut graph = graph.clone();
        graph.outputs = graph.push("probabilities", Arc::new(Softmax::new(1)), &[logits], 1);
        let shapes = graph.input_shapes(batch);
        let [shape] = &shapes[..] else {
            return Err(Error::argument("Classifier", "network", "one input", shapes.len()));
        };
        let plan = Plan::new(&graph, &shapes, Weights::Constant, cpu)?;
        let &[_, classes, ref cells @ ..] = plan.output_shape(0) else {
            unreachable!("a softmax along axis 1");
        };
        if cells.iter().any(|&size| size != 1) {
            let received = format!("shape {:?}", plan.output_shape(0));
            return Err(Error::argument("Classifier", "network", "an output N x classes", received));
        }
        Ok(Self { plan, padded: Tensor::zeros(shape.clone()), classes })
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Says that parameters are others than in the last call.
    pub fn parameters_changed(&mut self) {
        self.plan.parameters_changed();
    }

    /// Probabilities of the classes for each picture (`n x channels x height x width`, `n` at most the batch), row by row.
    ///
    /// # Errors
    /// Where the pictures have another shape than the network's input.
    pub fn probabilities(&mut self, cpu: &Cpu, parameters: &[Tensor], pictures: &Tensor) -> Result<&[f32]> {
        let expected = self.padded.shape();
        let count = pictures.shape().first().copied().unwrap_or(0);
        if count > expected[0] || pictures.shape().get(1..) != expected.get(1..) {
            let expected = format!("at most {} of shape {:?}", expected[0], &expected[1..]);
            return Err(Error::argument(
                "Classifier",
                "pictures",
                expected,
                format!("shape {:?}", pictures.shape()),
            ));
        }
        if count == expected[0] {
            self.plan.run(cpu, parameters, &[pictures], 0)?;
        } else {
            self.padded.data_mut()[..pictures.data().len()].copy_from_slice(pictures.data());
            self.plan.run(cpu, parameters, &[&self.padded], 0)?;
        }
        Ok(&self.plan.output(0)[..count * self.classes])
    }

    /// Classifies every picture of a split.
    ///
    /// # Errors
    /// Where a picture can't be read, or the split has more classes than the network.
    pub fn evaluate(
        &mut self,
        cpu: &Cpu,
        parameters: &[Tensor],
        split: &Split,
        preprocessing: &Preprocessing,
    ) -> Result<Evaluation> {
        if split.classes() > self.classes {
            let expected = format!("at most the network's {}", self.classes);
            return Err(Error::argument("evaluate", "classes", expected, split.classes()));
        }
        let batch = self.padded.shape()[0];
        let mut loader =
            Loader::new(split, preprocessing, LoaderOptions { batch, ..LoaderOptions::default() })?;
        let mut confusion = Confusion::new(self.classes);
        let (mut loss, mut probabilities) = (0.0, Vec::with_capacity(split.len() * self.classes));
        while let Some(batch) = loader.next_batch()? {
            let rows = self.probabilities(cpu, parameters, &batch.pictures)?;
            for (row, &label) in rows.chunks_exact(rows.len() / batch.labels.len().max(1)).zip(&batch.labels)
            {
                confusion.add(label, argmax(row));
                loss -= f64::from(row[label].max(f32::MIN_POSITIVE)).ln();
            }
            probabilities.extend_from_slice(rows);
        }
        Ok(Evaluation { loss: loss / split.len().max(1) as f64, confusion, probabilities })
    }
}

/// The index of the first largest value: the answer that a row of probabilities or logits gives; 0 of an empty row.
pub fn argmax(row: &[f32]) -> usize {
    row.iter().enumerate().fold(0, |best, (i, value)| if *value > row[best] { i } else { best })
}
