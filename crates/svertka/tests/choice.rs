//! How a plan's convolutions get their algorithms: by rule, measured, pinned.

use std::collections::BTreeMap;

use svertka::kernels::conv::{Accuracy, Algorithm};
use svertka::measure::numbers;
use svertka::{Choice, ConvSpec, ConvTransposeSpec, Cpu, Graph, Network, Plan, PlanOptions, Weights};

/// Convolutions by three algorithms, one of them with a residual and one transposed; the nodes' names.
fn network() -> (Graph, Vec<String>) {
    let mut net = Network::new(&[3, 16, 16], 0);
    let same = ConvSpec::new().padding(1);
    let input = net.input();
    let x = net.conv(input, 32, 3, &same).unwrap();
    let x = net.relu(x).unwrap();
    let y = net.conv(x, 32, 3, &same).unwrap();
    let y = net.add(x, y).unwrap();
    let y = net.relu(y).unwrap();
    let y = net.conv(y, 32, 3, &ConvSpec::new().padding(1).groups(32)).unwrap();
    let y = net.conv_transpose(y, 16, 4, &ConvTransposeSpec::new().stride(2).padding(1)).unwrap();
    net.conv(y, 5, 1, &ConvSpec::new()).unwrap();
    let graph = net.finish();
    let convs = graph.nodes().iter().filter(|node| node.op.name().starts_with("Conv"));
    let names = convs.map(|node| node.name.clone()).collect();
    (graph, names)
}

fn plan(graph: &Graph, accuracy: Accuracy, choice: Choice) -> svertka::Result<Plan> {
    let options = PlanOptions { accuracy, choice };
    Plan::with_options(graph, &graph.input_shapes(2), Weights::Constant, &options, &Cpu::new(2))
}

fn run(plan: &mut Plan, graph: &Graph) -> Vec<f32> {
    plan.run(&Cpu::new(2), graph.parameters(), &[&numbers(vec![2, 3, 16, 16])], 0).unwrap();
    plan.output(0).to_vec()
}

#[test]
fn what_was_measured_can_be_pinned_and_has_the_same_bits() {
    let (graph, names) = network();
    let rule = run(&mut plan(&graph, Accuracy::Default, Choice::Heuristic).unwrap(), &graph);
    for accuracy in [Accuracy::Strict, Accuracy::Default, Accuracy::Fast] {
        let mut measured = plan(&graph, accuracy, Choice::Measured).unwrap();
        let algorithms = measured.algorithms();
        assert!(algorithms.keys().eq(names.iter().collect::<std::collections::BTreeSet<_>>()));
        assert!(algorithms.values().all(|algorithm| accuracy.allows(*algorithm)), "{algorithms:?}");
        let result = run(&mut measured, &graph);
        let mut pinned = plan(&graph, accuracy, Choice::Pinned(algorithms)).unwrap();
        assert_eq!(run(&mut pinned, &graph), result);
        let largest = rule.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let error = rule.iter().zip(&result).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(error < 1e-4 * largest, "{accuracy:?}: {error} of {largest}");
    }
}

#[test]
fn a_pin_decides_and_the_rule_has_the_rest() {
    let (graph, names) = network();
    let by_rule = plan(&graph, Accuracy::Default, Choice::Heuristic).unwrap().algorithms();
    let pins =
        BTreeMap::from([(names[1].clone(), Algorithm::WinogradTwo), (names[2].clone(), Algorithm::Direct)]);
    assert!(pins.iter().all(|(name, algorithm)| by_rule[name] != *algorithm));
    let algorithms = plan(&graph, Accuracy::Default, Choice::Pinned(pins.clone())).unwrap().algorithms();
    for (name, algorithm) in &by_rule {
        assert_eq!(algorithms[name], *pins.get(name).unwrap_or(algorithm), "{name}");
    }
}

#[test]
fn pins_that_fit_nothing_are_errors() {
    let (graph, names) = network();
    let message = |name: &str, algorithm| {
        let pins = Choice::Pinned(BTreeMap::from([(name.to_owned(), algorithm)]));
        plan(&graph, Accuracy::Default, pins).map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(
        message("nowhere", Algorithm::Direct),
        "Plan: algorithms: expected names of convolutions, of which there are 0, received nowhere"
    );
    assert_eq!(
        message(&names[4], Algorithm::WinogradFour),
        format!(
            "{}: Conv: algorithm: expected one that can compute the layer, received winograd 4x4",
            names[4]
        )
    );
}
