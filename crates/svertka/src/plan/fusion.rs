//! Nodes that one kernel does together: a convolution takes in the batch normalization, the sum and the activation that follow it.
//!
//! Only what nobody else reads is taken in. A sum goes to the later of its two sides, so that the other is there already. Activations and sums
//! give the same bits as nodes of their own; a batch normalization is folded only where weights are constant, and rounds once less.

use std::collections::HashMap;
use std::sync::Arc;

use crate::graph::{Graph, Node, Value};
use crate::ops::{
    Activate, Activation, Add, After, BatchNorm, Conv, ConvTranspose, FoldedBias, FoldedWeight, FusedConv,
    Layer, Mul, Operator, is,
};

use super::Weights;

/// A graph's nodes, some of them made one, and the shapes of all values, new ones among them.
pub(super) struct Fusion {
    weights: Weights,
    shapes: Vec<Vec<usize>>,
    /// How often each value is read; by the outside, too.
    readers: Vec<usize>,
    /// Values that depend on parameters only.
    constant: Vec<bool>,
    /// So far; what has been taken in leaves its place empty.
    nodes: Vec<Option<Node>>,
    /// The place of the node that makes a value.
    maker: HashMap<Value, usize>,
}

impl Fusion {
    /// Looks at the nodes of `order`, one after another.
    pub(super) fn new(graph: &Graph, order: &[usize], shapes: Vec<Vec<usize>>, weights: Weights) -> Self {
        let mut readers = vec![0; shapes.len()];
        graph.outputs.iter().for_each(|value| readers[value.0] += 1);
        let nodes = order.iter().map(|&index| &graph.nodes()[index]);
        nodes.clone().flat_map(|node| &node.inputs).for_each(|value| readers[value.0] += 1);
        let constant = vec![false; shapes.len()];
        let maker = HashMap::new();
        let mut fusion = Self { weights, shapes, readers, constant, nodes: vec![], maker };
        for value in graph.parameter_values() {
            fusion.constant[value.0] = weights == Weights::Constant;
        }
        for node in nodes {
            fusion.add(node.clone());
        }
        fusion
    }

    /// What is left to do.
    pub(super) fn into_nodes(self) -> (Vec<Node>, Vec<Vec<usize>>) {
        (self.nodes.into_iter().flatten().collect(), self.shapes)
    }

    fn add(&mut self, node: Node) {
        let node = self.silu(node);
        let node = self.with_epilogue(node);
        let fused = if let Some(norm) = is::<BatchNorm>(&node.op) {
            self.fold(&node, norm)
        } else if let Some(Activate(function)) = is::<Activate>(&node.op) {
            self.activate(&node, function)
        } else if is::<Add>(&node.op).is_some() {
            self.add_residual(&node)
        } else {
            None
        };
        let node = fused.unwrap_or(node);
        let constant = !node.inputs.is_empty() && node.inputs.iter().all(|value| self.constant[value.0]);
        for value in &node.outputs {
            self.constant[value.0] = constant;
            self.maker.insert(*value, self.nodes.len());
        }
        self.nodes.push(Some(node));
    }

    /// The node in its form that can take in others, if it is a convolution.
    fn with_epilogue(&self, node: Node) -> Node {
        let layer = is::<Conv>(&node.op).map(Layer::Conv);
        let Some(layer) = layer.or_else(|| is::<ConvTranspose>(&node.op).map(Layer::Transposed)) else {
            return node;
        };
        let after = After { bias: node.inputs.len() == 3, ..After::default() };
        Node { op: Arc::new(FusedConv { layer, after }), ..node }
    }

    /// The convolution that makes `value`, if only one node reads it; and its place.
    fn conv(&self, value: Value) -> Option<(usize, FusedConv)> {
        if self.readers[value.0] != 1 {
            return None;
        }
        let &place = self.maker.get(&value)?;
        let conv = is::<FusedConv>(&self.nodes[place].as_ref()?.op)?;
        // Whatever comes after the activation is not ours.
        conv.after.activation.is_none().then_some((place, conv))
    }

    /// Takes the node at `place` away: `conv`, under its name and on its inputs, stands for it and for `last`.
    fn replace(&mut self, place: usize, conv: FusedConv, last: &Node) -> Option<Node> {
        let node = self.nodes[place].take()?;
        Some(Node { op: Arc::new(conv), outputs: last.outputs.clone(), ..node })
    }

    fn activate(&mut self, node: &Node, function: Activation) -> Option<Node> {
        let (place, mut conv) = self.conv(node.inputs[0])?;
        conv.after.activation = Some(function);
        self.replace(place, conv, node)
    }

    fn add_residual(&mut self, node: &Node) -> Option<Node> {
        let sides = [(0, 1), (1, 0)].map(|(i, other)| (self.conv(node.inputs[i]), node.inputs[other]));
        let free = sides.into_iter().filter_map(|(conv, residual)| Some((conv?, residual)));
        let ((place, mut conv), residual) =
            free.filter(|((_, conv), _)| !conv.after.residual).max_by_key(|((place, _), _)| *place)?;
        if residual == *self.nodes[place].as_ref()?.outputs.first()? {
            return None;
        }
        conv.after.residual = true;
        let mut node = self.replace(place, conv, node)?;
        node.inputs.push(residual);
        Some(node)
    }

    fn fold(&mut self, node: &Node, norm: BatchNorm) -> Option<Node> {
        let (place, mut conv) = self.conv(node.inputs[0])?;
        let inputs = self.nodes[place].as_ref()?.inputs.clone();
        let known = inputs[1..].iter().chain(&node.inputs[1..]).all(|value| self.constant[value.0]);
        if self.weights == Weights::Changing || norm.training || conv.after.residual || !known {
            return None;
        }
        let &[_, scale, beta, mean, var] = &node.inputs[..] else { return None };
        let transposed = match conv.layer {
            Layer::Conv(_) => None,
            Layer::Transposed(layer) => Some(layer.groups),
        };
        let weight = FoldedWeight { eps: norm.eps, transposed };
        let weight = self.constant_node(&node.name, "weight", weight, vec![inputs[1], scale, var], inputs[1]);
        let sources = [scale, beta, mean, var].into_iter().chain(inputs.get(2).copied()).collect();
        let bias = self.constant_node(&node.name, "bias", FoldedBias { eps: norm.eps }, sources, scale);
        conv.after.bias = true;
        let fused = self.replace(place, conv, node)?;
        Some(Node { inputs: vec![fused.inputs[0], weight, bias], ..fused })
    }

    /// A new node, and its value, which has the shape of `like`.
    fn constant_node(
        &mut self,
        name: &str,
        part: &str,
        op: impl Operator,
        inputs: Vec<Value>,
        like: Value,
    ) -> Value {
        let value = Value(self.shapes.len());
        self.shapes.push(self.shapes[like.0].clone());
        self.readers.push(1);
        self.constant.push(true);
        let name = format!("{name}.{part}");
        self.nodes.push(Some(Node { name, op: Arc::new(op), inputs, outputs: vec![value] }));
        value
    }

    /// `x sigmoid(x)`, as some exporters write it, is one activation.
    fn silu(&mut self, node: Node) -> Node {
        let gate_of = |gate: Value| {
            let place = *self.maker.get(&gate)?;
            let maker = self.nodes[place].as_ref()?;
            let sigmoid = is::<Activate>(&maker.op)? == Activate(Activation::Sigmoid);
            (sigmoid && self.readers[gate.0] == 1).then_some((place, maker.inputs[0]))
        };
        if is::<Mul>(&node.op).is_none() {
            return node;
        }
        let found = [(0, 1), (1, 0)].into_iter().find_map(|(i, other)| {
            let (place, x) = gate_of(node.inputs[i])?;
            (x == node.inputs[other]).then_some((place, x))
        });
        let Some((place, x)) = found else { return node };
        self.nodes[place] = None;
        self.readers[x.0] -= 1;
        Node { op: Arc::new(Activate(Activation::Silu)), inputs: vec![x], ..node }
    }
}
