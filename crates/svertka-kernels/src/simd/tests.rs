//! Each operation of each instruction set, lane by lane, against plain arithmetic.

use super::*;
use crate::cpu::{Isa, WithSimd};

const A: [f32; 8] = [1.5, -2.0, 0.0, 7.25, -0.5, 3.0, 1e10, -1e-10];
const B: [f32; 8] = [2.0, -3.0, 1.0, 0.25, 0.5, -3.0, 1e-3, 5.0];

struct Operations;

impl WithSimd for Operations {
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
        // 2^23 + 127 + 3 ends in the biased exponent of 8.
        check(s.exponent_from_low_bits(s.splat(8_388_608.0 + 127.0 + 3.0)), &|_, _| 8.0);
        let square = std::array::from_fn(|i| s.from_slice(&A.map(|x| x + 16.0 * i as f32)));
        for (i, row) in s.transpose(square).into_iter().enumerate() {
            assert_eq!(s.to_array(row), std::array::from_fn(|j| A[i] + 16.0 * j as f32));
        }
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

/// What every fused instruction set is to the bit: correctly rounded operations, lane by lane.
#[derive(Clone, Copy)]
struct Exact;

macro_rules! as_portable {
    ($($name:ident($($arg:ident),+);)*) => {$(
        fn $name(self, $($arg: Self::V),+) -> Self::V {
            Portable.$name($($arg),+)
        }
    )*};
}

// SAFETY: no special instruction is used.
unsafe impl Lanes for Exact {
    type V = [f32; LANES];

    as_portable! {
        add(a, b);
        sub(a, b);
        mul(a, b);
        div(a, b);
        max(a, b);
        min(a, b);
        sqrt(a);
        if_gt(a, b, yes, no);
        exponent_from_low_bits(a);
    }

    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }

    unsafe fn load(self, p: *const f32) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { Portable.load(p) }
    }

    unsafe fn store(self, p: *mut f32, v: Self::V) {
        // SAFETY: the caller's promise.
        unsafe { Portable.store(p, v) }
    }

    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
}

impl Simd for Exact {
    type Panel = [Self::V; 2];
    type Wide = Self;

    fn apart<W: WithSimd>(self, work: W) -> W::Output {
        work.with_simd(self)
    }
}

/// The results of operations and functions, as bits.
struct Bits;

impl WithSimd for Bits {
    type Output = Vec<u32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> Vec<u32> {
        let (mut bits, mut wide) = (vec![], vec![]);
        let mut take = |v: S::V| bits.extend(s.to_array(v).map(f32::to_bits));
        let numbers: [f32; 8] = [0.0, -0.0, 1e-40, -0.1, 2.5, -3.5, f32::INFINITY, f32::NEG_INFINITY];
        for shift in 0..LANES {
            let (a, mut b) = (s.from_slice(&numbers), numbers);
            b.rotate_left(shift);
            let b = s.from_slice(&b);
            [s.max(a, b), s.min(a, b), s.if_gt(a, b, a, b), s.exponent_from_low_bits(a)]
                .into_iter()
                .for_each(&mut take);
        }
        let nan = s.splat(f32::NAN);
        [s.max(nan, s.splat(1.0)), s.min(nan, s.splat(1.0))].into_iter().for_each(&mut take);
        for i in -900..=900i16 {
            let x = f32::from(i) * 0.103;
            let v = s.from_slice(&A.map(|a| x + a.clamp(-1.0, 1.0)));
            let w = s.from_slice(&B.map(|b| x * b));
            [exp(s, v), exp_m1(s, v), ln_1p_exp(s, v), sigmoid(s, v), tanh(s, v), erf(s, v)]
                .into_iter()
                .for_each(&mut take);
            [s.fma(v, w, s.splat(0.3)), s.div(v, w), s.sqrt(s.mul(v, v)), s.sub(v, w)]
                .into_iter()
                .for_each(&mut take);
            let mut panel = [s.splat(0.0); 2];
            S::Panel::join(s, &[v, w]).fma(s, x + 0.7, S::Panel::join(s, &[w, v])).split(s, &mut panel);
            panel.into_iter().for_each(&mut take);
            let mut pair = [s.splat(0.0); 4];
            let [left, right] = [[v, w, w, v], [w, v, v, v]].map(|row| Pair::<S::Panel>::join(s, &row));
            left.fma(s, x + 0.7, right).split(s, &mut pair);
            pair.into_iter().for_each(&mut take);
            let mut cells = [[0.5; LANES], s.to_array(w), [f32::NAN; LANES], [7.0; LANES]];
            let start = cells.as_mut_ptr().cast::<f32>();
            // SAFETY: there are four times eight floats.
            unsafe {
                let sums = left.add(s, start, LANES, 3).clamp(s, -1.0, x.abs());
                sums.store(s, start.add(LANES), LANES, 3);
            }
            cells.iter().for_each(|cell| take(s.from_slice(cell)));
            wide_bits(S::Wide::from(s), [s.to_array(v), s.to_array(w)], &mut wide);
        }
        bits.extend(wide);
        bits
    }
}

/// The results of operations and functions on two vectors of eight, in vectors of whatever width.
#[inline(always)]
fn wide_bits<L: Lanes>(l: L, [a, b]: [[f32; LANES]; 2], bits: &mut Vec<u32>) {
    let (a, b) = ([a, b].concat(), [b, a].concat());
    let mut out = [[0.0; 2 * LANES]; 18];
    for at in (0..2 * LANES).step_by(L::WIDTH) {
        // SAFETY: all have sixteen floats, and the width divides that.
        unsafe {
            let (a, b) = (l.load(a[at..].as_ptr()), l.load(b[at..].as_ptr()));
            let functions = [exp(l, a), exp_m1(l, a), ln_1p_exp(l, a), sigmoid(l, a), tanh(l, a), erf(l, a)];
            let products = [l.mul(a, b), l.div(a, b), l.fma(a, b, l.splat(0.3)), l.sqrt(l.mul(a, a))];
            let sums = [l.add(a, b), l.sub(a, b), l.max(a, b), l.min(a, b)];
            let nan = l.splat(f32::NAN);
            let chosen = [l.if_gt(a, b, a, b), l.max(a, nan), l.min(nan, a), l.exponent_from_low_bits(a)];
            let results = functions.into_iter().chain(products).chain(sums).chain(chosen);
            out.iter_mut().zip(results).for_each(|(out, v)| l.store(out[at..].as_mut_ptr(), v));
        }
    }
    bits.extend(out.as_flattened().iter().map(|x| x.to_bits()));
}

/// Vectors as cells of eight floats.
struct Cells;

impl WithSimd for Cells {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        cells(s);
        cells(S::Wide::from(s));
    }
}

#[inline(always)]
fn cells<L: Lanes>(l: L) {
    let width = L::WIDTH / LANES;
    let numbers: [[f32; LANES]; 4] = std::array::from_fn(|i| A.map(|a| a + i as f32));
    let from = |cell: usize| numbers[cell..].as_ptr().cast::<f32>();
    let split = |v: L::V| {
        let mut out = [[f32::NAN; LANES]; 2];
        // SAFETY: there is place for two cells, and no vector has more.
        unsafe { l.store(out.as_mut_ptr().cast(), v) };
        out[..width].to_vec()
    };
    // SAFETY: there are four cells, and no vector has more than two.
    unsafe {
        assert_eq!(split(l.repeat(from(1))), vec![numbers[1]; width]);
        let (a, b) = (l.load(from(0)), l.load(from(width)));
        assert_eq!(split(l.after_first_cell(a, b)), numbers[1..][..width]);
        let lanes = [3, 0, 1, 5, 2, 2, 0, 7];
        let permuted = |cell: &[f32; LANES]| std::array::from_fn(|i| cell[i / 4 * 4 + lanes[i] as usize % 4]);
        let expected: Vec<[f32; LANES]> = numbers[..width].iter().map(permuted).collect();
        assert_eq!(split(l.permute_halves(a, &lanes)), expected);
        for mask in 0..1 << width {
            let bits =
                (0..width).filter(|cell| mask >> cell & 1 != 0).fold(0, |bits, cell| bits | 15 << (4 * cell));
            let expected = |cell| if mask >> cell & 1 != 0 { numbers[1 + cell] } else { [0.0; LANES] };
            assert_eq!(split(l.load_cells(from(1), bits)), (0..width).map(expected).collect::<Vec<_>>());
        }
        assert_eq!(split(l.load_cells(std::ptr::null(), 0)), vec![[0.0; LANES]; width]);
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
    for isa in Isa::available() {
        isa.dispatch(Operations);
        isa.dispatch(Cells);
    }
}

#[test]
fn fused_instruction_sets_give_the_same_bits() {
    let exact = Bits.with_simd(Exact);
    for isa in Isa::available().into_iter().filter(|isa| *isa != Isa::Portable) {
        assert!(isa.dispatch(Bits) == exact, "{isa:?}");
    }
}

#[test]
fn functions_are_as_exact_as_documented() {
    Isa::available().into_iter().for_each(|isa| isa.dispatch(Functions));
}
