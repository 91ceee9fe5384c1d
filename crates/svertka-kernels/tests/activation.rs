//! Activations and their gradients against their definitions in `f64`.

mod blocked;

use blocked::*;
use svertka_kernels::Cpu;
use svertka_kernels::activation::{self, Activation, Saved};

/// Lengths with and without a rest by eight, and beyond one job.
const LENGTHS: [usize; 6] = [0, 1, 7, 8, 83, 40_003];

const ACTIVATIONS: [Activation; 27] = [
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
    Activation::GeluTanh,
    Activation::Swish { alpha: 1.7 },
    Activation::Swish { alpha: -0.5 },
    Activation::Elu { alpha: 0.7 },
    Activation::SELU,
    Activation::Selu { alpha: 2.0, gamma: -1.5 },
    Activation::Celu { alpha: 2.0 },
    Activation::Celu { alpha: 0.25 },
    Activation::Softplus,
    Activation::LogSigmoid,
    Activation::Softsign,
    Activation::Mish,
    Activation::ThresholdedRelu { alpha: 1.0 },
    Activation::Shrink { bias: 0.0, lambd: 0.5 },
    Activation::Shrink { bias: 1.5, lambd: 2.5 },
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
        Activation::GeluTanh => {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + u.tanh())
        }
        Activation::Swish { alpha } => x / (1.0 + (-wide(alpha) * x).exp()),
        Activation::Elu { alpha } => {
            if x > 0.0 {
                x
            } else {
                wide(alpha) * x.exp_m1()
            }
        }
        Activation::Selu { alpha, gamma } => wide(gamma) * (x.max(0.0) + (wide(alpha) * x.exp_m1()).min(0.0)),
        Activation::Celu { alpha } => x.max(0.0) + (wide(alpha) * (x / wide(alpha)).exp_m1()).min(0.0),
        Activation::Softplus => (1.0 + x.exp()).ln(),
        Activation::LogSigmoid => -(1.0 + (-x).exp()).ln(),
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::Mish => x * (1.0 + x.exp()).ln().tanh(),
        Activation::ThresholdedRelu { alpha } => {
            if x > wide(alpha) {
                x
            } else {
                0.0
            }
        }
        Activation::Shrink { bias, lambd } => {
            if x.abs() > wide(lambd) {
                x - wide(bias) * x.signum()
            } else {
                0.0
            }
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
        (Activation::Elu { alpha: 0.5 }, 0.0, 0.5),
        (Activation::Celu { alpha: 0.5 }, 0.0, 1.0),
        (Activation::ThresholdedRelu { alpha: 1.0 }, 1.0, 0.0),
        (Activation::ThresholdedRelu { alpha: 1.0 }, 1.0f32.next_up(), 1.0),
        (Activation::Shrink { bias: 1.0, lambd: 0.5 }, 0.5, 0.0),
        (Activation::Shrink { bias: 1.0, lambd: 0.5 }, -0.5, 0.0),
        (Activation::Shrink { bias: 1.0, lambd: 0.5 }, -0.5f32.next_up(), 1.0),
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

/// Far from zero nothing becomes infinite or not a number that is not so by definition, and near zero the small digits stay.
#[test]
fn extreme_arguments() {
    let tiny = 1e-6_f32;
    let cases = [
        (Activation::Elu { alpha: 1.0 }, -tiny, -tiny),
        (Activation::Elu { alpha: 2.0 }, f32::NEG_INFINITY, -2.0),
        (Activation::Elu { alpha: 2.0 }, f32::INFINITY, f32::INFINITY),
        (Activation::Softplus, 1e30, 1e30),
        (Activation::Softplus, -20.0, 2.061_153_6e-9),
        (Activation::LogSigmoid, -1e30, -1e30),
        (Activation::LogSigmoid, 20.0, -2.061_153_6e-9),
        (Activation::Mish, 1e30, 1e30),
        (Activation::GeluTanh, 1e30, 1e30),
        (Activation::GeluTanh, -1e6, 0.0),
        (Activation::Softsign, -1e30, -1.0),
        (Activation::Shrink { bias: 0.5, lambd: 0.5 }, f32::NEG_INFINITY, f32::NEG_INFINITY),
        (Activation::ThresholdedRelu { alpha: 1.0 }, f32::INFINITY, f32::INFINITY),
        // Where the bounds cross, the upper one wins.
        (Activation::Clip { min: 2.0, max: 1.0 }, 0.0, 1.0),
        (Activation::Clip { min: f32::NEG_INFINITY, max: 1.0 }, -1e38, -1e38),
    ];
    for (activation, x, expected) in cases {
        on_every_machine(
            |cpu| run(cpu, activation, &[x]),
            |y| {
                let close = y[0] == expected || (y[0] - expected).abs() <= 1e-6 * expected.abs() + 1e-30;
                assert!(close, "{activation:?} of {x}: {}, expected {expected}", y[0]);
            },
        );
        on_every_machine(
            |cpu| gradient(cpu, activation, &[x], &[1.0]),
            |dx| assert!(x.is_infinite() || dx[0].is_finite(), "{activation:?} at {x}: slope {}", dx[0]),
        );
    }
}
