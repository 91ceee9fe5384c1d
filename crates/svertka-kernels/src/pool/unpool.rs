//! Max unpooling of plain activations: values back to the cells they were the maxima of.

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::geometry_pool::UnpoolGeometry;
use crate::threads::SharedMut;

/// Writes each value of `x` to the cell of `y` that its index means (see [`UnpoolGeometry::cell`]), zero to all others. Of several values with
/// one index the last stays; an index without a cell is left out.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn unpool_forward(cpu: &Cpu, g: &UnpoolGeometry, x: &[f32], indices: &[f32], y: &mut [f32]) {
    let (planes, from, to) = sizes(g);
    assert!(x.len() == planes * from && indices.len() == x.len() && y.len() == planes * to);
    let y = SharedMut::new(y);
    run_ranges(cpu, planes, from + to, |range| {
        for plane in range {
            // SAFETY: planes do not overlap.
            let y = unsafe { y.slice(plane * to, to) };
            y.fill(0.0);
            let part = plane * from..(plane + 1) * from;
            for (&value, &index) in x[part.clone()].iter().zip(&indices[part]) {
                if let Some(cell) = g.cell(plane, index) {
                    y[cell] = value;
                }
            }
        }
    });
}

/// The gradient of [`unpool_forward`], written to `dx`: each value gets that of its cell. Values that share a cell get it all, as in PyTorch.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn unpool_backward(cpu: &Cpu, g: &UnpoolGeometry, indices: &[f32], dy: &[f32], dx: &mut [f32]) {
    let (planes, from, to) = sizes(g);
    assert!(dx.len() == planes * from && indices.len() == dx.len() && dy.len() == planes * to);
    let dx = SharedMut::new(dx);
    run_ranges(cpu, planes, from, |range| {
        for plane in range {
            // SAFETY: planes do not overlap.
            let dx = unsafe { dx.slice(plane * from, from) };
            let dy = &dy[plane * to..(plane + 1) * to];
            for (dx, &index) in dx.iter_mut().zip(&indices[plane * from..]) {
                *dx = g.cell(plane, index).map_or(0.0, |cell| dy[cell]);
            }
        }
    });
}

/// Planes, and the cells of one before and after.
fn sizes(g: &UnpoolGeometry) -> (usize, usize, usize) {
    (g.batch * g.channels, g.input.iter().product(), g.output.iter().product())
}
