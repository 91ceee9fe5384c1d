//! Deformable convolution against what torchvision answers, and as a layer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use svertka::formats::{Limits, npz};
use svertka::gradient::add_gradients;
use svertka::graph::Graph;
use svertka::kernels::geometry::Window;
use svertka::ops::DeformConv;
use svertka::{ConvSpec, Cpu, Network, PaddingMode, Plan, Tensor, Weights, conv};

fn cases() -> BTreeMap<String, BTreeMap<String, Tensor>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/torchvision_deform_conv.npz");
    let mut cases: BTreeMap<String, BTreeMap<String, Tensor>> = BTreeMap::new();
    for (member, array) in npz::decode(&std::fs::read(path).unwrap(), &Limits::default()).unwrap() {
        let (case, name) = member.split_once('.').unwrap();
        let tensor = Tensor::new(array.shape, &array.data.into_f32()).unwrap();
        cases.entry(case.to_owned()).or_default().insert(name.to_owned(), tensor);
    }
    cases
}

#[test]
fn torchvision_answers_likewise_output_and_all_gradients() {
    let (cpu, cases) = (Cpu::new(2), cases());
    assert_eq!(cases.len(), 5);
    for (number, arrays) in cases {
        let size = |i: usize| arrays["sizes"].data()[i] as usize;
        let kernel = arrays["weight"].shape();
        let window = Window {
            kernel: [1, kernel[2], kernel[3]],
            stride: [1, size(0), size(1)],
            padding: [(0, 0), (size(2), size(2)), (size(3), size(3))],
            dilation: [1, size(4), size(5)],
        };
        let (bias, mask) = (arrays.contains_key("bias"), arrays.contains_key("mask"));
        let op = DeformConv { window, groups: size(6), offset_groups: size(7), bias, mask };
        let names: Vec<&str> = ["x", "weight", "offset", "bias", "mask"]
            .into_iter()
            .filter(|name| arrays.contains_key(*name))
            .collect();

        let mut graph = Graph::new();
        let mut input =
            |name: &str| graph.input(name, arrays[name].shape().iter().copied().map(Some).collect());
        let values: Vec<_> = names.iter().map(|name| input(name)).collect();
        let dy = input("dy");
        let y = graph.push("deform", Arc::new(op), &values, 1)[0];
        let gradients = add_gradients(&mut graph, &[(y, dy)], &values).unwrap();
        graph.outputs = std::iter::once(y).chain(gradients.into_iter().map(Option::unwrap)).collect();
        let inputs: Vec<&Tensor> = names.iter().chain(&["dy"]).map(|name| &arrays[*name]).collect();
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|tensor| tensor.shape().to_vec()).collect();
        let mut plan = Plan::new(&graph, &shapes, Weights::Constant, &cpu).unwrap();
        plan.run(&cpu, &[], &inputs, 0).unwrap();
        for (i, name) in
            std::iter::once("y".to_owned()).chain(names.iter().map(|name| format!("d_{name}"))).enumerate()
        {
            let (received, expected) = (plan.output(i), arrays[&name].data());
            let largest = expected.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
            assert_eq!(received.len(), expected.len());
            for (received, expected) in received.iter().zip(expected) {
                let close = (received - expected).abs() <= 1e-5 * largest;
                assert!(close, "{name} of case {number}: {received}, expected {expected}");
            }
        }
    }
}

#[test]
fn a_new_layer_is_half_a_convolution() {
    let mut network = Network::new(&[3, 6, 7], 0);
    let spec = ConvSpec::new()
        .padding([1, 2])
        .padding_mode(PaddingMode::Reflect)
        .bias(false)
        .groups(3)
        .stride([2, 1]);
    network.deform_conv(network.input(), 6, [3, 2], &spec).unwrap();
    let graph = network.finish();
    let shapes: Vec<&[usize]> = graph.parameters().iter().map(Tensor::shape).collect();
    let expected: [&[usize]; 5] = [&[12, 3, 3, 2], &[12], &[6, 3, 3, 2], &[6], &[6, 1, 3, 2]];
    assert_eq!(shapes, expected);
    let values: Vec<f32> = (0..2 * 3 * 6 * 7).map(|i| (i * i * 613 % 1009) as f32 / 504.5 - 1.0).collect();
    let (x, cpu) = (Tensor::new([2, 3, 6, 7], &values).unwrap(), Cpu::new(1));
    let mut plan = Plan::new(&graph, &[x.shape().to_vec()], Weights::Constant, &cpu).unwrap();
    plan.run(&cpu, graph.parameters(), &[&x], 0).unwrap();
    // The mask is the logistic function of zero.
    let whole = conv(&x, &graph.parameters()[4], None, &spec).unwrap();
    assert_eq!(plan.output_shape(0), whole.shape());
    for (half, whole) in plan.output(0).iter().zip(whole.data()) {
        assert!((half - 0.5 * whole).abs() < 1e-5, "{half}, half of {whole}");
    }
}

#[test]
fn errors_name_what_does_not_fit() {
    let error = |shape: &[usize], spec: &ConvSpec| {
        let mut network = Network::new(shape, 0);
        network.deform_conv(network.input(), 4, 3, spec).unwrap_err().to_string()
    };
    let spec = ConvSpec::new();
    assert_eq!(error(&[2, 9], &spec), "deform_conv: input: expected N x C x H x W, received shape [1, 2, 9]");
    assert_eq!(error(&[2, 9, 9], &spec.clone().flip(true)), "deform_conv: flip is not supported");
    let small = error(&[2, 2, 9], &spec);
    assert!(small.contains("kernel_size: expected at most the padded input 2 along the height"), "{small}");
    let groups = error(&[2, 9, 9], &spec.groups(0));
    assert!(groups.contains("groups: expected at least 1"), "{groups}");
}
