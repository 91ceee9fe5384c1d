//! Softmax, its logarithm, hardmax and losses against their definitions in `f64`.

mod blocked;

use blocked::*;
use svertka_kernels::Cpu;
use svertka_kernels::likelihood::Labels;
use svertka_kernels::lines::Lines;
use svertka_kernels::softmax::*;

/// Lines: rows, and lines side by side in less than one tile, several tiles and several jobs.
const LINES: [Lines; 11] = [
    rows(0, 3),
    rows(1, 1),
    rows(3, 7),
    rows(5, 8),
    rows(4, 17),
    rows(900, 41),
    lines(3, 5, 7),
    lines(1, 21, 130),
    lines(40, 3, 300),
    lines(2, 1, 4),
    lines(2, 3, 0),
];

const fn rows(outer: usize, len: usize) -> Lines {
    lines(outer, len, 1)
}

const fn lines(outer: usize, len: usize, inner: usize) -> Lines {
    Lines { batch: 1, outer, len, inner }
}

/// The elements of each line, one line after the other.
fn gathered(lines: Lines, x: &[f64]) -> Vec<Vec<f64>> {
    let element =
        |line: usize, i: usize| x[(line / lines.inner * lines.len + i) * lines.inner + line % lines.inner];
    (0..lines.count()).map(|line| (0..lines.len).map(|i| element(line, i)).collect()).collect()
}

/// The way back.
fn scattered(lines: Lines, values: &[Vec<f64>]) -> Vec<f64> {
    let mut out = vec![0.0; lines.elements()];
    for (line, values) in values.iter().enumerate() {
        for (i, value) in values.iter().enumerate() {
            out[(line / lines.inner * lines.len + i) * lines.inner + line % lines.inner] = *value;
        }
    }
    out
}

/// Rows and classes.
const MATRICES: [(usize, usize); 6] = [(0, 3), (1, 1), (3, 7), (5, 8), (4, 17), (900, 41)];

fn log_softmax_row(x: &[f64]) -> Vec<f64> {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = x.iter().map(|x| (x - max).exp()).sum();
    x.iter().map(|x| x - max - sum.ln()).collect()
}

#[test]
fn softmax_its_logarithm_and_their_gradients() {
    for lines in LINES {
        // Far from zero, where an exponential of the element itself overflows.
        let x: Vec<f32> = numbers(lines.elements(), 1).iter().map(|x| 200.0 + 5.0 * x).collect();
        let dy = numbers(x.len(), 2);
        let logarithm: Vec<_> = gathered(lines, &wide(&x)).iter().map(|x| log_softmax_row(x)).collect();
        let (mut probability, mut dx, mut log_dx, mut hard) = (vec![], vec![], vec![], vec![]);
        for (l, dy) in logarithm.iter().zip(gathered(lines, &wide(&dy))) {
            let y: Vec<f64> = l.iter().map(|l| l.exp()).collect();
            // The Jacobian, entry by entry: y_i (delta_ij - y_j), and delta_ij - y_j.
            let jacobian = |i: usize, j: usize| f64::from(u8::from(i == j)) - y[j];
            let all = 0..y.len();
            let column = |j: usize| all.clone().map(|i| dy[i] * y[i] * jacobian(i, j)).sum::<f64>();
            dx.push(all.clone().map(column).collect());
            let column = |j: usize| all.clone().map(|i| dy[i] * jacobian(i, j)).sum::<f64>();
            log_dx.push(all.clone().map(column).collect());
            let first = all.clone().find(|&i| l.iter().all(|other| *other <= l[i]));
            hard.push(all.map(|i| f64::from(u8::from(Some(i) == first))).collect());
            probability.push(y);
        }
        let [probability, logarithm, dx, log_dx, hard] =
            [probability, logarithm, dx, log_dx, hard].map(|values: Vec<Vec<f64>>| scattered(lines, &values));
        let narrow = |v: &[f64]| v.iter().map(|&x| x as f32).collect::<Vec<_>>();
        let (y, log_y) = (narrow(&probability), narrow(&logarithm));
        let check = |expected: &[f64], what: &str, kernel: &dyn Fn(&Cpu, &mut [f32])| {
            let run = |cpu: &Cpu| {
                let mut out = vec![f32::NAN; x.len()];
                kernel(cpu, &mut out);
                out
            };
            on_every_machine(run, |got| {
                assert_close(&wide(got), expected, 3e-6, &format!("{what} {lines:?}"))
            });
        };
        check(&probability, "softmax", &|cpu, out| softmax(cpu, lines, &x, out));
        check(&logarithm, "log_softmax", &|cpu, out| log_softmax(cpu, lines, &x, out));
        check(&hard, "hardmax", &|cpu, out| hardmax(cpu, lines, &x, out));
        check(&dx, "softmax gradient", &|cpu, out| softmax_backward(cpu, lines, &y, &dy, out));
        check(&log_dx, "log_softmax gradient", &|cpu, out| {
            log_softmax_backward(cpu, lines, &log_y, &dy, out);
        });
    }
}

#[test]
fn not_a_number_is_not_swallowed() {
    let (nan, cpu) = (f32::NAN, Cpu::new(1));
    for inner in [1, 2] {
        let lines = Lines { batch: 1, outer: 1, len: 3, inner };
        let x: Vec<f32> = [1.0, nan, 2.0].into_iter().flat_map(|x| vec![x; inner]).collect();
        let mut y = vec![0.0; x.len()];
        softmax(&cpu, lines, &x, &mut y);
        assert!(y.iter().all(|y| y.is_nan()), "{y:?}");
        log_softmax(&cpu, lines, &x, &mut y);
        assert!(y.iter().all(|y| y.is_nan()), "{y:?}");
        hardmax(&cpu, lines, &x, &mut y);
        assert_eq!(y, [0.0, 1.0, 0.0].into_iter().flat_map(|y| vec![y; inner]).collect::<Vec<_>>());
    }
}

#[test]
fn cross_entropy_and_its_gradient() {
    for (rows, classes) in MATRICES {
        for smoothing in [0.0, 0.1] {
            let logits: Vec<f32> = numbers(rows * classes, 1).iter().map(|x| 50.0 * x).collect();
            let mut targets: Vec<f32> = numbers(logits.len(), 2).iter().map(|x| x.abs()).collect();
            // One row of a single class, the last row empty.
            targets.iter_mut().take(classes).enumerate().for_each(|(c, t)| *t = f32::from(u8::from(c == 0)));
            let last = targets.len().saturating_sub(classes) * usize::from(rows > 1);
            if rows > 1 {
                targets[last..].fill(0.0);
            }
            let s = f64::from(smoothing);
            let loss = |row: usize, x: &[f64]| -> f64 {
                let targets = wide(&targets[row * classes..][..classes]);
                let empty = targets.iter().all(|&t| t == 0.0);
                let terms = log_softmax_row(x).into_iter().zip(targets);
                let loss = terms.map(|(l, t)| -l * ((1.0 - s) * t + s / classes as f64)).sum();
                if empty { 0.0 } else { loss }
            };
            let x = wide(&logits);
            let (mut losses, mut gradient) = (Vec::new(), Vec::new());
            for (row, x) in x.chunks(classes).enumerate() {
                losses.push(loss(row, x));
                for c in 0..classes {
                    let (mut above, mut below) = (x.to_vec(), x.to_vec());
                    above[c] += 1e-4;
                    below[c] -= 1e-4;
                    gradient.push(0.5 * (loss(row, &above) - loss(row, &below)) / 2e-4);
                }
            }
            let forward = |cpu: &Cpu| {
                let mut out = vec![f32::NAN; rows];
                cross_entropy(cpu, classes, &logits, &targets, smoothing, &mut out);
                out
            };
            on_every_machine(forward, |got| assert_close(&wide(got), &losses, 1e-6, "losses"));
            let backward = |cpu: &Cpu| {
                let mut out = vec![f32::NAN; logits.len()];
                cross_entropy_backward(cpu, classes, &logits, &targets, smoothing, 0.5, &mut out);
                out
            };
            on_every_machine(backward, |got| {
                assert_close(&wide(got), &gradient, 1e-5, "gradient");
                assert!(rows < 2 || got[last..].iter().all(|&g| g == 0.0));
            });
        }
    }
    // A class that is ruled out, and not the target, costs nothing.
    let mut loss = [f32::NAN];
    cross_entropy(&Cpu::new(1), 3, &[1.0, f32::NEG_INFINITY, 1.0], &[1.0, 0.0, 0.0], 0.0, &mut loss);
    assert!((loss[0] - std::f32::consts::LN_2).abs() < 1e-6);
}

#[test]
fn negative_log_likelihood_of_labels() {
    for (planes, weighted, ignored) in [
        (planes(3, 5, 1), false, None),
        (planes(2, 9, 70), true, Some(4.0)),
        (planes(40, 3, 700), true, Some(-1.0)),
        (planes(0, 3, 2), false, None),
        (planes(2, 3, 0), false, Some(1.0)),
    ] {
        let (classes, cells) = (planes.channels, planes.batch * planes.pixels);
        let (x, dy) = (numbers(cells * classes, 1), numbers(cells, 2));
        let labels: Vec<f32> = (0..cells)
            .map(|i| if i % 7 == 3 { ignored.unwrap_or(0.0) } else { (i * 5 % classes) as f32 })
            .collect();
        let weights = weighted.then(|| numbers(classes, 3));
        let given = Labels { planes, labels: &labels, weights: weights.as_deref(), ignored };
        let (mut losses, mut gradient, mut total) = (vec![], vec![0.0; x.len()], 0.0);
        for (cell, label) in labels.iter().enumerate() {
            let (n, p) = (cell / planes.pixels, cell % planes.pixels);
            let class = if ignored == Some(*label) { None } else { Some(*label as usize) };
            let weight = |c: usize| weights.as_ref().map_or(1.0, |weights| f64::from(weights[c]));
            let at = class.map(|c| (n * classes + c) * planes.pixels + p);
            losses.push(class.map_or(0.0, |c| -weight(c) * f64::from(x[at.unwrap()])));
            total += class.map_or(0.0, weight);
            if let (Some(at), Some(class)) = (at, class) {
                gradient[at] = -weight(class) * f64::from(dy[cell]);
            }
        }
        let expected = [losses, gradient, vec![total]].concat();
        let run = |cpu: &Cpu| {
            let (mut losses, mut gradient) = (vec![f32::NAN; cells], vec![f32::NAN; x.len()]);
            given.losses(cpu, &x, &mut losses);
            given.backward(cpu, |cell| dy[cell], &mut gradient);
            [losses, gradient, vec![given.total_weight() as f32]].concat()
        };
        on_every_machine(run, |got| assert_close(&wide(got), &expected, 1e-6, &format!("{planes:?}")));
    }
}

#[test]
fn a_label_that_is_no_class_shows() {
    for label in [3.0, -1.0, 0.5, f32::NAN, 1e30] {
        let labels = Labels { planes: planes(1, 3, 1), labels: &[label], weights: None, ignored: Some(-2.0) };
        let (mut loss, mut gradient) = ([0.0], [0.0; 3]);
        labels.losses(&Cpu::new(1), &[-1.0; 3], &mut loss);
        labels.backward(&Cpu::new(1), |_| 1.0, &mut gradient);
        assert!(loss[0].is_nan() && gradient.iter().all(|g| g.is_nan()), "{label}");
        assert!(labels.total_weight().is_nan());
    }
}
