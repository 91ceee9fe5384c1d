//! Pooling and its gradients. What works on windows of all channels alike runs on blocked activations: this file walks the windows, and a
//! `Kernel` says what happens in one. Spare lanes of every result are zero. The poolings whose cells differ from channel to channel
//! (`k_max`, `fractional`, `unpool`) run on plain ones.
//!
//! A window that lies in the padding altogether (only possible where the padding is as large as the window) has maximum minus infinity,
//! minimum infinity and every sum or average zero, and passes no gradient.

use std::ops::Range;

use crate::cpu::{Cpu, WithSimd};
use crate::elementwise::run_ranges;
use crate::geometry::PoolGeometry;
use crate::layout::BLOCK;
use crate::planes::Planes;
use crate::simd::Simd;
use crate::threads::SharedMut;

/// Cells whose terms are added before a sum goes on with another such part: rounding errors grow with the parts, not with the cells.
const PART: usize = 64;

/// Runs the body with each cell of a window, in its order, counted over all planes. The cells lie in the input: [`PoolGeometry::taps`] gives no
/// others. A macro, because the compiler does not inline a closure that two kernels share, and its vectors would go through memory.
macro_rules! each {
    ($cells:expr, |$cell:ident| $body:expr) => {{
        let Cells { g, start, spans: [depth, height, width] } = $cells;
        let ([_, in_h, in_w], [step_d, step_h, step_w]) = (g.input, g.window.dilation);
        for d in 0..depth.count {
            let plane = (depth.first + d * step_d) * in_h + height.first;
            for h in 0..height.count {
                let row = start + (plane + h * step_h) * in_w + width.first;
                for w in 0..width.count {
                    let $cell = row + w * step_w;
                    $body;
                }
            }
        }
    }};
}

/// The sum of a term over the cells of a window.
macro_rules! sum {
    ($s:expr, $cells:expr, |$cell:ident| $term:expr) => {{
        let (mut total, mut part, mut count) = ($s.splat(0.0), $s.splat(0.0), 0);
        each!($cells, |$cell| {
            part = $s.add(part, $term);
            count += 1;
            if count % $crate::pool::PART == 0 {
                (total, part) = ($s.add(total, part), $s.splat(0.0));
            }
        });
        $s.add(total, part)
    }};
}

mod average;
mod fractional;
mod k_max;
mod lp;
mod max;
mod stochastic;
mod unpool;

pub use average::{
    Divisor, average_backward, average_forward, global_average_backward, global_average_forward,
};
pub use fractional::{fractional_backward, fractional_forward};
pub use k_max::{k_max_backward, k_max_forward};
pub use lp::{lp_backward, lp_forward};
pub use max::{IndexOrder, max_backward, max_forward, max_forward_with_indices, min_backward, min_forward};
pub use stochastic::{
    stochastic_backward, stochastic_forward, stochastic_mean_backward, stochastic_mean_forward,
};
pub use unpool::{unpool_backward, unpool_forward};

fn planes(g: &PoolGeometry, spatial: [usize; 3]) -> Planes {
    Planes { batch: g.batch, channels: g.channels, pixels: spatial.iter().product() }
}

/// Fails unless `x` is as long as the blocked input and `y` as the blocked output.
fn assert_lengths(g: &PoolGeometry, x: &[f32], y: &[f32]) {
    assert_eq!((x.len(), y.len()), (planes(g, g.input).elements(), planes(g, g.output).elements()));
}

/// Runs `kernel` on all windows, rows of windows on all threads.
fn forward(cpu: &Cpu, g: &PoolGeometry, kernel: impl Kernel) {
    let rows = planes(g, g.output).count() * g.output[0] * g.output[1];
    run_ranges(cpu, rows, row_cost(g), |rows| cpu.isa.dispatch(Windows { g, rows, kernel }));
}

/// Runs `kernel` on all windows, planes on all threads: windows may overlap in `dx`, which is zeroed first.
fn backward(cpu: &Cpu, g: &PoolGeometry, dx: SharedMut<'_>, kernel: impl Kernel) {
    let (input, rows) = (planes(g, g.input), g.output[0] * g.output[1]);
    run_ranges(cpu, input.count(), row_cost(g).saturating_mul(rows), |range| {
        let plane = input.pixels * BLOCK;
        // SAFETY: planes do not overlap, and the kernel does not run yet.
        unsafe { dx.slice(range.start * plane, range.len() * plane) }.fill(0.0);
        cpu.isa.dispatch(Windows { g, rows: range.start * rows..range.end * rows, kernel });
    });
}

/// Elements read for one row of windows.
fn row_cost(g: &PoolGeometry) -> usize {
    g.window.kernel.iter().fold(g.output[2] * BLOCK, |cost, &k| cost.saturating_mul(k))
}

/// What happens in one window.
trait Kernel: Copy + Sync {
    /// Window `out`, counted over all planes; lanes where `real` is zero are spare.
    fn window<S: Simd>(&self, s: S, real: S::V, out: usize, cells: Cells<'_>);
}

/// Rows of windows, counted over all planes.
struct Windows<'a, K> {
    g: &'a PoolGeometry,
    rows: Range<usize>,
    kernel: K,
}

/// Columns of windows whose cells are worked out at once, for all rows of a job.
const COLUMNS: usize = 64;

impl<K: Kernel> WithSimd for Windows<'_, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { g, rows, kernel } = self;
        let ([out_d, out_h, out_w], input) = (g.output, planes(g, g.input));
        // The padded input as an input without padding: its cells are those that `count_include_pad` counts.
        let mut padded = *g;
        padded.input = std::array::from_fn(|a| g.input[a] + g.window.padding[a].0 + g.window.padding[a].1);
        padded.window.padding = [(0, 0); 3];
        let span = |axis, o| {
            let (taps, first) = g.taps(axis, o);
            Span { first, count: taps.len(), padded: padded.taps(axis, o).0.len() }
        };
        let mut columns = [Span::default(); COLUMNS];
        for first in (0..out_w).step_by(COLUMNS) {
            let columns = &mut columns[..COLUMNS.min(out_w - first)];
            for (o, column) in (first..).zip(&mut *columns) {
                *column = span(2, o);
            }
            for row in rows.clone() {
                let (plane, d, h) = (row / out_h / out_d, row / out_h % out_d, row % out_h);
                let real = s.from_slice(&[1.0; BLOCK][..input.channels_of(plane % input.blocks()).len()]);
                let (depth, height, start) = (span(0, d), span(1, h), plane * input.pixels);
                for (o, &width) in (first..).zip(&*columns) {
                    let cells = Cells { g, start, spans: [depth, height, width] };
                    kernel.window(s, real, row * out_w + o, cells);
                }
            }
        }
    }
}

/// The cells of a window along one axis: `count` in the input, from `first` on, and `padded` in the input and its padding.
#[derive(Clone, Copy, Default)]
struct Span {
    first: usize,
    count: usize,
    padded: usize,
}

/// The cells of one window that lie in the input; the plane starts at cell `start`.
#[derive(Clone, Copy)]
struct Cells<'a> {
    g: &'a PoolGeometry,
    start: usize,
    spans: [Span; 3],
}

impl Cells<'_> {
    /// The first cell, if any lies in the input.
    #[inline(always)]
    fn first(self) -> Option<usize> {
        let [depth, height, width] = self.spans;
        let [_, in_h, in_w] = self.g.input;
        let first = self.start + (depth.first * in_h + height.first) * in_w + width.first;
        (depth.count * height.count * width.count > 0).then_some(first)
    }
}

/// `*p += v`.
///
/// # Safety
/// `p` points to eight floats that no other thread uses.
#[inline(always)]
unsafe fn add<S: Simd>(s: S, p: *mut f32, v: S::V) {
    // SAFETY: the caller's promise.
    unsafe { s.store(p, s.add(s.load(p), v)) };
}
