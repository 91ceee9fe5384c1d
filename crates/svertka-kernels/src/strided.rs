//! Row-major arrays of any rank read through strides: broadcasting, transposition, slices, repetition and sums over axes in one walk.
//!
//! A [`View`] says where the element at a position of a common shape lies in an array: `offset + sum(position * stride)`. A stride of zero repeats
//! an axis, a negative one reverses it.

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::threads::SharedMut;

/// How an array is read at the positions of a shape: one stride for each axis, in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Where position zero lies.
    pub offset: usize,
    /// Step along each axis.
    pub strides: Vec<isize>,
}

impl View {
    /// A row-major array of this shape as it is.
    pub fn contiguous(shape: &[usize]) -> Self {
        let mut strides = vec![0; shape.len()];
        let mut step = 1;
        for (stride, size) in strides.iter_mut().zip(shape).rev() {
            *stride = step as isize;
            step *= size;
        }
        Self { offset: 0, strides }
    }

    /// An array of shape `from` repeated to the shape `to`: axes are aligned at the last, those of size one and those missing are repeated (NumPy's rule).
    ///
    /// # Panics
    /// Where `from` does not broadcast to `to`.
    pub fn broadcast(from: &[usize], to: &[usize]) -> Self {
        let missing = to.len().checked_sub(from.len()).expect("at most as many axes as the result");
        let inner = Self::contiguous(from).strides.into_iter().zip(from.iter().zip(&to[missing..]));
        let strides = inner.map(|(stride, (&size, &wanted))| {
            assert!(size == wanted || size == 1, "{from:?} broadcasts to {to:?}");
            if size == wanted { stride } else { 0 }
        });
        Self { offset: 0, strides: std::iter::repeat_n(0, missing).chain(strides).collect() }
    }

    /// Where the first element of row `row` lies, rows being all positions of the axes but the last.
    fn row(&self, shape: &[usize], mut row: usize) -> isize {
        let mut at = self.offset as isize;
        for axis in (0..shape.len().saturating_sub(1)).rev() {
            at += (row % shape[axis]) as isize * self.strides[axis];
            row /= shape[axis];
        }
        at
    }

    fn last_stride(&self) -> isize {
        self.strides.last().copied().unwrap_or(0)
    }

    /// Fails where a position of `shape` lies outside an array of `len` elements.
    fn check(&self, shape: &[usize], len: usize) {
        assert_eq!(self.strides.len(), shape.len(), "one stride for each axis");
        if shape.contains(&0) {
            return;
        }
        let reach = |sign: isize| {
            let axes = self.strides.iter().zip(shape).filter(|(stride, _)| stride.signum() == sign);
            axes.map(|(stride, size)| stride * (*size as isize - 1)).sum::<isize>() + self.offset as isize
        };
        assert!(reach(-1) >= 0 && (reach(1) as usize) < len, "{self:?} of {shape:?} in {len} elements");
    }
}

/// Length of the last axis (one for a scalar) and number of rows.
fn rows(shape: &[usize]) -> (usize, usize) {
    let inner = shape.last().copied().unwrap_or(1);
    (inner, shape[..shape.len().saturating_sub(1)].iter().product())
}

/// `y[p] = f(inputs at p)` for all positions `p` of `shape`; `y` is row-major.
///
/// # Panics
/// Where a view leaves its array, or `y` has not the shape's length.
///
/// ```
/// use svertka_kernels::{Cpu, strided::{View, map}};
/// // A column and a row, added.
/// let mut y = [0.0; 6];
/// let views = [View::broadcast(&[2, 1], &[2, 3]), View::broadcast(&[3], &[2, 3])];
/// map(&Cpu::new(1), &[2, 3], &views, [&[10.0, 20.0], &[1.0, 2.0, 3.0]], &mut y, |[a, b]| a + b);
/// assert_eq!(y, [11.0, 12.0, 13.0, 21.0, 22.0, 23.0]);
/// ```
pub fn map<const N: usize>(
    cpu: &Cpu,
    shape: &[usize],
    views: &[View; N],
    inputs: [&[f32]; N],
    y: &mut [f32],
    f: impl Fn([f32; N]) -> f32 + Sync,
) {
    views.iter().zip(inputs).for_each(|(view, input)| view.check(shape, input.len()));
    let (inner, count) = rows(shape);
    assert_eq!(y.len(), inner * count);
    let y = SharedMut::new(y);
    let steps = views.each_ref().map(View::last_stride);
    run_ranges(cpu, count, inner, |range| {
        for row in range {
            // SAFETY: each row belongs to one job.
            let y = unsafe { y.slice(row * inner, inner) };
            let starts = views.each_ref().map(|view| view.row(shape, row));
            if steps == [1; N] && inner > 0 {
                let rows: [&[f32]; N] = std::array::from_fn(|i| &inputs[i][starts[i] as usize..][..inner]);
                for (i, y) in y.iter_mut().enumerate() {
                    *y = f(rows.map(|row| row[i]));
                }
            } else {
                for (i, y) in y.iter_mut().enumerate() {
                    let at = |n: usize| (starts[n] + i as isize * steps[n]) as usize;
                    *y = f(std::array::from_fn(|n| inputs[n][at(n)]));
                }
            }
        }
    });
}

/// `y[i] = f(inputs at i)` for whole slices of one length.
///
/// # Panics
/// Where the lengths differ.
pub fn zip<const N: usize>(
    cpu: &Cpu,
    inputs: [&[f32]; N],
    y: &mut [f32],
    f: impl Fn([f32; N]) -> f32 + Sync,
) {
    assert!(inputs.iter().all(|input| input.len() == y.len()), "slices of one length");
    let (len, y) = (y.len(), SharedMut::new(y));
    run_ranges(cpu, len, 1, |range| {
        let inputs = inputs.map(|input| &input[range.clone()]);
        // SAFETY: ranges of different jobs do not overlap.
        let y = unsafe { y.slice(range.start, range.len()) };
        for (i, y) in y.iter_mut().enumerate() {
            *y = f(inputs.map(|input| input[i]));
        }
    });
}

/// Copies the row-major `x` of `shape` to where `view` says in `y`, whose other elements become zero: the adjoint of reading through a view that
/// reads nothing twice.
///
/// # Panics
/// Where the view leaves `y` or repeats an axis, or `x` has not the shape's length.
pub fn scatter(cpu: &Cpu, shape: &[usize], view: &View, x: &[f32], y: &mut [f32]) {
    view.check(shape, y.len());
    let nothing = shape.contains(&0);
    let repeats = view.strides.iter().zip(shape).any(|(stride, size)| !nothing && *stride == 0 && *size > 1);
    assert!(!repeats, "a view that reads nothing twice");
    let (inner, count) = rows(shape);
    assert_eq!(x.len(), inner * count);
    y.fill(0.0);
    let (y, step) = (SharedMut::new(y), view.last_stride());
    run_ranges(cpu, count, inner, |range| {
        for row in range {
            let start = view.row(shape, row);
            for (i, x) in x[row * inner..][..inner].iter().enumerate() {
                // SAFETY: within `y` by `check`, and no two positions lie at the same place.
                unsafe { y.slice((start + i as isize * step) as usize, 1)[0] = *x };
            }
        }
    });
}

/// What becomes of the elements that a reduction takes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum, in `f64`.
    Sum,
    /// The largest; not-a-number counts as that.
    Max,
    /// The smallest; not-a-number counts as that.
    Min,
}

/// A reduction over some axes of an array, ready to run.
#[derive(Clone, Debug)]
pub struct Reduce {
    reduction: Reduction,
    /// The kept axes and one of size one, so that each position of them is a row.
    kept: (Vec<usize>, View),
    reduced: (Vec<usize>, View),
}

impl Reduce {
    /// The result holds, row-major, one value for each position of `kept`. An axis of the array is a size and a stride.
    pub fn new(reduction: Reduction, kept: &[(usize, isize)], reduced: &[(usize, isize)]) -> Self {
        let split = |axes: &[(usize, isize)]| {
            let (shape, strides): (Vec<usize>, Vec<isize>) = axes.iter().copied().unzip();
            (shape, View { offset: 0, strides })
        };
        Self { reduction, kept: split(&[kept, &[(1, 0)]].concat()), reduced: split(reduced) }
    }

    /// Reduces `x` to `y`.
    ///
    /// # Panics
    /// Where the axes leave `x`, or `y` has not the length of the kept ones.
    pub fn run(&self, cpu: &Cpu, x: &[f32], y: &mut [f32]) {
        let (kept, outer) = &self.kept;
        let (reduced, within) = &self.reduced;
        assert_eq!(y.len(), kept.iter().product::<usize>());
        let (inner, count) = rows(reduced);
        let step = within.last_stride();
        let y = SharedMut::new(y);
        run_ranges(cpu, y.len(), inner * count, |range| {
            for position in range {
                let start = outer.row(kept, position);
                let terms = (0..count).flat_map(|row| {
                    let start = start + within.row(reduced, row);
                    (0..inner).map(move |i| x[(start + i as isize * step) as usize])
                });
                // SAFETY: each position belongs to one job.
                let y = unsafe { y.slice(position, 1) };
                let better = |a: f32, b: f32, wins: bool| if wins || b.is_nan() { b } else { a };
                y[0] = match self.reduction {
                    Reduction::Sum => terms.map(f64::from).sum::<f64>() as f32,
                    Reduction::Max => terms.fold(f32::NEG_INFINITY, |a, b| better(a, b, b > a)),
                    Reduction::Min => terms.fold(f32::INFINITY, |a, b| better(a, b, b < a)),
                };
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(len: usize) -> Vec<f32> {
        (0..len).map(|i| (i * 7919 % 101) as f32 - 50.0).collect()
    }

    /// All positions of a shape.
    fn positions(shape: &[usize]) -> Vec<Vec<usize>> {
        shape.iter().fold(vec![vec![]], |all, &size| {
            all.iter().flat_map(|at| (0..size).map(move |i| [&at[..], &[i]].concat())).collect()
        })
    }

    fn at(view: &View, position: &[usize]) -> usize {
        let steps = position.iter().zip(&view.strides).map(|(&p, &s)| p as isize * s);
        (view.offset as isize + steps.sum::<isize>()) as usize
    }

    #[test]
    fn views_read_what_they_say() {
        let (cpu, x) = (Cpu::new(2), numbers(60));
        let transposed = (vec![5, 3, 4], View { offset: 0, strides: vec![1, 20, 5] });
        let reversed = (vec![2, 3], View { offset: 59, strides: vec![-7, -13] });
        let repeated = (vec![4, 3, 5], View::broadcast(&[3, 1], &[4, 3, 5]));
        let scalar = (vec![], View { offset: 7, strides: vec![] });
        let empty = (vec![3, 0], View::contiguous(&[3, 0]));
        for (shape, view) in [transposed, reversed, repeated, scalar, empty] {
            let expected: Vec<f32> = positions(&shape).iter().map(|p| 2.0 * x[at(&view, p)]).collect();
            let mut y = vec![f32::NAN; expected.len()];
            map(&cpu, &shape, std::slice::from_ref(&view).try_into().unwrap(), [&x], &mut y, |[x]| 2.0 * x);
            assert_eq!(y, expected, "{shape:?} {view:?}");
        }
    }

    #[test]
    fn slices_are_zipped_over_all_chunks() {
        let (a, b) = (numbers(40_000), numbers(40_001));
        let mut y = vec![f32::NAN; 40_000];
        zip(&Cpu::new(2), [&a, &b[1..]], &mut y, |[a, b]| a - b);
        assert!((0..40_000).all(|i| y[i] == a[i] - b[i + 1]));
    }

    #[test]
    fn a_scatter_is_the_adjoint_of_a_read() {
        let (cpu, x) = (Cpu::new(2), numbers(6));
        let (shape, view) = ([2, 3], View { offset: 40, strides: vec![-17, 5] });
        let mut y = vec![f32::NAN; 60];
        scatter(&cpu, &shape, &view, &x, &mut y);
        let mut expected = vec![0.0; 60];
        positions(&shape).iter().zip(&x).for_each(|(p, x)| expected[at(&view, p)] += x);
        assert_eq!(y, expected);
    }

    #[test]
    fn reductions_take_the_axes_named() {
        let (cpu, mut x) = (Cpu::new(2), numbers(2 * 3 * 4 * 5));
        let strides = View::contiguous(&[2, 3, 4, 5]).strides;
        let axis = |a: usize| ([2, 3, 4, 5][a], strides[a]);
        for nan in [false, true] {
            if nan {
                x[33] = f32::NAN;
            }
            for (kept, reduced) in
                [(vec![1, 3], vec![0, 2]), (vec![], vec![0, 1, 2, 3]), (vec![0, 1, 2, 3], vec![])]
            {
                let (kept, reduced): (Vec<_>, Vec<_>) =
                    (kept.into_iter().map(axis).collect(), reduced.into_iter().map(axis).collect());
                let sizes = |axes: &[(usize, isize)]| axes.iter().map(|a| a.0).collect::<Vec<_>>();
                let view = View { offset: 0, strides: kept.iter().chain(&reduced).map(|a| a.1).collect() };
                for reduction in [Reduction::Sum, Reduction::Max, Reduction::Min] {
                    let mut y = vec![0.0; sizes(&kept).iter().product()];
                    Reduce::new(reduction, &kept, &reduced).run(&cpu, &x, &mut y);
                    for (p, y) in positions(&sizes(&kept)).iter().zip(&y) {
                        let inner = positions(&sizes(&reduced));
                        let terms = inner.iter().map(|r| x[at(&view, &[&p[..], r].concat())]);
                        let expected = match reduction {
                            Reduction::Sum => terms.sum::<f32>(),
                            _ if terms.clone().any(f32::is_nan) => f32::NAN,
                            Reduction::Max => terms.reduce(f32::max).unwrap(),
                            Reduction::Min => terms.reduce(f32::min).unwrap(),
                        };
                        assert!(*y == expected || y.is_nan() && expected.is_nan(), "{y} {expected}");
                    }
                }
            }
        }
    }
}
