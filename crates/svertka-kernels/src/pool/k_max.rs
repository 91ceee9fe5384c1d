//! `k`-max pooling of plain activations: the `k` largest values of each line, in the order in which they stand.

use std::cmp::Ordering;

use crate::cpu::Cpu;
use crate::elementwise::CHUNK;
use crate::geometry_pool::KMaxGeometry;
use crate::threads::SharedMut;

/// The `k` largest values of each line in their order; of equal ones the first. Not-a-number counts as the largest. `scratch` has
/// `g.size` elements for each thread.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn k_max_forward(cpu: &Cpu, g: &KMaxGeometry, x: &[f32], y: &mut [f32], scratch: &mut [f32]) {
    assert!(x.len() == g.outer * g.size * g.inner && y.len() == g.outer * g.k * g.inner);
    let y = SharedMut::new(y);
    run(cpu, g, x, scratch, |outer, visit| {
        // SAFETY: the parts before the axis do not overlap, and each belongs to one job.
        let y = unsafe { y.slice(outer * g.k * g.inner, g.k * g.inner) };
        visit(&mut |to, _, value| y[to] = value);
    });
}

/// The gradient of [`k_max_forward`], written to `dx`: it goes to the chosen values.
///
/// # Panics
/// Where a slice has not the length of its activation.
pub fn k_max_backward(
    cpu: &Cpu,
    g: &KMaxGeometry,
    x: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    assert!(x.len() == g.outer * g.size * g.inner && dy.len() == g.outer * g.k * g.inner);
    assert_eq!(dx.len(), x.len());
    let dx = SharedMut::new(dx);
    run(cpu, g, x, scratch, |outer, visit| {
        let dy = &dy[outer * g.k * g.inner..];
        // SAFETY: the parts before the axis do not overlap, and each belongs to one job.
        let dx = unsafe { dx.slice(outer * g.size * g.inner, g.size * g.inner) };
        dx.fill(0.0);
        visit(&mut |to, from, _| dx[from] = dy[to]);
    });
}

/// Takes where a chosen value goes, where it stands, and the value; both places are counted from the beginning of the part.
type Take<'a> = dyn FnMut(usize, usize, f32) + 'a;

/// Calls `part` for each part before the axis, with a function that visits the chosen values of all its lines.
fn run(
    cpu: &Cpu,
    g: &KMaxGeometry,
    x: &[f32],
    scratch: &mut [f32],
    part: impl Fn(usize, &mut dyn FnMut(&mut Take<'_>)) + Sync,
) {
    assert!(scratch.len() >= cpu.threads.count() * g.size);
    let scratch = SharedMut::new(scratch);
    let slab = g.size * g.inner;
    let each = (CHUNK / slab.max(1)).max(1);
    cpu.threads.run(g.outer.div_ceil(each), |job, worker| {
        // SAFETY: a worker runs one job at a time.
        let line = unsafe { scratch.slice(worker * g.size, g.size) };
        for outer in job * each..g.outer.min((job + 1) * each) {
            let x = &x[outer * slab..][..slab];
            part(outer, &mut |take| (0..g.inner).for_each(|inner| choose(g, x, inner, line, take)));
        }
    });
}

/// Visits the chosen values of the line that begins at `x[inner]`.
fn choose(g: &KMaxGeometry, x: &[f32], inner: usize, line: &mut [f32], take: &mut Take<'_>) {
    let from = |position: usize| inner + position * g.inner;
    line.iter_mut().enumerate().for_each(|(position, value)| *value = x[from(position)]);
    let (larger, &mut least, _) = line.select_nth_unstable_by(g.k - 1, |a, b| order(*b, *a));
    // How many values that equal the least are among the `k` largest.
    let mut equal = g.k - larger.iter().filter(|value| order(**value, least) == Ordering::Greater).count();
    let mut number = 0;
    for position in 0..g.size {
        let value = x[from(position)];
        let taken = match order(value, least) {
            Ordering::Greater => true,
            Ordering::Equal if equal > 0 => {
                equal -= 1;
                true
            }
            _ => false,
        };
        if taken {
            take(inner + number * g.inner, from(position), value);
            number += 1;
        }
    }
}

/// The order of numbers, with not-a-number above all.
fn order(a: f32, b: f32) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}
