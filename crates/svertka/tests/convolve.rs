//! The laws of convolution, and what SciPy and NumPy answer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use svertka::formats::{Limits, npz};
use svertka::kernels::pad::PadMode;
use svertka::ops::Pad;
use svertka::{
    ConvSpec, Extent, Network, PaddingMode, Plan, Tensor, Weights, apply, conv, convolve, correlate,
};

/// Numbers between -1 and 1 that look random.
fn noise(shape: &[usize], salt: usize) -> Tensor {
    let len = shape.iter().product();
    let values: Vec<f32> =
        (0..len).map(|i: usize| (((i + 1) * 7919 + salt * 6007) % 1009) as f32 / 504.5 - 1.0).collect();
    Tensor::new(shape, &values).unwrap()
}

/// Equal within `1e-5` of the largest number.
fn assert_close(received: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(received.shape(), expected.shape(), "{what}");
    let largest = expected.data().iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    for (received, expected) in received.data().iter().zip(expected.data()) {
        assert!((received - expected).abs() <= 1e-5 * largest, "{what}: {received}, expected {expected}");
    }
}

fn add(a: &Tensor, b: &Tensor) -> Tensor {
    let sum: Vec<f32> = a.data().iter().zip(b.data()).map(|(a, b)| a + b).collect();
    Tensor::new(a.shape(), &sum).unwrap()
}

/// Shapes of three arrays in one to three axes.
const TRIPLES: [[&[usize]; 3]; 3] =
    [[&[9], &[4], &[3]], [&[5, 7], &[3, 2], &[2, 4]], [&[3, 5, 4], &[2, 3, 1], &[4, 1, 2]]];

#[test]
fn convolution_commutes_associates_and_distributes() {
    let full = |a: &Tensor, b: &Tensor| convolve(a, b, Extent::Full).unwrap();
    for [f, g, h] in TRIPLES {
        let (f, g, h, other) = (noise(f, 1), noise(g, 2), noise(h, 3), noise(g, 4));
        assert_close(&full(&f, &g), &full(&g, &f), "f * g = g * f");
        assert_close(&full(&full(&f, &g), &h), &full(&f, &full(&g, &h)), "(f * g) * h = f * (g * h)");
        let apart = add(&full(&f, &g), &full(&f, &other));
        assert_close(&full(&f, &add(&g, &other)), &apart, "f * (g + g') = f * g + f * g'");
        // Correlation does not commute.
        let correlated = |a: &Tensor, b: &Tensor| correlate(a, b, Extent::Full).unwrap();
        assert_ne!(correlated(&f, &g).data(), correlated(&g, &f).data());
    }
}

#[test]
fn the_unit_impulse_is_the_identity_and_a_moved_one_a_shift() {
    for [shape, ..] in TRIPLES {
        let x = noise(shape, 5);
        let mut impulse = Tensor::zeros(vec![3; shape.len()]);
        let middle = impulse.data().len() / 2;
        impulse.data_mut()[middle] = 1.0;
        assert_eq!(convolve(&x, &impulse, Extent::Same).unwrap(), x);
        assert_eq!(correlate(&x, &impulse, Extent::Same).unwrap(), x);
    }
    let x = Tensor::new([4], &[1.0, 2.0, 3.0, 4.0]).unwrap();
    let later = Tensor::new([3], &[0.0, 0.0, 1.0]).unwrap();
    assert_eq!(convolve(&x, &later, Extent::Same).unwrap().data(), [0.0, 1.0, 2.0, 3.0]);
    assert_eq!(correlate(&x, &later, Extent::Same).unwrap().data(), [2.0, 3.0, 4.0, 0.0]);
}

/// `x`, of shape `N x C x spatial`, moved by `by` along every spatial axis; what leaves at one end comes in at the other.
fn roll(x: &Tensor, by: usize) -> Tensor {
    let (mut rolled, shape) = (x.clone(), x.shape());
    for (from, value) in x.data().iter().enumerate() {
        let (mut rest, mut to, mut stride) = (from, 0, 1);
        for (axis, &size) in shape.iter().enumerate().rev() {
            to += (rest % size + if axis < 2 { 0 } else { by }) % size * stride;
            (rest, stride) = (rest / size, stride * size);
        }
        rolled.data_mut()[to] = *value;
    }
    rolled
}

#[test]
fn convolution_is_equivariant_under_circular_padding_to_the_bit_and_not_under_zeros() {
    let cases: [(&[usize], &[usize]); 4] = [
        (&[2, 3, 11], &[5, 3, 3]),
        (&[1, 2, 7, 9], &[4, 2, 3, 5]),
        (&[1, 9, 8, 13], &[17, 9, 3, 3]),
        (&[1, 2, 5, 4, 6], &[3, 2, 3, 1, 3]),
    ];
    for (shape, kernel) in cases {
        let (x, weight) = (noise(shape, 1), noise(kernel, 2));
        for flip in [false, true] {
            let half: Vec<usize> = kernel[2..].iter().map(|size| size / 2).collect();
            let spec = |mode| ConvSpec::new().padding(half.clone()).padding_mode(mode).flip(flip);
            let y = |x: &Tensor, mode| conv(x, &weight, None, &spec(mode)).unwrap();
            for by in 1..4 {
                let mode = PaddingMode::Circular;
                assert_eq!(y(&roll(&x, by), mode), roll(&y(&x, mode), by), "{shape:?} by {by}");
                assert_ne!(y(&roll(&x, by), PaddingMode::Zeros), roll(&y(&x, PaddingMode::Zeros), by));
            }
        }
    }
}

#[test]
fn a_flipped_layer_is_the_convolution_of_mathematics() {
    let mut network = Network::new(&[1, 6, 7], 0);
    let spec = ConvSpec::new().padding(svertka::Padding::Full).bias(false).flip(true);
    network.conv(network.input(), 1, [2, 3], &spec).unwrap();
    let graph = network.finish();
    let parameters: usize =
        svertka::cost(&graph, &graph.input_shapes(1)).unwrap().iter().map(|l| l.parameters).sum();
    assert_eq!(parameters, 6);
    let (x, cpu) = (noise(&[1, 1, 6, 7], 1), svertka::Cpu::new(1));
    let mut plan = Plan::new(&graph, &[x.shape().to_vec()], Weights::Constant, &cpu).unwrap();
    plan.run(&cpu, graph.parameters(), &[&x], 0).unwrap();
    let kernel = graph.parameters()[0].clone().reshape([2, 3]).unwrap();
    let expected = convolve(&x.reshape([6, 7]).unwrap(), &kernel, Extent::Full).unwrap();
    assert_eq!(plan.output(0), expected.data());
}

#[test]
fn errors_name_what_does_not_fit() {
    let error = |x: &[usize], kernel: &[usize], extent| {
        convolve(&Tensor::zeros(x), &Tensor::zeros(kernel), extent).unwrap_err().to_string()
    };
    let cells = "1 to 3 axes with at least one cell along each";
    assert_eq!(
        error(&[3, 4], &[2], Extent::Full),
        "convolve: kernel: expected 2 axes, as x has, received shape [2]"
    );
    assert_eq!(error(&[], &[], Extent::Full), format!("convolve: x: expected {cells}, received shape []"));
    assert_eq!(
        error(&[3, 4], &[2, 0], Extent::Same),
        format!("convolve: kernel: expected {cells}, received shape [2, 0]")
    );
    assert_eq!(
        error(&[3, 4], &[4, 3], Extent::Valid),
        "convolve: kernel (valid): expected a shape inside [3, 4] or around it along every axis, received shape [4, 3]"
    );
    let error = correlate(&Tensor::zeros([1; 4]), &Tensor::zeros([1; 4]), Extent::Same).unwrap_err();
    assert_eq!(error.to_string(), format!("correlate: x: expected {cells}, received shape [1, 1, 1, 1]"));
}

/// The cases of `golden/<name>`: words of the name and the arrays of each.
fn golden(name: &str) -> Vec<(Vec<String>, BTreeMap<String, Tensor>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let arrays = npz::decode(&std::fs::read(path).unwrap(), &Limits::default()).unwrap();
    let mut cases: BTreeMap<String, BTreeMap<String, Tensor>> = BTreeMap::new();
    for (member, array) in arrays {
        let (case, part) = member.rsplit_once('.').unwrap();
        let tensor = Tensor::new(array.shape, &array.data.into_f32()).unwrap();
        cases.entry(case.to_owned()).or_default().insert(part.to_owned(), tensor);
    }
    let words = |case: &str| case.split('.').map(str::to_owned).collect();
    cases.iter().map(|(case, arrays)| (words(case), arrays.clone())).collect()
}

#[test]
fn scipy_convolves_and_correlates_likewise() {
    let cases = golden("scipy_convolve.npz");
    assert_eq!(cases.len(), 128);
    for (words, arrays) in cases {
        let extent = match words[1].as_str() {
            "full" => Extent::Full,
            "same" => Extent::Same,
            _ => Extent::Valid,
        };
        let function = if words[0] == "convolve" { convolve } else { correlate };
        let y = function(&arrays["x"], &arrays["kernel"], extent).unwrap();
        assert_close(&y, &arrays["y"], &words.join("."));
    }
}

#[test]
fn numpy_pads_likewise() {
    let cases = golden("numpy_pad.npz");
    assert_eq!(cases.len(), 57);
    for (words, arrays) in cases {
        let mode = match words[0].as_str() {
            "constant" => PadMode::Constant(-1.5),
            "edge" => PadMode::Replicate,
            "reflect" => PadMode::Reflect,
            "symmetric" => PadMode::Symmetric,
            _ => PadMode::Circular,
        };
        let (x, y) = (&arrays["x"], &arrays["y"]);
        let mut pads = [(0, 0); 3];
        let axes = arrays["pads"].data().chunks(2).map(|pad| (pad[0] as usize, pad[1] as usize));
        pads[3 - x.shape().len()..].iter_mut().zip(axes).for_each(|(pad, read)| *pad = read);
        let x = x.clone().reshape([&[1, 1], x.shape()].concat()).unwrap();
        let padded = apply(Arc::new(Pad { mode, pads }), &[&x]).unwrap();
        assert_eq!(&padded.reshape(y.shape()).unwrap(), y, "{}", words.join("."));
    }
}
