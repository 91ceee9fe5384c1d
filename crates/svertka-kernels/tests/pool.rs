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
    list.map(new).to_vec()
}

fn input(g: &PoolGeometry) -> Planes {
    planes(g.batch, g.channels, g.input.iter().product())
}

fn output(g: &PoolGeometry) -> Planes {
    planes(g.batch, g.channels, g.output.iter().product())
}

/// For each window of a plane its cells in the input, in order, and how many lie in the padded input.
fn windows(g: &PoolGeometry) -> Vec<(Vec<usize>, usize)> {
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
fn average_pooling_counts_the_padding_or_not() {
    for g in geometries() {
        for include in [false, true] {
            let (x, dy) = (activation(input(&g), 1, 3e38), activation(output(&g), 2, 3e38));
            let average = |values: &[f64], padded: usize| {
                let count = if include { padded } else { values.len().max(1) } as f64;
                (values.iter().sum::<f64>() / count, vec![1.0 / count; values.len()])
            };
            let expected = expected(&g, &plain(input(&g), &x), &plain(output(&g), &dy), average);
            compare(
                &g,
                (1e-6, "average"),
                expected,
                |cpu, y| average_forward(cpu, &g, include, &x, y),
                |cpu, dx| average_backward(cpu, &g, include, &dy, dx),
            );
        }
    }
}

#[test]
fn global_pooling_reduces_to_one_pixel() {
    for size in SIZES {
        let window = Window { kernel: [1, 1, size.pixels], ..Window::default() };
        let g = PoolGeometry::new(size.batch, size.channels, [1, 1, size.pixels], window, false).unwrap();
        let (x, dy) = (activation(size, 1, 3e38), activation(size.reduced(), 2, 3e38));
        let (plain_x, plain_dy) = (plain(size, &x), plain(size.reduced(), &dy));
        compare(
            &g,
            (0.0, "global max"),
            expected(&g, &plain_x, &plain_dy, maximum),
            |cpu, y| global_max_forward(cpu, size, &x, y),
            |cpu, dx| global_max_backward(cpu, size, &x, &dy, dx),
        );
        let average = |values: &[f64], _: usize| {
            let count = values.len() as f64;
            (values.iter().sum::<f64>() / count, vec![1.0 / count; values.len()])
        };
        compare(
            &g,
            (1e-6, "global average"),
            expected(&g, &plain_x, &plain_dy, average),
            |cpu, y| global_average_forward(cpu, size, &x, y),
            |cpu, dx| global_average_backward(cpu, size, &dy, dx),
        );
    }
    // No pixels: an average of zero, a maximum of minus infinity.
    let (none, mut y) = (planes(1, 8, 0), [f32::NAN; 8]);
    global_average_forward(&Cpu::new(1), none, &[], &mut y);
    assert_eq!(y, [0.0; 8]);
    global_max_forward(&Cpu::new(1), none, &[], &mut y);
    assert_eq!(y, [f32::NEG_INFINITY; 8]);
    global_max_backward(&Cpu::new(1), none, &[], &y, &mut []);
    global_average_backward(&Cpu::new(1), none, &y, &mut []);
}
