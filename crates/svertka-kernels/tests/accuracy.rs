//! How far algorithms are from the definition in `f64`, beside the definition in `f32`: a sum of rounded products, one after the other.

use svertka_kernels::conv::{Accuracy, Algorithm, Forward, WeightGradient};
use svertka_kernels::epilogue::Epilogue;
use svertka_kernels::geometry::{ConvGeometry, Window};
use svertka_kernels::layout::{blocked_len, to_blocked, to_plain};
use svertka_kernels::{Buffer, Cpu, reference};

/// Generated shapes.
const SHAPES: usize = 240;

/// Numbers that look random.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 24
    }

    fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.next() as usize % (high - low + 1)
    }

    fn values(&mut self, len: usize, scale: f32) -> Vec<f32> {
        let value = |bits: u64| (bits as f32 / (1u64 << 39) as f32 - 1.0) * scale;
        (0..len).map(|_| value(self.next())).collect()
    }
}

/// A 3 x 3 convolution of stride 1, with weights as a network has them and inputs of both signs or positive as behind a ReLU.
struct Case {
    g: ConvGeometry,
    x: Vec<f32>,
    weight: Vec<f32>,
    exact: Vec<f64>,
    /// Root mean square error of the definition in `f32`.
    sequential: f64,
}

fn case(number: usize) -> Case {
    let mut noise = Noise((number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let groups = if number.is_multiple_of(5) { 2 } else { 1 };
    let channels = [(); 2].map(|()| match groups {
        1 => noise.between(1, 48),
        _ => 16 * noise.between(1, 3),
    });
    let size = [(); 2].map(|()| noise.between(4, 27));
    let padding = [(); 2].map(|()| (noise.between(0, 2), noise.between(0, 2)));
    let window = Window { kernel: [1, 3, 3], padding: [(0, 0), padding[0], padding[1]], ..Window::default() };
    let g = ConvGeometry::new(1, channels[0], channels[1], groups, [1, size[0], size[1]], window).unwrap();
    let mut x = noise.values(channels[0] * size[0] * size[1], 1.0);
    if number.is_multiple_of(2) {
        x.iter_mut().for_each(|x| *x = x.max(0.0));
    }
    let fan_in = 9 * channels[0] / groups;
    let weight = noise.values(g.weight_len(), (6.0 / fan_in as f32).sqrt());
    let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let exact = reference::conv_forward(&g, &wide(&x), &wide(&weight), None);
    let sequential = error(&sequential(&g, &x, &weight), &exact);
    Case { g, x, weight, exact, sequential }
}

fn error(y: &[f32], exact: &[f64]) -> f64 {
    assert_eq!(y.len(), exact.len());
    let squares = y.iter().zip(exact).map(|(y, exact)| (f64::from(*y) - exact).powi(2));
    (squares.sum::<f64>() / y.len() as f64).sqrt()
}

/// The definition in `f32`.
fn sequential(g: &ConvGeometry, x: &[f32], weight: &[f32]) -> Vec<f32> {
    let [_, height, width] = g.input;
    let (group_in, group_out) = (g.in_channels / g.groups, g.out_channels / g.groups);
    let mut y = vec![];
    for out in 0..g.out_channels {
        for row in 0..g.output[1] {
            for column in 0..g.output[2] {
                let mut sum = 0.0f32;
                for (c, taps) in weight[out * group_in * 9..][..group_in * 9].chunks(9).enumerate() {
                    let plane = &x[(out / group_out * group_in + c) * height * width..][..height * width];
                    for (tap, weight) in taps.iter().enumerate() {
                        let row = (row + tap / 3).wrapping_sub(g.window.padding[1].0);
                        let column = (column + tap % 3).wrapping_sub(g.window.padding[2].0);
                        if row < height && column < width {
                            sum += weight * plane[row * width + column];
                        }
                    }
                }
                y.push(sum);
            }
        }
    }
    y
}

fn forward(case: &Case, algorithm: Algorithm) -> Vec<f32> {
    let (cpu, g) = (Cpu::new(1), &case.g);
    let cells = |size: [usize; 3]| size.iter().product::<usize>();
    let plan = Forward::with_algorithm(g, algorithm).unwrap();
    let mut packed = Buffer::zeroed(plan.packed_len());
    plan.pack(&cpu, &case.weight, &mut packed);
    let mut x = Buffer::from(&case.x[..]);
    if !algorithm.reads_plain() {
        x = Buffer::zeroed(blocked_len(g.batch, g.in_channels, cells(g.input)));
        to_blocked(g.batch, g.in_channels, cells(g.input), &case.x, &mut x, &cpu);
    }
    let mut y = Buffer::zeroed(blocked_len(g.batch, g.out_channels, cells(g.output)));
    plan.run(&cpu, &x, &packed, &Epilogue::NONE, &mut y, &mut Buffer::zeroed(plan.scratch_len(1)));
    let mut plain = vec![0.0; g.batch * g.out_channels * cells(g.output)];
    to_plain(g.batch, g.out_channels, cells(g.output), &y, &mut plain, &cpu);
    plain
}

/// The error of all cases together, in that of the definition in `f32`.
fn ratio<'a>(cases: impl Iterator<Item = &'a Case>, algorithm: impl Fn(&Case) -> Algorithm) -> f64 {
    let (sum, count) = cases.fold((0.0, 0), |(sum, count), case| {
        let ratio = error(&forward(case, algorithm(case)), &case.exact) / case.sequential;
        (sum + ratio * ratio, count + 1)
    });
    (sum / f64::from(count)).sqrt()
}

#[test]
fn every_class_and_algorithm_errs_as_little_as_it_says() {
    let cases: Vec<Case> = (0..SHAPES).map(case).collect();
    for (accuracy, bound) in [(Accuracy::Strict, 1.05), (Accuracy::Default, 3.0), (Accuracy::Fast, 12.0)] {
        let ratio = ratio(cases.iter(), |case| Algorithm::choose(&case.g, accuracy));
        assert!(ratio <= bound, "{accuracy:?}: {ratio} times the error");
    }
    for (algorithm, low, high) in [
        (Algorithm::Direct, 0.5, 1.05),
        (Algorithm::WinogradTwo, 0.4, 3.0),
        (Algorithm::WinogradFour, 1.0, 3.0),
        (Algorithm::WinogradSix, 3.0, 12.0),
    ] {
        let supported = |case: &&Case| algorithm.supports(&case.g);
        assert!(cases.iter().filter(supported).count() >= 200);
        let ratio = ratio(cases.iter().filter(supported), |_| algorithm);
        assert!((low..=high).contains(&ratio), "{algorithm:?}: {ratio} times the error");
    }
}

/// Root mean square errors of the weight gradient by an algorithm and by the definition in `f32`, one pixel after the other.
fn weight_gradient_errors(number: usize, algorithm: Algorithm) -> [f64; 2] {
    let mut noise = Noise((number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let (batch, channels) = (noise.between(1, 4), [(); 2].map(|()| noise.between(1, 24)));
    let size = [(); 2].map(|()| noise.between(4, 19));
    let padding = [(); 2].map(|()| (noise.between(0, 2), noise.between(0, 2)));
    let window = Window { kernel: [1, 3, 3], padding: [(0, 0), padding[0], padding[1]], ..Window::default() };
    let g = ConvGeometry::new(batch, channels[0], channels[1], 1, [1, size[0], size[1]], window).unwrap();
    let cells = |size: [usize; 3]| size.iter().product::<usize>();
    let mut x = noise.values(batch * channels[0] * cells(g.input), 1.0);
    x.iter_mut().for_each(|x| *x = x.max(0.0));
    let dy = noise.values(batch * channels[1] * cells(g.output), 1.0);
    let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let (exact, _) = reference::conv_weight_gradient(&g, &wide(&x), &wide(&dy));
    let mut sequential = vec![];
    for out in 0..channels[1] {
        for tap in 0..9 * channels[0] {
            let (c, tap) = (tap / 9, tap % 9);
            let mut sum = 0.0f32;
            for (image, dy) in dy.chunks(channels[1] * cells(g.output)).enumerate() {
                let plane = &x[(image * channels[0] + c) * cells(g.input)..][..cells(g.input)];
                for (cell, dy) in dy[out * cells(g.output)..][..cells(g.output)].iter().enumerate() {
                    let row = (cell / g.output[2] + tap / 3).wrapping_sub(padding[0].0);
                    let column = (cell % g.output[2] + tap % 3).wrapping_sub(padding[1].0);
                    if row < size[0] && column < size[1] {
                        sum += dy * plane[row * size[1] + column];
                    }
                }
            }
            sequential.push(sum);
        }
    }
    let (cpu, plan) = (Cpu::new(1), WeightGradient::with_algorithm(&g, algorithm).unwrap());
    let blocked = |channels, size, values: &[f32]| {
        let mut blocked = Buffer::zeroed(blocked_len(batch, channels, cells(size)));
        to_blocked(batch, channels, cells(size), values, &mut blocked, &cpu);
        blocked
    };
    let (x, dy) = (blocked(channels[0], g.input, &x), blocked(channels[1], g.output, &dy));
    let mut dw = vec![0.0; g.weight_len()];
    plan.run(&cpu, &x, &dy, &mut dw, None, &mut Buffer::zeroed(plan.scratch_len(1)));
    [error(&dw, &exact), error(&sequential, &exact)]
}

#[test]
fn weight_gradients_err_as_little_as_their_class_says() {
    for (algorithm, bound) in
        [(Algorithm::Direct, 1.05), (Algorithm::WinogradTwo, 3.0), (Algorithm::WinogradFour, 3.0)]
    {
        let squares = (0..SHAPES).map(|number| {
            let [error, sequential] = weight_gradient_errors(number, algorithm);
            (error / sequential).powi(2)
        });
        let ratio = (squares.sum::<f64>() / SHAPES as f64).sqrt();
        assert!(ratio <= bound, "{algorithm:?}: {ratio} times the error");
    }
}
