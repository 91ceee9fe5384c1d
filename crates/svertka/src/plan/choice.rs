//! Which algorithm each convolution of a plan gets, of those that its accuracy allows.

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::time::Duration;

use svertka_kernels::Cpu;
use svertka_kernels::conv::{Accuracy, Algorithm};

use super::{Plan, StepInfo, Weights};
use crate::error::{Error, Result};
use crate::graph::{Graph, Node};
use crate::ops::{FusedConv, Shapes, is};
use crate::tensor::Tensor;

/// How a plan chooses among the algorithms of its convolutions. It is about forward passes; gradients go by the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// By a rule over shapes, [`Algorithm::choose`]: the same everywhere.
    #[default]
    Heuristic,
    /// The fastest on this machine: each that comes into question runs some times while the plan is made. Another day it may be another one, with
    /// other last bits of the result; [`Plan::algorithms`] are those to pin.
    Measured,
    /// For each named node this one, and by the rule for the others.
    Pinned(BTreeMap<String, Algorithm>),
}

/// What a plan may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// How much rounding error convolutions may have. [`Accuracy::Strict`] also takes the least memory, since Winograd's filtering has weights four
    /// times as large.
    pub accuracy: Accuracy,
    /// How their algorithms are chosen.
    pub choice: Choice,
}

impl From<Accuracy> for PlanOptions {
    fn from(accuracy: Accuracy) -> Self {
        Self { accuracy, choice: Choice::Heuristic }
    }
}

impl Plan {
    /// As [`Plan::new`], with these options.
    ///
    /// # Errors
    /// As [`Plan::new`], and where an algorithm is pinned for a node that is no convolution, or cannot compute it.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use svertka::kernels::conv::Algorithm;
    /// use svertka::{Choice, Cpu, Network, Plan, PlanOptions, Weights};
    /// let network = Network::from_text("conv16 relu conv16 relu linear3", &[8, 6, 8], 0)?.finish();
    /// let (cpu, shapes) = (Cpu::new(1), network.input_shapes(2));
    /// let measured = PlanOptions { choice: Choice::Measured, ..PlanOptions::default() };
    /// let plan = Plan::with_options(&network, &shapes, Weights::Constant, &measured, &cpu)?;
    /// // On another day, the same bits:
    /// let pinned = PlanOptions { choice: Choice::Pinned(plan.algorithms()), ..PlanOptions::default() };
    /// let again = Plan::with_options(&network, &shapes, Weights::Constant, &pinned, &cpu)?;
    /// assert_eq!(again.algorithms(), plan.algorithms());
    /// # Ok::<(), svertka::Error>(())
    /// ```
    pub fn with_options(
        graph: &Graph,
        inputs: &[Vec<usize>],
        weights: Weights,
        options: &PlanOptions,
        cpu: &Cpu,
    ) -> Result<Self> {
        let mut plan = Self::unallocated(graph, inputs, weights, options, cpu)?;
        plan.allocate();
        Ok(plan)
    }

    /// The algorithm of each convolution's forward pass, by the name of its node: what [`Choice::Pinned`] takes.
    pub fn algorithms(&self) -> BTreeMap<String, Algorithm> {
        let forward = |step: &&StepInfo| step.op.is_some_and(|op| op == "Conv" || op == "ConvTranspose");
        let named = |step: &StepInfo| Some((step.name.clone(), Algorithm::find(step.algorithm?)?));
        self.steps().filter(forward).filter_map(named).collect()
    }
}

/// Runs of which the fastest counts.
const RUNS: usize = 3;

/// Written between two runs, so that a layer finds its weights and inputs in memory or in the last cache, as it does in a network: floats, 32 MiB.
const EVICTED: usize = 8 << 20;

/// Chooses for the nodes of one plan, one after another.
pub(super) struct Chooser<'a> {
    options: &'a PlanOptions,
    cpu: &'a Cpu,
    /// What was measured, by operator and shapes: most networks repeat their layers.
    measured: HashMap<String, Algorithm>,
    eviction: Vec<f32>,
    /// How many nodes got what was pinned.
    pinned: usize,
}

impl<'a> Chooser<'a> {
    pub(super) fn new(options: &'a PlanOptions, cpu: &'a Cpu) -> Self {
        Self { options, cpu, measured: HashMap::new(), eviction: vec![], pinned: 0 }
    }

    /// The algorithm that `node` gets instead of the rule's.
    pub(super) fn algorithm(&mut self, node: &Node, shapes: &[Vec<usize>]) -> Result<Option<Algorithm>> {
        match &self.options.choice {
            Choice::Heuristic => Ok(None),
            Choice::Pinned(pins) => {
                let pin = is::<FusedConv>(&node.op).and_then(|_| pins.get(&node.name)).copied();
                self.pinned += usize::from(pin.is_some());
                Ok(pin)
            }
            Choice::Measured => self.fastest(node, shapes),
        }
    }

    /// Refuses pins of nodes that are no convolutions.
    pub(super) fn finish(&self) -> Result<()> {
        match &self.options.choice {
            Choice::Pinned(pins) if pins.len() != self.pinned => {
                let expected = format!("names of convolutions, of which there are {}", self.pinned);
                let names: Vec<&str> = pins.keys().map(String::as_str).collect();
                Err(Error::argument("Plan", "algorithms", expected, names.join(", ")))
            }
            _ => Ok(()),
        }
    }

    fn fastest(&mut self, node: &Node, shapes: &[Vec<usize>]) -> Result<Option<Algorithm>> {
        let Some(conv) = is::<FusedConv>(&node.op) else { return Ok(None) };
        let read: Vec<&[usize]> = node.inputs.iter().map(|value| shapes[value.0].as_slice()).collect();
        let accuracy = self.options.accuracy;
        let candidates = conv.candidates(&Shapes { accuracy, ..Shapes::new(&read, &[]) })?;
        if candidates.len() < 2 {
            return Ok(None);
        }
        let layer = format!("{conv:?} {read:?}");
        if let Some(&known) = self.measured.get(&layer) {
            return Ok(Some(known));
        }
        let mut fastest = None;
        for algorithm in candidates {
            let time = self.time(node, &read, algorithm)?;
            if fastest.is_none_or(|(best, _)| time < best) {
                fastest = Some((time, algorithm));
            }
        }
        let fastest = fastest.map(|(_, algorithm)| algorithm);
        self.measured.extend(fastest.map(|algorithm| (layer, algorithm)));
        Ok(fastest)
    }

    /// How long the layer takes by itself.
    fn time(&mut self, node: &Node, read: &[&[usize]], algorithm: Algorithm) -> Result<Duration> {
        let mut graph = Graph::new();
        let mut values = Vec::new();
        let (mut inputs, mut shapes) = (Vec::new(), Vec::new());
        let residual = is::<FusedConv>(&node.op).and_then(FusedConv::residual_input);
        for (i, shape) in read.iter().enumerate() {
            let tensor = Tensor::zeros(shape.to_vec());
            values.push(if i == 0 || Some(i) == residual {
                inputs.push(tensor);
                shapes.push(shape.to_vec());
                graph.input("", shape.iter().copied().map(Some).collect())
            } else {
                graph.parameter("", tensor)
            });
        }
        graph.outputs = graph.push(&node.name, node.op.clone(), &values, 1);
        let choice = Choice::Pinned(BTreeMap::from([(node.name.clone(), algorithm)]));
        let options = PlanOptions { accuracy: self.options.accuracy, choice };
        let mut plan = Plan::with_options(&graph, &shapes, Weights::Constant, &options, self.cpu)?;
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        // The first run packs the weights.
        plan.run(self.cpu, graph.parameters(), &inputs, 0)?;
        self.eviction.resize(EVICTED, 0.0);
        let mut fastest = Duration::MAX;
        for _ in 0..RUNS {
            self.eviction.iter_mut().for_each(|value| *value += 1.0);
            black_box(&mut self.eviction);
            // Reorders around the layer are not its own: in a network its neighbours have the same layout.
            let observe = |name: &str, time| {
                if name == node.name {
                    fastest = fastest.min(time);
                }
            };
            plan.run_observed(self.cpu, graph.parameters(), &inputs, 0, observe)?;
        }
        Ok(fastest)
    }
}
