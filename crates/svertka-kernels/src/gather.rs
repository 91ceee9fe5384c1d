//! Slices of an array picked by index along an axis, and their gradient.
//!
//! An array is `outer x size x inner`; `indices` are whole numbers in `f32`, negative ones count from the end. An index outside the axis reads
//! not-a-number and passes no gradient: a kernel has nobody to tell.

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::threads::SharedMut;

/// Elements before, along and after the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Product of the sizes before the axis.
    pub outer: usize,
    /// The axis.
    pub size: usize,
    /// Product of the sizes after it.
    pub inner: usize,
}

impl Axis {
    fn len(&self) -> usize {
        self.outer * self.size * self.inner
    }

    fn resolve(&self, index: f32) -> Option<usize> {
        let index = if index < 0.0 { index + self.size as f32 } else { index };
        (index >= 0.0 && index < self.size as f32).then_some(index as usize)
    }
}

/// `y[o, i] = x[o, indices[i]]`, rows of `inner` elements.
///
/// # Panics
/// Where a slice has another length than the sizes say.
pub fn forward(cpu: &Cpu, axis: Axis, x: &[f32], indices: &[f32], y: &mut [f32]) {
    assert!(x.len() == axis.len() && y.len() == axis.outer * indices.len() * axis.inner);
    let y = SharedMut::new(y);
    run_ranges(cpu, axis.outer * indices.len(), axis.inner, |rows| {
        for row in rows {
            // SAFETY: each row belongs to one job.
            let y = unsafe { y.slice(row * axis.inner, axis.inner) };
            match axis.resolve(indices[row % indices.len()]) {
                Some(index) => {
                    let start = (row / indices.len() * axis.size + index) * axis.inner;
                    y.copy_from_slice(&x[start..][..axis.inner]);
                }
                None => y.fill(f32::NAN),
            }
        }
    });
}

/// The gradient of [`forward`] for `x`: rows that were read more than once get the sum, in the order of the indices.
///
/// # Panics
/// Where a slice has another length than the sizes say.
pub fn backward(cpu: &Cpu, axis: Axis, dy: &[f32], indices: &[f32], dx: &mut [f32]) {
    assert!(dx.len() == axis.len() && dy.len() == axis.outer * indices.len() * axis.inner);
    dx.fill(0.0);
    let (part, each) = (axis.size * axis.inner, indices.len() * axis.inner);
    let dx = SharedMut::new(dx);
    run_ranges(cpu, axis.outer, each, |range| {
        for outer in range {
            // SAFETY: each outer position belongs to one job.
            let dx = unsafe { dx.slice(outer * part, part) };
            for (i, index) in indices.iter().enumerate() {
                let Some(index) = axis.resolve(*index) else { continue };
                let dy = &dy[outer * each + i * axis.inner..][..axis.inner];
                dx[index * axis.inner..][..axis.inner].iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_and_their_gradients_come_back() {
        let (cpu, axis) = (Cpu::new(2), Axis { outer: 2, size: 3, inner: 2 });
        let x: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let indices = [2.0, -3.0, 2.0, 3.0];
        let mut y = vec![0.0; 16];
        forward(&cpu, axis, &x, &indices, &mut y);
        assert_eq!(y[..6], [4.0, 5.0, 0.0, 1.0, 4.0, 5.0]);
        assert!(y[6..8].iter().all(|y| y.is_nan()), "index 3 of 3");
        assert_eq!(y[8..14], [10.0, 11.0, 6.0, 7.0, 10.0, 11.0]);
        let dy: Vec<f32> = (1..=16).map(|i| i as f32).collect();
        let mut dx = vec![f32::NAN; 12];
        backward(&cpu, axis, &dy, &indices, &mut dx);
        assert_eq!(dx, [3.0, 4.0, 0.0, 0.0, 6.0, 8.0, 11.0, 12.0, 0.0, 0.0, 22.0, 24.0]);
    }
}
