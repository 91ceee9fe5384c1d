//! An unshared convolution whose positions all have the same weights is a convolution.

use svertka::{ConvSpec, Network, Padding, PaddingMode, Tensor, conv, cost, unshared};

fn numbers(shape: &[usize], salt: usize) -> Tensor {
    let mut tensor = Tensor::zeros(shape);
    for (i, value) in tensor.data_mut().iter_mut().enumerate() {
        *value = (((i + salt) * 7919 + salt * 31) % 1013) as f32 / 506.5 - 1.0;
    }
    tensor
}

/// Input, weight and options of convolutions over one to three axes.
fn cases() -> Vec<(Vec<usize>, Vec<usize>, ConvSpec)> {
    vec![
        (vec![3, 2, 9], vec![5, 2, 4], ConvSpec::new().stride(2).padding(1)),
        (vec![2, 3, 7, 5], vec![4, 3, 3, 2], ConvSpec::new().dilation([2, 1]).padding(Padding::Same)),
        (vec![2, 6, 5, 8], vec![9, 2, 2, 3], ConvSpec::new().groups(3).stride([1, 2])),
        (
            vec![1, 9, 6, 5],
            vec![9, 1, 3, 3],
            ConvSpec::new().groups(9).padding(Padding::Sides(vec![(1, 0), (2, 1)])),
        ),
        (vec![20, 2, 3, 4, 5], vec![3, 2, 2, 3, 2], ConvSpec::new().padding([1, 0, 1])),
        (
            vec![2, 3, 7, 5],
            vec![4, 3, 5, 3],
            ConvSpec::new().padding([2, 1]).padding_mode(PaddingMode::Circular),
        ),
        (vec![2, 3, 7, 5], vec![4, 3, 5, 3], ConvSpec::new().padding(2).padding_mode(PaddingMode::Symmetric)),
    ]
}

#[test]
fn with_the_same_weights_everywhere_it_is_a_convolution() {
    for (x, weight, spec) in cases() {
        let (x, weight, bias) = (numbers(&x, 1), numbers(&weight, 2), numbers(&weight[..1], 3));
        let expected = conv(&x, &weight, Some(&bias), &spec).unwrap();
        let positions = expected.shape()[2..].to_vec();
        let count: usize = positions.iter().product();
        let everywhere =
            Tensor::new([positions.clone(), weight.shape().to_vec()].concat(), &weight.data().repeat(count));
        let each: Vec<f32> = bias.data().iter().flat_map(|&bias| vec![bias; count]).collect();
        let bias = Tensor::new([bias.shape(), &positions].concat(), &each).unwrap();
        let y = unshared(&x, &everywhere.unwrap(), Some(&bias), &spec).unwrap();
        assert_eq!(y.shape(), expected.shape());
        for (i, (y, expected)) in y.data().iter().zip(expected.data()).enumerate() {
            assert!((y - expected).abs() <= 1e-5, "{spec:?}: element {i}: {y}, expected {expected}");
        }
    }
}

#[test]
fn a_position_has_its_own_weights() {
    let (x, weight) = (numbers(&[2, 3, 5, 4], 1), numbers(&[4, 2, 5, 3, 2, 3], 2));
    let spec = ConvSpec::new();
    let y = unshared(&x, &weight, None, &spec).unwrap();
    assert_eq!(y.shape(), [2, 5, 4, 2]);
    for position in 0..8 {
        let own = Tensor::new([5, 3, 2, 3], &weight.data()[position * 90..][..90]).unwrap();
        let shared = conv(&x, &own, None, &spec).unwrap();
        for plane in 0..10 {
            let at = plane * 8 + position;
            assert!((y.data()[at] - shared.data()[at]).abs() <= 1e-5, "position {position}, plane {plane}");
        }
    }
}

#[test]
fn it_costs_the_same_work_and_its_weights_for_each_position() {
    for (x, weight, spec) in cases() {
        let kernel = weight[2..].to_vec();
        let mut network = Network::new(&x[1..], 0);
        let shared = network.conv(network.input(), weight[0], kernel.clone(), &spec).unwrap();
        let positions: usize = network.shape(shared)[2..].iter().product();
        network.unshared(network.input(), weight[0], kernel, &spec).unwrap();
        let graph = network.finish();
        let layers = cost(&graph, &graph.input_shapes(1)).unwrap();
        let of = |op: &str| layers.iter().find(|layer| layer.op == op).unwrap();
        let (shared, own) = (of("Conv"), of("Unshared"));
        assert_eq!(own.macs, shared.macs);
        assert_eq!(own.parameters, shared.parameters * positions);
        assert_eq!(own.output_shape, shared.output_shape);
        assert_eq!(own.receptive_field, shared.receptive_field);
    }
}
