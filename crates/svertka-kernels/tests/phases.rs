//! The transposed convolution by phases errs less than the direct one: its sums are shorter, and its points are small whole numbers.

use svertka_kernels::conv::{Algorithm, InputGradient};
use svertka_kernels::geometry::{ConvGeometry, Window};
use svertka_kernels::layout::{blocked_len, to_blocked, to_plain};
use svertka_kernels::{Buffer, Cpu, reference};

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

fn run(g: &ConvGeometry, algorithm: Algorithm, dy: &[f32], weight: &[f32]) -> Vec<f32> {
    let cpu = Cpu::new(2);
    let [in_cells, out_cells] = [g.input, g.output].map(|size| size.iter().product::<usize>());
    let plan = InputGradient::with_algorithm(g, algorithm).unwrap();
    let mut packed = Buffer::zeroed(plan.packed_len());
    plan.pack(&cpu, weight, &mut packed);
    let mut blocked = Buffer::zeroed(blocked_len(g.batch, g.out_channels, out_cells));
    to_blocked(g.batch, g.out_channels, out_cells, dy, &mut blocked, &cpu);
    let mut dx = Buffer::zeroed(blocked_len(g.batch, g.in_channels, in_cells));
    plan.run(&cpu, &blocked, &packed, &mut dx, &mut Buffer::zeroed(plan.scratch_len(2)));
    let mut plain = vec![0.0; g.batch * g.in_channels * in_cells];
    to_plain(g.batch, g.in_channels, in_cells, &dx, &mut plain, &cpu);
    plain
}

#[test]
fn phases_err_no_more_than_the_definition_in_single_precision() {
    let padding = [(0, 0), (1, 1), (1, 1)];
    let window = Window { kernel: [1, 4, 4], stride: [1, 2, 2], padding, ..Window::default() };
    for [read, write, height, width] in [[16, 20, 26, 34], [64, 32, 28, 20], [256, 16, 18, 14]] {
        let g = ConvGeometry::new(1, write, read, 1, [1, height, width], window).unwrap();
        let dy = numbers(1, read * g.output.iter().product::<usize>(), 1.0);
        let weight = numbers(2, g.weight_len(), (6.0 / (4 * read) as f32).sqrt());
        let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let expected = reference::conv_input_gradient(&g, &wide(&dy), &wide(&weight));
        let error = |algorithm| {
            let dx = run(&g, algorithm, &dy, &weight);
            let squares = dx.iter().zip(&expected).map(|(got, e)| (f64::from(*got) - e).powi(2));
            (squares.sum::<f64>() / dx.len() as f64).sqrt()
        };
        let ratio = error(Algorithm::WinogradPhases) / error(Algorithm::Direct);
        assert!(ratio <= 1.05, "{read} channels: {ratio} times the error");
        assert!(ratio > 0.2, "no error at all is one of the test");
    }
}
