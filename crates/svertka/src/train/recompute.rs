//! Checkpointing of activations (Chen et al., 2016, *Training Deep Nets with Sublinear Memory Cost*): of what the forward pass makes only a part is
//! kept for the backward pass, which computes the rest again. The step's result has the same bits, as the same kernels see the same numbers, and
//! random ones are drawn by an operator's stream, which its copy has too.
//!
//! The forward nodes are cut into segments. What a later segment reads is kept, and all of the last segment, with which the backward pass begins. The
//! other nodes of a segment are put again before the first node of the backward pass that reads any of them, as far as they are read there.

use std::sync::Arc;

use crate::error::Result;
use crate::graph::{Graph, Source, Value};
use crate::ops::elements;
use crate::plan::MAX_ELEMENTS;

/// Behind the name of a node that computes again.
pub(super) const AGAIN: &str = ".again";

/// Most segments that are tried. More than the root of the number of layers costs more in what is kept than it saves.
const MOST_SEGMENTS: usize = 32;

/// The graph with a backward pass, which its nodes from `backward` on are, that computes again what would take memory. Of one segment and more that one
/// is chosen whose values take least memory at once, with `batch` pictures. Inputs, parameters and outputs keep their order.
///
/// # Errors
/// Where shapes do not fit.
pub(super) fn recompute(graph: &Graph, backward: usize, batch: usize) -> Result<Graph> {
    let forward = Forward::new(graph, backward, batch)?;
    let whole: usize = forward.saved.iter().sum();
    let schedules = (1..=MOST_SEGMENTS).map(|count| forward.schedule(&forward.segments(whole / count)));
    let best = schedules.min_by_key(|schedule| forward.most_elements(schedule));
    Ok(forward.graph(&best.unwrap_or_default()))
}

/// Work on a node: the first time or again.
#[derive(Clone, Copy)]
struct Work {
    node: usize,
    again: bool,
}

/// An order of work.
#[derive(Default)]
struct Schedule {
    order: Vec<Work>,
    /// Forward nodes whose results the backward pass takes from the second time.
    twice: Vec<bool>,
}

/// What the forward pass leaves.
struct Forward<'a> {
    graph: &'a Graph,
    /// How many nodes it has; those of the backward pass follow.
    nodes: usize,
    /// Elements of each value.
    elements: Vec<usize>,
    /// Nodes that depend on parameters only.
    constant: Vec<bool>,
    /// Whether the backward pass reads a value.
    read_back: Vec<bool>,
    /// The last forward node that reads a value.
    last_reader: Vec<usize>,
    /// Elements that each node leaves for the backward pass.
    saved: Vec<usize>,
    /// Elements that nodes up to each leave for forward nodes behind it.
    crossing: Vec<usize>,
}

impl<'a> Forward<'a> {
    fn new(graph: &'a Graph, nodes: usize, batch: usize) -> Result<Self> {
        let shapes = graph.shapes(&graph.input_shapes(batch))?;
        // A plan refuses more, and so much in each value adds up without overflow.
        let elements: Vec<usize> = shapes.iter().map(|shape| elements(shape).min(MAX_ELEMENTS)).collect();
        let mut read_back = vec![false; elements.len()];
        graph.nodes()[nodes..].iter().flat_map(|node| &node.inputs).for_each(|v| read_back[v.0] = true);
        let mut last_reader = vec![0; elements.len()];
        let mut constant: Vec<bool> = Vec::with_capacity(nodes);
        for (index, node) in graph.nodes()[..nodes].iter().enumerate() {
            node.inputs.iter().for_each(|v| last_reader[v.0] = index);
            let is_constant = |value: &Value| match graph.source(*value) {
                Source::Input(_) => false,
                Source::Parameter(_) => true,
                Source::Node(maker) => constant[maker],
            };
            constant.push(!node.inputs.is_empty() && node.inputs.iter().all(is_constant));
        }
        let (mut saved, mut ends) = (vec![0; nodes], vec![0; nodes]);
        let mut crossing = Vec::with_capacity(nodes);
        let mut live = 0;
        for (index, node) in graph.nodes()[..nodes].iter().enumerate() {
            for value in node.outputs.iter().filter(|_| !constant[index]) {
                saved[index] += if read_back[value.0] { elements[value.0] } else { 0 };
                if last_reader[value.0] > index {
                    live += elements[value.0];
                    ends[last_reader[value.0]] += elements[value.0];
                }
            }
            live -= ends[index];
            crossing.push(live);
        }
        Ok(Self { graph, nodes, elements, constant, read_back, last_reader, saved, crossing })
    }

    /// The segment of each node. Each but the last leaves between half of `limit` and `limit` where nodes are small enough, and ends where the
    /// least crosses.
    fn segments(&self, limit: usize) -> Vec<usize> {
        let mut segments = vec![0; self.nodes];
        let mut start = 0;
        while let Some(end) = self.end(start, limit) {
            segments[end + 1..].iter_mut().for_each(|segment| *segment += 1);
            start = end + 1;
        }
        segments
    }

    /// The last node of a segment that begins at `start`; none where it is the last segment.
    fn end(&self, start: usize, limit: usize) -> Option<usize> {
        let (mut sum, mut best): (usize, Option<usize>) = (0, None);
        for node in start..self.nodes {
            sum += self.saved[node];
            if sum > limit && best.is_some() {
                return best;
            }
            let least = best.is_none_or(|best| self.crossing[node] <= self.crossing[best]);
            if sum >= limit / 2 && least {
                best = Some(node);
            }
        }
        None
    }

    fn schedule(&self, segments: &[usize]) -> Schedule {
        let (nodes, last) = (self.graph.nodes(), segments.last().copied().unwrap_or(0));
        let (mut twice, mut read) = (vec![false; self.nodes], self.read_back.clone());
        for (index, node) in nodes[..self.nodes].iter().enumerate().rev() {
            let crosses = |value: &Value| segments[self.last_reader[value.0]] > segments[index];
            let kept = segments[index] == last || self.constant[index] || node.outputs.iter().any(crosses);
            if !kept && node.outputs.iter().any(|value| read[value.0]) {
                twice[index] = true;
                node.inputs.iter().for_each(|value| read[value.0] = true);
            }
        }
        let mut order: Vec<Work> = (0..self.nodes).map(|node| Work { node, again: false }).collect();
        let mut done = vec![false; last + 1];
        for (index, node) in nodes.iter().enumerate().skip(self.nodes) {
            for value in &node.inputs {
                if let Source::Node(maker) = self.graph.source(*value)
                    && maker < self.nodes
                    && twice[maker]
                    && !std::mem::replace(&mut done[segments[maker]], true)
                {
                    let again = (0..self.nodes).filter(|&n| twice[n] && segments[n] == segments[maker]);
                    order.extend(again.map(|node| Work { node, again: true }));
                }
            }
            order.push(Work { node: index, again: false });
        }
        Schedule { order, twice }
    }

    /// Whether `work` reads `value` as it was made again.
    fn reads_again(&self, schedule: &Schedule, work: Work, value: Value) -> bool {
        let late = work.again || work.node >= self.nodes;
        late && matches!(self.graph.source(value), Source::Node(maker) if maker < self.nodes && schedule.twice[maker])
    }

    /// Most elements that nodes' values have at a time.
    fn most_elements(&self, schedule: &Schedule) -> usize {
        let count = self.elements.len();
        // Values made again stand behind the others.
        let place = |value: Value, again: bool| value.0 + if again { count } else { 0 };
        let mut last = vec![0; 2 * count];
        for (step, &work) in schedule.order.iter().enumerate() {
            let node = &self.graph.nodes()[work.node];
            node.outputs.iter().for_each(|&value| last[place(value, work.again)] = step);
            for &value in &node.inputs {
                last[place(value, self.reads_again(schedule, work, value))] = step;
            }
        }
        self.graph.outputs.iter().for_each(|&value| last[place(value, false)] = schedule.order.len());
        let mut ends = vec![0; schedule.order.len() + 1];
        let (mut live, mut most) = (0, 0);
        for (step, work) in schedule.order.iter().enumerate() {
            for &value in &self.graph.nodes()[work.node].outputs {
                live += self.elements[value.0];
                ends[last[place(value, work.again)]] += self.elements[value.0];
            }
            most = most.max(live);
            live -= ends[step];
        }
        most
    }

    fn graph(&self, schedule: &Schedule) -> Graph {
        let (old, mut new) = (self.graph, Graph::new());
        let mut first = vec![None; self.elements.len()];
        let mut again = first.clone();
        for input in old.inputs() {
            first[input.value.0] = Some(new.input(old.name(input.value), input.shape.clone()));
        }
        for (value, tensor) in old.parameter_values().iter().zip(old.parameters()) {
            first[value.0] = Some(new.parameter(old.name(*value), tensor.clone()));
        }
        for &work in &schedule.order {
            let node = &old.nodes()[work.node];
            let made = |value: &Value| {
                let values = if self.reads_again(schedule, work, *value) { &again } else { &first };
                values[value.0].expect("what is read was made before")
            };
            let inputs: Vec<Value> = node.inputs.iter().map(made).collect();
            let (name, values) = match work.again {
                true => (format!("{}{AGAIN}", node.name), &mut again),
                false => (node.name.clone(), &mut first),
            };
            let outputs = new.push(&name, Arc::clone(&node.op), &inputs, node.outputs.len());
            node.outputs.iter().zip(outputs).for_each(|(old, new)| values[old.0] = Some(new));
        }
        new.outputs = old.outputs.iter().filter_map(|value| first[value.0]).collect();
        new
    }
}
