//! From a graph to steps: a layout for each value, reorders where they differ, packed inputs, then memory.

use std::collections::HashMap;

use svertka_kernels::Buffer;
use svertka_kernels::conv::{Accuracy, Algorithm};
use svertka_kernels::layout::{blocked_len, to_blocked, to_plain};

use super::slots::Slots;
use super::{ConstantStep, Location, Plan, Step, StepInfo, Weights};
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, Source, Value};
use crate::ops::{Kernel, Layouts, Lowered, Shapes, elements};

/// Numbers that a plan may hold: 64 GiB. A file that asks for more is an error, not an allocation that fails.
pub(crate) const MAX_ELEMENTS: usize = 1 << 34;

/// The nodes that the outputs need, in order.
pub(super) fn needed_nodes(graph: &Graph) -> Vec<usize> {
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
    info: StepInfo,
    kernel: Kernel,
    inputs: Vec<usize>,
    outputs: Vec<usize>,
    /// The input that output 0 may take the place of.
    in_place_of: Option<usize>,
    scratch: usize,
    constant: bool,
}

pub(super) struct Planner<'a> {
    graph: &'a Graph,
    pub(super) shapes: Vec<Vec<usize>>,
    weights: Weights,
    accuracy: Accuracy,
    threads: usize,
    physicals: Vec<Physical>,
    by_value: HashMap<(Value, Layout), usize>,
    steps: Vec<PlannedStep>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        shapes: Vec<Vec<usize>>,
        weights: Weights,
        accuracy: Accuracy,
        threads: usize,
    ) -> Self {
        let (physicals, by_value, steps) = (vec![], HashMap::new(), vec![]);
        Self { graph, shapes, weights, accuracy, threads, physicals, by_value, steps }
    }

    /// Adds a node's steps; with `algorithm` by that one.
    pub(super) fn node(&mut self, node: &Node, algorithm: Option<Algorithm>) -> Result<()> {
        let shapes = std::mem::take(&mut self.shapes);
        let shape =
            |values: &[Value]| values.iter().map(|value| shapes[value.0].as_slice()).collect::<Vec<_>>();
        let (read, made) = (shape(&node.inputs), shape(&node.outputs));
        let around = Shapes { accuracy: self.accuracy, algorithm, ..Shapes::new(&read, &made) };
        let (layouts, lowered) = (node.op.layouts(&around), node.op.lower(&around, self.threads));
        let macs = node.op.macs(&around);
        self.shapes = shapes;
        let Lowered { kernel, scratch, packs, in_place, algorithm } =
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
        let lowered = Lowered { kernel, scratch, in_place, ..Lowered::new(|_, _| {}) };
        let made = self.step(node.name.clone(), lowered, &read, &lens);
        if let Some(PlannedStep { info, .. }) = self.steps.last_mut() {
            let output_shape = node.outputs.first().map_or_else(Vec::new, |y| self.shapes[y.0].clone());
            *info =
                StepInfo { op: Some(node.op.name()), output_shape, macs, algorithm, ..std::mem::take(info) };
        }
        for ((value, layout), physical) in node.outputs.iter().zip(outputs).zip(made) {
            self.by_value.insert((*value, layout), physical);
        }
        Ok(())
    }

    /// A value as an output of the plan: plain, and in a slot, which an input or parameter is copied to.
    pub(super) fn output(&mut self, value: Value) -> usize {
        let physical = self.physical(value, Layout::Plain);
        if matches!(self.physicals[physical].place, Place::Step) {
            return physical;
        }
        let copy = Lowered::new(|_, io| io.outputs[0].copy_from_slice(io.inputs.get(0)));
        let len = self.physicals[physical].len;
        self.step(format!("{}.copy", self.graph.name(value)), copy, &[physical], &[len])[0]
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
        let (inputs, in_place_of) = (inputs.to_vec(), in_place);
        self.steps.push(PlannedStep {
            info: StepInfo { name, ..StepInfo::default() },
            kernel,
            inputs,
            outputs: outputs.clone(),
            in_place_of,
            scratch,
            constant,
        });
        outputs
    }

    /// Gives every value its memory.
    pub(super) fn finish(
        mut self,
        outputs: Vec<(usize, Vec<usize>)>,
        input_shapes: Vec<Vec<usize>>,
        parameters: usize,
    ) -> Result<Plan> {
        for (physical, _) in &outputs {
            self.physicals[*physical].last = usize::MAX;
        }
        // What only constant steps read is let go when they are done.
        let mut kept = vec![false; self.physicals.len()];
        outputs.iter().for_each(|(physical, _)| kept[*physical] = true);
        let running = self.steps.iter().filter(|step| !step.constant);
        running.flat_map(|step| &step.inputs).for_each(|&physical| kept[physical] = true);
        let mut slots = Slots::default();
        let mut slot_of = vec![usize::MAX; self.physicals.len()];
        let (mut constant, mut steps) = (Vec::new(), Vec::<Step>::new());
        for (index, step) in self.steps.into_iter().enumerate() {
            let dies_here = |physical: usize| {
                let physical = &self.physicals[physical];
                physical.last == index
                    && matches!(physical.place, Place::Step)
                    && (!physical.constant || step.constant)
            };
            let replaced = step.in_place_of.map(|input| step.inputs[input]).filter(|&from| {
                let once = step.inputs.iter().filter(|&&input| input == from).count() == 1;
                once && dies_here(from)
                    && !step.constant
                    && self.physicals[from].len == self.physicals[step.outputs[0]].len
            });
            for (i, &output) in step.outputs.iter().enumerate() {
                slot_of[output] = match replaced {
                    Some(from) if i == 0 => slot_of[from],
                    _ => slots.take(self.physicals[output].len, step.constant),
                };
            }
            let locate = |&physical: &usize| match self.physicals[physical].place {
                Place::Parameter(index) => Location::Parameter(index),
                Place::Input(index) => Location::Input(index),
                Place::Step => Location::Slot(slot_of[physical], self.physicals[physical].len),
            };
            let ready = Step {
                info: step.info,
                kernel: step.kernel,
                inputs: step.inputs.iter().map(locate).collect(),
                outputs: step
                    .outputs
                    .iter()
                    .map(|&output| (slot_of[output], self.physicals[output].len))
                    .collect(),
                in_place: replaced.is_some(),
                scratch: step.scratch,
            };
            let mut dead: Vec<usize> = step
                .inputs
                .iter()
                .chain(&step.outputs)
                .copied()
                .filter(|&physical| dies_here(physical))
                .collect();
            dead.sort_unstable();
            dead.dedup();
            // Constant values have slots of their own: they outlive the run that made them.
            if step.constant {
                dead.retain(|&physical| !kept[physical]);
                let release = dead.iter().map(|&physical| slot_of[physical]).collect();
                constant.push(ConstantStep { step: ready, release });
                continue;
            }
            for physical in dead {
                if replaced != Some(physical) {
                    slots.free(slot_of[physical]);
                }
            }
            steps.push(ready);
        }
        let settled = slots.settle();
        slot_of.iter_mut().filter(|slot| **slot != usize::MAX).for_each(|slot| *slot = settled[*slot]);
        steps.iter_mut().for_each(|step| step.settle(&settled));
        for ConstantStep { step, release } in &mut constant {
            step.settle(&settled);
            release.iter_mut().for_each(|slot| *slot = settled[*slot]);
        }
        let outputs = outputs.into_iter();
        let outputs = outputs
            .map(|(physical, shape)| (slot_of[physical], self.physicals[physical].len, shape))
            .collect();
        let all = || steps.iter().chain(constant.iter().map(|constant| &constant.step));
        let scratch = all().map(|step| step.scratch).max().unwrap_or(0);
        let most = all().map(|step| step.outputs.len()).max().unwrap_or(0);
        let elements: usize = slots.lens.iter().sum::<usize>().saturating_add(scratch);
        if elements > MAX_ELEMENTS {
            let expected = format!("at most {MAX_ELEMENTS} numbers in memory at a time");
            return Err(Error::argument("Plan", "inputs", expected, elements));
        }
        // Slots of constant values get their memory when these are made.
        for constant in &constant {
            constant.step.outputs.iter().for_each(|&(slot, _)| slots.lens[slot] = 0);
        }
        Ok(Plan {
            constant,
            steps,
            ready: false,
            slots: vec![Buffer::default(); slots.lens.len()],
            slot_lens: slots.lens,
            scratch: Buffer::zeroed(scratch),
            taken: Vec::with_capacity(most),
            outputs,
            input_shapes,
            parameters,
            elements,
        })
    }
}
