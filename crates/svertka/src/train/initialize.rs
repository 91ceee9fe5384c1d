//! Where training from nothing begins, as far as random weights are not the best that can be said before the first step.
//!
//! The first convolution's kernels are the directions in which small patches of the training pictures vary, scaled so that its outputs are uncorrelated
//! and of variance one. Neighbouring pixels and the colours of one are nearly the same; random kernels all see mostly their mean, and it takes epochs
//! until some see edges. Coates, Lee and Ng, 2011 (whitened patches); Page, 2019, and Jordan, 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU".
//!
//! The layer that gives the classes begins with zeros: all are equally likely, where random weights are sure of something that must first be unlearned.

use super::step::logits;
use crate::data::{Preprocessing, Split};
use crate::error::Result;
use crate::graph::{Graph, Source};
use crate::ops::{Conv, Linear, is};

/// Pictures that patches are taken of, evenly spaced.
const PICTURES: usize = 2000;

/// Patches of a picture along an axis, evenly spaced.
const PATCHES: usize = 8;

/// Added to variances, in units of the normalized pictures: a direction in which hardly a patch varies is noise, not to be blown up.
const EPSILON: f64 = 5e-4;

/// Values of a patch up to which it is done; more directions than that are costly to find and larger kernels hold few of them.
const LARGEST_PATCH: usize = 192;

/// Turns over all pairs of axes after which the search for directions ends; ten are enough for what patches give.
const MOST_SWEEPS: usize = 30;

/// Prepares the weights of a new network for training on `pictures`, as they come through `frame`: those of the convolution that reads them, if there is
/// one without groups and dilation, and those of the linear layer that ends in the classes, if one does.
///
/// The kernels become pairs of a direction and its opposite, so that a ReLU behind them loses nothing, those of the largest variance first. Kernels beyond
/// twice the values of a patch stay as they are.
///
/// # Errors
/// A picture that cannot be read any more.
///
/// ```no_run
/// use svertka::data::{Dataset, OpenOptions};
/// use svertka::{models, train};
/// let dataset = Dataset::open("pictures", &OpenOptions::default())?;
/// let frame = dataset.preprocessing()?;
/// let shape = [frame.channels, frame.height, frame.width];
/// let mut graph = models::build("small", &shape, dataset.classes.len(), 0)?;
/// train::initialize(&mut graph, &dataset.train, &frame)?;
/// # Ok::<(), svertka::Error>(())
/// ```
pub fn initialize(graph: &mut Graph, pictures: &Split, frame: &Preprocessing) -> Result<()> {
    if let Some(parameter) = last_layer(graph) {
        graph.parameters_mut()[parameter].data_mut().fill(0.0);
    }
    let Some((parameter, [channels, height, width])) = first_layer(graph, frame) else { return Ok(()) };
    let covariance = covariance(pictures, frame, [height, width])?;
    let patch = channels * height * width;
    let directions = principal_directions(covariance, patch);
    let kernels = graph.parameters_mut()[parameter].data_mut().chunks_exact_mut(2 * patch);
    for (pair, (variance, direction)) in kernels.zip(&directions) {
        let scale = 1.0 / (variance + EPSILON).sqrt();
        let (kernel, opposite) = pair.split_at_mut(patch);
        for ((kernel, opposite), value) in kernel.iter_mut().zip(opposite).zip(direction) {
            *kernel = (value * scale) as f32;
            *opposite = -*kernel;
        }
    }
    Ok(())
}

/// The index among the parameters of the weight that makes the logits.
fn last_layer(graph: &Graph) -> Option<usize> {
    let node = graph.producer(logits(graph).ok()?)?;
    is::<Linear>(&node.op)?;
    match graph.source(node.inputs[1]) {
        Source::Parameter(parameter) => Some(parameter),
        _ => None,
    }
}

/// The weight's index among the parameters, and its channels, height and width.
fn first_layer(graph: &Graph, frame: &Preprocessing) -> Option<(usize, [usize; 3])> {
    let [input] = graph.inputs() else { return None };
    let node = graph.nodes().iter().find(|node| node.inputs.first() == Some(&input.value))?;
    let conv = is::<Conv>(&node.op)?;
    let Source::Parameter(parameter) = graph.source(node.inputs[1]) else { return None };
    let &[_, channels, height, width] = graph.parameters()[parameter].shape() else { return None };
    let fits = conv.groups == 1
        && conv.window.dilation == [1; 3]
        && channels == frame.channels
        && (1..=frame.height).contains(&height)
        && (1..=frame.width).contains(&width)
        && (2..=LARGEST_PATCH).contains(&(channels * height * width));
    fits.then_some((parameter, [channels, height, width]))
}

/// Of patches of `height x width` of the normalized pictures, channels first: a symmetric matrix, row by row.
fn covariance(pictures: &Split, frame: &Preprocessing, [height, width]: [usize; 2]) -> Result<Vec<f64>> {
    let size = frame.channels * height * width;
    let (mut sums, mut products, mut count) = (vec![0.0; size], vec![0.0; size * size], 0);
    let mut patch = vec![0.0; size];
    for index in (0..pictures.len()).step_by(pictures.len().div_ceil(PICTURES).max(1)) {
        let pixels = pictures.pixels(index)?;
        for y in places(frame.height - height) {
            for x in places(frame.width - width) {
                for (i, value) in patch.iter_mut().enumerate() {
                    let (c, dy, dx) = (i / (height * width), i / width % height, i % width);
                    let pixel = pixels[((y + dy) * frame.width + x + dx) * frame.channels + c];
                    let mean = f64::from(frame.mean[c]);
                    *value = (f64::from(pixel) / 255.0 - mean) / f64::from(frame.std[c]);
                }
                for (i, &a) in patch.iter().enumerate() {
                    sums[i] += a;
                    products[i * size..][..=i].iter_mut().zip(&patch).for_each(|(sum, b)| *sum += a * b);
                }
                count += 1;
            }
        }
    }
    let count = f64::from(count.max(1));
    for i in 0..size {
        for j in 0..=i {
            let value = products[i * size + j] / count - sums[i] / count * (sums[j] / count);
            (products[i * size + j], products[j * size + i]) = (value, value);
        }
    }
    Ok(products)
}

/// Evenly spaced places from 0 to `last`.
fn places(last: usize) -> impl Iterator<Item = usize> {
    let count = PATCHES.min(last + 1);
    (0..count).map(move |i| if count > 1 { i * last / (count - 1) } else { 0 })
}

/// Eigenvalues and eigenvectors of a symmetric matrix of this size, the largest first, by Jacobi's rotations in sweeps over all pairs of rows. For
/// matrices as small as these no library is needed.
fn principal_directions(mut a: Vec<f64>, size: usize) -> Vec<(f64, Vec<f64>)> {
    let mut vectors = vec![0.0; size * size];
    (0..size).for_each(|i| vectors[i * size + i] = 1.0);
    let squares: f64 = a.iter().map(|value| value * value).sum();
    for _ in 0..MOST_SWEEPS {
        let on_diagonal: f64 = (0..size).map(|i| a[i * size + i].powi(2)).sum();
        if squares - on_diagonal <= 1e-24 * squares {
            break;
        }
        for p in 0..size {
            for q in p + 1..size {
                rotate(&mut a, &mut vectors, size, [p, q]);
            }
        }
    }
    let pair = |i: usize| (a[i * size + i].max(0.0), vectors[i * size..][..size].to_vec());
    let mut pairs: Vec<(f64, Vec<f64>)> = (0..size).map(pair).collect();
    pairs.sort_by(|x, y| y.0.total_cmp(&x.0));
    pairs
}

/// Turns axes `p` and `q` of the symmetric `a` so that its elements between them become zero, and the rows of `vectors` with them.
fn rotate(a: &mut [f64], vectors: &mut [f64], size: usize, [p, q]: [usize; 2]) {
    let between = a[p * size + q];
    if between == 0.0 {
        return;
    }
    let theta = (a[q * size + q] - a[p * size + p]) / (2.0 * between);
    let tangent = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let cosine = tangent.hypot(1.0).recip();
    let sine = tangent * cosine;
    let turn = |values: &mut [f64], at: usize, with: usize| {
        let (x, y) = (values[at], values[with]);
        (values[at], values[with]) = (cosine * x - sine * y, sine * x + cosine * y);
    };
    (0..size).for_each(|k| turn(a, k * size + p, k * size + q));
    (0..size).for_each(|k| turn(a, p * size + k, q * size + k));
    (0..size).for_each(|k| turn(vectors, p * size + k, q * size + k));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, OpenOptions};
    use crate::models;

    #[test]
    fn directions_are_orthonormal_eigenvectors_in_order() {
        let size = 12;
        let value = |i: usize, j: usize| f64::from(((i * j + 3 * (i + j)) % 17) as u32) - 8.0;
        let a: Vec<f64> = (0..size * size).map(|at| value(at / size, at % size)).collect();
        // A matrix times its transpose has no eigenvalue below zero.
        let product = |i: usize, j: usize| (0..size).map(|k| a[i * size + k] * a[j * size + k]).sum::<f64>();
        let matrix: Vec<f64> = (0..size * size).map(|at| product(at / size, at % size)).collect();
        let pairs = principal_directions(matrix.clone(), size);
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let largest = pairs[0].0;
        for (i, (variance, direction)) in pairs.iter().enumerate() {
            for (row, component) in matrix.chunks(size).zip(direction) {
                assert!((dot(row, direction) - variance * component).abs() < 1e-12 * largest);
            }
            for (j, (other, along)) in pairs.iter().enumerate() {
                assert!((dot(direction, along) - f64::from(u8::from(i == j))).abs() < 1e-12);
                assert!(i > j || variance >= other);
            }
        }
    }

    #[test]
    fn first_layer_whitens_patches_and_the_last_knows_nothing() {
        let dataset = Dataset::open("digits", &OpenOptions::default()).unwrap();
        let frame = dataset.preprocessing().unwrap();
        let random = models::build("small", &[1, 28, 28], 10, 0).unwrap();
        let mut graph = random.clone();
        initialize(&mut graph, &dataset.train, &frame).unwrap();
        let (first, shape) = first_layer(&graph, &frame).unwrap();
        assert_eq!(shape, [1, 3, 3]);
        let kernels: Vec<&[f32]> = graph.parameters()[first].data().chunks_exact(9).collect();
        let covariance = covariance(&dataset.train, &frame, [3, 3]).unwrap();
        let along = |x: &[f32], y: &[f32]| -> f64 {
            let product = |i: usize, j: usize| f64::from(x[i]) * covariance[i * 9 + j] * f64::from(y[j]);
            (0..81).map(|at| product(at / 9, at % 9)).sum()
        };
        for i in 0..9 {
            for j in 0..9 {
                let (x, y) = (kernels[2 * i], kernels[2 * j]);
                assert!(
                    (along(x, y) - f64::from(u8::from(i == j))).abs() < 0.02,
                    "{i}, {j}: {}",
                    along(x, y)
                );
                assert!((along(x, kernels[2 * j + 1]) + along(x, y)).abs() < 1e-6, "the opposite");
            }
        }
        let unchanged = &random.parameters()[first].data()[18 * 9..];
        assert_eq!(&graph.parameters()[first].data()[18 * 9..], unchanged);
        let last = last_layer(&graph).unwrap();
        assert!(graph.parameters()[last].data().iter().all(|&weight| weight == 0.0));
        let changed = |i: usize| graph.parameters()[i] != random.parameters()[i];
        assert!((0..graph.parameters().len()).all(|i| changed(i) == (i == first || i == last)));
    }

    #[test]
    fn layers_that_are_no_such_convolution_stay_random() {
        let dataset = Dataset::open("digits", &OpenOptions::default()).unwrap();
        let frame = dataset.preprocessing().unwrap();
        for net in ["linear10", "pool2 conv8 relu linear10", "conv8k1 relu linear10", "conv8d2 relu linear10"]
        {
            let graph = models::build(net, &[1, 28, 28], 10, 0).unwrap();
            assert_eq!(first_layer(&graph, &frame), None, "{net}");
        }
    }
}
