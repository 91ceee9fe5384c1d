//! Sums and products, concatenation and optimizer steps against their definitions in `f64`.

mod blocked;

use blocked::*;
use svertka_kernels::Cpu;
use svertka_kernels::binary::*;
use svertka_kernels::concat::{Source, Target, copy_channels};
use svertka_kernels::update::*;

/// Lengths with and without a rest by eight, and beyond one job.
const LENGTHS: [usize; 6] = [0, 1, 7, 8, 83, 40_003];

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
