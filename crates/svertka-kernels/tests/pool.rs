//! Pooling against plain loops over windows.

mod blocked;

use blocked::*;
use svertka_kernels::Cpu;
use svertka_kernels::geometry::{PoolGeometry, Window};
use svertka_kernels::planes::Planes;
use svertka_kernels::pool::*;

fn geometries() -> Vec<PoolGeometry> {
    // Batch, channels, input, kernel, stride, dilation, padding, ceil mode.
    let list = [
        (1, 1, [1, 4, 6], [1, 2, 2], [1, 2, 2], [1, 1, 1], [(0, 0); 3], false),
        (2, 9, [1, 7, 5], [1, 3, 2], [1, 2, 1], [1, 1, 1], [(0, 0), (1, 1), (0, 1)], false),
        (3, 3, [1, 7, 10], [1, 3, 3], [1, 2, 2], [1, 1, 1], [(0, 0), (1, 0), (1, 1)], true),
        (1, 17, [1, 6, 9], [1, 2, 3], [1, 1, 2], [1, 3, 2], [(0, 0), (1, 1), (1, 2)], false),
        (2, 8, [3, 4, 5], [2, 3, 2], [2, 1, 3], [1, 1, 2], [(1, 0), (1, 1), (0, 0)], true),
        (2, 7, [1, 1, 8], [1, 1, 3], [1, 1, 3], [1, 1, 1], [(0, 0), (0, 0), (1, 1)], true),
        (1, 7, [1, 1, 1], [1, 1, 1], [1, 2, 3], [1, 1, 1], [(0, 0); 3], false),
        (0, 5, [1, 4, 6], [1, 2, 2], [1, 2, 2], [1, 1, 1], [(0, 0); 3], false),
        // The first window lies in the padding.
        (2, 3, [1, 1, 4], [1, 1, 2], [1, 1, 2], [1, 1, 1], [(0, 0), (0, 0), (2, 1)], false),
        // More columns than are worked out at once.
        (1, 9, [1, 3, 150], [1, 2, 3], [1, 1, 2], [1, 1, 1], [(0, 0), (0, 0), (1, 1)], false),
        (2, 17, [1, 56, 61], [1, 2, 2], [1, 2, 2], [1, 1, 1], [(0, 0); 3], false),
        (3, 9, [1, 31, 40], [1, 3, 3], [1, 1, 1], [1, 1, 1], [(0, 0), (1, 1), (1, 1)], false),
    ];
    let new = |(batch, channels, input, kernel, stride, dilation, padding, ceil_mode)| {
        let window = Window { kernel, stride, dilation, padding };
        PoolGeometry::new(batch, channels, input, window, ceil_mode).unwrap()
    };
    let adaptive = [
        (2, 9, [1, 7, 5], [1, 3, 4]),
        (1, 3, [3, 4, 5], [2, 6, 1]),
        (3, 17, [1, 31, 40], [1, 7, 7]),
        (2, 7, [1, 1, 9], [1, 1, 4]),
    ];
    let bins =
        |(batch, channels, input, output)| PoolGeometry::adaptive(batch, channels, input, output).unwrap();
    list.map(new).into_iter().chain(adaptive.map(bins)).collect()
}

fn input(g: &PoolGeometry) -> Planes {
    planes(g.batch, g.channels, g.input.iter().product())
}

fn output(g: &PoolGeometry) -> Planes {
    planes(g.batch, g.channels, g.output.iter().product())
}

/// For each window of a plane its cells in the input, in order, and how many lie in the padded input.
fn windows(g: &PoolGeometry) -> Vec<(Vec<usize>, usize)> {
    if g.adaptive {
        return bins(g);
    }
    let mut windows = Vec::new();
    let Window { kernel, stride, dilation, padding } = g.window;
    let [out_d, out_h, out_w] = g.output;
    for out in 0..out_d * out_h * out_w {
        let o = [out / out_w / out_h, out / out_w % out_h, out % out_w];
        let (mut cells, mut padded) = (Vec::new(), 0);
        for tap in 0..kernel.iter().product() {
            let t = [tap / kernel[2] / kernel[1], tap / kernel[2] % kernel[1], tap % kernel[2]];
            let at = |a: usize| (o[a] * stride[a] + t[a] * dilation[a]) as i64 - padding[a].0 as i64;
            padded += usize::from((0..3).all(|a| at(a) < (g.input[a] + padding[a].1) as i64));
            if (0..3).all(|a| (0..g.input[a] as i64).contains(&at(a))) {
                cells.push((at(0) as usize * g.input[1] + at(1) as usize) * g.input[2] + at(2) as usize);
            }
        }
        windows.push((cells, padded));
    }
    windows
}

/// The same of adaptive pooling: every cell that shares a part of its length with the bin.
fn bins(g: &PoolGeometry) -> Vec<(Vec<usize>, usize)> {
    let ([out_d, out_h, out_w], [_, in_h, in_w]) = (g.output, g.input);
    let shares = |a: usize, o: usize, cell: usize| {
        cell * g.output[a] < (o + 1) * g.input[a] && (cell + 1) * g.output[a] > o * g.input[a]
    };
    let bin = |out: usize| {
        let o = [out / out_w / out_h, out / out_w % out_h, out % out_w];
        let inside = |cell: usize| {
            shares(0, o[0], cell / in_w / in_h)
                && shares(1, o[1], cell / in_w % in_h)
                && shares(2, o[2], cell % in_w)
        };
        let cells: Vec<usize> = (0..g.input.iter().product()).filter(|&cell| inside(cell)).collect();
        let count = cells.len();
        (cells, count)
    };
    (0..out_d * out_h * out_w).map(bin).collect()
}

/// Forward and backward from a function that says, for the values of a window and its size, the result and each cell's share of the gradient.
fn expected(
    g: &PoolGeometry,
    x: &[f64],
    dy: &[f64],
    pool: impl Fn(&[f64], usize) -> (f64, Vec<f64>),
) -> (Vec<f64>, Vec<f64>) {
    let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
    let (windows, pixels) = (windows(g), input(g).pixels);
    each(output(g), |n, c, p, i| {
        let (cells, padded) = &windows[p];
        let plane = (n * g.channels + c) * pixels;
        let values: Vec<_> = cells.iter().map(|cell| x[plane + cell]).collect();
        let (value, shares) = pool(&values, *padded);
        y[i] = value;
        cells.iter().zip(shares).for_each(|(cell, share)| dx[plane + cell] += share * dy[i]);
    });
    (y, dx)
}

/// The first largest, not-a-number being the largest.
fn maximum(values: &[f64], _: usize) -> (f64, Vec<f64>) {
    let nan = values.iter().position(|v| v.is_nan());
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let at = nan.or_else(|| values.iter().position(|&v| v == largest));
    let share = |i| if Some(i) == at { 1.0 } else { 0.0 };
    (if nan.is_some() { f64::NAN } else { largest }, (0..values.len()).map(share).collect())
}

/// Runs and compares one pooling, forward and backward.
fn compare(
    g: &PoolGeometry,
    (dx_tolerance, what): (f64, &str),
    (y, dx): (Vec<f64>, Vec<f64>),
    forward: impl Fn(&Cpu, &mut [f32]),
    backward: impl Fn(&Cpu, &mut [f32]),
) {
    let run = |size: Planes, kernel: &dyn Fn(&Cpu, &mut [f32]), cpu: &Cpu| {
        let mut out = vec![f32::NAN; size.elements()];
        kernel(cpu, &mut out);
        out
    };
    let tolerance = dx_tolerance;
    on_every_machine(
        |cpu| run(output(g), &forward, cpu),
        |got| assert_blocked(output(g), got, &y, tolerance, what),
    );
    on_every_machine(
        |cpu| run(input(g), &backward, cpu),
        |got| assert_blocked(input(g), got, &dx, 1e-5, what),
    );
}

#[test]
fn max_pooling_takes_the_first_maximum() {
    for g in geometries() {
        // Few values, so that many windows have several maxima.
        let few: Vec<f32> = activation(input(&g), 1, 1e30).into_iter().map(f32::round).collect();
        let dy = activation(output(&g), 2, -3e38);
        let expected = expected(&g, &plain(input(&g), &few), &plain(output(&g), &dy), maximum);
        compare(
            &g,
            (0.0, "max"),
            expected,
            |cpu, y| max_forward(cpu, &g, &few, y),
            |cpu, dx| max_backward(cpu, &g, &few, &dy, dx),
        );
    }
}

#[test]
fn min_pooling_is_max_pooling_of_the_negated_input() {
    for g in geometries() {
        let few: Vec<f32> = activation(input(&g), 1, 1e30).into_iter().map(f32::round).collect();
        let dy = activation(output(&g), 2, -3e38);
        let minimum = |values: &[f64], size: usize| {
            let negated: Vec<f64> = values.iter().map(|v| -v).collect();
            let (largest, shares) = maximum(&negated, size);
            (-largest, shares)
        };
        compare(
            &g,
            (0.0, "min"),
            expected(&g, &plain(input(&g), &few), &plain(output(&g), &dy), minimum),
            |cpu, y| min_forward(cpu, &g, &few, y),
            |cpu, dx| min_backward(cpu, &g, &few, &dy, dx),
        );
    }
}

#[test]
fn indices_are_those_of_the_first_maxima() {
    for g in geometries() {
        let mut few: Vec<f32> = activation(input(&g), 1, 1e30).into_iter().map(f32::round).collect();
        few.iter_mut().step_by(41).for_each(|x| *x = f32::NAN);
        few.iter_mut().step_by(5).for_each(|x| *x = f32::NEG_INFINITY);
        let (x, windows, pixels) = (plain(input(&g), &few), windows(&g), input(&g).pixels);
        let [depth, height, width] = g.input;
        for order in [IndexOrder::RowMajor, IndexOrder::ColumnMajor] {
            let mut indices = vec![0.0; output(&g).batch * g.channels * output(&g).pixels];
            each(output(&g), |n, c, p, i| {
                let (cells, _) = &windows[p];
                let plane = (n * g.channels + c) * pixels;
                let values: Vec<_> = cells.iter().map(|cell| x[plane + cell]).collect();
                let chosen = maximum(&values, 0).1.iter().position(|share| *share == 1.0);
                indices[i] = chosen.map_or(-1.0, |chosen| {
                    let cell = cells[chosen];
                    let (d, h, w) = (cell / width / height, cell / width % height, cell % width);
                    let column_major = d + depth * (h + height * w);
                    let cell = if order == IndexOrder::RowMajor { cell } else { column_major };
                    (plane + cell) as f64
                });
            });
            let mut values = vec![0.0; output(&g).elements()];
            max_forward(&Cpu::new(1), &g, &few, &mut values);
            on_every_machine(
                |cpu| {
                    let (mut y, mut got) = (values.clone(), vec![f32::NAN; values.len()]);
                    y.fill(0.5);
                    max_forward_with_indices(cpu, &g, order, &few, &mut y, &mut got);
                    assert!(y.iter().zip(&values).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan()));
                    got
                },
                |got| assert_blocked(output(&g), got, &indices, 0.0, "indices"),
            );
        }
    }
}

#[test]
fn norms_are_roots_of_sums_of_powers() {
    for g in geometries() {
        for p in [1.0, 2.0, 3.0, 2.5, 9.0] {
            let (x, dy) = (activation(input(&g), 1, 3e38), activation(output(&g), 2, 3e38));
            let norm = |values: &[f64], _: usize| {
                let y = values.iter().map(|v| v.abs().powf(p)).sum::<f64>().powf(1.0 / p);
                (y, values.iter().map(|v| v.signum() * (v.abs() / y).powf(p - 1.0)).collect())
            };
            compare(
                &g,
                (1e-6, "norm"),
                expected(&g, &plain(input(&g), &x), &plain(output(&g), &dy), norm),
                |cpu, y| lp_forward(cpu, &g, p as f32, &x, y),
                |cpu, dx| lp_backward(cpu, &g, p as f32, &x, &dy, dx),
            );
        }
    }
}

#[test]
fn a_norm_of_zero_has_no_slope_and_not_a_number_stays() {
    let (g, cpu) = (PoolGeometry::adaptive(1, 8, [1, 1, 2], [1; 3]).unwrap(), Cpu::new(1));
    // Zeros, numbers whose squares vanish, a zero beside a number, not-a-number.
    let lanes = [[0.0, 0.0], [1e-30, -1e-30], [0.0, -3.0], [f32::NAN, 1.0]];
    for p in [1.0, 2.0, 2.5] {
        let (mut x, mut y, mut dx) = ([0.0; 16], [9.0; 8], [9.0; 16]);
        for (lane, [first, second]) in lanes.into_iter().enumerate() {
            (x[lane], x[8 + lane]) = (first, second);
        }
        lp_forward(&cpu, &g, p, &x, &mut y);
        lp_backward(&cpu, &g, p, &x, &[1.0; 8], &mut dx);
        assert!(y[0] == 0.0 && dx[0] == 0.0 && dx[8] == 0.0);
        assert!(dx[1].is_finite() && dx[9].is_finite());
        assert!(y[2] == 3.0 && dx[2] == 0.0 && dx[10] == -1.0, "{p}: {y:?} {dx:?}");
        assert!(y[3].is_nan() && dx[3].is_nan());
    }
}

/// The cells' weights in stochastic pooling.
fn weights(values: &[f64]) -> Vec<f64> {
    values.iter().map(|v| v.max(0.0)).collect()
}

#[test]
fn stochastic_pooling_draws_a_cell_or_takes_the_mean() {
    for g in geometries() {
        let (x, dy) = (activation(input(&g), 1, 3e38), activation(output(&g), 2, 3e38));
        let (wide_x, wide_dy) = (plain(input(&g), &x), plain(output(&g), &dy));
        let mean = |values: &[f64], _: usize| {
            let (a, sum) = (weights(values), weights(values).iter().sum::<f64>());
            let y = if sum > 0.0 { a.iter().map(|a| a * a).sum::<f64>() / sum } else { 0.0 };
            (y, a.iter().map(|&a| if a > 0.0 { (2.0 * a - y) / sum } else { 0.0 }).collect())
        };
        compare(
            &g,
            (1e-6, "stochastic mean"),
            expected(&g, &wide_x, &wide_dy, mean),
            |cpu, y| stochastic_mean_forward(cpu, &g, &x, y),
            |cpu, dx| stochastic_mean_backward(cpu, &g, &x, &dy, dx),
        );
        for part in [0.0, 0.37, 0.9] {
            let uniform = vec![part; output(&g).elements()];
            let drawn = |values: &[f64], _: usize| {
                let (a, sum) = (weights(values), weights(values).iter().sum::<f64>());
                let mut so_far = 0.0;
                let at = a.iter().position(|a| {
                    so_far += a;
                    so_far > f64::from(part) * sum
                });
                let share = |i| if Some(i) == at { 1.0 } else { 0.0 };
                (at.map_or(0.0, |at| a[at]), (0..a.len()).map(share).collect())
            };
            compare(
                &g,
                (0.0, "drawn cell"),
                expected(&g, &wide_x, &wide_dy, drawn),
                |cpu, y| stochastic_forward(cpu, &g, &uniform, &x, y),
                |cpu, dx| stochastic_backward(cpu, &g, &uniform, &x, &dy, dx),
            );
        }
    }
    // Not-a-number and infinity are not swallowed.
    let (g, cpu) = (PoolGeometry::adaptive(1, 8, [1, 1, 2], [1; 3]).unwrap(), Cpu::new(1));
    for bad in [f32::NAN, f32::INFINITY] {
        let (mut x, mut y) = ([0.5; 16], [0.0; 8]);
        x[3] = bad;
        stochastic_forward(&cpu, &g, &[0.5; 8], &x, &mut y);
        assert!(y[3].is_nan() && y[2] == 0.5);
        stochastic_mean_forward(&cpu, &g, &x, &mut y);
        assert!(y[3].is_nan() && y[2] == 0.5);
    }
}

#[test]
fn not_a_number_is_the_maximum() {
    let g = geometries()[2];
    let mut x = activation(input(&g), 1, 0.0);
    x.iter_mut().step_by(29).for_each(|x| *x = f32::NAN);
    x.iter_mut().step_by(7).for_each(|x| *x = f32::NEG_INFINITY);
    let dy = activation(output(&g), 2, 0.0);
    let (plain_x, plain_dy) = (plain(input(&g), &x), plain(output(&g), &dy));
    let expected = expected(&g, &plain_x, &plain_dy, maximum);
    assert!(expected.0.iter().any(|y| y.is_nan()) && expected.0.iter().any(|y| y.is_finite()));
    compare(
        &g,
        (0.0, "max of NaN"),
        expected,
        |cpu, y| max_forward(cpu, &g, &x, y),
        |cpu, dx| max_backward(cpu, &g, &x, &dy, dx),
    );
}

#[test]
fn average_pooling_divides_by_what_it_is_told() {
    for g in geometries() {
        for divisor in [Divisor::Inside, Divisor::Padded, Divisor::Fixed(1.0), Divisor::Fixed(7.0)] {
            let (x, dy) = (activation(input(&g), 1, 3e38), activation(output(&g), 2, 3e38));
            let average = |values: &[f64], padded: usize| {
                let count = match divisor {
                    Divisor::Inside => values.len().max(1) as f64,
                    Divisor::Padded => padded as f64,
                    Divisor::Fixed(count) => f64::from(count),
                };
                (values.iter().sum::<f64>() / count, vec![1.0 / count; values.len()])
            };
            let expected = expected(&g, &plain(input(&g), &x), &plain(output(&g), &dy), average);
            compare(
                &g,
                // A sum of numbers of both signs is smaller than what its errors are relative to.
                (1e-5, "average"),
                expected,
                |cpu, y| average_forward(cpu, &g, divisor, &x, y),
                |cpu, dx| average_backward(cpu, &g, divisor, &dy, dx),
            );
        }
    }
}

#[test]
fn global_pooling_reduces_to_one_pixel() {
    for size in SIZES {
        let g = PoolGeometry::adaptive(size.batch, size.channels, [1, 1, size.pixels], [1; 3]).unwrap();
        let (x, dy) = (activation(size, 1, 3e38), activation(size.reduced(), 2, 3e38));
        let (plain_x, plain_dy) = (plain(size, &x), plain(size.reduced(), &dy));
        compare(
            &g,
            (0.0, "global max"),
            expected(&g, &plain_x, &plain_dy, maximum),
            |cpu, y| max_forward(cpu, &g, &x, y),
            |cpu, dx| max_backward(cpu, &g, &x, &dy, dx),
        );
        for divisor in [Divisor::Inside, Divisor::Fixed(1.0)] {
            let average = |values: &[f64], _: usize| {
                let count = if divisor == Divisor::Inside { values.len() as f64 } else { 1.0 };
                (values.iter().sum::<f64>() / count, vec![1.0 / count; values.len()])
            };
            compare(
                &g,
                (1e-5, "global average"),
                expected(&g, &plain_x, &plain_dy, average),
                |cpu, y| global_average_forward(cpu, size, divisor, &x, y),
                |cpu, dx| global_average_backward(cpu, size, divisor, &dy, dx),
            );
        }
    }
    // No pixels: an average of zero, a maximum of minus infinity.
    let (none, cpu, mut y) = (planes(1, 8, 0), Cpu::new(1), [f32::NAN; 8]);
    let g = PoolGeometry::adaptive(1, 8, [1, 1, 0], [1; 3]).unwrap();
    global_average_forward(&cpu, none, Divisor::Inside, &[], &mut y);
    assert_eq!(y, [0.0; 8]);
    max_forward(&cpu, &g, &[], &mut y);
    assert_eq!(y, [f32::NEG_INFINITY; 8]);
    max_backward(&cpu, &g, &[], &y, &mut []);
    global_average_backward(&cpu, none, Divisor::Inside, &y, &mut []);
}
