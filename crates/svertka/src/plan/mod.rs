//! A graph made ready to run for inputs of fixed shapes: one kernel for each node, a layout for each value, memory shared by values
//! that do not live at the same time.
//!
//! Layouts are assigned from the inputs on: each operator says what its kernel wants ([`Layouts`]), and a reorder is put in only where a
//! value comes in another one. Memory is a set of slots that values share which do not live at the same time; a
//! kernel that can works in place. Nothing is allocated after [`Plan::new`].

mod choice;
mod fusion;
mod planner;
mod slots;

use std::time::{Duration, Instant};

use svertka_kernels::conv::Accuracy;
use svertka_kernels::{Buffer, Cpu};

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::ops::{Inputs, Io, Kernel, Output};
use crate::tensor::Tensor;
use choice::Chooser;
pub use choice::{Choice, PlanOptions};
use fusion::Fusion;
pub(crate) use planner::MAX_ELEMENTS;
use planner::{Planner, needed_nodes};

/// Whether parameters change between runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// They do not: what depends on them alone is computed in the first run and kept.
    Constant,
    /// They do, as in training.
    Changing,
}

/// A graph ready to run for one set of input shapes.
///
/// ```
/// use svertka::{Cpu, Network, Plan, Tensor, Weights};
/// let network = Network::from_text("conv4 relu pool2 linear3", &[1, 6, 8], 0)?.finish();
/// let cpu = Cpu::new(1);
/// let mut plan = Plan::new(&network, &network.input_shapes(2), Weights::Constant, &cpu)?;
/// plan.run(&cpu, network.parameters(), &[&Tensor::zeros([2, 1, 6, 8])], 0)?;
/// assert_eq!(plan.output_shape(0), [2, 3]);
/// assert_eq!(plan.output(0), [0.0; 6]);
/// # Ok::<(), svertka::Error>(())
/// ```
pub struct Plan {
    constant: Vec<ConstantStep>,
    steps: Vec<Step>,
    /// Whether the constant steps have run.
    ready: bool,
    slots: Vec<Buffer>,
    /// What [`Plan::allocate`] gives them.
    slot_lens: Vec<usize>,
    scratch: Buffer,
    /// Outputs of the running step, taken out of their slots.
    taken: Vec<Output>,
    /// Slot, used length and shape of each.
    outputs: Vec<(usize, usize, Vec<usize>)>,
    input_shapes: Vec<Vec<usize>>,
    parameters: usize,
    /// Elements of all memory.
    elements: usize,
}

/// A step whose outputs depend on parameters only.
struct ConstantStep {
    step: Step,
    /// Slots that nothing reads any more.
    release: Vec<usize>,
}

/// What a step of a plan does.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct StepInfo {
    /// The node's name; with `.pack`, `.reorder` or `.copy` behind what the step arranges for its node or value.
    pub name: String,
    /// The operator's name; none where the step only arranges.
    pub op: Option<&'static str>,
    /// Shape of the node's first output.
    pub output_shape: Vec<usize>,
    /// Multiply-accumulates, those on padding counted.
    pub macs: u64,
    /// The way it is computed, where there are several.
    pub algorithm: Option<&'static str>,
}

struct Step {
    info: StepInfo,
    kernel: Kernel,
    inputs: Vec<Location>,
    /// Slot and used length of each output.
    outputs: Vec<(usize, usize)>,
    in_place: bool,
    scratch: usize,
}

/// Where a value lies, and its length.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Location {
    Slot(usize, usize),
    Parameter(usize),
    Input(usize),
}

/// Everything a [`Location`] can point into.
#[derive(Clone, Copy)]
pub(crate) struct Memory<'a> {
    slots: &'a [Buffer],
    parameters: &'a [Tensor],
    inputs: &'a [&'a Tensor],
}

impl<'a> Memory<'a> {
    pub(crate) fn get(self, location: Location) -> &'a [f32] {
        match location {
            Location::Slot(slot, len) => &self.slots[slot][..len],
            Location::Parameter(index) => self.parameters[index].data(),
            Location::Input(index) => self.inputs[index].data(),
        }
    }
}

impl Step {
    /// Takes the slots' new numbers.
    fn settle(&mut self, settled: &[usize]) {
        self.outputs.iter_mut().for_each(|(slot, _)| *slot = settled[*slot]);
        for input in &mut self.inputs {
            if let Location::Slot(slot, _) = input {
                *slot = settled[*slot];
            }
        }
    }

    /// The parameters that it reads.
    fn parameters(&self) -> impl Iterator<Item = usize> {
        self.inputs.iter().filter_map(|location| match location {
            Location::Parameter(index) => Some(*index),
            _ => None,
        })
    }
}

/// The memory that steps work in.
struct Work<'a> {
    slots: &'a mut [Buffer],
    scratch: &'a mut Buffer,
    taken: &'a mut Vec<Output>,
}

impl Work<'_> {
    /// Runs a step whose outputs are yet to get their memory.
    fn make(
        &mut self,
        constant: &mut ConstantStep,
        cpu: &Cpu,
        parameters: &[Tensor],
        observe: &mut impl FnMut(&str, Duration),
    ) {
        for &(slot, len) in &constant.step.outputs {
            if self.slots[slot].len() != len {
                self.slots[slot] = Buffer::zeroed(len);
            }
        }
        self.step(&mut constant.step, cpu, parameters, &[], 0, observe);
        constant.release.iter().for_each(|&slot| self.slots[slot] = Buffer::default());
    }

    fn step(
        &mut self,
        step: &mut Step,
        cpu: &Cpu,
        parameters: &[Tensor],
        inputs: &[&Tensor],
        seed: u64,
        observe: &mut impl FnMut(&str, Duration),
    ) {
        let start = Instant::now();
        let take =
            |&(slot, len): &(usize, usize)| Output { buffer: std::mem::take(&mut self.slots[slot]), len };
        self.taken.extend(step.outputs.iter().map(take));
        let memory = Memory { slots: self.slots, parameters, inputs };
        let mut io = Io {
            inputs: Inputs { locations: &step.inputs, memory },
            outputs: self.taken,
            scratch: &mut self.scratch[..step.scratch],
            in_place: step.in_place,
            seed,
        };
        (step.kernel)(cpu, &mut io);
        for (&(slot, _), output) in step.outputs.iter().zip(self.taken.drain(..)) {
            self.slots[slot] = output.buffer;
        }
        observe(&step.info.name, start.elapsed());
    }
}

impl Plan {
    /// Plans `graph` for inputs of these shapes.
    ///
    /// # Errors
    /// Where the shapes do not fit the graph.
    pub fn new(graph: &Graph, inputs: &[Vec<usize>], weights: Weights, cpu: &Cpu) -> Result<Self> {
        Self::with_accuracy(graph, inputs, weights, Accuracy::Default, cpu)
    }

    /// As [`Plan::new`], with convolutions by those algorithms only that `accuracy` allows.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn with_accuracy(
        graph: &Graph,
        inputs: &[Vec<usize>],
        weights: Weights,
        accuracy: Accuracy,
        cpu: &Cpu,
    ) -> Result<Self> {
        Self::with_options(graph, inputs, weights, &accuracy.into(), cpu)
    }

    /// As [`Plan::with_options`], but for the memory of values: [`Plan::allocate`] must follow, best after [`Plan::prepare`], which needs memory of its
    /// own.
    pub(crate) fn unallocated(
        graph: &Graph,
        inputs: &[Vec<usize>],
        weights: Weights,
        options: &PlanOptions,
        cpu: &Cpu,
    ) -> Result<Self> {
        let fusion = Fusion::new(graph, &needed_nodes(graph), graph.shapes(inputs)?, weights);
        let (nodes, shapes) = fusion.into_nodes();
        let mut planner = Planner::new(graph, shapes, weights, options.accuracy, cpu.threads.count());
        let mut chooser = Chooser::new(options, cpu);
        for node in &nodes {
            let algorithm = chooser.algorithm(node, &planner.shapes)?;
            planner.node(node, algorithm)?;
        }
        chooser.finish()?;
        let mut outputs = Vec::new();
        for value in &graph.outputs {
            outputs.push((planner.output(*value), planner.shapes[value.0].clone()));
        }
        planner.finish(outputs, inputs.to_vec(), graph.parameters().len())
    }

    /// Gives values their memory; constant ones have it already or get it in the first run, unless somebody may look at them before.
    pub(crate) fn allocate(&mut self) {
        let outputs = self.outputs.iter().map(|(slot, len, _)| (*slot, *len));
        for (slot, len) in self.slot_lens.iter().copied().enumerate().chain(outputs) {
            if self.slots[slot].len() < len {
                self.slots[slot] = Buffer::zeroed(len);
            }
        }
    }

    /// Runs the graph. `seed` is for operators that draw random numbers.
    ///
    /// # Errors
    /// Where the inputs have other shapes than planned.
    pub fn run(&mut self, cpu: &Cpu, parameters: &[Tensor], inputs: &[&Tensor], seed: u64) -> Result<()> {
        self.run_observed(cpu, parameters, inputs, seed, |_, _| {})
    }

    /// As [`Plan::run`]; tells `observe` each step's name and time.
    ///
    /// # Errors
    /// As [`Plan::run`].
    pub fn run_observed(
        &mut self,
        cpu: &Cpu,
        parameters: &[Tensor],
        inputs: &[&Tensor],
        seed: u64,
        mut observe: impl FnMut(&str, Duration),
    ) -> Result<()> {
        self.check(parameters, inputs)?;
        let mut work = Work { slots: &mut self.slots, scratch: &mut self.scratch, taken: &mut self.taken };
        let constant = if self.ready { &mut [][..] } else { &mut self.constant[..] };
        for constant in constant {
            work.make(constant, cpu, parameters, &mut observe);
        }
        for step in &mut self.steps {
            work.step(step, cpu, parameters, inputs, seed, &mut observe);
        }
        self.ready = true;
        Ok(())
    }

    /// Does what depends on parameters only, in an order in which each is in memory for as short as can be: `load` gives parameters of which
    /// `parameters` has placeholders, in `memory`, one for all: freed pieces, each too small for the next, would add up. Afterwards it has placeholders for all that the plan does not read in each run.
    ///
    /// # Errors
    /// Where `load` has one.
    pub(crate) fn prepare(
        &mut self,
        cpu: &Cpu,
        parameters: &mut [Tensor],
        mut memory: Buffer,
        load: impl Fn(usize, &mut Buffer) -> Result<Option<Tensor>>,
    ) -> Result<()> {
        let mut work = Work { slots: &mut self.slots, scratch: &mut self.scratch, taken: &mut self.taken };
        for constant in &mut self.constant {
            let mut loaded = vec![];
            for index in constant.step.parameters() {
                if let Some(tensor) = load(index, &mut memory)? {
                    parameters[index] = tensor;
                    loaded.push(index);
                }
            }
            work.make(constant, cpu, parameters, &mut |_, _| {});
            for index in loaded {
                let placeholder = Tensor::placeholder(parameters[index].shape().to_vec());
                let free = std::mem::replace(&mut parameters[index], placeholder).into_buffer();
                if free.capacity() > memory.capacity() {
                    memory = free;
                }
            }
        }
        let mut read = vec![false; parameters.len()];
        for index in self.steps.iter().flat_map(Step::parameters) {
            read[index] = true;
            if let Some(tensor) = load(index, &mut Buffer::default())? {
                parameters[index] = tensor;
            }
        }
        for (tensor, _) in parameters.iter_mut().zip(read).filter(|(_, read)| !read) {
            *tensor = Tensor::placeholder(tensor.shape().to_vec());
        }
        self.ready = true;
        Ok(())
    }

    /// Says that the parameters are others than in the last run.
    pub fn parameters_changed(&mut self) {
        self.ready = false;
    }

    fn check(&self, parameters: &[Tensor], inputs: &[&Tensor]) -> Result<()> {
        if parameters.len() != self.parameters {
            return Err(Error::argument("Plan", "parameters", self.parameters, parameters.len()));
        }
        let planned = self.input_shapes.iter().map(Vec::as_slice);
        if !planned.eq(inputs.iter().map(|tensor| tensor.shape())) {
            let received: Vec<&[usize]> = inputs.iter().map(|tensor| tensor.shape()).collect();
            return Err(Error::argument(
                "Plan",
                "inputs",
                format!("{:?}", self.input_shapes),
                format!("{received:?}"),
            ));
        }
        Ok(())
    }

    /// Output `index` of the last run; zeros before the first.
    ///
    /// # Panics
    /// Where the graph has fewer outputs.
    pub fn output(&self, index: usize) -> &[f32] {
        let (slot, len, _) = &self.outputs[index];
        &self.slots[*slot][..*len]
    }

    /// The shape of output `index`.
    ///
    /// # Panics
    /// Where the graph has fewer outputs.
    pub fn output_shape(&self, index: usize) -> &[usize] {
        &self.outputs[index].2
    }

    /// The steps of each run, in their order. Those whose results are kept ([`Weights::Constant`]) are not among them: the first run has them
    /// before the others.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = &StepInfo> {
        self.steps.iter().map(|step| &step.info)
    }

    /// Bytes of all buffers, parameters and inputs not counted.
    pub fn memory(&self) -> usize {
        self.elements * size_of::<f32>()
    }
}
