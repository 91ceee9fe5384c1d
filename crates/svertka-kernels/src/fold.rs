//! Windows as columns (`im2col`, PyTorch `unfold`) and back (`col2im`, PyTorch `fold`, ONNX `Col2Im`), of plain activations.
//!
//! Columns are `batch x channels * taps x windows`: row `c * taps + t` holds what tap `t` reads in channel `c`, window by window.

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::geometry::PoolGeometry;
use crate::threads::SharedMut;

/// Elements of the columns.
fn columns(g: &PoolGeometry) -> usize {
    g.batch * g.channels * g.taps_of_window() * g.output.iter().product::<usize>()
}

fn pixels(g: &PoolGeometry) -> usize {
    g.input.iter().product()
}

/// Writes what each tap of each window reads; zero in the padding.
///
/// # Panics
/// Where `x` has not the length of the activation, or `y` that of the columns.
pub fn unfold(cpu: &Cpu, g: &PoolGeometry, x: &[f32], y: &mut [f32]) {
    assert!(x.len() == g.batch * g.channels * pixels(g) && y.len() == columns(g));
    let (taps, windows) = (g.taps_of_window(), g.output.iter().product::<usize>());
    let y = SharedMut::new(y);
    run_ranges(cpu, g.batch * g.channels * taps, windows, |rows| {
        for row in rows {
            let x = &x[row / taps * pixels(g)..][..pixels(g)];
            // SAFETY: rows do not overlap.
            let y = unsafe { y.slice(row * windows, windows) };
            y.fill(0.0);
            lines(g, row % taps, |cell, window, count| {
                let x = x[cell..].iter().step_by(g.window.stride[2]);
                y[window..][..count].iter_mut().zip(x).for_each(|(y, x)| *y = *x);
            });
        }
    });
}

/// Adds up, for each cell, what the taps that read it hold: the transpose of [`unfold`], and its gradient.
///
/// # Panics
/// Where `x` has not the length of the columns, or `y` that of the activation.
pub fn fold(cpu: &Cpu, g: &PoolGeometry, x: &[f32], y: &mut [f32]) {
    assert!(x.len() == columns(g) && y.len() == g.batch * g.channels * pixels(g));
    let (taps, windows) = (g.taps_of_window(), g.output.iter().product::<usize>());
    let y = SharedMut::new(y);
    run_ranges(cpu, g.batch * g.channels, taps * windows, |planes| {
        for plane in planes {
            // SAFETY: planes do not overlap.
            let y = unsafe { y.slice(plane * pixels(g), pixels(g)) };
            y.fill(0.0);
            for tap in 0..taps {
                let x = &x[(plane * taps + tap) * windows..][..windows];
                lines(g, tap, |cell, window, count| {
                    let y = y[cell..].iter_mut().step_by(g.window.stride[2]);
                    y.zip(&x[window..][..count]).for_each(|(y, x)| *y += *x);
                });
            }
        }
    });
}

/// Calls `f(cell, window, count)` for each line of windows whose tap `tap` reads cells of the input: `count` windows from `window` on read
/// the cells from `cell` on, a stride apart.
fn lines(g: &PoolGeometry, tap: usize, mut f: impl FnMut(usize, usize, usize)) {
    let [_, kernel_h, kernel_w] = g.window.kernel;
    let tap = [tap / kernel_w / kernel_h, tap / kernel_w % kernel_h, tap % kernel_w];
    let [depth, height, width] = [0, 1, 2].map(|axis| g.windows_at(axis, tap[axis]));
    if width.0.is_empty() {
        return;
    }
    for (d, cell_d) in depth.0.zip((depth.1..).step_by(g.window.stride[0])) {
        for (h, cell_h) in height.0.clone().zip((height.1..).step_by(g.window.stride[1])) {
            let cell = (cell_d * g.input[1] + cell_h) * g.input[2] + width.1;
            f(cell, (d * g.output[1] + h) * g.output[2] + width.0.start, width.0.len());
        }
    }
}
