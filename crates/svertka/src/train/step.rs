//! One step of training: forward, loss, gradients and update, from one plan.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use svertka_kernels::{Buffer, Cpu, binary, update};

use super::config::TrainConfig;
use super::norm_fusion::FusedNorms;
use super::optimizer::{Gradient, Optimizer};
use super::parts::{Part, Purposes, UPDATE, parts, purposes};
use super::recompute::recompute;
use super::renormalize::renormalize;
use crate::error::{Error, Result};
use crate::gradient::add_gradients;
use crate::graph::{Graph, Value};
use crate::ops::{CrossEntropy, Operator, Role, Softmax};
use crate::plan::{Plan, Weights};
use crate::tensor::Tensor;

/// A network in training: its parameters, the plan of a step, the optimizer's state and the moving average.
///
/// ```
/// use svertka::train::{Step, TrainConfig};
/// use svertka::{Cpu, Network, Tensor};
/// let graph = Network::from_text("conv4 bn relu pool2 linear3", &[1, 6, 6], 0)?.finish();
/// let (cpu, config) = (Cpu::new(1), TrainConfig::default());
/// let mut step = Step::new(&graph, &config, 2, &cpu)?;
/// let x = Tensor::new([2, 1, 6, 6], &std::array::from_fn::<f32, 72, _>(|i| (i * i % 7) as f32))?;
/// let targets = Tensor::new([2, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0])?;
/// let first = step.run(&cpu, &x, &targets, 0.1, 0)?.loss;
/// let second = step.run(&cpu, &x, &targets, 0.1, 1)?.loss;
/// assert!(second < first);
/// # Ok::<(), svertka::Error>(())
/// ```
pub struct Step {
    plan: Plan,
    parts: Vec<Part>,
    /// All parameters of the graph, the last one being the gradient of the loss, one.
    parameters: Vec<Tensor>,
    learned: Vec<Learned>,
    /// Parameter and output of each running statistic.
    statistics: Vec<(usize, usize)>,
    optimizer: Optimizer,
    average: Option<Vec<Tensor>>,
    ema: f64,
    clip_norm: f64,
    scratch: Buffer,
}

struct Learned {
    parameter: usize,
    gradient: usize,
    role: Role,
}

/// What a step gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepResult {
    /// Mean loss of the batch.
    pub loss: f32,
    /// Norm of the whole gradient before clipping.
    pub gradient_norm: f64,
}

/// Outputs of the plan before the gradients.
const LOSS: usize = 0;
const LOGITS: usize = 1;

impl Step {
    /// Prepares steps of `batch` pictures. The network's first output is taken as logits, or, where it is a softmax, that one's input.
    ///
    /// # Errors
    /// Where the network gives no row of classes, or an operator has no gradient.
    pub fn new(graph: &Graph, config: &TrainConfig, batch: usize, cpu: &Cpu) -> Result<Self> {
        let training = training_graph(graph, config, batch)?;
        let shapes = training.graph.input_shapes(batch);
        let plan = Plan::with_accuracy(&training.graph, &shapes, Weights::Changing, config.accuracy, cpu)?;
        let mut parameters = graph.parameters().to_vec();
        let average = (config.ema > 0.0).then(|| parameters.clone());
        parameters.push(Tensor::scalar(1.0));
        let sizes: Vec<usize> =
            training.learned.iter().map(|learned| parameters[learned.parameter].data().len()).collect();
        let largest = sizes.iter().copied().max().unwrap_or(0);
        Ok(Self {
            parts: parts(&plan, &training.purposes),
            plan,
            optimizer: Optimizer::new(config.optimizer, config.weight_decay, sizes.into_iter()),
            average,
            parameters,
            learned: training.learned,
            statistics: training.statistics,
            ema: config.ema,
            clip_norm: config.clip_norm,
            scratch: Buffer::zeroed(binary::sum_of_squares_scratch_len(largest)),
        })
    }

    /// One step with learning rate `lr`. Nothing is allocated.
    ///
    /// # Errors
    /// Where the shapes differ from those planned, or the loss is no number any more; the parameters then are as before the step.
    pub fn run(
        &mut self,
        cpu: &Cpu,
        pictures: &Tensor,
        targets: &Tensor,
        lr: f64,
        seed: u64,
    ) -> Result<StepResult> {
        self.run_observed(cpu, pictures, targets, lr, seed, |_, _| {})
    }

    /// As [`Step::run`]; tells `observe` name and time of each of [`Step::parts`].
    ///
    /// # Errors
    /// As [`Step::run`].
    pub fn run_observed(
        &mut self,
        cpu: &Cpu,
        pictures: &Tensor,
        targets: &Tensor,
        lr: f64,
        seed: u64,
        mut observe: impl FnMut(&str, Duration),
    ) -> Result<StepResult> {
        self.plan.run_observed(cpu, &self.parameters, &[pictures, targets], seed, &mut observe)?;
        let start = Instant::now();
        let loss = self.plan.output(LOSS)[0];
        let mut squares = 0.0;
        for learned in &self.learned {
            squares += binary::sum_of_squares(cpu, self.plan.output(learned.gradient), &mut self.scratch);
        }
        let norm = squares.sqrt();
        if !loss.is_finite() || !norm.is_finite() {
            let expected = "a finite loss and gradient (a lower learning rate may help)";
            return Err(Error::argument(
                "train",
                "loss",
                expected,
                format!("loss {loss}, gradient of norm {norm}"),
            ));
        }
        let scale =
            if self.clip_norm > 0.0 && norm > self.clip_norm { (self.clip_norm / norm) as f32 } else { 1.0 };
        self.optimizer.begin_step();
        for (index, learned) in self.learned.iter().enumerate() {
            let gradient = Gradient { values: self.plan.output(learned.gradient), scale, role: learned.role };
            let weight = &mut self.parameters[learned.parameter];
            self.optimizer.update(cpu, index, gradient, lr as f32, weight);
        }
        for &(parameter, output) in &self.statistics {
            self.parameters[parameter].data_mut().copy_from_slice(self.plan.output(output));
        }
        if let Some(average) = &mut self.average {
            // Early on the average follows quickly, or it would long remember the random start.
            let steps = self.optimizer.steps() as f64;
            let decay = self.ema.min((1.0 + steps) / (10.0 + steps)) as f32;
            for (average, parameter) in average.iter_mut().zip(&self.parameters) {
                update::ema(cpu, decay, parameter.data(), average.data_mut());
            }
        }
        observe(UPDATE, start.elapsed());
        Ok(StepResult { loss, gradient_norm: norm })
    }

    /// The logits of the last step, `batch x classes`.
    pub fn logits(&self) -> &[f32] {
        self.plan.output(LOGITS)
    }

    /// The parameters to evaluate and keep: the moving average where there is one.
    pub fn parameters(&self) -> &[Tensor] {
        match &self.average {
            Some(average) => average,
            None => &self.parameters[..self.parameters.len() - 1],
        }
    }

    /// Bytes of the plan's buffers.
    pub fn memory(&self) -> usize {
        self.plan.memory()
    }

    /// What a step consists of, in the order of the work.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// All that changes, in a fixed order, for a checkpoint: parameters, moving average, optimizer.
    pub(super) fn state(&self) -> (u64, Vec<(String, &[f32])>) {
        let own = self.parameters[..self.parameters.len() - 1].iter();
        let mut state: Vec<(String, &[f32])> =
            own.enumerate().map(|(i, tensor)| (format!("parameter.{i}"), tensor.data())).collect();
        let average = self.average.iter().flatten().enumerate();
        state.extend(average.map(|(i, tensor)| (format!("average.{i}"), tensor.data())));
        state.extend(
            self.optimizer.state().enumerate().map(|(i, buffer)| (format!("optimizer.{i}"), &**buffer)),
        );
        (self.optimizer.steps(), state)
    }

    /// Puts back a state; `read` fills each named slice, or says what is wrong.
    pub(super) fn restore(
        &mut self,
        steps: u64,
        read: impl Fn(&str, &mut [f32]) -> Result<()>,
    ) -> Result<()> {
        let own = self.parameters.len() - 1;
        for (i, tensor) in self.parameters[..own].iter_mut().enumerate() {
            read(&format!("parameter.{i}"), tensor.data_mut())?;
        }
        for (i, tensor) in self.average.iter_mut().flatten().enumerate() {
            read(&format!("average.{i}"), tensor.data_mut())?;
        }
        for (i, buffer) in self.optimizer.restore(steps).enumerate() {
            read(&format!("optimizer.{i}"), buffer)?;
        }
        Ok(())
    }
}

struct TrainingGraph {
    /// With placeholders for the network's parameters, which come first among its own. Outputs: loss, logits, then what `learned` and `statistics` name by index.
    graph: Graph,
    learned: Vec<Learned>,
    statistics: Vec<(usize, usize)>,
    purposes: Purposes,
}

/// The value before a final softmax, or the output itself.
pub(crate) fn logits(graph: &Graph) -> Result<Value> {
    let output =
        *graph.outputs.first().ok_or_else(|| Error::argument("train", "network", "an output", "none"))?;
    Ok(match graph.producer(output) {
        Some(node) if *node.op == *(&Softmax::new(1) as &dyn Operator) => node.inputs[0],
        _ => output,
    })
}

fn training_graph(source: &Graph, config: &TrainConfig, batch_size: usize) -> Result<TrainingGraph> {
    let shapes = source.shapes(&source.input_shapes(1))?;
    let logits = logits(source)?;
    let &[_, classes] = shapes[logits.0].as_slice() else {
        return Err(Error::argument(
            "train",
            "network",
            "an output N x classes",
            format!("shape {:?}", shapes[logits.0]),
        ));
    };
    let mut graph = Graph::new();
    let mut map: HashMap<Value, Value> = HashMap::new();
    for input in source.inputs() {
        map.insert(input.value, graph.input(source.name(input.value), input.shape.clone()));
    }
    for (value, tensor) in source.parameter_values().iter().zip(source.parameters()) {
        let placeholder = Tensor::placeholder(tensor.shape().to_vec());
        map.insert(*value, graph.parameter(source.name(*value), placeholder));
    }
    let mut followed = Vec::new();
    let fused = FusedNorms::find(source);
    for (index, node) in source.nodes().iter().enumerate() {
        if fused.absorbed.contains(&index) {
            continue;
        }
        let fused = fused.at.get(&index);
        let made = fused.map_or(node, |fused| &source.nodes()[fused.norm]);
        let form = made.op.training();
        let count = form.as_ref().map_or(made.outputs.len(), |form| form.outputs);
        let op: Arc<dyn Operator> = match (fused, &form) {
            (Some(fused), _) => Arc::new(fused.op),
            (None, Some(form)) => Arc::clone(&form.op),
            (None, None) => Arc::clone(&made.op),
        };
        let residual = fused.and_then(|fused| fused.residual);
        let inputs: Vec<Value> = made.inputs.iter().chain(&residual).map(|value| map[value]).collect();
        let outputs = graph.push(&made.name, op, &inputs, count);
        for (input, output, average) in form.into_iter().flat_map(|form| form.statistics) {
            let name = format!("{}.average{input}", made.name);
            let read = [inputs[input], outputs[output]];
            followed.push((inputs[input], graph.push(&name, Arc::new(average), &read, 1)[0]));
        }
        map.extend(node.outputs.iter().copied().zip(outputs));
    }
    let batch = source.inputs().first().and_then(|input| *input.shape.first()?);
    let targets = graph.input("targets", vec![batch, Some(classes)]);
    let loss = graph.push(
        "loss",
        Arc::new(CrossEntropy { label_smoothing: config.label_smoothing }),
        &[map[&logits], targets],
        2,
    )[0];
    let one = graph.parameter("one", Tensor::placeholder(vec![]));

    let roles = graph.roles();
    let values = graph.parameter_values().to_vec();
    let candidates: Vec<usize> = (0..values.len()).filter(|&i| roles[i].is_learned()).collect();
    let wrt: Vec<Value> = candidates.iter().map(|&i| values[i]).collect();
    let backward = graph.nodes().len();
    let gradients = add_gradients(&mut graph, &[(loss, one)], &wrt)?;
    graph.outputs = vec![loss, map[&logits]];
    let mut learned = Vec::new();
    for (parameter, gradient) in candidates.into_iter().zip(gradients) {
        if let Some(gradient) = gradient {
            learned.push(Learned { parameter, gradient: graph.outputs.len(), role: roles[parameter] });
            graph.outputs.push(gradient);
        }
    }
    let mut statistics = Vec::new();
    for (parameter, value) in followed {
        if let Some(index) = values.iter().position(|candidate| *candidate == parameter) {
            statistics.push((index, graph.outputs.len()));
            graph.outputs.push(value);
        }
    }
    let purposes = purposes(&graph, backward);
    let graph = match config.recompute {
        true => recompute(&graph, backward, batch_size)?,
        false => renormalize(&graph, backward)?,
    };
    Ok(TrainingGraph { graph, learned, statistics, purposes })
}
