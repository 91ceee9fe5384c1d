//! One pass over slices of one length, vector by vector: the frame in which activations, sums, normalization and optimizer steps run.

use std::ops::Range;

use crate::cpu::{Cpu, Isa, WithSimd};
use crate::simd::{LANES, Simd};
use crate::threads::SharedMut;

/// Elements of one job: large against the cost of claiming a job, small against a cache.
pub(crate) const CHUNK: usize = 16 * 1024;

/// Vectors whose terms are added in `f32` before a sum goes on in `f64`.
const GROUP: usize = 128;

/// Independent accumulators of a sum: they hide the latency of an addition.
const ACCUMULATORS: usize = 4;

/// What happens in one lane: `IN` inputs are read, `OUT` values are read and replaced.
pub(crate) trait Lanewise<const IN: usize, const OUT: usize>: Copy + Sync {
    /// The new values. Implementations are `#[inline(always)]`.
    fn step<S: Simd>(&self, s: S, inputs: [S::V; IN], values: [S::V; OUT]) -> [S::V; OUT];
}

/// The plain sum, for [`fold`].
#[derive(Clone, Copy)]
pub(crate) struct Sum;

impl Lanewise<1, 1> for Sum {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [x]: [S::V; 1], [sum]: [S::V; 1]) -> [S::V; 1] {
        [s.add(sum, x)]
    }
}

/// Applies `step` to whole slices on all threads, [`CHUNK`] elements a job. An input that is `None` is the first output.
pub(crate) fn map<const IN: usize, const OUT: usize>(
    cpu: &Cpu,
    step: impl Lanewise<IN, OUT>,
    inputs: [Option<&[f32]>; IN],
    outputs: [&mut [f32]; OUT],
) {
    let len = outputs.first().map_or(0, |o| o.len());
    assert_lengths(len, &inputs, outputs.each_ref().map(|o| o.len()));
    let outputs = outputs.map(SharedMut::new);
    run_ranges(cpu, len, 1, |range| {
        // SAFETY: ranges of different jobs do not overlap.
        let outputs = outputs.map(|o| unsafe { o.slice(range.start, range.len()) });
        map_part(cpu.isa, step, inputs.map(|i| i.map(|i| &i[range.clone()])), outputs);
    });
}

/// As [`map`], on the calling thread: for a job of a kernel that cuts its work itself.
pub(crate) fn map_part<const IN: usize, const OUT: usize>(
    isa: Isa,
    step: impl Lanewise<IN, OUT>,
    inputs: [Option<&[f32]>; IN],
    outputs: [&mut [f32]; OUT],
) {
    let len = outputs.first().map_or(0, |o| o.len());
    assert_lengths(len, &inputs, outputs.each_ref().map(|o| o.len()));
    isa.dispatch(MapPart { step, inputs, outputs, len });
}

/// Feeds whole slices of one length through `step`, whose values start at zero and add up. A sum for each lane: of the elements whose index
/// leaves that remainder by eight. The order of additions depends on the length only.
pub(crate) fn fold<const IN: usize, const OUT: usize>(
    isa: Isa,
    step: impl Lanewise<IN, OUT>,
    inputs: [&[f32]; IN],
) -> [[f64; LANES]; OUT] {
    let len = inputs.first().map_or(0, |i| i.len());
    assert!(inputs.iter().all(|i| i.len() == len), "inputs of one length");
    isa.dispatch(Fold { step, inputs, len })
}

/// Runs `f` on ranges that cover `0..items`, so many items at once that a job has about [`CHUNK`] elements of `cost` per item.
pub(crate) fn run_ranges(cpu: &Cpu, items: usize, cost: usize, f: impl Fn(Range<usize>) + Sync) {
    let each = (CHUNK / cost.max(1)).max(1);
    cpu.threads.run(items.div_ceil(each), |job, _| f(job * each..items.min((job + 1) * each)));
}

fn assert_lengths<const OUT: usize>(len: usize, inputs: &[Option<&[f32]>], outputs: [usize; OUT]) {
    assert!(inputs.iter().flatten().all(|i| i.len() == len), "inputs as long as the output, {len}");
    assert!(outputs.iter().all(|&o| o == len), "outputs of one length, {len}");
}

struct MapPart<'a, M, const IN: usize, const OUT: usize> {
    step: M,
    inputs: [Option<&'a [f32]>; IN],
    outputs: [&'a mut [f32]; OUT],
    /// Of every slice.
    len: usize,
}

impl<M: Lanewise<IN, OUT>, const IN: usize, const OUT: usize> WithSimd for MapPart<'_, M, IN, OUT> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { step, inputs, outputs, len } = self;
        let (inputs, outputs) = places(inputs, outputs);
        let whole = len - len % LANES;
        let mut at = 0;
        while at < whole {
            // SAFETY: `at + LANES <= len`, the length of every slice; an input is either an output or a slice apart from all outputs, and the
            // loads come before the stores.
            unsafe {
                let values = step.step(s, load(s, inputs, at), load(s, outputs, at));
                for i in 0..OUT {
                    s.store(outputs[i].cast_mut().add(at), values[i]);
                }
            }
            at += LANES;
        }
        if whole < len {
            let rest = len - whole;
            // SAFETY: `whole + rest == len`, and as above.
            unsafe {
                let values =
                    step.step(s, load_first(s, inputs, whole, rest), load_first(s, outputs, whole, rest));
                for i in 0..OUT {
                    let lanes = s.to_array(values[i]);
                    outputs[i].cast_mut().add(whole).copy_from_nonoverlapping(lanes.as_ptr(), rest);
                }
            }
        }
    }
}

struct Fold<'a, M, const IN: usize, const OUT: usize> {
    step: M,
    inputs: [&'a [f32]; IN],
    /// Of every slice.
    len: usize,
}

impl<M: Lanewise<IN, OUT>, const IN: usize, const OUT: usize> WithSimd for Fold<'_, M, IN, OUT> {
    type Output = [[f64; LANES]; OUT];

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> Self::Output {
        let Self { step, inputs, len } = self;
        let inputs = inputs.map(<[f32]>::as_ptr);
        let mut sums = [[0.0; LANES]; OUT];
        let whole = len - len % LANES;
        let mut at = 0;
        while at < whole {
            let end = whole.min(at + GROUP * LANES);
            let mut partial = [[s.splat(0.0); OUT]; ACCUMULATORS];
            while at + ACCUMULATORS * LANES <= end {
                for values in &mut partial {
                    // SAFETY: `at + LANES <= len`, the length of every slice.
                    *values = step.step(s, unsafe { load(s, inputs, at) }, *values);
                    at += LANES;
                }
            }
            while at < end {
                // SAFETY: as above.
                partial[0] = step.step(s, unsafe { load(s, inputs, at) }, partial[0]);
                at += LANES;
            }
            for values in partial {
                add_lanes(&mut sums, values.map(|v| s.to_array(v)), LANES);
            }
        }
        if whole < len {
            let rest = len - whole;
            // SAFETY: `whole + rest == len`.
            let read = unsafe { load_first(s, inputs, whole, rest) };
            let values = step.step(s, read, [s.splat(0.0); OUT]);
            add_lanes(&mut sums, values.map(|v| s.to_array(v)), rest);
        }
        sums
    }
}

#[inline(always)]
fn add_lanes<const OUT: usize>(sums: &mut [[f64; LANES]; OUT], terms: [[f32; LANES]; OUT], lanes: usize) {
    for (sum, term) in sums.iter_mut().zip(&terms) {
        for (sum, &term) in sum.iter_mut().zip(&term[..lanes]) {
            *sum += f64::from(term);
        }
    }
}

// Closures of these are compiled once for each instruction set, not once more for each function.

/// Where slices start; an input that is none is the first output.
#[inline(always)]
fn places<const IN: usize, const OUT: usize>(
    inputs: [Option<&[f32]>; IN],
    outputs: [&mut [f32]; OUT],
) -> ([*const f32; IN], [*const f32; OUT]) {
    let outputs = outputs.map(|o| o.as_mut_ptr().cast_const());
    (inputs.map(|i| i.map_or(outputs[0], <[f32]>::as_ptr)), outputs)
}

/// The vectors `at` floats behind `places`.
///
/// # Safety
/// There are eight readable floats.
#[inline(always)]
unsafe fn load<S: Simd, const N: usize>(s: S, places: [*const f32; N], at: usize) -> [S::V; N] {
    // SAFETY: the caller's promise.
    places.map(|p| unsafe { s.load(p.add(at)) })
}

/// The first `count` lanes, at most eight, of the vectors `at` floats behind `places`, the others zero.
///
/// # Safety
/// There are so many readable floats.
#[inline(always)]
unsafe fn load_first<S: Simd, const N: usize>(
    s: S,
    places: [*const f32; N],
    at: usize,
    count: usize,
) -> [S::V; N] {
    // SAFETY: the caller's promise.
    places.map(|p| s.from_slice(unsafe { std::slice::from_raw_parts(p.add(at), count) }))
}
