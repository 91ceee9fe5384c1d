//! Layers as matrices: the numbers, and what the structure says about sparse interactions and shared weights.

use std::sync::Arc;

use svertka::kernels::geometry::Window;
use svertka::kernels::pad::PadMode;
use svertka::ops::{self, AveragePool, Conv, ConvTranspose, Flatten, MaxPool, Operator, Pad, Unshared};
use svertka::{Activation, LayerMatrix, Tensor, apply, layer_matrix};

/// Numbers of which no two are equal and none is zero.
fn numbers(shape: &[usize]) -> Tensor {
    let mut tensor = Tensor::zeros(shape);
    let len = tensor.data().len() as f32;
    for (i, value) in tensor.data_mut().iter_mut().enumerate() {
        *value = (i as f32 + 1.0) / len * if i % 3 == 0 { -1.0 } else { 1.0 };
    }
    tensor
}

fn matrix(op: impl Operator + 'static, input: &[usize], weight: &[usize]) -> LayerMatrix {
    layer_matrix(Arc::new(op), input, &[&numbers(weight)]).unwrap()
}

/// `M x + b` of each image, in `f64`.
fn product(layer: &LayerMatrix, x: &Tensor) -> Vec<f64> {
    let images = x.data().chunks_exact(layer.columns);
    let rows = |x: &[f32]| {
        let row = |(row, bias): (&[f32], &f32)| {
            let terms = row.iter().zip(x).map(|(m, x)| f64::from(*m) * f64::from(*x));
            terms.sum::<f64>() + f64::from(*bias)
        };
        layer.matrix.data().chunks_exact(layer.columns).zip(layer.bias.data()).map(row).collect::<Vec<_>>()
    };
    images.flat_map(rows).collect()
}

fn window(
    kernel: [usize; 3],
    stride: [usize; 3],
    dilation: [usize; 3],
    padding: [(usize, usize); 3],
) -> Window {
    Window { kernel, stride, dilation, padding }
}

/// A window over the width alone, without padding.
fn line(kernel: usize, stride: usize, dilation: usize) -> Window {
    window([1, 1, kernel], [1, 1, stride], [1, 1, dilation], [(0, 0); 3])
}

#[test]
fn the_matrix_does_what_every_affine_operator_does() {
    let affine = [
        "Conv",
        "ConvTranspose",
        "Unshared",
        "Gemm",
        "AveragePool",
        "GlobalAveragePool",
        "Pad",
        "Flatten",
        "BatchNormalization",
    ];
    let mut tried = std::collections::HashSet::new();
    for example in ops::examples() {
        let shapes: Vec<&[usize]> = example.inputs.iter().map(Vec::as_slice).collect();
        // In training, a normalization takes its statistics from the batch.
        let one_output = example.op.output_shapes(&shapes).unwrap().len() == 1;
        if !affine.contains(&example.op.name()) || !one_output {
            continue;
        }
        let inputs: Vec<Tensor> = (0..shapes.len()).map(|i| example.input(i)).collect();
        let others: Vec<&Tensor> = inputs[1..].iter().collect();
        let layer = layer_matrix(Arc::clone(&example.op), &shapes[0][1..], &others).unwrap();
        let y = apply(Arc::clone(&example.op), &inputs.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(layer.rows, y.shape()[1..].iter().product::<usize>());
        for (y, expected) in y.data().iter().zip(product(&layer, &inputs[0])) {
            assert!(
                (f64::from(*y) - expected).abs() < 1e-4 * expected.abs().max(1.0),
                "{example:?}: {y} {expected}"
            );
        }
        tried.insert(example.op.name());
    }
    assert_eq!(tried.len(), affine.len(), "{tried:?}");
}

#[test]
fn interactions_are_sparse() {
    // Each output cell of a convolution sees one window of each channel of its group, not all 3 * 6 * 7 cells of the input.
    let conv = Conv { window: window([1, 3, 2], [1, 1, 2], [1, 2, 1], [(0, 0); 3]), groups: 1 };
    let layer = matrix(conv, &[3, 6, 7], &[4, 3, 3, 2]);
    assert_eq!((layer.rows, layer.columns), (4 * 2 * 3, 3 * 6 * 7));
    assert_eq!(layer.nonzeros(), layer.rows * 3 * 3 * 2);
    let grouped = matrix(Conv { groups: 3, ..conv }, &[3, 6, 7], &[6, 1, 3, 2]);
    assert_eq!(grouped.nonzeros(), grouped.rows * 3 * 2);
    // Padding takes connections away: the first and last cell see two taps of three.
    let padded = Conv { window: Window { padding: [(0, 0), (0, 0), (1, 1)], ..line(3, 1, 1) }, groups: 1 };
    assert_eq!(matrix(padded, &[1, 8], &[1, 1, 3]).nonzeros(), 8 * 3 - 2);
}

#[test]
fn shared_weights_make_equal_diagonals() {
    let layer = matrix(Conv { window: line(3, 1, 2), groups: 1 }, &[1, 11], &[1, 1, 3]);
    let at = |layer: &LayerMatrix, i: usize, j: usize| layer.matrix.data()[i * layer.columns + j];
    for i in 1..layer.rows {
        for j in 1..layer.columns {
            assert_eq!(at(&layer, i, j), at(&layer, i - 1, j - 1), "{i} {j}");
        }
    }
    assert_eq!(layer.distinct(), 3);
    // With a stride of 2, two columns on for each row.
    let layer = matrix(Conv { window: line(4, 2, 1), groups: 1 }, &[1, 12], &[1, 1, 4]);
    for i in 1..layer.rows {
        for j in 2..layer.columns {
            assert_eq!(at(&layer, i, j), at(&layer, i - 1, j - 2), "{i} {j}");
        }
    }
    assert_eq!(layer.distinct(), 4);
}

#[test]
fn weights_are_shared_by_all_positions_or_by_none() {
    let window = window([1, 2, 3], [1, 1, 2], [1, 1, 1], [(0, 0); 3]);
    let shared = matrix(Conv { window, groups: 2 }, &[4, 5, 7], &[6, 2, 2, 3]);
    let own = matrix(Unshared { window, groups: 2 }, &[4, 5, 7], &[4, 3, 6, 2, 2, 3]);
    assert_eq!(shared.nonzeros(), own.nonzeros());
    assert_eq!(shared.distinct(), 6 * 2 * 2 * 3);
    assert_eq!(own.distinct(), own.nonzeros());
}

#[test]
fn the_transposed_convolution_has_the_transposed_matrix() {
    let window = window([1, 3, 2], [1, 2, 3], [1, 1, 2], [(0, 0), (1, 0), (0, 1)]);
    let weight = [6, 2, 3, 2];
    let conv = matrix(Conv { window, groups: 3 }, &[6, 8, 9], &weight);
    // 8 x 9 lead to 4 x 3, and those back to 8 x 8: one cell more along the width is needed.
    let op = ConvTranspose { window, output_padding: [0, 0, 1], groups: 3 };
    let transposed = matrix(op, &[6, 4, 3], &weight);
    assert_eq!((transposed.rows, transposed.columns), (conv.columns, conv.rows));
    for i in 0..conv.rows {
        for j in 0..conv.columns {
            let (a, b) = (i * conv.columns + j, j * conv.rows + i);
            assert_eq!(conv.matrix.data()[a], transposed.matrix.data()[b], "{i} {j}");
        }
    }
}

#[test]
fn a_chunked_matrix_is_whole() {
    // More basis vectors than go through the layer at once.
    let pool = AveragePool {
        window: window([1, 2, 2], [1, 2, 2], [1; 3], [(0, 0); 3]),
        ceil_mode: false,
        count_include_pad: false,
    };
    let layer = layer_matrix(Arc::new(pool), &[4, 26, 28], &[]).unwrap();
    assert!(layer.columns * layer.columns > 1 << 22);
    assert_eq!((layer.nonzeros(), layer.distinct()), (layer.columns, 1));
    assert!(layer.matrix.data().chunks_exact(layer.columns).all(|row| row.iter().sum::<f32>() == 1.0));
    let column = |j: usize| layer.matrix.data().iter().skip(j).step_by(layer.columns).sum::<f32>();
    assert!((0..layer.columns).step_by(97).all(|j| column(j) == 0.25));
}

#[test]
fn a_constant_is_the_bias() {
    let pad = Pad { mode: PadMode::Constant(1.5), pads: [(0, 0), (0, 0), (1, 2)] };
    let layer = layer_matrix(Arc::new(pad), &[1, 2], &[]).unwrap();
    assert_eq!(layer.bias.data(), [1.5, 0.0, 0.0, 1.5, 1.5]);
    assert_eq!(layer.matrix.data(), [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    // A bias that is large against the weights costs them no digits to speak of.
    let (weight, bias) = (Tensor::new([1, 1, 1], &[0.012345]).unwrap(), Tensor::new([1], &[1000.0]).unwrap());
    let layer = layer_matrix(Arc::new(Conv { window: line(1, 1, 1), groups: 1 }), &[1, 1], &[&weight, &bias])
        .unwrap();
    assert!((layer.matrix.data()[0] - 0.012345).abs() < 2e-8, "{:?}", layer.matrix.data());
    assert_eq!(layer.bias.data(), [1000.0]);
}

#[test]
fn what_is_not_affine_is_refused() {
    let error =
        |op: Arc<dyn Operator>, input: &[usize]| layer_matrix(op, input, &[]).unwrap_err().to_string();
    let pool = MaxPool { window: line(2, 1, 1), ceil_mode: false };
    let ops: Vec<Arc<dyn Operator>> = vec![
        Arc::new(pool),
        Arc::new(ops::Activate(Activation::Relu)),
        Arc::new(ops::Activate(Activation::Clip { min: -100.0, max: 100.0 })),
        Arc::new(ops::Activate(Activation::LeakyRelu { alpha: 0.9 })),
        Arc::new(ops::Activate(Activation::HardSigmoid { alpha: 0.2, beta: 0.5 })),
    ];
    for op in ops {
        let name = op.name();
        let error = error(op, &[2, 5]);
        let expected =
            format!("{name}: operator: expected one that is affine in its input, y = M x + b, received ");
        assert!(error.starts_with(&expected), "{error}");
    }
    let softmax = error(Arc::new(ops::Softmax), &[5]);
    assert!(softmax.starts_with("Softmax: operator: expected one that is affine"), "{softmax}");
    let dropout = error(Arc::new(ops::Dropout { p: 0.5, stream: 0, training: true }), &[3, 9]);
    assert!(dropout.starts_with("Dropout: operator: expected one that is affine"), "{dropout}");
}

#[test]
fn wrong_shapes_and_sizes_are_refused() {
    let error = layer_matrix(Arc::new(Flatten), &[3, 100, 100], &[]).unwrap_err().to_string();
    assert_eq!(error, "Flatten: matrix: expected at most 268435456 elements, received 30000 x 30000");
    let conv = Conv { window: line(3, 1, 1), groups: 1 };
    let error = layer_matrix(Arc::new(conv), &[2, 9], &[&numbers(&[4, 3, 3])]).unwrap_err().to_string();
    assert_eq!(error, "Conv: weight: expected shape [4, 2, 3], received shape [4, 3, 3]");
    let error = layer_matrix(Arc::new(Flatten), &[usize::MAX, 9], &[]).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("Flatten: input_shape: expected a size below 2^40 elements, received {}", usize::MAX)
    );
    // A value of a fixed batch fits one image only.
    let error = layer_matrix(Arc::new(ops::Add), &[2, 2], &[&numbers(&[1, 2, 2])]).unwrap_err().to_string();
    assert!(error.starts_with("Add: "), "{error}");
    let error = layer_matrix(Arc::new(conv), &[2, 9], &[]).unwrap_err().to_string();
    assert_eq!(error, "Conv: inputs: expected 2 to 3, received 1");
}
