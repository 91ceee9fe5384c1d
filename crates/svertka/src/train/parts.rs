//! What the parts of a training step are for, so that their times can be told by layer and direction.

use std::collections::HashMap;

use super::recompute::AGAIN;
use crate::graph::{Graph, Source};
use crate::ops::{Add, MovingAverage, Operator};
use crate::plan::{Plan, StepInfo};

/// The direction in which a part of a step works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// From pictures to loss.
    Forward,
    /// Forward once more, of what was not kept ([`TrainConfig::recompute`](super::TrainConfig::recompute)).
    Recomputation,
    /// From the loss back to a layer's input, its parameters' gradients included where one kernel makes both.
    InputGradient,
    /// To the gradients of a layer's parameters alone.
    WeightGradient,
    /// Of parameters, optimizer and averages.
    Update,
}

/// A part of a step: a step of the plan, or the update behind it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Part {
    /// What is computed.
    #[serde(flatten)]
    pub info: StepInfo,
    /// The node of the network that it belongs to; what is only arranged belongs to the node that it is arranged for.
    pub layer: String,
    /// That node's operator; `Add` of the sum of two gradients, `pack`, `reorder`, `copy` and `update` of what is no operator's own work.
    pub kind: String,
    /// Its direction.
    pub pass: Pass,
}

/// Layer, operator and direction of each node, by name.
pub(super) type Purposes = HashMap<String, (String, &'static str, Pass)>;

/// Of a graph whose nodes from `backward` on are those of the gradients, as [`add_gradients`](crate::gradient::add_gradients) names them.
pub(super) fn purposes(graph: &Graph, backward: usize) -> Purposes {
    let mut purposes = Purposes::new();
    let mut layers = vec![""; graph.nodes().len()];
    let average = MovingAverage { momentum: 0.0 }.name();
    for (layer, node) in layers.iter_mut().zip(graph.nodes()).take(backward) {
        // A running statistic follows what its norm makes.
        let followed = node.inputs.last().filter(|_| node.op.name() == average);
        *layer = followed.and_then(|value| graph.producer(*value)).map_or(&node.name, |norm| &norm.name);
        purposes.insert(node.name.clone(), ((*layer).to_owned(), node.op.name(), Pass::Forward));
    }
    for (index, node) in graph.nodes().iter().enumerate().skip(backward) {
        layers[index] = node.name.strip_suffix(&format!(".{}_{index}", node.op.name())).unwrap_or(&node.name);
    }
    // Whether a value is a gradient that another layer goes on with.
    let mut leads_on = vec![false; graph.value_count()];
    for (index, node) in graph.nodes().iter().enumerate().skip(backward).rev() {
        let layer = layers[index];
        let back = node.outputs.iter().any(|value| leads_on[value.0]);
        for value in &node.inputs {
            let maker = match graph.source(*value) {
                Source::Node(maker) => layers[maker],
                _ => continue,
            };
            leads_on[value.0] |= back || maker != layer;
        }
        let sum = node.op.name() == Add.name();
        let kind = purposes.get(layer).filter(|_| !sum).map_or(node.op.name(), |(_, kind, _)| kind);
        let pass = if back { Pass::InputGradient } else { Pass::WeightGradient };
        purposes.insert(node.name.clone(), (layer.to_owned(), kind, pass));
    }
    purposes
}

/// The parts in the order of their work.
pub(super) fn parts(plan: &Plan, purposes: &Purposes) -> Vec<Part> {
    let update = |name: &str, pass| Part {
        info: StepInfo { name: name.to_owned(), ..StepInfo::default() },
        layer: name.to_owned(),
        kind: name.to_owned(),
        pass,
    };
    let mut parts = vec![update(UPDATE, Pass::Update)];
    // From the end, as what arranges stands before what it is for. Behind the last operator outputs are put in order: gradients.
    let mut around = ("outputs".to_owned(), Pass::WeightGradient);
    for info in plan.steps().collect::<Vec<_>>().into_iter().rev() {
        let mut kind = info.name.rsplit('.').next().unwrap_or_default();
        if let Some(op) = info.op {
            kind = op;
            let again = || Some((purposes.get(info.name.strip_suffix(AGAIN)?)?, Pass::Recomputation));
            let purpose = purposes.get(&info.name).map(|purpose| (purpose, purpose.2));
            if let Some(((layer, of, _), pass)) = purpose.or_else(again) {
                around = (layer.clone(), pass);
                kind = of;
            }
        }
        let (layer, pass) = around.clone();
        parts.push(Part { info: info.clone(), layer, kind: kind.to_owned(), pass });
    }
    parts.reverse();
    parts
}

/// What the update is called among the parts.
pub(super) const UPDATE: &str = "update";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Network;
    use crate::spec::ConvSpec;
    use crate::train::{Step, TrainConfig};
    use svertka_kernels::Cpu;

    #[test]
    fn parts_belong_to_layers_and_directions() {
        let mut net = Network::new(&[1, 6, 5], 0);
        let x = net.conv(net.input(), 4, 3, &ConvSpec::new().padding(1)).unwrap();
        let x = net.batch_norm(x).unwrap();
        let branch = net.conv(x, 4, 3, &ConvSpec::new().padding(1)).unwrap();
        let x = net.add(x, branch).unwrap();
        let x = net.flatten(x).unwrap();
        net.linear(x, 3).unwrap();
        let graph = net.finish();
        let step = Step::new(&graph, &TrainConfig::default(), 2, &Cpu::new(1)).unwrap();
        let names: Vec<&str> = graph.nodes().iter().map(|node| node.name.as_str()).collect();
        let [first, norm, second, _, _, linear] = names[..] else { panic!("{names:?}") };
        let count = |layer: &str, kind: &str, pass| {
            let of = |part: &&Part| (&*part.layer, &*part.kind, part.pass) == (layer, kind, pass);
            step.parts().iter().filter(of).count()
        };
        let directions = |layer, kind| {
            [Pass::Forward, Pass::InputGradient, Pass::WeightGradient].map(|pass| count(layer, kind, pass))
        };
        assert_eq!(directions(first, "Conv"), [1, 0, 1], "a picture needs no gradient");
        assert_eq!(directions(norm, "BatchNormalization"), [1, 1, 0], "one kernel for all its gradients");
        assert_eq!(directions(second, "Conv"), [1, 1, 1]);
        assert_eq!(directions(second, "Add"), [0, 1, 0], "two gradients meet before the branch");
        assert_eq!(directions(linear, "Gemm"), [1, 1, 1]);
        assert_eq!(directions("loss", "CrossEntropy"), [1, 1, 0]);
        assert_eq!(directions(norm, "MovingAverage"), [2, 0, 0]);
        assert_eq!(
            (count(second, "pack", Pass::Forward), count(second, "pack", Pass::InputGradient)),
            (1, 1)
        );
        assert_eq!(step.parts().last().map(|part| part.pass), Some(Pass::Update));
        assert_eq!(step.parts().iter().filter(|part| part.pass == Pass::Update).count(), 1);
    }
}
