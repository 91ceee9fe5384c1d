//! Fractional max pooling of plain activations: windows at pseudo-random distances, other ones for each image and channel.

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::geometry_pool::FractionalGeometry;
use crate::threads::SharedMut;

/// The maximum of each window; not-a-number counts as the maximum. `samples` has for each image and channel three numbers from 0 to 1, which
/// decide where the windows stand along depth, height and width.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn fractional_forward(cpu: &Cpu, g: &FractionalGeometry, samples: &[f32], x: &[f32], y: &mut [f32]) {
    let (planes, from, to) = sizes(g);
    assert!(x.len() == planes * from && y.len() == planes * to && samples.len() == planes * 3);
    let y = SharedMut::new(y);
    run_ranges(cpu, planes, cost(g), |range| {
        for plane in range {
            // SAFETY: planes do not overlap.
            let y = unsafe { y.slice(plane * to, to) };
            let x = &x[plane * from..][..from];
            maxima(g, &samples[plane * 3..], x, |out, cell| y[out] = x[cell]);
        }
    });
}

/// The gradient of [`fractional_forward`] with the same samples, written to `dx`: each window gives to its first maximum.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn fractional_backward(
    cpu: &Cpu,
    g: &FractionalGeometry,
    samples: &[f32],
    x: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) {
    let (planes, from, to) = sizes(g);
    assert!(x.len() == planes * from && dy.len() == planes * to && samples.len() == planes * 3);
    assert_eq!(dx.len(), x.len());
    let dx = SharedMut::new(dx);
    run_ranges(cpu, planes, cost(g), |range| {
        for plane in range {
            // SAFETY: planes do not overlap.
            let dx = unsafe { dx.slice(plane * from, from) };
            dx.fill(0.0);
            let dy = &dy[plane * to..][..to];
            maxima(g, &samples[plane * 3..], &x[plane * from..][..from], |out, cell| dx[cell] += dy[out]);
        }
    });
}

/// Planes, and the cells of one before and after.
fn sizes(g: &FractionalGeometry) -> (usize, usize, usize) {
    (g.batch * g.channels, g.input.iter().product(), g.output.iter().product())
}

/// Elements read for one plane.
fn cost(g: &FractionalGeometry) -> usize {
    g.output.iter().chain(&g.kernel).fold(1, |cost, &size| cost.saturating_mul(size))
}

/// Calls `f` with each window of a plane and the cell of its first maximum.
fn maxima(g: &FractionalGeometry, samples: &[f32], x: &[f32], mut f: impl FnMut(usize, usize)) {
    let ([out_d, out_h, out_w], [_, in_h, in_w]) = (g.output, g.input);
    let [kernel_d, kernel_h, kernel_w] = g.kernel;
    for d in 0..out_d {
        let depth = g.start(0, d, samples[0]);
        for h in 0..out_h {
            let height = g.start(1, h, samples[1]);
            for w in 0..out_w {
                let width = g.start(2, w, samples[2]);
                let first = (depth * in_h + height) * in_w + width;
                let (mut at, mut max) = (first, x[first]);
                for row in 0..kernel_d * kernel_h {
                    let row = first + (row / kernel_h * in_h + row % kernel_h) * in_w;
                    for (cell, &value) in (row..).zip(&x[row..row + kernel_w]) {
                        if value > max || value.is_nan() && !max.is_nan() {
                            (at, max) = (cell, value);
                        }
                    }
                }
                f((d * out_h + h) * out_w + w, at);
            }
        }
    }
}
