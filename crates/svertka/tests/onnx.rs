//! ONNX: every operator written and read back computes the same; hostile files are errors.

use std::sync::Arc;

use svertka::graph::Graph;
use svertka::ops;
use svertka::{Cpu, Model, Network, Plan, Tensor, Weights};

fn noise(shape: &[usize]) -> Tensor {
    let len = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..len).map(|i| (i * 7919 % 1009) as f32 / 504.5 + 0.01).collect();
    Tensor::new(shape, &values).unwrap()
}

fn run(graph: &Graph, x: &Tensor) -> Vec<f32> {
    let cpu = Cpu::new(1);
    let mut plan = Plan::new(graph, &[x.shape().to_vec()], Weights::Constant, &cpu).unwrap();
    plan.run(&cpu, graph.parameters(), &[x], 0).unwrap();
    plan.output(0).to_vec()
}

#[test]
fn every_operator_is_written_and_read_back() {
    let mut tried = 0;
    for example in ops::examples() {
        // Training forms and the loss are never written.
        let inputs: Vec<&[usize]> = example.inputs.iter().map(Vec::as_slice).collect();
        if example.op.infer(&inputs).unwrap().len() > 1
            || format!("{:?}", example.op).contains("training: true")
        {
            continue;
        }
        let mut graph = Graph::new();
        let x = graph.input("x", example.inputs[0].iter().copied().map(Some).collect());
        let mut values = vec![x];
        for i in 1..example.inputs.len() {
            values.push(graph.parameter(&format!("p{i}"), example.input(i)));
        }
        graph.outputs = graph.push("node", Arc::clone(&example.op), &values, 1);
        let model = Model::new(graph);
        let read = Model::from_bytes(&model.to_bytes().unwrap())
            .unwrap_or_else(|error| panic!("{example:?}: {error}"));
        let x = example.input(0);
        assert_eq!(run(&read.graph, &x), run(&model.graph, &x), "{example:?}");
        tried += 1;
    }
    assert!(tried > 40, "{tried}");
}

#[test]
fn a_network_is_the_same_after_a_round_trip() {
    let text = "conv8k5-symmetric bn relu pool2 dwconv2 hardswish conv12s2-circular gelu dropout0.4 gap linear5 softmax";
    let graph = Network::from_text(text, &[3, 17, 14], 0).unwrap().finish();
    let model = Model::new(graph).with_labels(["a", "b", "c", "d", "e"]);
    let bytes = model.to_bytes().unwrap();
    let read = Model::from_bytes(&bytes).unwrap();
    let x = noise(&[2, 3, 17, 14]);
    assert_eq!(run(&read.graph, &x), run(&model.graph, &x));
    assert_eq!(read.labels, model.labels);
    // Reading and writing once more changes nothing.
    assert_eq!(Model::from_bytes(&read.to_bytes().unwrap()).unwrap(), read);
}

#[test]
fn an_earlier_file_survives_a_write_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let model = Model::new(Network::from_text("conv2 gap linear2", &[1, 4, 4], 0).unwrap().finish());
    model.save(&path).unwrap();
    let before = std::fs::read(&path).unwrap();
    // The loss has no form in ONNX.
    let mut graph = Graph::new();
    let x = graph.input("x", vec![None, Some(3)]);
    let y = graph.input("y", vec![None, Some(3)]);
    graph.outputs = graph.push("loss", Arc::new(ops::CrossEntropy { label_smoothing: 0.0 }), &[x, y], 2);
    let error = Model::new(graph).save(&path).unwrap_err().to_string();
    assert_eq!(error, "loss: CrossEntropy: export to ONNX is not supported");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn bad_files_are_errors() {
    let error = Model::load("/nonexistent/model.onnx").unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/model.onnx: "), "{error}");
    let error = Model::from_bytes(b"# Read me\n\nThis is text.").unwrap_err().to_string();
    assert!(error.contains("expected an ONNX protobuf with ir_version and graph"), "{error}");
}

/// Numbers that look random: xorshift64.
fn random(state: &mut u64, below: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state % below as u64) as usize
}

/// Changes a few of the first `head` bytes, or rarely any; reads the file, plans and runs what can be read. How often it could be.
fn read_mutated(bytes: &[u8], rounds: usize, head: usize, state: &mut u64) -> usize {
    let cpu = Cpu::new(1);
    let mut read = 0;
    for _ in 0..rounds {
        let mut mutated = bytes.to_vec();
        for _ in 0..=random(state, 3) {
            let region = if random(state, 4) == 0 { bytes.len() } else { head.min(bytes.len()) };
            mutated[random(state, region)] = random(state, 256) as u8;
        }
        let Ok(model) = Model::from_bytes(&mutated) else { continue };
        read += 1;
        // Small networks only: a mutated size may be anything.
        let shapes = model.graph.input_shapes(1);
        let small = |shape: &Vec<usize>| shape.iter().fold(1usize, |a, &b| a.saturating_mul(b)) < 10_000;
        if shapes.iter().all(small)
            && model.graph.shapes(&shapes).is_ok_and(|all| all.iter().all(small))
            && let Ok(mut plan) = Plan::new(&model.graph, &shapes, Weights::Constant, &cpu)
        {
            let inputs: Vec<Tensor> = shapes.iter().map(|shape| noise(shape)).collect();
            plan.run(&cpu, model.graph.parameters(), &inputs.iter().collect::<Vec<_>>(), 0).unwrap();
        }
    }
    read
}

/// A file of this library with some bytes changed is read, or refused, never a panic.
#[test]
fn mutated_files_never_panic() {
    let text = "conv6k5-symmetric bn relu6 pool2 dwconv hardswish conv8s2-circular gelu dropout0.4 gap linear5 silu linear3 softmax";
    let bytes = Model::new(Network::from_text(text, &[3, 17, 14], 0).unwrap().finish()).to_bytes().unwrap();
    // The nodes stand at the beginning, and are a small part of the file.
    let read = read_mutated(&bytes, 4000, 3000, &mut 0x2545_f491_4f6c_dd1d);
    assert!(read > 100, "{read} were read");
}

/// The same for every operator alone.
#[test]
fn mutated_operators_never_panic() {
    let (mut state, mut read) = (0x9e37_79b9_7f4a_7c15, 0);
    for example in ops::examples() {
        let inputs: Vec<&[usize]> = example.inputs.iter().map(Vec::as_slice).collect();
        let outputs = example.op.output_shapes(&inputs).unwrap().len();
        let mut graph = Graph::new();
        let mut values = vec![graph.input("x", example.inputs[0].iter().copied().map(Some).collect())];
        for i in 1..inputs.len() {
            values.push(graph.parameter(&format!("p{i}"), example.input(i)));
        }
        graph.outputs = vec![graph.push("node", Arc::clone(&example.op), &values, outputs)[0]];
        let Ok(bytes) = Model::new(graph).to_bytes() else { continue };
        read += read_mutated(&bytes, 600, 400, &mut state);
    }
    assert!(read > 5000, "{read} were read");
}
