//! Activations, sums and products, concatenation, softmax and optimizer steps against their definitions in `f64`.

mod blocked;

use blocked::*;
use svertka_kernels::Cpu;
use svertka_kernels::activation::{self, Activation, Saved};
use svertka_kernels::binary::*;
use svertka_kernels::concat::{Source, Target, copy_channels};
use svertka_kernels::softmax::*;
use svertka_kernels::update::*;

/// Lengths with and without a rest by eight, and beyond one job.
const LENGTHS: [usize; 6] = [0, 1, 7, 8, 83, 40_003];

const ACTIVATIONS: [Activation; 12] = [
    Activation::Relu,
    Activation::Clip { min: 0.0, max: 6.0 },
    Activation::Clip { min: -0.5, max: 1.0 },
    Activation::LeakyRelu { alpha: 0.1 },
    Activation::LeakyRelu { alpha: -0.3 },
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Silu,
    Activation::HardSwish,
    Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
    Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 },
    Activation::Gelu,
];

fn value(activation: Activation, x: f64) -> f64 {
    let wide = f64::from;
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::Clip { min, max } => x.max(wide(min)).min(wide(max)),
        Activation::LeakyRelu { alpha } => {
            if x > 0.0 {
                x
            } else {
                wide(alpha) * x
            }
        }
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::HardSigmoid { alpha, beta } => (wide(alpha) * x + wide(beta)).clamp(0.0, 1.0),
        Activation::Gelu => {
            // The normal distribution by Simpson's rule from zero.
            let density = |t: f64| (-t * t / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let h = x / 200.0;
            let inner = (1..200).map(|i| density(f64::from(i) * h) * if i % 2 == 1 { 4.0 } else { 2.0 });
            x * (0.5 + h / 3.0 * (density(0.0) + inner.sum::<f64>() + density(x)))
        }
    }
}

fn run(cpu: &Cpu, activation: Activation, x: &[f32]) -> Vec<f32> {
    let (mut y, mut in_place) = (vec![f32::NAN; x.len()], x.to_vec());
    activation::forward(cpu, activation, Some(x), &mut y);
    activation::forward(cpu, activation, None, &mut in_place);
    assert_eq!(y, in_place);
    y
}

fn gradient(cpu: &Cpu, activation: Activation, x: &[f32], dy: &[f32]) -> Vec<f32> {
    let saved = match activation.gradient_reads() {
        Saved::Input => x.to_vec(),
        Saved::Output => run(cpu, activation, x),
    };
    let (mut dx, mut in_place) = (vec![f32::NAN; x.len()], dy.to_vec());
    activation::backward(cpu, activation, &saved, Some(dy), &mut dx);
    activation::backward(cpu, activation, &saved, None, &mut in_place);
    assert_eq!(dx, in_place);
    dx
}

#[test]
fn activations_and_their_gradients() {
    for activation in ACTIVATIONS {
        for len in LENGTHS {
            let x: Vec<f32> = numbers(len, 1).iter().map(|x| 3.0 * x).collect();
            let dy = numbers(len, 2);
            let expected: Vec<_> = x.iter().map(|&x| value(activation, f64::from(x))).collect();
            let what = format!("{activation:?}");
            on_every_machine(
                |cpu| run(cpu, activation, &x),
                |y| assert_close(&wide(y), &expected, 2e-6, &what),
            );
            let slope = |(&x, &dy): (&f32, &f32)| {
                let (x, h) = (f64::from(x), 1e-5);
                f64::from(dy) * (value(activation, x + h) - value(activation, x - h)) / (2.0 * h)
            };
            // A difference across a corner has no meaning; the corners themselves are tested below.
            let corners = [-3.0, -2.5, -0.5, 0.0, 1.0, 2.5, 3.0, 6.0];
            let smooth = |x: f32| corners.iter().all(|c| (x - c).abs() > 1e-4);
            let expected: Vec<_> = x.iter().zip(&dy).map(slope).collect();
            let keep = |v: Vec<f64>| -> Vec<f64> {
                v.into_iter().zip(&x).filter(|(_, x)| smooth(**x)).map(|(v, _)| v).collect()
            };
            on_every_machine(
                |cpu| gradient(cpu, activation, &x, &dy),
                |dx| assert_close(&keep(wide(dx)), &keep(expected.clone()), 1e-5, &what),
            );
        }
    }
}

#[test]
fn gradients_at_corners_and_not_a_number() {
    let hard_sigmoid = Activation::HardSigmoid { alpha: 0.25, beta: 0.5 };
    let leaky = |alpha| Activation::LeakyRelu { alpha };
    for (activation, x, slope) in [
        (Activation::Relu, 0.0, 0.0),
        (Activation::Relu, f32::MIN_POSITIVE, 1.0),
        (Activation::Clip { min: 0.0, max: 6.0 }, 0.0, 0.0),
        (Activation::Clip { min: 0.0, max: 6.0 }, 6.0, 0.0),
        (Activation::Clip { min: 0.0, max: 6.0 }, 5.999, 1.0),
        (leaky(0.5), 0.0, 0.5),
        (leaky(0.0), -1.0, 0.0),
        (leaky(-0.5), 0.0, -0.5),
        (hard_sigmoid, -2.0, 0.0),
        (hard_sigmoid, 2.0, 0.0),
        (hard_sigmoid, 1.75, 0.25),
        (Activation::HardSwish, -3.0, 0.0),
        (Activation::HardSwish, 3.0, 1.0),
    ] {
        let check = |dx: &[f32]| assert_eq!(dx, [slope], "{activation:?} at {x}");
        on_every_machine(|cpu| gradient(cpu, activation, &[x], &[1.0]), check);
    }
    for activation in ACTIVATIONS {
        on_every_machine(
            |cpu| {
                let mut y = [f32::NAN; 9];
                activation::forward(cpu, activation, None, &mut y);
                y.to_vec()
            },
            |y| assert!(y.iter().all(|y| y.is_nan()), "{activation:?}"),
        );
    }
}

#[test]
fn sums_and_products() {
    type Kernel = fn(&Cpu, &[f32], &[f32], &mut [f32]);
    type Definition = fn(f64, f64) -> f64;
    let table: [(Kernel, Definition, &str); 7] = [
        (|cpu, a, b, out| add(cpu, Some(a), b, out), |a, b| a + b, "add"),
        (
            |cpu, a, b, out| {
                out.copy_from_slice(a);
                add(cpu, None, b, out)
            },
            |a, b| a + b,
            "add in place",
        ),
        (|cpu, a, b, out| mul(cpu, Some(a), b, out), |a, b| a * b, "mul"),
        (
            |cpu, a, b, out| {
                out.copy_from_slice(a);
                mul(cpu, None, b, out)
            },
            |a, b| a * b,
            "mul in place",
        ),
        (|cpu, a, _, out| scale(cpu, Some(a), -0.75, out), |a, _| a * -0.75, "scale"),
        (
            |cpu, a, _, out| {
                out.copy_from_slice(a);
                scale(cpu, None, 3.0, out)
            },
            |a, _| a * 3.0,
            "scale in place",
        ),
        (
            |cpu, a, b, out| {
                out.copy_from_slice(a);
                axpy(cpu, 0.3, b, out)
            },
            |a, b| a + f64::from(0.3f32) * b,
            "axpy",
        ),
    ];
    for len in LENGTHS {
        let (a, b) = (numbers(len, 1), numbers(len, 2));
        for (kernel, definition, what) in table {
            let expected: Vec<_> =
                wide(&a).into_iter().zip(wide(&b)).map(|(a, b)| definition(a, b)).collect();
            let run = |cpu: &Cpu| {
                let mut out = vec![f32::NAN; len];
                kernel(cpu, &a, &b, &mut out);
                out
            };
            on_every_machine(run, |out| assert_close(&wide(out), &expected, 3e-7, what));
        }
        let expected: f64 = wide(&a).iter().map(|a| a * a).sum();
        let squares = |cpu: &Cpu| {
            let sum = sum_of_squares(cpu, &a, &mut vec![f32::NAN; sum_of_squares_scratch_len(len)]);
            // Both halves, so that all bits are compared.
            vec![sum as f32, (sum - f64::from(sum as f32)) as f32]
        };
        on_every_machine(squares, |sum| {
            assert_close(&[f64::from(sum[0]) + f64::from(sum[1])], &[expected], 1e-6, "sum of squares");
        });
    }
}

#[test]
fn one_factor_for_each_image_and_channel() {
    for size in SIZES {
        let factor = activation(size.reduced(), 1, 0.0);
        let (x, dy) = (activation(size, 2, 3.0), activation(size, 3, 3e38));
        let (plain_factor, plain_x) = (plain(size.reduced(), &factor), plain(size, &x));
        let plain_dy = plain(size, &dy);
        let (mut expected, mut expected_gradient) = (vec![0.0; plain_x.len()], vec![0.0; plain_factor.len()]);
        each(size, |n, c, _, i| {
            let channel = n * size.channels + c;
            expected[i] = plain_x[i] * plain_factor[channel];
            expected_gradient[channel] += plain_x[i] * plain_dy[i];
        });
        let scaled = |cpu: &Cpu| {
            let (mut y, mut in_place) = (vec![f32::NAN; x.len()], x.clone());
            scale_channels(cpu, size, &factor, Some(&x), &mut y);
            scale_channels(cpu, size, &factor, None, &mut in_place);
            assert_eq!(y, in_place);
            y
        };
        on_every_machine(scaled, |y| assert_blocked(size, y, &expected, 1e-6, "scaled"));
        let gradient = |cpu: &Cpu| {
            let mut gradient = vec![f32::NAN; factor.len()];
            scale_channels_factor_gradient(cpu, size, &x, &dy, &mut gradient);
            gradient
        };
        on_every_machine(gradient, |g| {
            assert_blocked(size.reduced(), g, &expected_gradient, 1e-5, "gradient")
        });
    }
}

#[test]
fn channels_are_copied_at_any_offset() {
    for (batch, pixels) in [(0, 3), (1, 1), (2, 5), (3, 701)] {
        for (from_channels, from_start, to_channels, to_start, count) in [
            (8, 0, 17, 8, 8),
            (9, 0, 9, 0, 9),
            (7, 2, 17, 3, 5),
            (17, 3, 9, 1, 8),
            (17, 8, 17, 16, 1),
            (3, 0, 3, 3, 0),
        ] {
            let (from, to) = (planes(batch, from_channels, pixels), planes(batch, to_channels, pixels));
            let (x, before) = (activation(from, 1, 9.0), activation(to, 2, 9.0));
            let copied = |cpu: &Cpu| {
                let mut out = before.clone();
                let source = Source { data: &x, channels: from_channels, start: from_start };
                let target = Target { data: &mut out, channels: to_channels, start: to_start };
                copy_channels(cpu, batch, pixels, count, source, target);
                out
            };
            let mut expected = before.clone();
            if count > 0 && to_start + count == to_channels {
                expected = block(to, &numbers(batch * to_channels * pixels, 2), 0.0);
                // Blocks that receive nothing keep their spare lanes, but only the last block has any.
            }
            each(planes(batch, count, pixels), |n, c, p, _| {
                expected[index(to, n, to_start + c, p)] = x[index(from, n, from_start + c, p)];
            });
            on_every_machine(copied, |out| assert_eq!(out, expected));
        }
    }
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
    for (rows, classes) in MATRICES {
        // Far from zero, where an exponential of the element itself overflows.
        let x: Vec<f32> = numbers(rows * classes, 1).iter().map(|x| 200.0 + 5.0 * x).collect();
        let dy = numbers(x.len(), 2);
        let logarithm: Vec<f64> = wide(&x).chunks(classes).flat_map(log_softmax_row).collect();
        let probability: Vec<f64> = logarithm.iter().map(|l| l.exp()).collect();
        let rows_of = |v: &[f64]| v.chunks(classes).map(<[f64]>::to_vec).collect::<Vec<_>>();
        let (mut expected_dx, mut expected_log_dx) = (Vec::new(), Vec::new());
        for (y, dy) in rows_of(&probability).iter().zip(rows_of(&wide(&dy))) {
            // The Jacobian, entry by entry: y_i (delta_ij - y_j), and delta_ij - y_j.
            for j in 0..classes {
                let delta = |i: usize| if i == j { 1.0 } else { 0.0 };
                expected_dx.push((0..classes).map(|i| dy[i] * y[i] * (delta(i) - y[j])).sum::<f64>());
                expected_log_dx.push((0..classes).map(|i| dy[i] * (delta(i) - y[j])).sum::<f64>());
            }
        }
        let run = |kernel: &dyn Fn(&mut [f32])| {
            let mut out = vec![f32::NAN; x.len()];
            kernel(&mut out);
            out
        };
        let narrow = |v: &[f64]| v.iter().map(|&x| x as f32).collect::<Vec<_>>();
        let (y, log_y) = (narrow(&probability), narrow(&logarithm));
        let check = |expected: &[f64], what: &str, kernel: &dyn Fn(&Cpu, &mut [f32])| {
            on_every_machine(
                |cpu| run(&|out| kernel(cpu, out)),
                |got| assert_close(&wide(got), expected, 3e-6, what),
            );
        };
        check(&probability, "softmax", &|cpu, out| softmax(cpu, rows, classes, &x, out));
        check(&logarithm, "log_softmax", &|cpu, out| log_softmax(cpu, rows, classes, &x, out));
        check(&expected_dx, "softmax gradient", &|cpu, out| {
            softmax_backward(cpu, rows, classes, &y, &dy, out)
        });
        check(&expected_log_dx, "log_softmax gradient", &|cpu, out| {
            log_softmax_backward(cpu, rows, classes, &log_y, &dy, out);
        });
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
fn optimizer_steps() {
    for len in LENGTHS {
        let grads: Vec<_> = (0..3).map(|seed| numbers(len, 10 + seed)).collect();
        let start = numbers(len, 1);
        let scale = 0.5;
        for (momentum, nesterov, weight_decay) in [(0.0, false, 0.01), (0.9, false, 0.0), (0.8, true, 0.1)] {
            let options = Sgd { lr: 0.1, momentum, nesterov, weight_decay };
            let (mut weight, mut velocity) = (wide(&start), vec![0.0; len]);
            for grad in &grads {
                for i in 0..len {
                    let g = scale * f64::from(grad[i]) + f64::from(weight_decay) * weight[i];
                    velocity[i] = f64::from(momentum) * velocity[i] + g;
                    let ahead = if nesterov { g + f64::from(momentum) * velocity[i] } else { velocity[i] };
                    weight[i] -= f64::from(options.lr) * ahead;
                }
            }
            let steps = |cpu: &Cpu| {
                let (mut weight, mut velocity) =
                    (start.clone(), vec![0.0; if momentum == 0.0 { 0 } else { len }]);
                grads.iter().for_each(|grad| sgd(cpu, options, 0.5, grad, &mut velocity, &mut weight));
                weight
            };
            on_every_machine(steps, |got| assert_close(&wide(got), &weight, 1e-6, "sgd"));
        }

        let (lr, beta1, beta2, eps, weight_decay) = (0.01, 0.9, 0.999, 1e-8, 0.1);
        let (mut weight, mut m, mut v) = (wide(&start), vec![0.0; len], vec![0.0; len]);
        let [b1, b2] = [beta1, beta2].map(|b: f32| f64::from(b));
        for (step, grad) in (1..).zip(&grads) {
            for i in 0..len {
                let g = scale * f64::from(grad[i]);
                weight[i] *= 1.0 - f64::from(lr) * f64::from(weight_decay);
                m[i] = b1 * m[i] + (1.0 - b1) * g;
                v[i] = b2 * v[i] + (1.0 - b2) * g * g;
                let (m, v) = (m[i] / (1.0 - b1.powi(step)), v[i] / (1.0 - b2.powi(step)));
                weight[i] -= f64::from(lr) * m / (v.sqrt() + f64::from(eps));
            }
        }
        let steps = |cpu: &Cpu| {
            let (mut weight, mut m, mut v) = (start.clone(), vec![0.0; len], vec![0.0; len]);
            for (step, grad) in (1..).zip(&grads) {
                let options = AdamW { lr, beta1, beta2, eps, weight_decay, step };
                adamw(cpu, options, 0.5, grad, &mut m, &mut v, &mut weight);
            }
            weight
        };
        on_every_machine(steps, |got| assert_close(&wide(got), &weight, 1e-6, "adamw"));

        let average: Vec<_> =
            wide(&start).into_iter().zip(wide(&grads[0])).map(|(a, w)| 0.75 * a + 0.25 * w).collect();
        let step = |cpu: &Cpu| {
            let mut average = start.clone();
            ema(cpu, 0.75, &grads[0], &mut average);
            average
        };
        on_every_machine(step, |got| assert_close(&wide(got), &average, 1e-6, "ema"));
    }
}
