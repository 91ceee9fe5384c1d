//! What a batch normalization makes, and an activation behind it, is not kept for the backward pass: from the normalization's input, which is kept
//! for its own gradient, two short passes make the same bits again. In networks of convolution, norm and activation that is half of what would be kept.
//! Behind layers of little arithmetic, depthwise ones and narrow pointwise ones, two passes are much beside the layer: what their norms make is kept.

use std::collections::HashMap;
use std::sync::Arc;

use super::recompute::AGAIN;
use crate::error::Result;
use crate::graph::{Graph, Source, Value};
use crate::ops::{Activate, BatchNorm, BatchNormActivation, NormalizeAgain, Shapes, elements, is};

/// Multiply-accumulates for an element of a layer's output, from which on making its norm again is short beside the layer and its gradients.
const LONG_LAYER: u64 = 64;

/// The graph with a backward pass, which its nodes from `backward` on are, that normalizes again. Inputs, parameters and outputs keep their order.
///
/// # Errors
/// Where shapes do not fit.
pub(super) fn renormalize(graph: &Graph, backward: usize) -> Result<Graph> {
    let shapes = graph.shapes(&graph.input_shapes(1))?;
    let (first, values) = (HashMap::new(), HashMap::new());
    let mut again = Again { old: graph, shapes, backward, new: Graph::new(), first, again: values };
    for input in graph.inputs() {
        let value = again.new.input(graph.name(input.value), input.shape.clone());
        again.first.insert(input.value, value);
    }
    for (value, tensor) in graph.parameter_values().iter().zip(graph.parameters()) {
        let parameter = again.new.parameter(graph.name(*value), tensor.clone());
        again.first.insert(*value, parameter);
    }
    for (index, node) in graph.nodes().iter().enumerate() {
        let mut read =
            |value: &Value| if index < backward { again.first[value] } else { again.value(*value) };
        let inputs: Vec<Value> = node.inputs.iter().map(&mut read).collect();
        let outputs = again.new.push(&node.name, Arc::clone(&node.op), &inputs, node.outputs.len());
        again.first.extend(node.outputs.iter().copied().zip(outputs));
    }
    again.new.outputs = graph.outputs.iter().map(|value| again.first[value]).collect();
    Ok(again.new)
}

struct Again<'a> {
    old: &'a Graph,
    /// Of its values, for a batch of one.
    shapes: Vec<Vec<usize>>,
    backward: usize,
    new: Graph,
    /// Values of the new graph for those of the old one.
    first: HashMap<Value, Value>,
    /// Those that have been made again.
    again: HashMap<Value, Value>,
}

impl Again<'_> {
    /// What the backward pass reads for `value`.
    fn value(&mut self, value: Value) -> Value {
        if let Some(&again) = self.again.get(&value) {
            return again;
        }
        let again = self.make(value).unwrap_or_else(|| self.first[&value]);
        self.again.insert(value, again);
        again
    }

    /// Whether a layer of much arithmetic makes `value`.
    fn behind_long_layer(&self, value: Value) -> bool {
        self.old.producer(value).is_some_and(|layer| {
            let shape = |value: &Value| self.shapes[value.0].as_slice();
            let inputs: Vec<&[usize]> = layer.inputs.iter().map(shape).collect();
            let outputs: Vec<&[usize]> = layer.outputs.iter().map(shape).collect();
            let macs = layer.op.macs(&Shapes::new(&inputs, &outputs));
            macs >= LONG_LAYER.saturating_mul(elements(outputs[0]) as u64)
        })
    }

    /// The value made again, if a norm makes it or an activation of one.
    fn make(&mut self, value: Value) -> Option<Value> {
        let old = self.old;
        let Source::Node(index) = old.source(value) else { return None };
        let node = &old.nodes()[index];
        let name = format!("{}{AGAIN}", node.name);
        if index >= self.backward {
            return None;
        }
        let fused = is::<BatchNormActivation>(&node.op);
        let norm = fused
            .map(|fused| fused.norm)
            .or_else(|| is(&node.op))
            .is_some_and(|norm: BatchNorm| norm.training);
        if norm && value == node.outputs[0] {
            let has_residual = node.inputs.len() > BatchNormActivation::RESIDUAL;
            if has_residual || !self.behind_long_layer(node.inputs[0]) {
                return None;
            }
            let [x, scale, bias] = [0, 1, 2].map(|i| self.first[&node.inputs[i]]);
            let [mean, inv_std] = [1, 2].map(|i| self.first[&node.outputs[i]]);
            let again = NormalizeAgain { activation: fused.map(|fused| fused.activation) };
            return Some(self.new.push(&name, Arc::new(again), &[x, scale, bias, mean, inv_std], 1)[0]);
        }
        is::<Activate>(&node.op)?;
        let normalized = self.value(node.inputs[0]);
        // Where that was kept, so is this.
        let kept = normalized == self.first[&node.inputs[0]];
        (!kept).then(|| self.new.push(&name, Arc::clone(&node.op), &[normalized], 1)[0])
    }
}
