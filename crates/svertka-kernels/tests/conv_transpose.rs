//! The transposed convolution against its definition: every input cell adds a window to the output, and padding crops it.

mod blocked;

use blocked::*;
use svertka_kernels::Cpu;
use svertka_kernels::conv::{Algorithm, InputGradient};
use svertka_kernels::epilogue::Epilogue;
use svertka_kernels::geometry::{ConvGeometry, Window};

struct Case {
    /// Batch, input channels, output channels, groups.
    sizes: [usize; 4],
    input: [usize; 3],
    window: Window,
    output_padding: [usize; 3],
}

fn cases() -> Vec<Case> {
    let window = |kernel, stride, dilation, padding| Window { kernel, stride, dilation, padding };
    let none = [(0, 0); 3];
    [
        ([2, 3, 5, 1], [1, 5, 4], window([1, 3, 2], [1, 1, 1], [1, 1, 1], [(0, 0), (1, 1), (0, 1)]), [0; 3]),
        (
            [1, 17, 9, 1],
            [1, 4, 7],
            window([1, 4, 3], [1, 2, 3], [1, 1, 1], [(0, 0), (1, 2), (1, 0)]),
            [0, 1, 2],
        ),
        ([2, 6, 10, 2], [1, 3, 5], window([1, 2, 3], [1, 2, 1], [1, 3, 2], none), [0, 2, 1]),
        (
            [1, 11, 11, 11],
            [1, 6, 5],
            window([1, 3, 3], [1, 2, 2], [1, 1, 1], [(0, 0), (1, 1), (1, 1)]),
            [0, 1, 0],
        ),
        (
            [3, 4, 12, 4],
            [1, 1, 9],
            window([1, 1, 4], [1, 1, 2], [1, 1, 1], [(0, 0), (0, 0), (2, 1)]),
            [0, 0, 1],
        ),
        (
            [2, 2, 9, 1],
            [2, 3, 4],
            window([2, 3, 1], [1, 2, 3], [2, 1, 1], [(1, 0), (0, 2), (0, 0)]),
            [1, 0, 2],
        ),
        (
            [2, 12, 3, 1],
            [1, 5, 7],
            window([1, 4, 3], [1, 2, 2], [1, 1, 1], [(0, 0), (1, 2), (1, 0)]),
            [0, 1, 1],
        ),
        ([0, 2, 3, 1], [1, 3, 4], window([1, 3, 3], [1, 1, 1], [1, 1, 1], none), [0; 3]),
        ([2, 16, 8, 1], [1, 20, 23], window([1, 2, 2], [1, 2, 2], [1, 1, 1], none), [0; 3]),
    ]
    .map(|(sizes, input, window, output_padding)| Case { sizes, input, window, output_padding })
    .into()
}

fn cells(size: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..size.iter().product()).map(move |i| [i / size[2] / size[1], i / size[2] % size[1], i % size[2]])
}

fn flat(size: [usize; 3], at: [usize; 3]) -> usize {
    (at[0] * size[1] + at[1]) * size[2] + at[2]
}

/// The definition, in `f64`: output and its size.
fn expected(case: &Case, x: &[f32], weight: &[f32], bias: &[f32]) -> (Vec<f64>, [usize; 3]) {
    let ([batch, in_c, out_c, groups], w) = (case.sizes, case.window);
    let uncropped: [usize; 3] = std::array::from_fn(|a| {
        (case.input[a] - 1) * w.stride[a] + (w.kernel[a] - 1) * w.dilation[a] + 1 + case.output_padding[a]
    });
    let size: [usize; 3] = std::array::from_fn(|a| uncropped[a] - w.padding[a].0 - w.padding[a].1);
    let (in_cells, out_cells): (usize, usize) = (case.input.iter().product(), size.iter().product());
    let taps: usize = w.kernel.iter().product();
    let (group_in, group_out) = (in_c / groups, out_c / groups);
    let mut y: Vec<f64> =
        (0..batch * out_c * out_cells).map(|i| f64::from(bias[i / out_cells % out_c])).collect();
    for (image, channel) in (0..batch).flat_map(|n| (0..in_c).map(move |c| (n, c))) {
        for (cell, tap) in cells(case.input).flat_map(|cell| cells(w.kernel).map(move |tap| (cell, tap))) {
            let at: [i64; 3] = std::array::from_fn(|a| {
                (cell[a] * w.stride[a] + tap[a] * w.dilation[a]) as i64 - w.padding[a].0 as i64
            });
            if !(0..3).all(|a| (0..size[a] as i64).contains(&at[a])) {
                continue;
            }
            for o in 0..group_out {
                let to = channel / group_in * group_out + o;
                y[(image * out_c + to) * out_cells + flat(size, at.map(|at| at as usize))] +=
                    f64::from(x[(image * in_c + channel) * in_cells + flat(case.input, cell)])
                        * f64::from(weight[(channel * group_out + o) * taps + flat(w.kernel, tap)]);
            }
        }
    }
    (y, size)
}

#[test]
fn input_gradient_with_bias_is_the_transposed_convolution() {
    for case in cases() {
        let [batch, in_c, out_c, groups] = case.sizes;
        let g = ConvGeometry::transposed(
            batch,
            in_c,
            out_c,
            groups,
            case.input,
            case.window,
            case.output_padding,
        )
        .unwrap();
        let read = planes(batch, in_c, case.input.iter().product());
        let plain = numbers(batch * in_c * read.pixels, 1);
        let (weight, bias) = (numbers(g.weight_len(), 2), numbers(out_c, 3));
        let (y, size) = expected(&case, &plain, &weight, &bias);
        assert_eq!((g.input, g.output), (size, case.input));
        let written = planes(batch, out_c, size.iter().product());
        let x = block(read, &plain, 3.0);
        for algorithm in Algorithm::ALL {
            let Some(plan) = InputGradient::with_algorithm(&g, algorithm) else { continue };
            let run = |cpu: &Cpu| {
                let (mut packed, mut out) =
                    (vec![f32::NAN; plan.packed_len()], vec![f32::NAN; written.elements()]);
                let mut scratch = vec![f32::NAN; plan.scratch_len(cpu.threads.count())];
                plan.pack(cpu, &weight, &mut packed);
                plan.run_with_epilogue(cpu, &x, &packed, &Epilogue::bias(&bias), &mut out, &mut scratch);
                out
            };
            on_every_machine(run, |out| {
                assert_blocked(written, out, &y, 1e-5, &format!("{algorithm:?} {g:?}"))
            });
        }
    }
}
