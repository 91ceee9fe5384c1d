//! A plan gives what its nodes give one by one: layouts, memory sharing and work in place change nothing.

use std::collections::HashMap;
use std::sync::Arc;

use svertka::graph::{Graph, Source};
use svertka::ops::Reduction;
use svertka::{
    Activation, ConvSpec, Cpu, Error, Network, Padding, Plan, PoolSpec, Tensor, Value, Weights, apply,
};

fn noise(shape: &[usize]) -> Tensor {
    let len = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..len).map(|i| ((i * 7919 % 1009) as f32 / 504.5 - 1.0) * 1.5).collect();
    Tensor::new(shape, &values).unwrap()
}

fn assert_close(got: &[f32], expected: &[f32], name: &str) {
    let largest = expected.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-5 * largest, "{name}: {got} for {expected}");
    }
}

/// Each node alone, on plain tensors.
fn one_by_one(graph: &Graph, x: &Tensor) -> HashMap<Value, Tensor> {
    let mut values: HashMap<Value, Tensor> = HashMap::new();
    values.insert(graph.inputs()[0].value, x.clone());
    for (value, tensor) in graph.parameter_values().iter().zip(graph.parameters()) {
        values.insert(*value, tensor.clone());
    }
    for node in graph.nodes() {
        let inputs: Vec<&Tensor> = node.inputs.iter().map(|value| &values[value]).collect();
        let output = apply(Arc::clone(&node.op), &inputs).unwrap();
        values.insert(node.outputs[0], output);
    }
    values
}

fn networks() -> Vec<Graph> {
    let texts = [
        (
            "conv5 bn relu conv9k1 sigmoid pool2 conv3k3d2 tanh flatten linear7 relu linear3 softmax",
            vec![3, 9, 12],
        ),
        ("conv4-reflect silu avgpool3s2p1 dwconv2 gelu gap linear5", vec![2, 8, 7]),
        ("conv6k5s2 leakyrelu0.2 maxpool2 hardswish dropout0.5 gmp flatten linear4", vec![3, 31]),
        ("conv4k2x3x2 relu6 pool2 conv3 gap linear2", vec![1, 4, 6, 5]),
    ];
    let mut graphs: Vec<Graph> =
        texts.iter().map(|(text, shape)| Network::from_text(text, shape, 1).unwrap().finish()).collect();
    graphs.push(branches().unwrap());
    graphs
}

/// A residual, a concatenation and a squeeze-and-excitation gate, several values read twice.
fn branches() -> Result<Graph, Error> {
    let mut net = Network::new(&[3, 10, 7], 2);
    let same = || ConvSpec::new().padding(Padding::Same);
    let x = net.conv(net.input(), 12, 3, &same())?;
    let x = net.batch_norm(x)?;
    let a = net.relu(x)?;
    let b = net.conv(a, 12, 3, &same())?;
    let sum = net.add(b, a)?;
    let both = net.concat(&[sum, a, x])?;
    let squeezed = net.global_pool(both, Reduction::Average)?;
    let gate = net.conv(squeezed, 36, 1, &ConvSpec::new())?;
    let gate = net.activation(gate, Activation::Sigmoid)?;
    let gated = net.mul(both, gate)?;
    let pooled = net.max_pool(gated, &PoolSpec::new(2))?;
    net.linear(pooled, 4)?;
    Ok(net.finish())
}

#[test]
fn every_value_of_a_plan_is_that_of_its_nodes_alone() {
    let cpu = Cpu::new(2);
    for mut graph in networks() {
        let shapes = graph.input_shapes(3);
        let x = noise(&shapes[0]);
        let expected = one_by_one(&graph, &x);
        let last = graph.outputs.clone();
        // A batch normalization that is taken into a convolution rounds at other places.
        let folds = graph.nodes().iter().any(|node| node.op.name() == "BatchNormalization");
        // Once with the last value only, where memory is shared most, and once with every value kept.
        let all: Vec<Value> = graph.nodes().iter().map(|node| node.outputs[0]).collect();
        for outputs in [last, all] {
            for weights in [Weights::Constant, Weights::Changing] {
                graph.outputs.clone_from(&outputs);
                let mut plan = Plan::new(&graph, &shapes, weights, &cpu).unwrap();
                for _ in 0..2 {
                    plan.run(&cpu, graph.parameters(), &[&x], 0).unwrap();
                    for (i, value) in outputs.iter().enumerate() {
                        let Source::Node(node) = graph.source(*value) else { unreachable!() };
                        let name = &graph.nodes()[node].name;
                        let expected = &expected[value];
                        if folds && weights == Weights::Constant {
                            assert_close(plan.output(i), expected.data(), name);
                        } else {
                            assert_eq!(plan.output(i), expected.data(), "{name}");
                        }
                        assert_eq!(plan.output_shape(i), expected.shape(), "{name}");
                    }
                }
            }
        }
    }
}

#[test]
fn memory_is_shared_by_values_that_do_not_live_together() {
    let text = "conv8 relu conv8 relu conv8 relu conv8 relu conv8 relu conv8 relu";
    let graph = Network::from_text(text, &[8, 32, 32], 0).unwrap().finish();
    let cpu = Cpu::new(1);
    let plan = Plan::new(&graph, &graph.input_shapes(4), Weights::Constant, &cpu).unwrap();
    let activation = 4 * 8 * 32 * 32 * size_of::<f32>();
    // Two of the thirteen at a time, the blocked input and the plain output, and scratch for padded pictures.
    assert!(plan.memory() < 5 * activation, "{} activations", plan.memory() / activation);
}

#[test]
fn an_output_may_be_an_input_or_a_parameter_or_stand_twice() {
    let mut graph = Graph::new();
    let x = graph.input("x", vec![None, Some(2)]);
    let p = graph.parameter("p", Tensor::new([1], &[7.0]).unwrap());
    let sum = graph.push("sum", Arc::new(svertka::ops::Add), &[x, x], 1)[0];
    graph.outputs = vec![x, p, sum, sum];
    let cpu = Cpu::new(1);
    let mut plan = Plan::new(&graph, &[vec![1, 2]], Weights::Constant, &cpu).unwrap();
    for values in [[1.0, 2.0], [3.0, 4.0]] {
        plan.run(&cpu, graph.parameters(), &[&Tensor::new([1, 2], &values).unwrap()], 0).unwrap();
        let doubled = values.map(|v| 2.0 * v);
        let outputs: Vec<&[f32]> = (0..4).map(|i| plan.output(i)).collect();
        assert_eq!(outputs, [&values[..], &[7.0], &doubled, &doubled]);
    }
}

#[test]
fn wrong_inputs_are_errors() {
    let graph = Network::from_text("conv4 gap linear2", &[3, 8, 8], 0).unwrap().finish();
    let cpu = Cpu::new(1);
    let error =
        |shapes: &[Vec<usize>]| Plan::new(&graph, shapes, Weights::Constant, &cpu).err().unwrap().to_string();
    assert_eq!(
        error(&[vec![1, 1, 8, 8]]),
        "Graph: input \"input\": expected [N, 3, 8, 8], received [1, 1, 8, 8]"
    );
    assert_eq!(error(&[]), "Graph: inputs: expected 1 shapes, received 0");
    let mut plan = Plan::new(&graph, &graph.input_shapes(2), Weights::Constant, &cpu).unwrap();
    let error =
        plan.run(&cpu, graph.parameters(), &[&Tensor::zeros([1, 3, 8, 8])], 0).unwrap_err().to_string();
    assert_eq!(error, "Plan: inputs: expected [[2, 3, 8, 8]], received [[1, 3, 8, 8]]");
    let error = plan.run(&cpu, &[], &[&Tensor::zeros([2, 3, 8, 8])], 0).unwrap_err().to_string();
    assert_eq!(error, "Plan: parameters: expected 4, received 0");
}
