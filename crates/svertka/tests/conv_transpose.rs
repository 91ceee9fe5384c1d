//! The transposed convolution is the adjoint of the convolution with the same weight, and makes the sizes that it is asked for.

use proptest::prelude::*;
use svertka::formats::onnx::{self, AttributeProto};
use svertka::{ConvSpec, ConvTransposeSpec, Model, Network, Padding, Tensor, conv, conv_transpose};

fn numbers(shape: &[usize], salt: usize) -> Tensor {
    let mut tensor = Tensor::zeros(shape);
    for (i, value) in tensor.data_mut().iter_mut().enumerate() {
        *value = (((i + salt) * 7919 + salt * 31) % 1013) as f32 / 506.5 - 1.0;
    }
    tensor
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.shape(), b.shape());
    a.data().iter().zip(b.data()).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Size, kernel, stride, dilation, padding and output padding.
type Axis = (usize, usize, usize, usize, (usize, usize), usize);

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn convolution_and_its_transpose_are_adjoint(
        axes in prop::collection::vec((1usize..6, 1usize..4, 1usize..4, 1usize..3, (0usize..3, 0usize..3), 0usize..3), 1..=3),
        batch in 1usize..3,
        groups in 1usize..4,
        (conv_in, conv_out) in (1usize..5, 1usize..5),
    ) {
        let sizes = |f: fn(&Axis) -> usize| axes.iter().map(f).collect::<Vec<_>>();
        let (kernel, stride, dilation) = (sizes(|a| a.1), sizes(|a| a.2), sizes(|a| a.3));
        let padding = Padding::Sides(axes.iter().map(|a| a.4).collect());
        // The convolution leads back to the smaller side only where no further window fits.
        let output_padding: Vec<usize> = axes.iter().map(|a| a.5.min(a.2 - 1)).collect();
        let transposed = ConvTransposeSpec::new().stride(stride.clone()).dilation(dilation.clone()).padding(padding.clone());
        let transposed = transposed.output_padding(output_padding).groups(groups);
        let straight = ConvSpec::new().stride(stride).dilation(dilation).padding(padding).groups(groups);

        let y = numbers(&[vec![batch, conv_out * groups], sizes(|a| a.0)].concat(), 1);
        let weight = numbers(&[vec![conv_out * groups, conv_in], kernel].concat(), 2);
        // Padding may crop everything.
        let Ok(back) = conv_transpose(&y, &weight, None, &transposed) else { return Err(TestCaseError::reject("cropped")) };
        prop_assert_eq!(&back.shape()[..2], &[batch, conv_in * groups]);
        let x = numbers(back.shape(), 3);
        let there = conv(&x, &weight, None, &straight).unwrap();
        let (a, b) = (dot(&there, &y), dot(&x, &back));
        let size = (dot(&there, &there) * dot(&y, &y)).sqrt() + (dot(&x, &x) * dot(&back, &back)).sqrt();
        prop_assert!((a - b).abs() <= 1e-6 * size, "{} and {}", a, b);
    }
}

#[test]
fn sizes_are_those_of_torch() {
    // From torch.nn.ConvTranspose1d to 3d, and, for `Same`, input times stride as ONNX has it.
    for (input, kernel, spec, expected) in [
        (vec![2, 6], vec![5], ConvTransposeSpec::new().stride(3).padding(1), vec![4, 18]),
        (
            vec![3, 5, 7],
            vec![3, 4],
            ConvTransposeSpec::new().stride([2, 1]).output_padding([1, 0]),
            vec![4, 12, 10],
        ),
        (
            vec![3, 5, 7],
            vec![3, 2],
            ConvTransposeSpec::new().dilation([1, 4]).output_padding([0, 3]),
            vec![4, 7, 14],
        ),
        (
            vec![1, 2, 3, 4],
            vec![2, 3, 4],
            ConvTransposeSpec::new().stride(2).padding([0, 1, 1]),
            vec![4, 4, 5, 8],
        ),
        (
            vec![3, 5, 7],
            vec![3, 2],
            ConvTransposeSpec::new().stride([2, 3]).padding(Padding::Same),
            vec![4, 10, 21],
        ),
        (
            vec![3, 5, 7],
            vec![4, 1],
            ConvTransposeSpec::new().stride(2).padding(Padding::SameLower),
            vec![4, 10, 14],
        ),
        (
            vec![3, 5, 7],
            vec![4, 1],
            ConvTransposeSpec::new().stride(2).padding(Padding::Valid),
            vec![4, 12, 13],
        ),
    ] {
        let mut network = Network::new(&input, 0);
        let y = network.conv_transpose(network.input(), 4, kernel, &spec).unwrap();
        assert_eq!(network.shape(y)[1..], expected, "{input:?} {spec:?}");
    }
}

#[test]
fn the_bias_reaches_cells_without_a_window() {
    // Stride 3, kernel 1: two of three cells, and the output padding, hold the bias alone.
    let x = Tensor::new([1, 1, 3], &[1.0, 2.0, f32::NAN]).unwrap();
    let weight = Tensor::new([1, 2, 1], &[10.0, -1.0]).unwrap();
    let bias = Tensor::new([2], &[0.5, 0.25]).unwrap();
    let spec = ConvTransposeSpec::new().stride(3).output_padding(2);
    let y = conv_transpose(&x, &weight, Some(&bias), &spec).unwrap();
    let nan = f32::NAN;
    let expected = [
        10.5, 0.5, 0.5, 20.5, 0.5, 0.5, nan, 0.5, 0.5, //
        -0.75, 0.25, 0.25, -1.75, 0.25, 0.25, nan, 0.25, 0.25,
    ];
    assert_eq!(y.shape(), [1, 2, 9]);
    let same = y.data().iter().zip(expected).all(|(a, b)| *a == b || a.is_nan() && b.is_nan());
    assert!(same, "{:?}", y.data());
}

/// What a file says about the output size, and the padding and output padding that follow.
#[test]
fn a_file_may_give_the_output_size() {
    let ints = |name: &str, values: &[i64]| AttributeProto::ints(name, values.to_vec());
    let auto_pad = |how: &str| AttributeProto::string("auto_pad", how);
    // Stride 2 x 3, kernel 3 x 4 over 5 x 6: uncropped 11 x 19.
    for (attributes, pads, output_padding, expected) in [
        (vec![], [0, 0, 0, 0], [0, 0], [11, 19]),
        (vec![ints("output_shape", &[8, 18])], [2, 1, 1, 0], [0, 0], [8, 18]),
        (vec![ints("output_shape", &[8, 18]), auto_pad("SAME_UPPER")], [1, 0, 2, 1], [0, 0], [8, 18]),
        (vec![ints("output_shape", &[12, 21])], [0, 0, 0, 0], [1, 2], [12, 21]),
        (
            vec![ints("output_shape", &[12, 18]), ints("output_padding", &[1, 1])],
            [0, 1, 0, 1],
            [1, 1],
            [12, 18],
        ),
        (vec![ints("output_shape", &[8, 18]), ints("pads", &[9, 9, 9, 9])], [2, 1, 1, 0], [0, 0], [8, 18]),
        (vec![auto_pad("SAME_UPPER")], [0, 0, 1, 1], [0, 0], [10, 18]),
        (vec![auto_pad("SAME_LOWER")], [1, 1, 0, 0], [0, 0], [10, 18]),
        (vec![auto_pad("VALID"), ints("output_padding", &[1, 0])], [0, 0, 0, 0], [1, 0], [12, 19]),
    ] {
        let mut network = Network::new(&[2, 5, 6], 0);
        network.conv_transpose(network.input(), 3, [3, 4], &ConvTransposeSpec::new().stride([2, 3])).unwrap();
        let bytes = Model::new(network.finish()).to_bytes().unwrap();
        let mut file = onnx::decode(&bytes, &Default::default()).unwrap();
        let graph = file.graph.as_mut().unwrap();
        let replaced = |name: &str| ["pads", "output_padding"].contains(&name);
        graph.node[0].attribute.retain(|attribute| !replaced(&attribute.name));
        graph.node[0].attribute.extend(attributes.clone());
        let read = Model::from_bytes(&onnx::encode(&file)).unwrap();
        let shapes = read.graph.shapes(&read.graph.input_shapes(1)).unwrap();
        assert_eq!(shapes.last().unwrap()[2..], expected, "{attributes:?}");
        let again = onnx::decode(&read.to_bytes().unwrap(), &Default::default()).unwrap();
        let node = &again.graph.as_ref().unwrap().node[0];
        assert_eq!(node.attr_ints("pads").unwrap(), Some(&pads[..]), "{attributes:?}");
        assert_eq!(node.attr_ints("output_padding").unwrap(), Some(&output_padding[..]), "{attributes:?}");
    }
}
