//! Which norms of a network take in what follows them when it is trained: a ReLU or another activation of bounds, or a residual and one.
//! Each would be a pass over memory, forward and backward, of almost no arithmetic.

use std::collections::{HashMap, HashSet};

use crate::graph::{Graph, Node, Source, Value};
use crate::ops::{Activate, Add, BatchNorm, BatchNormActivation, is};

/// A norm and what it takes in; it stands in the place of the activation.
pub(super) struct FusedNorm {
    /// Index of the norm's node.
    pub(super) norm: usize,
    pub(super) op: BatchNormActivation,
    pub(super) residual: Option<Value>,
}

/// The fused norms of a graph before it is put in training form.
#[derive(Default)]
pub(super) struct FusedNorms {
    /// By the index of the activation's node.
    pub(super) at: HashMap<usize, FusedNorm>,
    /// Nodes that are part of one: norms and sums.
    pub(super) absorbed: HashSet<usize>,
}

impl FusedNorms {
    pub(super) fn find(graph: &Graph) -> Self {
        let search = Search { graph, readers: readers(graph) };
        let mut fused = Self::default();
        for (index, node) in graph.nodes().iter().enumerate() {
            let Some((norm, sum)) = search.before(node) else { continue };
            fused.absorbed.extend([norm.norm].into_iter().chain(sum));
            fused.at.insert(index, norm);
        }
        fused
    }
}

/// How often each value is read, by nodes and as an output.
fn readers(graph: &Graph) -> Vec<usize> {
    let mut readers = vec![0; graph.value_count()];
    let read = graph.nodes().iter().flat_map(|node| &node.inputs).chain(&graph.outputs);
    read.for_each(|value| readers[value.0] += 1);
    readers
}

struct Search<'a> {
    graph: &'a Graph,
    readers: Vec<usize>,
}

impl Search<'_> {
    /// What the activation `node` would be fused with, and the sum between.
    fn before(&self, node: &Node) -> Option<(FusedNorm, Option<usize>)> {
        let Activate(activation) = is(&node.op)?;
        activation.bounds()?;
        let of = |(norm, op), residual| {
            Some(FusedNorm { norm, op: BatchNormActivation { norm: op, activation }, residual })
        };
        if let Some(norm) = self.norm(node.inputs[0]) {
            return Some((of(norm, None)?, None));
        }
        let sum = self.only_for(node.inputs[0])?;
        let add = &self.graph.nodes()[sum];
        is::<Add>(&add.op)?;
        let &[a, b] = add.inputs.as_slice() else { return None };
        // Of two norms the later one, so that the other's value is there.
        let (norm, residual) = [(b, a), (a, b)]
            .into_iter()
            .filter_map(|(value, residual)| Some((self.norm(value)?, residual)))
            .max_by_key(|((index, _), _)| *index)?;
        Some((of(norm, Some(residual))?, Some(sum)))
    }

    /// The norm that makes `value`, which only one node reads.
    fn norm(&self, value: Value) -> Option<(usize, BatchNorm)> {
        let index = self.only_for(value)?;
        let norm: BatchNorm = is(&self.graph.nodes()[index].op)?;
        (!norm.training).then_some((index, BatchNorm { training: true, ..norm }))
    }

    /// The node that makes `value`, if that is read once only.
    fn only_for(&self, value: Value) -> Option<usize> {
        match self.graph.source(value) {
            Source::Node(index) if self.readers[value.0] == 1 => Some(index),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Network;
    use crate::spec::ConvSpec;
    use crate::tensor::Tensor;
    use crate::train::{Step, TrainConfig};
    use svertka_kernels::Cpu;
    use svertka_kernels::activation::Activation;

    /// A residual block whose shortcut has a norm of its own, and a norm in front of an activation without bounds.
    fn network() -> Graph {
        let mut net = Network::new(&[2, 6, 5], 3);
        let norm = |net: &mut Network, x, channels| {
            let x = net.conv(x, channels, 3, &ConvSpec::new().padding(1).bias(false)).unwrap();
            net.batch_norm(x).unwrap()
        };
        let x = net.input();
        let x = norm(&mut net, x, 9);
        let x = net.relu(x).unwrap();
        let main = norm(&mut net, x, 9);
        let main = net.activation(main, Activation::Clip { min: 0.0, max: 6.0 }).unwrap();
        let main = norm(&mut net, main, 9);
        let shortcut = norm(&mut net, x, 9);
        let x = net.add(main, shortcut).unwrap();
        let x = net.relu(x).unwrap();
        let x = norm(&mut net, x, 4);
        let x = net.activation(x, Activation::Sigmoid).unwrap();
        let x = net.flatten(x).unwrap();
        net.linear(x, 3).unwrap();
        net.finish()
    }

    #[test]
    fn norms_take_in_what_bounds_say_and_what_nobody_else_reads() {
        let graph = network();
        let fused = FusedNorms::find(&graph);
        let mut found: Vec<(usize, usize, bool)> =
            fused.at.iter().map(|(&at, fused)| (at, fused.norm, fused.residual.is_some())).collect();
        found.sort_unstable();
        // Nodes: conv 0, norm 1, relu 2, conv 3, norm 4, relu6 5, conv 6, norm 7, conv 8, norm 9, add 10, relu 11.
        assert_eq!(found, [(2, 1, false), (5, 4, false), (11, 9, true)]);
        let mut absorbed: Vec<usize> = fused.absorbed.into_iter().collect();
        absorbed.sort_unstable();
        assert_eq!(absorbed, [1, 4, 9, 10]);
    }

    #[test]
    fn a_step_has_the_bits_of_one_without_fusion() {
        let fused = network();
        // What is an output too is read twice and stays apart.
        let mut apart = fused.clone();
        apart.outputs.extend(fused.nodes().iter().map(|node| node.outputs[0]));
        assert!(FusedNorms::find(&apart).at.is_empty());
        let pictures =
            Tensor::new([4, 2, 6, 5], &std::array::from_fn::<f32, 240, _>(|i| (i * i % 11) as f32)).unwrap();
        let targets =
            Tensor::new([4, 3], &std::array::from_fn::<f32, 12, _>(|i| f32::from(u8::from(i % 4 == 0))))
                .unwrap();
        for recompute in [false, true] {
            let config = TrainConfig { recompute, ..TrainConfig::default() };
            let parameters = [&fused, &apart].map(|graph| {
                let cpu = Cpu::new(2);
                let mut step = Step::new(graph, &config, 4, &cpu).unwrap();
                for seed in 0..3 {
                    step.run(&cpu, &pictures, &targets, 0.1, seed).unwrap();
                }
                step.parameters()
                    .iter()
                    .flat_map(|p| p.data().iter().map(|v| v.to_bits()))
                    .collect::<Vec<_>>()
            });
            assert_eq!(parameters[0], parameters[1]);
        }
    }
}
