//! Normalization of lines, by length and by neighbouring channels, against plain loops in `f64`; gradients against finite differences of those
//! loops.

mod blocked;

use blocked::*;
use svertka_kernels::Cpu;
use svertka_kernels::lines::Lines;
use svertka_kernels::norm::*;
use svertka_kernels::planes::Planes;

const EPS: f32 = 1e-3;

/// Instance, group (by channel and by group), layer, channels-first layer and batch normalization, in this order and with odd sizes.
fn cases() -> Vec<LineNorm> {
    let norm = |lines, run, count, centered| LineNorm {
        lines,
        parameters: Parameters { run, count },
        eps: EPS,
        centered,
    };
    let lines = |batch, outer, len, inner| Lines { batch, outer, len, inner };
    vec![
        norm(Lines::rows(2 * 3, 35), 35, 3, true),
        norm(Lines::rows(2 * 11, 130), 130, 11, true),
        norm(Lines::rows(3 * 2, 1), 1, 2, true),
        norm(Lines::rows(2 * 2, 3 * 7), 7, 6, true),
        norm(Lines::rows(2 * 2, 3 * 7), 21, 2, true),
        norm(Lines::rows(3 * 2, 5), 1, 10, true),
        norm(Lines::rows(7, 12), 1, 12, true),
        norm(Lines::rows(5, 131), 1, 131, false),
        norm(lines(1, 2, 9, 5), 5, 9, true),
        norm(lines(1, 2, 3, 70), 70, 3, false),
        LineNorm { parameters: Parameters::NONE, ..norm(lines(3, 4, 6, 1), 1, 1, true) },
        LineNorm { parameters: Parameters::NONE, ..norm(lines(2, 3, 2, 5), 1, 1, true) },
        norm(Lines::rows(0, 12), 1, 12, true),
        norm(Lines::rows(4, 0), 1, 4, true),
    ]
}

/// The line of an element: those that share outer and inner index of `batch x outer x len x inner`.
fn line_of(lines: Lines, at: usize) -> usize {
    at / (lines.len * lines.inner) % lines.outer * lines.inner + at % lines.inner
}

/// `y`, means and inverse deviations.
fn definition(norm: &LineNorm, x: &[f64], scale: &[f64], bias: &[f64]) -> [Vec<f64>; 3] {
    let LineNorm { lines, parameters: Parameters { run, count }, .. } = *norm;
    let terms = lines.terms().max(1) as f64;
    let (mut mean, mut var) = (vec![0.0; lines.count()], vec![0.0; lines.count()]);
    if norm.centered {
        x.iter().enumerate().for_each(|(at, x)| mean[line_of(lines, at)] += x / terms);
    }
    for (at, x) in x.iter().enumerate() {
        var[line_of(lines, at)] += (x - mean[line_of(lines, at)]).powi(2) / terms;
    }
    let inv_std: Vec<f64> = var.iter().map(|var| (var + f64::from(EPS)).sqrt().recip()).collect();
    let value = |(at, x): (usize, &f64)| {
        let (line, parameter) = (line_of(lines, at), at / run % count);
        (x - mean[line]) * inv_std[line] * scale[parameter] + bias[parameter]
    };
    [x.iter().enumerate().map(value).collect(), mean, inv_std]
}

fn slope(at: &[f64], i: usize, loss: &dyn Fn(&[f64]) -> f64) -> f64 {
    let (step, mut moved) = (1e-5, at.to_vec());
    moved[i] += step;
    let above = loss(&moved);
    moved[i] -= 2.0 * step;
    (above - loss(&moved)) / (2.0 * step)
}

fn slopes(at: &[f64], loss: &dyn Fn(&[f64]) -> f64) -> Vec<f64> {
    (0..at.len()).map(|i| slope(at, i, loss)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn lines_are_normalized_by_their_own_statistics() {
    for norm in cases() {
        let (len, count) = (norm.lines.elements(), norm.parameters.count);
        let (x, scale, bias) = (numbers(len, 1), numbers(count, 2), numbers(count, 3));
        for affine in [true, false] {
            let ones = if affine { wide(&scale) } else { vec![1.0; count] };
            let zeros = if affine { wide(&bias) } else { vec![0.0; count] };
            let [y, mean, inv_std] = definition(&norm, &wide(&x), &ones, &zeros);
            let run = |cpu: &Cpu| {
                let mut out = vec![f32::NAN; len];
                let mut statistics = [vec![f32::NAN; norm.lines.count()], vec![f32::NAN; norm.lines.count()]];
                let affine = [affine.then_some(&scale[..]), affine.then_some(&bias[..])];
                let [mean, inv_std] = &mut statistics;
                line_norm(cpu, norm, affine, &x, &mut out, Some([mean, inv_std]));
                let mut alone = vec![f32::NAN; len];
                line_norm(cpu, norm, affine, &x, &mut alone, None);
                assert_eq!(out, alone);
                [out, statistics.concat()].concat()
            };
            let expected = [y, mean, inv_std].concat();
            on_every_machine(run, |got| assert_close(&wide(got), &expected, 3e-6, &format!("{norm:?}")));
        }
    }
}

#[test]
fn a_large_mean_costs_no_digits_of_the_deviation() {
    let norm = LineNorm { parameters: Parameters::NONE, ..cases()[1] };
    let x: Vec<f32> = numbers(norm.lines.elements(), 4).iter().map(|x| 4096.0 + x / 4.0).collect();
    let [_, _, expected] = definition(&norm, &wide(&x), &[1.0], &[0.0]);
    let run = |cpu: &Cpu| {
        let (mut y, count) = (vec![0.0; x.len()], norm.lines.count());
        let (mut mean, mut inv_std) = (vec![0.0; count], vec![0.0; count]);
        line_norm(cpu, norm, [None; 2], &x, &mut y, Some([&mut mean, &mut inv_std]));
        inv_std
    };
    on_every_machine(run, |got| {
        let relative: Vec<_> = got.iter().zip(&expected).map(|(g, e)| f64::from(*g) / e).collect();
        assert_close(&relative, &vec![1.0; expected.len()], 1e-6, "inverse deviation");
    });
}

#[test]
fn gradients_of_lines_are_the_slopes_of_the_plain_loops() {
    for norm in cases() {
        let (len, count) = (norm.lines.elements(), norm.parameters.count);
        let (x, dy) = (numbers(len, 1), numbers(len, 5));
        let mut scale = numbers(count, 2);
        if norm.parameters == Parameters::NONE {
            scale.fill(1.0);
        }
        let bias = numbers(count, 3);
        let [wx, wdy, ws, wb] = [&x, &dy, &scale, &bias].map(|v| wide(v));
        let loss = |x: &[f64], scale: &[f64], bias: &[f64]| dot(&definition(&norm, x, scale, bias)[0], &wdy);
        let dx = slopes(&wx, &|x| loss(x, &ws, &wb));
        let dscale = slopes(&ws, &|scale| loss(&wx, scale, &wb));
        let dbias = slopes(&wb, &|bias| loss(&wx, &ws, bias));
        let run = |cpu: &Cpu| {
            let mut dx = vec![f32::NAN; len];
            let (mut dscale, mut dbias) = (vec![f32::NAN; count], vec![f32::NAN; count]);
            let learned = norm.parameters != Parameters::NONE;
            let gradients = LineGradientsMut {
                dx: &mut dx,
                dscale: learned.then_some(&mut dscale[..]),
                dbias: learned.then_some(&mut dbias[..]),
            };
            let mut scratch = vec![f32::NAN; norm.scratch_len()];
            let scale = learned.then_some(&scale[..]);
            line_norm_backward(cpu, norm, scale, &x, &dy, gradients, &mut scratch);
            if learned { [dx, dscale, dbias].concat() } else { dx }
        };
        let expected = if norm.parameters == Parameters::NONE { dx } else { [dx, dscale, dbias].concat() };
        // A line of one element has deviation zero, which the root of eps magnifies.
        on_every_machine(run, |got| assert_close(&wide(got), &expected, 5e-5, &format!("{norm:?}")));
    }
}

#[test]
fn lines_are_divided_by_their_length() {
    for lines in [
        Lines::rows(3, 7),
        Lines::rows(2, 131),
        Lines { batch: 1, outer: 2, len: 3, inner: 70 },
        Lines { batch: 1, outer: 1, len: 5, inner: 2 },
        Lines::rows(0, 3),
    ] {
        for power in [Power::One, Power::Two] {
            let (mut x, dy) = (numbers(lines.elements(), 1), numbers(lines.elements(), 2));
            let define = |x: &[f64]| {
                let mut length = vec![0.0; lines.count()];
                for (at, x) in x.iter().enumerate() {
                    length[line_of(lines, at)] += if power == Power::One { x.abs() } else { x * x };
                }
                let divide = |(at, x): (usize, &f64)| match (length[line_of(lines, at)], power) {
                    (0.0, _) => 0.0,
                    (sum, Power::One) => x / sum,
                    (sum, Power::Two) => x / f64::sqrt(sum),
                };
                x.iter().enumerate().map(divide).collect::<Vec<f64>>()
            };
            let run = |cpu: &Cpu, x: &[f32]| {
                let (mut y, mut dx) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
                lp_norm(cpu, lines, power, x, &mut y);
                lp_norm_backward(cpu, lines, power, x, &dy, &mut dx);
                [y, dx].concat()
            };
            let loss = |x: &[f64]| dot(&define(x), &wide(&dy));
            let expected = [define(&wide(&x)), slopes(&wide(&x), &loss)].concat();
            let what = format!("{power:?} {lines:?}");
            on_every_machine(|cpu| run(cpu, &x), |got| assert_close(&wide(got), &expected, 2e-6, &what));
            // The first line zero.
            (0..x.len()).filter(|at| line_of(lines, *at) == 0).for_each(|at| x[at] = 0.0);
            let got = run(&Cpu::new(1), &x);
            assert!((0..x.len()).all(|at| x[at] != 0.0 || (got[at] == 0.0 && got[x.len() + at] == 0.0)));
        }
    }
}

#[test]
fn values_are_divided_by_neighbouring_channels() {
    for (size, beta, planes) in [
        (5, 0.75, planes(2, 11, 7)),
        (3, 0.5, planes(1, 3, 70)),
        (4, 1.3, planes(2, 9, 3)),
        (1, 0.75, planes(1, 2, 5)),
        (100, 0.75, planes(2, 3, 2)),
        (3, 0.75, planes(0, 3, 2)),
        (3, 0.75, planes(2, 3, 0)),
    ] {
        let norm = LocalResponse { size, alpha: 0.3, beta, bias: 1.5 };
        let Planes { channels, pixels, .. } = planes;
        let len = planes.batch * channels * pixels;
        let (x, dy) = (numbers(len, 1), numbers(len, 2));
        let define = |x: &[f64]| {
            let mut y = vec![0.0; len];
            each(planes, |n, c, p, i| {
                // From the ONNX definition, with signed arithmetic.
                let (c, half) = (c as i64, (size as f64 - 1.0) / 2.0);
                let window = c - half.floor() as i64..=c + half.ceil() as i64;
                let inside = window.filter(|j| (0..channels as i64).contains(j));
                let square = |j: i64| x[(n * channels + j as usize) * pixels + p].powi(2);
                let s = 1.5 + f64::from(norm.alpha) / size as f64 * inside.map(square).sum::<f64>();
                y[i] = x[i] / s.powf(f64::from(beta));
            });
            y
        };
        let run = |cpu: &Cpu| {
            let (mut y, mut dx) = (vec![f32::NAN; len], vec![f32::NAN; len]);
            local_response_norm(cpu, norm, planes, &x, &mut y);
            local_response_norm_backward(cpu, norm, planes, &x, &dy, &mut dx);
            [y, dx].concat()
        };
        let expected = [define(&wide(&x)), slopes(&wide(&x), &|x| dot(&define(x), &wide(&dy)))].concat();
        on_every_machine(run, |got| {
            assert_close(&wide(got), &expected, 2e-6, &format!("{norm:?} {planes:?}"))
        });
    }
}
