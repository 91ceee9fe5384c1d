//! Maximum and average pooling of blocked activations, and their gradients. Spare lanes of every result are zero.
//!
//! A window that lies in the padding altogether (only possible where the padding is as large as the window) has maximum minus infinity and
//! average zero, and passes no gradient.

use std::ops::Range;

use crate::cpu::{Cpu, WithSimd};
use crate::elementwise::{Sum, fold, run_ranges};
use crate::geometry::{PoolGeometry, Window};
use crate::layout::BLOCK;
use crate::planes::Planes;
use crate::simd::Simd;
use crate::threads::SharedMut;

/// The maximum of each window. Not-a-number counts as the maximum, as in PyTorch.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn max_forward(cpu: &Cpu, g: &PoolGeometry, x: &[f32], y: &mut [f32]) {
    assert!(x.len() == planes(g, g.input).elements() && y.len() == planes(g, g.output).elements());
    forward(cpu, g, MaxForward { x, y: SharedMut::new(y) });
}

/// The gradient of [`max_forward`], written to `dx`: each window gives to its first maximum, in the order of its cells. Infinity and
/// not-a-number count as equal here.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn max_backward(cpu: &Cpu, g: &PoolGeometry, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert!(x.len() == planes(g, g.input).elements() && dx.len() == x.len());
    assert_eq!(dy.len(), planes(g, g.output).elements());
    let dx = SharedMut::new(dx);
    backward(cpu, g, dx, MaxBackward { x, dy, dx });
}

/// The average of each window, over its cells in the input; with `count_include_pad` over those in the padding too, as zeros. Cells beyond the
/// padding, which `ceil_mode` adds, never count (PyTorch, ONNX from opset 19 on).
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn average_forward(cpu: &Cpu, g: &PoolGeometry, count_include_pad: bool, x: &[f32], y: &mut [f32]) {
    assert!(x.len() == planes(g, g.input).elements() && y.len() == planes(g, g.output).elements());
    forward(cpu, g, AverageForward { x, y: SharedMut::new(y), count_include_pad });
}

/// The gradient of [`average_forward`], written to `dx`.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn average_backward(cpu: &Cpu, g: &PoolGeometry, count_include_pad: bool, dy: &[f32], dx: &mut [f32]) {
    assert!(dx.len() == planes(g, g.input).elements() && dy.len() == planes(g, g.output).elements());
    let dx = SharedMut::new(dx);
    backward(cpu, g, dx, AverageBackward { dy, dx, count_include_pad });
}

/// The average over all pixels: `planes` to `planes.reduced()`. Of no pixels it is zero.
///
/// # Panics
/// Where a slice has not the length of its planes.
pub fn global_average_forward(cpu: &Cpu, planes: Planes, x: &[f32], y: &mut [f32]) {
    assert!(x.len() == planes.elements() && y.len() == planes.reduced().elements());
    let y = SharedMut::new(y);
    planes.run(cpu, |plane, block| {
        let [sums] = fold(cpu.isa, Sum, [&x[planes.range(plane)]]);
        // SAFETY: planes do not overlap.
        let y = unsafe { y.slice(plane * BLOCK, BLOCK) };
        y.fill(0.0);
        let real = planes.channels_of(block).len();
        y[..real].iter_mut().zip(sums).for_each(|(y, sum)| *y = (sum / planes.pixels.max(1) as f64) as f32);
    });
}

/// The gradient of [`global_average_forward`], written to `dx`.
///
/// # Panics
/// Where a slice has not the length of its planes.
pub fn global_average_backward(cpu: &Cpu, planes: Planes, dy: &[f32], dx: &mut [f32]) {
    assert!(dx.len() == planes.elements() && dy.len() == planes.reduced().elements());
    let dx = SharedMut::new(dx);
    planes.run(cpu, |plane, block| {
        let mut share = [0.0; BLOCK];
        let real = planes.channels_of(block).len();
        let dy = &dy[plane * BLOCK..][..real];
        share.iter_mut().zip(dy).for_each(|(share, dy)| *share = dy / planes.pixels as f32);
        let range = planes.range(plane);
        // SAFETY: planes do not overlap.
        unsafe { dx.slice(range.start, range.len()) }.as_chunks_mut().0.fill(share);
    });
}

/// The maximum over all pixels: `planes` to `planes.reduced()`; as [`max_forward`] with one window.
///
/// # Panics
/// Where a slice has not the length of its planes.
pub fn global_max_forward(cpu: &Cpu, planes: Planes, x: &[f32], y: &mut [f32]) {
    max_forward(cpu, &one_window(planes), x, y);
}

/// The gradient of [`global_max_forward`], written to `dx`.
///
/// # Panics
/// Where a slice has not the length of its planes.
pub fn global_max_backward(cpu: &Cpu, planes: Planes, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    max_backward(cpu, &one_window(planes), x, dy, dx);
}

fn one_window(Planes { batch, channels, pixels }: Planes) -> PoolGeometry {
    let window = Window { kernel: [1, 1, pixels], ..Window::default() };
    PoolGeometry { batch, channels, input: [1, 1, pixels], output: [1; 3], window }
}

fn planes(g: &PoolGeometry, spatial: [usize; 3]) -> Planes {
    Planes { batch: g.batch, channels: g.channels, pixels: spatial.iter().product() }
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
    /// Calls `f` with each cell in the order of the window, counted over all planes. The cells lie in the input: [`PoolGeometry::taps`] gives no
    /// others.
    #[inline(always)]
    fn each(self, mut f: impl FnMut(usize)) {
        let ([depth, height, width], [step_d, step_h, step_w]) = (self.spans, self.g.window.dilation);
        let [_, in_h, in_w] = self.g.input;
        for d in 0..depth.count {
            let plane = (depth.first + d * step_d) * in_h + height.first;
            for h in 0..height.count {
                let row = self.start + (plane + h * step_h) * in_w + width.first;
                for w in 0..width.count {
                    f(row + w * step_w);
                }
            }
        }
    }

    /// Cells that an average counts; at least one.
    fn counted(self, count_include_pad: bool) -> f32 {
        let count = |span: Span| if count_include_pad { span.padded } else { span.count };
        self.spans.into_iter().map(count).product::<usize>().max(1) as f32
    }
}

#[derive(Clone, Copy)]
struct MaxForward<'a> {
    x: &'a [f32],
    y: SharedMut<'a>,
}

impl Kernel for MaxForward<'_> {
    #[inline(always)]
    fn window<S: Simd>(&self, s: S, real: S::V, out: usize, cells: Cells<'_>) {
        let (zero, one) = (s.splat(0.0), s.splat(1.0));
        let mut max = s.splat(f32::NEG_INFINITY);
        // The maximum instruction forgets not-a-number; this sum of numbers from 0 to 1 does not.
        let mut spoiled = zero;
        cells.each(|cell| {
            // SAFETY: the cell lies in the input, whose length was asserted.
            let x = unsafe { s.load(self.x.as_ptr().add(cell * BLOCK)) };
            max = s.max(max, x);
            spoiled = s.add(spoiled, s.max(zero, s.min(one, x)));
        });
        let y = s.if_gt(real, zero, s.fma(spoiled, zero, max), zero);
        // SAFETY: each window is visited once, and the output's length was asserted.
        unsafe { s.store(self.y.as_ptr().add(out * BLOCK), y) };
    }
}

#[derive(Clone, Copy)]
struct MaxBackward<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    dx: SharedMut<'a>,
}

impl Kernel for MaxBackward<'_> {
    #[inline(always)]
    fn window<S: Simd>(&self, s: S, real: S::V, out: usize, cells: Cells<'_>) {
        let (zero, infinity) = (s.splat(0.0), s.splat(f32::INFINITY));
        // SAFETY: the cell lies in the input, whose length was asserted. The minimum turns not-a-number into infinity.
        let value = |cell: usize| s.min(unsafe { s.load(self.x.as_ptr().add(cell * BLOCK)) }, infinity);
        let mut max = s.splat(f32::NEG_INFINITY);
        cells.each(|cell| max = s.max(max, value(cell)));
        // SAFETY: the output's length was asserted.
        let dy = unsafe { s.load(self.dy.as_ptr().add(out * BLOCK)) };
        // What no cell has taken yet.
        let mut left = s.if_gt(real, zero, dy, zero);
        cells.each(|cell| {
            let x = value(cell);
            let taken = s.if_gt(max, x, zero, left);
            left = s.if_gt(max, x, left, zero);
            // SAFETY: the cell lies in the input, and its plane belongs to this job.
            unsafe { add(s, self.dx.as_ptr().add(cell * BLOCK), taken) };
        });
    }
}

#[derive(Clone, Copy)]
struct AverageForward<'a> {
    x: &'a [f32],
    y: SharedMut<'a>,
    count_include_pad: bool,
}

impl Kernel for AverageForward<'_> {
    #[inline(always)]
    fn window<S: Simd>(&self, s: S, real: S::V, out: usize, cells: Cells<'_>) {
        let mut sum = s.splat(0.0);
        // SAFETY: the cell lies in the input, whose length was asserted.
        cells.each(|cell| sum = s.add(sum, unsafe { s.load(self.x.as_ptr().add(cell * BLOCK)) }));
        let average = s.div(sum, s.splat(cells.counted(self.count_include_pad)));
        let y = s.if_gt(real, s.splat(0.0), average, s.splat(0.0));
        // SAFETY: each window is visited once, and the output's length was asserted.
        unsafe { s.store(self.y.as_ptr().add(out * BLOCK), y) };
    }
}

#[derive(Clone, Copy)]
struct AverageBackward<'a> {
    dy: &'a [f32],
    dx: SharedMut<'a>,
    count_include_pad: bool,
}

impl Kernel for AverageBackward<'_> {
    #[inline(always)]
    fn window<S: Simd>(&self, s: S, real: S::V, out: usize, cells: Cells<'_>) {
        // SAFETY: the output's length was asserted.
        let dy = unsafe { s.load(self.dy.as_ptr().add(out * BLOCK)) };
        let share = s.div(dy, s.splat(cells.counted(self.count_include_pad)));
        let share = s.if_gt(real, s.splat(0.0), share, s.splat(0.0));
        // SAFETY: the cell lies in the input, and its plane belongs to this job.
        cells.each(|cell| unsafe { add(s, self.dx.as_ptr().add(cell * BLOCK), share) });
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
