//! A graph made ready to run for inputs of fixed shapes: one kernel for each node, a layout for each value, memory shared by values
//! that do not live at the same time.
//!
//! Layouts are assigned from the inputs on: each operator says what its kernel wants ([`Layouts`]), and a reorder is put in only where a
//! value comes in another one. Memory is a set of slots. A value takes the smallest free slot that holds it, or enlarges the largest; a
//! kernel that can works in place. Nothing is allocated after [`Plan::new`].

use std::collections::HashMap;
use std::time::{Duration, Instant};

use svertka_kernels::layout::{blocked_len, to_blocked, to_plain};
use svertka_kernels::{Buffer, Cpu};

use crate::error::{Error, Result};
use crate::graph::{Graph, Source, Value};
use crate::ops::{Inputs, Io, Kernel, Layouts, Lowered, Output, Shapes, elements};
use crate::tensor::Tensor;

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
    constant: Vec<Step>,
    steps: Vec<Step>,
    /// Whether the constant steps have run.
    ready: bool,
    slots: Vec<Buffer>,
    scratch: Buffer,
    /// Outputs of the running step, taken out of their slots.
    taken: Vec<Output>,
    outputs: Vec<(Location, Vec<usize>)>,
    input_shapes: Vec<Vec<usize>>,
    parameters: usize,
}

struct Step {
    name: String,
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

impl Plan {
    /// Plans `graph` for inputs of these shapes.
    ///
    /// # Errors
    /// Where the shapes do not fit the graph.
    pub fn new(graph: &Graph, inputs: &[Vec<usize>], weights: Weights, cpu: &Cpu) -> Result<Self> {
        let mut planner = Planner::new(graph, graph.shapes(inputs)?, weights, cpu.threads.count());
        let order = needed_nodes(graph);
        for index in order {
            planner.node(index)?;
        }
        let mut outputs = Vec::new();
        for value in &graph.outputs {
            outputs.push((planner.physical(*value, Layout::Plain), planner.shapes[value.0].clone()));
        }
        Ok(planner.finish(outputs, inputs.to_vec(), graph.parameters().len()))
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
        let constant = if self.ready { &mut [][..] } else { &mut self.constant[..] };
        for step in constant.iter_mut().chain(&mut self.steps) {
            let start = Instant::now();
            self.taken.extend(
                step.outputs
                    .iter()
                    .map(|&(slot, len)| Output { buffer: std::mem::take(&mut self.slots[slot]), len }),
            );
            let memory = Memory { slots: &self.slots, parameters, inputs };
            let mut io = Io {
                inputs: Inputs { locations: &step.inputs, memory },
                outputs: &mut self.taken,
                scratch: &mut self.scratch[..step.scratch],
                in_place: step.in_place,
                seed,
            };
            (step.kernel)(cpu, &mut io);
            for (&(slot, _), output) in step.outputs.iter().zip(self.taken.drain(..)) {
                self.slots[slot] = output.buffer;
            }
            observe(&step.name, start.elapsed());
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
        let received: Vec<&[usize]> = inputs.iter().map(|tensor| tensor.shape()).collect();
        if received != self.input_shapes {
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
    /// Where the graph has fewer outputs, or its output is an input or parameter.
    pub fn output(&self, index: usize) -> &[f32] {
        match self.outputs[index].0 {
            Location::Slot(slot, len) => &self.slots[slot][..len],
            _ => panic!("output {index} is computed by no node"),
        }
    }

    /// The shape of output `index`.
    ///
    /// # Panics
    /// Where the graph has fewer outputs.
    pub fn output_shape(&self, index: usize) -> &[usize] {
        &self.outputs[index].1
    }

    /// Bytes of all buffers, parameters and inputs not counted.
    pub fn memory(&self) -> usize {
        let elements: usize =
            self.slots.iter().map(|slot| slot.capacity()).sum::<usize>() + self.scratch.capacity();
        elements * size_of::<f32>()
    }
}

fn needed_nodes(graph: &Graph) -> Vec<usize> {
    let mut needed = vec![false; graph.value_count()];
    graph.outputs.iter().for_each(|value| needed[value.0] = true);
    let mut order = Vec::new();
    for (index, node) in graph.nodes().iter().enumerate().rev() {
        if node.outputs.iter().any(|value| needed[value.0]) {
            node.inputs.iter().for_each(|value| needed[value.0] = true);
            order.push(index);
        }
    }
    order.reverse();
    order
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Layout {
    Plain,
    Blocked,
}

/// A value in one layout.
struct Physical {
    len: usize,
    place: Place,
    /// Depends on parameters that do not change.
    constant: bool,
    /// The last step that reads it.
    last: usize,
}

#[derive(Clone, Copy)]
enum Place {
    Parameter(usize),
    Input(usize),
    Step,
}

struct PlannedStep {
    name: String,
    kernel: Kernel,
    inputs: Vec<usize>,
    outputs: Vec<usize>,
    may_work_in_place: bool,
    scratch: usize,
    constant: bool,
}

struct Planner<'a> {
    graph: &'a Graph,
    shapes: Vec<Vec<usize>>,
    weights: Weights,
    threads: usize,
    physicals: Vec<Physical>,
    by_value: HashMap<(Value, Layout), usize>,
    steps: Vec<PlannedStep>,
}

impl<'a> Planner<'a> {
    fn new(graph: &'a Graph, shapes: Vec<Vec<usize>>, weights: Weights, threads: usize) -> Self {
        Self { graph, shapes, weights, threads, physicals: vec![], by_value: HashMap::new(), steps: vec![] }
    }

    fn node(&mut self, index: usize) -> Result<()> {
        let node = &self.graph.nodes()[index];
        let shapes = std::mem::take(&mut self.shapes);
        let shape =
            |values: &[Value]| values.iter().map(|value| shapes[value.0].as_slice()).collect::<Vec<_>>();
        let (read, made) = (shape(&node.inputs), shape(&node.outputs));
        let around = Shapes { inputs: &read, outputs: &made };
        let (layouts, lowered) = (node.op.layouts(&around), node.op.lower(&around, self.threads));
        self.shapes = shapes;
        let Lowered { kernel, scratch, packs, in_place } =
            lowered.map_err(|error| error.within(&node.name))?;

        let same = || {
            let blocked = |value: &Value| self.by_value.contains_key(&(*value, Layout::Blocked));
            if node.inputs.iter().any(blocked) { Layout::Blocked } else { Layout::Plain }
        };
        let (inputs, outputs): (Vec<Layout>, Vec<Layout>) = match layouts {
            Layouts::Plain => {
                (vec![Layout::Plain; node.inputs.len()], vec![Layout::Plain; node.outputs.len()])
            }
            Layouts::AllBlocked => {
                (vec![Layout::Blocked; node.inputs.len()], vec![Layout::Blocked; node.outputs.len()])
            }
            Layouts::Same => (vec![same(); node.inputs.len()], vec![same(); node.outputs.len()]),
            Layouts::Blocked { inputs, outputs } => {
                let pick = |list: &[usize], count| {
                    let layout = |i| if list.contains(&i) { Layout::Blocked } else { Layout::Plain };
                    (0..count).map(layout).collect()
                };
                (pick(inputs, node.inputs.len()), pick(outputs, node.outputs.len()))
            }
        };
        let mut read: Vec<usize> =
            node.inputs.iter().zip(inputs).map(|(value, layout)| self.physical(*value, layout)).collect();
        for pack in packs {
            let name = format!("{}.pack", node.name);
            read[pack.input] = self.step(
                name,
                Lowered { kernel: pack.kernel, ..Lowered::new(|_, _| {}) },
                &[read[pack.input]],
                &[pack.len],
            )[0];
        }
        let lens: Vec<usize> =
            node.outputs.iter().zip(&outputs).map(|(value, layout)| self.len(*value, *layout)).collect();
        let made =
            self.step(node.name.clone(), Lowered { kernel, scratch, packs: vec![], in_place }, &read, &lens);
        for ((value, layout), physical) in node.outputs.iter().zip(outputs).zip(made) {
            self.by_value.insert((*value, layout), physical);
        }
        Ok(())
    }

    /// Elements of a value in a layout.
    fn len(&self, value: Value, layout: Layout) -> usize {
        let shape = &self.shapes[value.0];
        match layout {
            Layout::Plain => elements(shape),
            Layout::Blocked => blocked_len(shape[0], shape[1], elements(&shape[2..])),
        }
    }

    /// The value in this layout, reordered if it only exists in the other.
    fn physical(&mut self, value: Value, layout: Layout) -> usize {
        if let Some(&physical) = self.by_value.get(&(value, layout)) {
            return physical;
        }
        let other = if layout == Layout::Plain { Layout::Blocked } else { Layout::Plain };
        let from = match (self.by_value.get(&(value, other)), self.graph.source(value)) {
            (Some(&physical), _) => physical,
            (None, Source::Input(index)) => self.outside(value, Place::Input(index), false),
            (None, Source::Parameter(index)) => {
                self.outside(value, Place::Parameter(index), self.weights == Weights::Constant)
            }
            (None, Source::Node(_)) => unreachable!("nodes come after what they read"),
        };
        if let Some(&physical) = self.by_value.get(&(value, layout)) {
            return physical;
        }
        let shape = &self.shapes[value.0];
        let (batch, channels, pixels) = (shape[0], shape[1], elements(&shape[2..]));
        let kernel: Kernel = match layout {
            Layout::Blocked => Box::new(move |cpu, io| {
                to_blocked(batch, channels, pixels, io.inputs.get(0), &mut io.outputs[0], cpu);
            }),
            Layout::Plain => Box::new(move |cpu, io| {
                to_plain(batch, channels, pixels, io.inputs.get(0), &mut io.outputs[0], cpu);
            }),
        };
        let len = self.len(value, layout);
        let name = format!("{}.reorder", self.graph.name(value));
        let made = self.step(name, Lowered { kernel, ..Lowered::new(|_, _| {}) }, &[from], &[len])[0];
        self.by_value.insert((value, layout), made);
        made
    }

    fn outside(&mut self, value: Value, place: Place, constant: bool) -> usize {
        let len = elements(&self.shapes[value.0]);
        self.physicals.push(Physical { len, place, constant, last: 0 });
        self.by_value.insert((value, Layout::Plain), self.physicals.len() - 1);
        self.physicals.len() - 1
    }

    fn step(&mut self, name: String, lowered: Lowered, inputs: &[usize], lens: &[usize]) -> Vec<usize> {
        let index = self.steps.len();
        let constant = !inputs.is_empty() && inputs.iter().all(|&physical| self.physicals[physical].constant);
        inputs.iter().for_each(|&physical| self.physicals[physical].last = index);
        let first = self.physicals.len();
        let place = Place::Step;
        self.physicals.extend(lens.iter().map(|&len| Physical { len, place, constant, last: index }));
        let outputs: Vec<usize> = (first..self.physicals.len()).collect();
        let Lowered { kernel, scratch, in_place, .. } = lowered;
        let (inputs, may_work_in_place) = (inputs.to_vec(), in_place);
        self.steps.push(PlannedStep {
            name,
            kernel,
            inputs,
            outputs: outputs.clone(),
            may_work_in_place,
            scratch,
            constant,
        });
        outputs
    }

    /// Gives every value its memory.
    fn finish(
        mut self,
        outputs: Vec<(usize, Vec<usize>)>,
        input_shapes: Vec<Vec<usize>>,
        parameters: usize,
    ) -> Plan {
        for (physical, _) in &outputs {
            self.physicals[*physical].last = usize::MAX;
        }
        let mut slots = Slots::default();
        let mut slot_of = vec![usize::MAX; self.physicals.len()];
        let (mut constant, mut steps) = (Vec::new(), Vec::new());
        for (index, step) in self.steps.into_iter().enumerate() {
            let dies_here = |physical: usize| {
                let physical = &self.physicals[physical];
                physical.last == index
                    && matches!(physical.place, Place::Step)
                    && (!physical.constant || step.constant)
            };
            let in_place = step.may_work_in_place && {
                let (from, to) = (step.inputs[0], step.outputs[0]);
                let once = step.inputs.iter().filter(|&&input| input == from).count() == 1;
                once && dies_here(from)
                    && !step.constant
                    && self.physicals[from].len == self.physicals[to].len
            };
            for (i, &output) in step.outputs.iter().enumerate() {
                slot_of[output] = if i == 0 && in_place {
                    slot_of[step.inputs[0]]
                } else {
                    slots.take(self.physicals[output].len, step.constant)
                };
            }
            let locate = |&physical: &usize| match self.physicals[physical].place {
                Place::Parameter(index) => Location::Parameter(index),
                Place::Input(index) => Location::Input(index),
                Place::Step => Location::Slot(slot_of[physical], self.physicals[physical].len),
            };
            let ready = Step {
                name: step.name,
                kernel: step.kernel,
                inputs: step.inputs.iter().map(locate).collect(),
                outputs: step
                    .outputs
                    .iter()
                    .map(|&output| (slot_of[output], self.physicals[output].len))
                    .collect(),
                in_place,
                scratch: step.scratch,
            };
            // Constant values keep their slots: they must outlive the run that made them.
            if step.constant {
                constant.push(ready);
                continue;
            }
            let mut dead: Vec<usize> = step
                .inputs
                .iter()
                .chain(&step.outputs)
                .copied()
                .filter(|&physical| dies_here(physical))
                .collect();
            dead.sort_unstable();
            dead.dedup();
            for physical in dead {
                if !(in_place && physical == step.inputs[0]) {
                    slots.free(slot_of[physical]);
                }
            }
            steps.push(ready);
        }
        let locate = |physical: usize| match self.physicals[physical].place {
            Place::Parameter(index) => Location::Parameter(index),
            Place::Input(index) => Location::Input(index),
            Place::Step => Location::Slot(slot_of[physical], self.physicals[physical].len),
        };
        let outputs = outputs.into_iter().map(|(physical, shape)| (locate(physical), shape)).collect();
        let scratch = steps.iter().chain(&constant).map(|step| step.scratch).max().unwrap_or(0);
        let most = steps.iter().chain(&constant).map(|step| step.outputs.len()).max().unwrap_or(0);
        Plan {
            constant,
            steps,
            ready: false,
            slots: slots.lens.iter().map(|&len| Buffer::zeroed(len)).collect(),
            scratch: Buffer::zeroed(scratch),
            taken: Vec::with_capacity(most),
            outputs,
            input_shapes,
            parameters,
        }
    }
}

/// Slots while memory is assigned.
#[derive(Default)]
struct Slots {
    lens: Vec<usize>,
    free: Vec<usize>,
}

impl Slots {
    /// The smallest free slot that holds `len`; else the largest free one, enlarged; else a new one. `alone` asks for a new one.
    fn take(&mut self, len: usize, alone: bool) -> usize {
        let lens = &self.lens;
        let fits = self
            .free
            .iter()
            .copied()
            .filter(|&slot| lens[slot] >= len)
            .min_by_key(|&slot| (lens[slot], slot));
        let chosen = fits.or_else(|| self.free.iter().copied().max_by_key(|&slot| (lens[slot], slot)));
        match chosen {
            Some(slot) if !alone => {
                self.free.retain(|&free| free != slot);
                self.lens[slot] = self.lens[slot].max(len);
                slot
            }
            _ => {
                self.lens.push(len);
                self.lens.len() - 1
            }
        }
    }

    fn free(&mut self, slot: usize) {
        self.free.push(slot);
    }
}
