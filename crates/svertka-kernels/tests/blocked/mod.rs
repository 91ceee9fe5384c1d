//! Generated activations in the blocked layout, and the machines on which a kernel must give one answer.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::LazyLock;

use svertka_kernels::planes::Planes;
use svertka_kernels::{Cpu, Isa};

/// Sizes for channel-wise kernels: blocks full and not, no image, one pixel, and enough for several jobs.
pub(crate) const SIZES: [Planes; 9] = [
    planes(0, 3, 4),
    planes(1, 1, 1),
    planes(2, 3, 1),
    planes(3, 7, 5),
    planes(1, 8, 6),
    planes(2, 9, 35),
    planes(3, 17, 2),
    planes(2, 17, 1333),
    planes(3, 9, 701),
];

pub(crate) const fn planes(batch: usize, channels: usize, pixels: usize) -> Planes {
    Planes { batch, channels, pixels }
}

/// Runs `kernel` on every instruction set with one to four threads, and `check` on its result, whose bits must not depend on the threads.
pub(crate) fn on_every_machine(kernel: impl Fn(&Cpu) -> Vec<f32>, check: impl Fn(&[f32])) {
    static CPUS: LazyLock<Vec<Vec<Cpu>>> = LazyLock::new(|| {
        let cpus = |isa| (1..=4).map(|threads| Cpu::with_isa(isa, threads)).collect();
        Isa::available().into_iter().map(cpus).collect()
    });
    for cpus in &*CPUS {
        let bits = |cpu| kernel(cpu).iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let first = bits(&cpus[0]);
        for cpu in &cpus[1..] {
            assert!(bits(cpu) == first, "{} threads give other bits on {:?}", cpu.threads.count(), cpu.isa);
        }
        check(&first.into_iter().map(f32::from_bits).collect::<Vec<_>>());
    }
}

/// `len` numbers between -2 and 2, by a linear congruential generator.
pub(crate) fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1 << 22) as f32) - 2.0
        })
        .collect()
}

/// Where channel `c` of pixel `p` of image `n` stands: the layout written out once more, for the tests.
pub(crate) fn index(size: Planes, n: usize, c: usize, p: usize) -> usize {
    let blocks = size.channels.div_ceil(8);
    ((n * blocks + c / 8) * size.pixels + p) * 8 + c % 8
}

/// A blocked activation of [`numbers`], with `spare` in the spare lanes.
pub(crate) fn activation(size: Planes, seed: u64, spare: f32) -> Vec<f32> {
    block(size, &numbers(size.batch * size.channels * size.pixels, seed), spare)
}

pub(crate) fn block(size: Planes, plain: &[f32], spare: f32) -> Vec<f32> {
    let mut blocked = vec![spare; size.batch * size.channels.div_ceil(8) * 8 * size.pixels];
    each(size, |n, c, p, i| blocked[index(size, n, c, p)] = plain[i]);
    blocked
}

/// Back to plain, in `f64`.
pub(crate) fn plain(size: Planes, blocked: &[f32]) -> Vec<f64> {
    let mut plain = vec![0.0; size.batch * size.channels * size.pixels];
    each(size, |n, c, p, i| plain[i] = f64::from(blocked[index(size, n, c, p)]));
    plain
}

/// Image, channel, pixel and plain index of every element.
pub(crate) fn each(size: Planes, mut f: impl FnMut(usize, usize, usize, usize)) {
    for n in 0..size.batch {
        for c in 0..size.channels {
            (0..size.pixels).for_each(|p| f(n, c, p, (n * size.channels + c) * size.pixels + p));
        }
    }
}

/// Compares the real channels with `expected`, and requires that spare lanes are zero.
pub(crate) fn assert_blocked(size: Planes, got: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_close(&plain(size, got), expected, tolerance, &format!("{what} of {size:?}"));
    let real = block(size, &vec![0.0; expected.len()], 1.0);
    let spare = got.iter().zip(&real).filter(|(_, spare)| **spare == 1.0);
    assert!(spare.into_iter().all(|(x, _)| *x == 0.0), "{what}: spare lanes of {size:?} are zero");
}

/// Equal within `tolerance`, relative to the expected value or one.
pub(crate) fn assert_close(got: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let close = got == expected
            || (got.is_nan() && expected.is_nan())
            || (got - expected).abs() <= tolerance * expected.abs().max(1.0);
        assert!(close, "{what}: element {i}: {got}, expected {expected}");
    }
}

pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}
