//! Kernels taken apart into columns and rows, and the layers that use it.

use svertka::{
    ConvSpec, Cpu, Network, OuterProduct, Padding, PaddingMode, Plan, Tensor, Weights, conv, cost,
    outer_product, separate,
};

fn kernel(rows: &[&[f32]]) -> Tensor {
    Tensor::new([rows.len(), rows[0].len()], &rows.concat()).unwrap()
}

fn noise(shape: &[usize], salt: usize) -> Tensor {
    let len = shape.iter().product();
    let values: Vec<f32> = (0..len)
        .map(|i: usize| ((i * i * 613 + i * 7919 + salt * 6007) % 1009) as f32 / 504.5 - 1.0)
        .collect();
    Tensor::new(shape, &values).unwrap()
}

/// `exp(-(i^2 + j^2) / 2)` rounded to 32 bits cell by cell.
fn gaussian(height: usize, width: usize) -> Tensor {
    let at = |i: usize, size: usize| i as f64 - (size / 2) as f64;
    let cell = |i: usize| {
        let (y, x) = (at(i / width, height), at(i % width, width));
        (-(y * y + x * x) / 2.0).exp() as f32
    };
    Tensor::new([height, width], &(0..height * width).map(cell).collect::<Vec<_>>()).unwrap()
}

/// The Frobenius norm of a difference.
fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.shape(), b.shape());
    a.data().iter().zip(b.data()).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
}

fn norm(a: &Tensor) -> f64 {
    distance(a, &Tensor::zeros(a.shape()))
}

#[test]
fn ranks_are_what_they_are_known_to_be() {
    let sobel = kernel(&[&[1.0, 0.0, -1.0], &[2.0, 0.0, -2.0], &[1.0, 0.0, -1.0]]);
    let laplacian = kernel(&[&[0.0, 1.0, 0.0], &[1.0, -4.0, 1.0], &[0.0, 1.0, 0.0]]);
    let cross = kernel(&[&[0.0, 0.0, 1.0, 0.0], &[1.0, 1.0, 1.0, 1.0], &[0.0, 0.0, 1.0, 0.0]]);
    let diagonal = kernel(&[&[3.0, 0.0], &[0.0, -2.0], &[0.0, 0.0]]);
    for (kernel, rank) in [
        (&sobel, 1),
        (&gaussian(5, 7), 1),
        (&gaussian(9, 3), 1),
        (&laplacian, 2),
        (&cross, 2),
        (&diagonal, 2),
        (&noise(&[5, 7], 1), 5),
        (&noise(&[6, 4], 2), 4),
        (&Tensor::zeros([2, 3]), 0),
        (&kernel(&[&[2.0, -1.0, 0.5]]), 1),
    ] {
        let separated = separate(kernel, 1).unwrap();
        assert_eq!(separated.rank, rank, "{kernel:?}");
        assert_eq!(separated.error() < 1e-6, rank < 2, "{kernel:?}");
        let one = matches!(outer_product(kernel).unwrap(), OuterProduct::Of { .. });
        assert_eq!(one, rank < 2, "{kernel:?}");
    }
    // The singular values of a diagonal kernel stand in it; those of the cross satisfy s1^2 + s2^2 = 6 and s1 s2 = sqrt(6).
    let values = separate(&diagonal, 1).unwrap().singular_values;
    assert!((values[0] - 3.0).abs() < 1e-12 && (values[1] - 2.0).abs() < 1e-12, "{values:?}");
    let values = separate(&cross, 1).unwrap().singular_values;
    assert!((values[0] * values[1] - 6.0_f64.sqrt()).abs() < 1e-12, "{values:?}");
    assert!((values[0].powi(2) + values[1].powi(2) - 6.0).abs() < 1e-12 && values[2] < 1e-12, "{values:?}");
}

#[test]
fn what_is_missed_are_the_singular_values_left_out() {
    for (height, width) in [(5, 7), (8, 3), (4, 4), (1, 6), (11, 11)] {
        let kernel = noise(&[height, width], height);
        let most = height.min(width);
        for rank in 1..=most {
            let separated = separate(&kernel, rank).unwrap();
            assert_eq!((separated.columns.len(), separated.rows.len()), (rank, rank));
            assert!(separated.columns.iter().all(|column| column.len() == height));
            let left_out = separated.singular_values[rank..].iter().map(|s| s * s).sum::<f64>().sqrt();
            let missed = distance(&separated.kernel().unwrap(), &kernel);
            assert!((missed - left_out).abs() < 1e-6 * norm(&kernel), "{height} x {width}, {rank}: {missed}");
            assert!((separated.error() - left_out / norm(&kernel)).abs() < 1e-12);
        }
        let errors = separate(&kernel, 1).unwrap().errors;
        assert!(errors[0] == 1.0 && errors[most] == 0.0 && errors.is_sorted_by(|a, b| a >= b), "{errors:?}");
    }
}

#[test]
fn errors_name_what_was_expected() {
    let error = |kernel: &Tensor, rank| separate(kernel, rank).unwrap_err().to_string();
    assert_eq!(
        error(&Tensor::zeros([2]), 1),
        "separate: kernel: expected rows and columns, received shape [2]"
    );
    assert_eq!(
        error(&Tensor::zeros([2, 0]), 1),
        "separate: kernel: expected rows and columns, received shape [2, 0]"
    );
    assert_eq!(error(&Tensor::zeros([2, 3]), 3), "separate: rank: expected 1 to 2, received 3");
    assert_eq!(error(&Tensor::zeros([2, 3]), 0), "separate: rank: expected 1 to 2, received 0");
    let broken = kernel(&[&[1.0, f32::NAN]]);
    assert_eq!(error(&broken, 1), "separate: kernel: expected finite numbers, received NaN");
    let error = outer_product(&broken).unwrap_err().to_string();
    assert_eq!(error, "outer_product: kernel: expected finite numbers, received NaN");

    let mut network = Network::new(&[3, 8, 8], 0);
    let x = network.input();
    let constant = ConvSpec::new().padding_mode(PaddingMode::Constant(2.0));
    let error = network.separable_conv(x, 4, 3, &constant).unwrap_err().to_string();
    assert_eq!(error, "separable_conv: padding with the constant 2 is not supported");
    let error =
        network.depthwise_separable_conv(x, 4, 3, 1, &ConvSpec::new().groups(3)).unwrap_err().to_string();
    assert_eq!(error, "depthwise_separable_conv: groups: expected 1, received 3");
    let error = network.separable_conv(x, 4, 9, &ConvSpec::new()).unwrap_err().to_string();
    assert!(error.contains("kernel_size: expected at most the padded input 8"), "{error}");
}

/// Column and row as the weights of the layer do what the kernel does at once, however its edges are padded.
#[test]
fn the_layer_does_what_the_kernel_does() {
    let kernel = gaussian(5, 3);
    let separated = separate(&kernel, 1).unwrap();
    let x = noise(&[2, 1, 9, 11], 3);
    let cpu = Cpu::new(1);
    for mode in [
        PaddingMode::Zeros,
        PaddingMode::Replicate,
        PaddingMode::Reflect,
        PaddingMode::Symmetric,
        PaddingMode::Circular,
    ] {
        let spec = ConvSpec::new()
            .padding(Padding::Sides(vec![(3, 2), (0, 4)]))
            .stride([2, 1])
            .dilation([1, 2])
            .padding_mode(mode)
            .bias(false);
        let mut network = Network::new(&[1, 9, 11], 0);
        network.separable_conv(network.input(), 1, [5, 3], &spec).unwrap();
        let graph = network.finish();
        let weights = [
            Tensor::new([1, 1, 5, 1], &separated.columns[0]).unwrap(),
            Tensor::new([1, 1, 1, 3], &separated.rows[0]).unwrap(),
        ];
        let mut plan = Plan::new(&graph, &[x.shape().to_vec()], Weights::Constant, &cpu).unwrap();
        plan.run(&cpu, &weights, &[&x], 0).unwrap();
        let once = conv(&x, &kernel.clone().reshape([1, 1, 5, 3]).unwrap(), None, &spec).unwrap();
        let twice = Tensor::new(plan.output_shape(0), plan.output(0)).unwrap();
        assert!(distance(&once, &twice) < 1e-6 * norm(&once), "{mode:?}");
    }
}

#[test]
fn costs_counted_by_hand() {
    let totals = |network: Network| {
        let graph = network.finish();
        let layers = cost(&graph, &graph.input_shapes(1)).unwrap();
        let field = layers.last().unwrap().receptive_field.clone();
        (
            layers.iter().map(|l| l.parameters).sum::<usize>(),
            layers.iter().map(|l| l.macs).sum::<u64>(),
            field,
        )
    };
    let spec = ConvSpec::new().padding(Padding::Same).bias(false);
    // The lecture's picture of 128 x 128: 3 * 3 * 16 weights down, then 3 * 16 * 16 across, each for 16384 pixels.
    let mut network = Network::new(&[3, 128, 128], 0);
    network.separable_conv(network.input(), 16, 3, &spec).unwrap();
    assert_eq!(totals(network), (144 + 768, (144 + 768) * 16_384, vec![3, 3]));
    // Three axes with stride 2 along the second: 2 x 1 x 1 on 4 x 6 x 5 pixels, 1 x 3 x 1 on 4 x 3 x 5, 1 x 1 x 4 on 4 x 3 x 5.
    let mut network = Network::new(&[2, 4, 6, 5], 0);
    network.separable_conv(network.input(), 7, [2, 3, 4], &spec.clone().stride([1, 2, 1])).unwrap();
    let (first, second, third) = (2 * 2 * 7, 3 * 7 * 7, 4 * 7 * 7);
    let macs = (first * 120 + second * 60 + third * 60) as u64;
    assert_eq!(totals(network), (first + second + third, macs, vec![2, 3, 4]));
    // Two kernels of 3 x 1 for each of 5 channels, then 10 to 4 channels with a bias.
    let mut network = Network::new(&[5, 6, 7], 0);
    let spec = spec.bias(true).stride([2, 1]);
    network.depthwise_separable_conv(network.input(), 4, [3, 1], 2, &spec).unwrap();
    assert_eq!(totals(network), (10 * 3 + 10 * 4 + 4, (10 * 3 + 10 * 4) * 21, vec![3, 1]));
}
