//! How far algorithms are from the definition in `f64`, beside the direct one in `f32`.

use svertka_kernels::conv::{Algorithm, Forward};
use svertka_kernels::epilogue::Epilogue;
use svertka_kernels::geometry::{ConvGeometry, Window};
use svertka_kernels::layout::{blocked_len, to_blocked, to_plain};
use svertka_kernels::{Buffer, Cpu, reference};

/// Of the root mean square error, to that of the direct algorithm.
const BOUND: f64 = 3.0;

fn numbers(seed: u64, len: usize, scale: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn forward(g: &ConvGeometry, algorithm: Algorithm, x: &[f32], weight: &[f32]) -> Vec<f32> {
    let cpu = Cpu::new(2);
    let cells = |size: [usize; 3]| size.iter().product::<usize>();
    let plan = Forward::with_algorithm(g, algorithm).unwrap();
    let mut packed = Buffer::zeroed(plan.packed_len());
    plan.pack(&cpu, weight, &mut packed);
    let mut blocked = Buffer::zeroed(blocked_len(g.batch, g.in_channels, cells(g.input)));
    to_blocked(g.batch, g.in_channels, cells(g.input), x, &mut blocked, &cpu);
    let mut y = Buffer::zeroed(blocked_len(g.batch, g.out_channels, cells(g.output)));
    plan.run(&cpu, &blocked, &packed, &Epilogue::NONE, &mut y, &mut Buffer::zeroed(plan.scratch_len(2)));
    let mut plain = vec![0.0; g.batch * g.out_channels * cells(g.output)];
    to_plain(g.batch, g.out_channels, cells(g.output), &y, &mut plain, &cpu);
    plain
}

/// Weights as a network has them, inputs positive as behind a ReLU and of both signs.
#[test]
fn winograd_errs_little_more_than_the_definition_in_single_precision() {
    for (channels, size) in [(16, [13, 18]), (64, [14, 14]), (160, [9, 12])] {
        for positive in [false, true] {
            let window = Window { kernel: [1, 3, 3], padding: [(0, 0), (1, 1), (1, 1)], ..Window::default() };
            let g = ConvGeometry::new(1, channels, channels, 1, [1, size[0], size[1]], window).unwrap();
            let mut x = numbers(1, channels * size[0] * size[1], 1.0);
            if positive {
                x.iter_mut().for_each(|x| *x = x.max(0.0));
            }
            let weight = numbers(2, g.weight_len(), (6.0 / (9 * channels) as f32).sqrt());
            let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
            let expected = reference::conv_forward(&g, &wide(&x), &wide(&weight), None);
            let error = |algorithm| {
                let y = forward(&g, algorithm, &x, &weight);
                let squares = y.iter().zip(&expected).map(|(y, e)| (f64::from(*y) - e).powi(2));
                (squares.sum::<f64>() / y.len() as f64).sqrt()
            };
            let direct = error(Algorithm::Direct);
            for algorithm in [Algorithm::WinogradTwo, Algorithm::WinogradFour] {
                let ratio = error(algorithm) / direct;
                assert!(ratio <= BOUND, "{algorithm:?}, {channels} channels: {ratio} times the error");
                assert!(ratio > 0.2, "{algorithm:?}: no error at all is one of the test");
            }
        }
    }
}
