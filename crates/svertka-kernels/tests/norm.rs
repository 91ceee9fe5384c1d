//! Batch normalization against plain loops in `f64`, gradients against finite differences of those loops.

mod blocked;

use blocked::*;
use svertka_kernels::Cpu;
use svertka_kernels::activation::{self, Activation};
use svertka_kernels::norm::*;
use svertka_kernels::planes::Planes;

const EPS: f32 = 1e-3;

/// Parameters and fixed statistics of `channels` channels.
struct Parameters {
    gamma: Vec<f32>,
    beta: Vec<f32>,
    mean: Vec<f32>,
    var: Vec<f32>,
}

impl Parameters {
    fn new(channels: usize) -> Self {
        let positive = |seed| numbers(channels, seed).iter().map(|x| x.abs() + 0.5).collect();
        Self { gamma: positive(7), beta: numbers(channels, 8), mean: numbers(channels, 9), var: positive(10) }
    }

    fn affine(&self) -> Affine<'_> {
        Affine { gamma: &self.gamma, beta: &self.beta, eps: EPS, after: After::default() }
    }

    fn normalization<'a>(&'a self, mean: &'a [f32], inv_std: &'a [f32]) -> Normalization<'a> {
        Normalization { gamma: &self.gamma, beta: &self.beta, mean, inv_std, activation: None }
    }
}

/// Mean and biased variance of each channel of a plain activation.
fn moments(size: Planes, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let count = (size.batch * size.pixels).max(1) as f64;
    let (mut mean, mut var) = (vec![0.0; size.channels], vec![0.0; size.channels]);
    each(size, |_, c, _, i| mean[c] += x[i] / count);
    each(size, |_, c, _, i| var[c] += (x[i] - mean[c]).powi(2) / count);
    (mean, var)
}

fn normalized(size: Planes, x: &[f64], gamma: &[f64], beta: &[f64], mean: &[f64], var: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; x.len()];
    each(size, |_, c, _, i| {
        y[i] = (x[i] - mean[c]) / (var[c] + f64::from(EPS)).sqrt() * gamma[c] + beta[c];
    });
    y
}

/// `y`, mean, variance and inverse deviation of a training step, one after the other.
fn train(cpu: &Cpu, size: Planes, parameters: &Parameters, x: &[f32]) -> Vec<f32> {
    train_fused(cpu, size, parameters, x, After::default())
}

fn train_fused(cpu: &Cpu, size: Planes, parameters: &Parameters, x: &[f32], after: After<'_>) -> Vec<f32> {
    let mut y = vec![f32::NAN; x.len()];
    let channels = size.channels;
    let (mut mean, mut var, mut inv_std) =
        (vec![f32::NAN; channels], vec![f32::NAN; channels], vec![f32::NAN; channels]);
    let mut scratch = vec![f32::NAN; batch_norm_scratch_len(size)];
    let statistics = StatisticsMut { mean: &mut mean, var: &mut var, inv_std: &mut inv_std };
    let affine = Affine { after, ..parameters.affine() };
    batch_norm_train(cpu, size, affine, x, &mut y, statistics, &mut scratch);
    [y, mean, var, inv_std].concat()
}

#[test]
fn training_normalizes_by_the_batch() {
    for size in SIZES {
        let parameters = Parameters::new(size.channels);
        let x = activation(size, 3, 3e38);
        let plain_x = plain(size, &x);
        let (mean, var) = moments(size, &plain_x);
        let expected =
            normalized(size, &plain_x, &wide(&parameters.gamma), &wide(&parameters.beta), &mean, &var);
        on_every_machine(
            |cpu| train(cpu, size, &parameters, &x),
            |got| {
                let (y, rest) = got.split_at(x.len());
                // One value for each channel has deviation zero, which the root of eps magnifies.
                assert_blocked(size, y, &expected, 3e-5, "y");
                let (got_mean, rest) = rest.split_at(size.channels);
                assert_close(&wide(got_mean), &mean, 1e-6, "mean");
                let (got_var, inv_std) = rest.split_at(size.channels);
                assert_close(&wide(got_var), &var, 1e-6, "var");
                let inverse: Vec<_> = var.iter().map(|v| (v + f64::from(EPS)).sqrt().recip()).collect();
                assert_close(&wide(inv_std), &inverse, 1e-5, "inv_std");
            },
        );
    }
}

#[test]
fn a_large_mean_costs_no_digits_of_the_variance() {
    let size = planes(3, 9, 701);
    let x: Vec<f32> = activation(size, 4, 0.0).iter().map(|x| 4096.0 + x / 4.0).collect();
    let (_, var) = moments(size, &plain(size, &x));
    on_every_machine(
        |cpu| train(cpu, size, &Parameters::new(9), &x),
        |got| {
            let got = &got[x.len() + 9..][..9];
            let relative: Vec<_> = got.iter().zip(&var).map(|(g, v)| f64::from(*g) / v).collect();
            assert_close(&relative, &[1.0; 9], 1e-5, "variance");
        },
    );
}

#[test]
fn inference_normalizes_by_fixed_statistics_in_place_too() {
    for size in SIZES {
        let p = Parameters::new(size.channels);
        let x = activation(size, 5, 3e38);
        let [gamma, beta, mean, var] = [&p.gamma, &p.beta, &p.mean, &p.var].map(|v| wide(v));
        let expected = normalized(size, &plain(size, &x), &gamma, &beta, &mean, &var);
        let infer =
            |cpu: &Cpu, x, y: &mut [f32]| batch_norm_infer(cpu, size, p.affine(), &p.mean, &p.var, x, y);
        let out_of_place = |cpu: &Cpu| {
            let (mut y, mut in_place) = (vec![f32::NAN; x.len()], x.clone());
            infer(cpu, Some(&x), &mut y);
            infer(cpu, None, &mut in_place);
            assert_eq!(y, in_place);
            y
        };
        on_every_machine(out_of_place, |y| assert_blocked(size, y, &expected, 1e-5, "y"));
    }
}

/// `dx`, `dgamma` and `dbeta` one after the other, from `backward` with and without a separate `dy`.
fn gradients(cpu: &Cpu, size: Planes, n: Normalization<'_>, x: &[f32], dy: &[f32], batch: bool) -> Vec<f32> {
    let backward = if batch { batch_norm_backward } else { batch_norm_infer_backward };
    let run = |dy: Option<&[f32]>, mut dx: Vec<f32>| {
        let (mut dgamma, mut dbeta) = (vec![f32::NAN; size.channels], vec![f32::NAN; size.channels]);
        let mut scratch = vec![f32::NAN; batch_norm_scratch_len(size)];
        let gradients = GradientsMut { dx: &mut dx, dgamma: &mut dgamma, dbeta: &mut dbeta };
        backward(cpu, size, n, x, dy, gradients, &mut scratch);
        [dx, dgamma, dbeta].concat()
    };
    let out_of_place = run(Some(dy), vec![f32::NAN; dy.len()]);
    assert_eq!(out_of_place, run(None, dy.to_vec()));
    out_of_place
}

#[test]
fn gradients_are_the_slopes_of_the_plain_loops() {
    for size in SIZES.into_iter().filter(|s| s.batch * s.pixels > 0 && s.pixels < 100) {
        let p = Parameters::new(size.channels);
        let (x, dy) = (activation(size, 5, 3.0), activation(size, 6, 4.0));
        let (plain_x, plain_dy) = (plain(size, &x), plain(size, &dy));
        let [gamma, beta, fixed_mean, fixed_var] = [&p.gamma, &p.beta, &p.mean, &p.var].map(|v| wide(v));
        for batch in [true, false] {
            let statistics =
                |x: &[f64]| if batch { moments(size, x) } else { (fixed_mean.clone(), fixed_var.clone()) };
            let loss = |x: &[f64], gamma: &[f64], beta: &[f64]| {
                let (mean, var) = statistics(x);
                let y = normalized(size, x, gamma, beta, &mean, &var);
                y.iter().zip(&plain_dy).map(|(y, dy)| y * dy).sum::<f64>()
            };
            let slope = |at: &[f64], i: usize, loss: &dyn Fn(&[f64]) -> f64| {
                let (step, mut moved) = (1e-5, at.to_vec());
                moved[i] += step;
                let above = loss(&moved);
                moved[i] -= 2.0 * step;
                (above - loss(&moved)) / (2.0 * step)
            };
            let dx: Vec<_> =
                (0..plain_x.len()).map(|i| slope(&plain_x, i, &|x| loss(x, &gamma, &beta))).collect();
            let dgamma: Vec<_> =
                (0..size.channels).map(|c| slope(&gamma, c, &|g| loss(&plain_x, g, &beta))).collect();
            let dbeta: Vec<_> =
                (0..size.channels).map(|c| slope(&beta, c, &|b| loss(&plain_x, &gamma, b))).collect();

            let (mean, var) = statistics(&plain_x);
            let mean: Vec<_> = mean.iter().map(|&m| m as f32).collect();
            let var: Vec<_> = var.iter().map(|&v| v as f32).collect();
            let mut inverse = vec![0.0; size.channels];
            inv_std(&var, EPS, &mut inverse);
            let n = p.normalization(&mean, &inverse);
            on_every_machine(
                |cpu| gradients(cpu, size, n, &x, &dy, batch),
                |got| {
                    let (got_dx, rest) = got.split_at(x.len());
                    // A batch of one value has slope zero, as the difference of two products about 60 large.
                    assert_blocked(size, got_dx, &dx, 1e-4, "dx");
                    let (got_dgamma, got_dbeta) = rest.split_at(size.channels);
                    assert_close(&wide(got_dgamma), &dgamma, 1e-4, "dgamma");
                    assert_close(&wide(got_dbeta), &dbeta, 1e-4, "dbeta");
                },
            );
        }
    }
}

#[test]
fn gradients_of_many_jobs_follow_the_formula() {
    for size in [planes(2, 17, 1333), planes(0, 3, 4)] {
        let p = Parameters::new(size.channels);
        let (x, dy) = (activation(size, 5, 3e38), activation(size, 6, 3e38));
        let (plain_x, plain_dy) = (plain(size, &x), plain(size, &dy));
        let mut inverse = vec![0.0; size.channels];
        inv_std(&p.var, EPS, &mut inverse);
        let n = p.normalization(&p.mean, &inverse);
        let (mut dx, mut dgamma, mut dbeta) =
            (vec![0.0; plain_x.len()], vec![0.0; size.channels], vec![0.0; size.channels]);
        each(size, |_, c, _, i| {
            let inv_std = f64::from(inverse[c]);
            dx[i] = plain_dy[i] * f64::from(p.gamma[c]) * inv_std;
            dgamma[c] += plain_dy[i] * (plain_x[i] - f64::from(p.mean[c])) * inv_std;
            dbeta[c] += plain_dy[i];
        });
        on_every_machine(
            |cpu| gradients(cpu, size, n, &x, &dy, false),
            |got| {
                assert_blocked(size, &got[..x.len()], &dx, 1e-5, "dx");
                let parameters = [&dgamma[..], &dbeta].concat();
                assert_close(&wide(&got[x.len()..]), &parameters, 1e-4, "dgamma, dbeta");
            },
        );
        // With the batch's statistics, dx sums to zero and is orthogonal to x, channel by channel.
        let trained = train(&Cpu::new(1), size, &p, &x)[x.len()..].to_vec();
        let (mean, rest) = trained.split_at(size.channels);
        let n = p.normalization(mean, &rest[size.channels..]);
        on_every_machine(
            |cpu| gradients(cpu, size, n, &x, &dy, true),
            |got| {
                let dx = plain(size, &got[..x.len()]);
                let (mut sum, mut along) = (vec![0.0; size.channels], vec![0.0; size.channels]);
                each(size, |_, c, _, i| {
                    sum[c] += dx[i];
                    along[c] += dx[i] * plain_x[i];
                });
                assert_close(&sum, &vec![0.0; size.channels], 1e-3, "sum of dx");
                // The part of dx along x that eps leaves is below a thousandth of dgamma.
                let bound = 2e-3 * size.pixels as f64;
                assert!(along.iter().all(|a| a.abs() < bound), "{along:?}");
            },
        );
    }
}

#[test]
fn channel_sums_are_over_batch_and_pixels() {
    for size in SIZES {
        let x = activation(size, 11, f32::NAN);
        let mut expected = vec![0.0; size.channels];
        let plain_x = plain(size, &x);
        each(size, |_, c, _, i| expected[c] += plain_x[i]);
        let sums = |cpu: &Cpu| {
            let (mut out, mut scratch) =
                (vec![f32::NAN; size.channels], vec![f32::NAN; channel_sums_scratch_len(size)]);
            channel_sums(cpu, size, &x, &mut out, &mut scratch);
            out
        };
        on_every_machine(sums, |got| assert_close(&wide(got), &expected, 1e-5, "sums"));
    }
}

#[test]
fn what_follows_in_the_same_pass_has_the_bits_of_passes_of_its_own() {
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    for size in SIZES {
        let p = Parameters::new(size.channels);
        let (x, dy, residual) =
            (activation(size, 5, 3e38), activation(size, 6, 4.0), activation(size, 7, 3e38));
        for function in [Activation::Relu, Activation::Clip { min: -0.5, max: 0.7 }] {
            let passes_apart = |cpu: &Cpu, residual: Option<&[f32]>| {
                let mut made = train(cpu, size, &p, &x);
                made.iter_mut().zip(residual.into_iter().flatten()).for_each(|(y, r)| *y += r);
                activation::forward(cpu, function, None, &mut made[..x.len()]);
                made
            };
            for residual in [None, Some(&residual[..])] {
                let after = After { residual, activation: Some(function) };
                on_every_machine(
                    |cpu| {
                        let made = train_fused(cpu, size, &p, &x, after);
                        assert_eq!(bits(&made), bits(&passes_apart(cpu, residual)));
                        made
                    },
                    |_| (),
                );
            }
            on_every_machine(
                |cpu| {
                    let made = passes_apart(cpu, None);
                    let (y, rest) = made.split_at(x.len());
                    let (mean, inv_std) = (&rest[..size.channels], &rest[2 * size.channels..]);
                    let plain = p.normalization(mean, inv_std);
                    let fused = Normalization { activation: Some(function), ..plain };
                    let mut again = vec![f32::NAN; y.len()];
                    batch_norm_again(cpu, size, fused, &x, &mut again);
                    assert_eq!(bits(&again), bits(y));
                    let mut dz = vec![f32::NAN; y.len()];
                    activation::backward(cpu, function, y, Some(&dy), &mut dz);
                    let expected = gradients(cpu, size, plain, &x, &dz, true);
                    let got = gradients(cpu, size, fused, &x, &dy, true);
                    assert_eq!(bits(&got), bits(&expected));
                    got
                },
                |_| (),
            );
        }
    }
}
