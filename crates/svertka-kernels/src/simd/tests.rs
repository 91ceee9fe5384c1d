//! Each operation of each instruction set, lane by lane, against plain arithmetic.

use super::*;
use crate::cpu::{Isa, WithSimd};

const A: [f32; 8] = [1.5, -2.0, 0.0, 7.25, -0.5, 3.0, 1e10, -1e-10];
const B: [f32; 8] = [2.0, -3.0, 1.0, 0.25, 0.5, -3.0, 1e-3, 5.0];

struct Lanes;

impl WithSimd for Lanes {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (a, b) = (s.from_slice(&A), s.from_slice(&B));
        let check = |got: S::V, expected: &dyn Fn(f32, f32) -> f32| {
            for (i, got) in s.to_array(got).into_iter().enumerate() {
                let expected = expected(A[i], B[i]);
                assert!((got - expected).abs() <= 1e-6 * expected.abs(), "lane {i}: {got} {expected}");
            }
        };
        check(s.add(a, b), &|a, b| a + b);
        check(s.sub(a, b), &|a, b| a - b);
        check(s.mul(a, b), &|a, b| a * b);
        check(s.div(a, b), &|a, b| a / b);
        check(s.max(a, b), &f32::max);
        check(s.min(a, b), &f32::min);
        check(s.sqrt(s.mul(a, a)), &|a, _| a.abs());
        check(s.fma(a, b, s.splat(4.0)), &|a, b| a * b + 4.0);
        check(s.if_gt(a, b, s.splat(1.0), s.splat(2.0)), &|a, b| if a > b { 1.0 } else { 2.0 });
        check(s.round(s.splat(2.6)), &|_, _| 3.0);
        check(s.mul_pow2(s.splat(3.0), s.splat(-4.0)), &|_, _| 3.0 / 16.0);
        let permuted = s.permute_halves(a, &[3, 3, 0, 5, 0, 1, 2, 2]);
        assert_eq!(s.to_array(permuted), [A[3], A[3], A[0], A[1], A[4], A[5], A[6], A[6]]);
        assert_eq!(s.sum(s.from_slice(&[1.0, 2.0, 3.0])), 6.0);
        let mut out = [9.0; 3];
        s.write(&mut out[..2], b);
        assert_eq!(out, [2.0, -3.0, 9.0]);
        let nan = s.splat(f32::NAN);
        assert!(s.to_array(exp(s, nan))[0].is_nan());
    }
}

struct Functions;

impl WithSimd for Functions {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        for i in -3000..=3000i16 {
            let x = f32::from(i) * 0.01;
            let first = |v: S::V| f64::from(s.to_array(v)[0]);
            let (v, x) = (s.splat(x), f64::from(x));
            assert!((first(exp(s, v)) / x.exp() - 1.0).abs() < 4e-7, "exp {x}");
            assert!((first(sigmoid(s, v)) * (1.0 + (-x).exp()) - 1.0).abs() < 6e-7, "sigmoid {x}");
            assert!((first(tanh(s, v)) - x.tanh()).abs() < 3e-7 * x.tanh().abs().max(1e-3), "tanh {x}");
            let m1 = first(exp_m1(s, v));
            assert!((m1 - x.exp_m1()).abs() <= 6e-7 * x.exp_m1().abs(), "exp_m1 {x}");
            let softplus = if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() };
            assert!((first(ln_1p_exp(s, v)) / softplus - 1.0).abs() < 6e-7, "ln_1p_exp {x}");
            assert!((first(erf(s, v)) - reference_erf(x)).abs() < 5e-7, "erf {x}");
        }
    }
}

/// Maclaurin series near zero; beyond 3.5 the function is one within 1e-6.
fn reference_erf(x: f64) -> f64 {
    if x.abs() > 3.5 {
        return x.signum() * (1.0 - (-x * x).exp() / (x.abs() * std::f64::consts::PI.sqrt()));
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..120 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

#[test]
fn operations_agree_with_plain_arithmetic() {
    Isa::available().into_iter().for_each(|isa| isa.dispatch(Lanes));
}

#[test]
fn functions_are_as_exact_as_documented() {
    Isa::available().into_iter().for_each(|isa| isa.dispatch(Functions));
}
