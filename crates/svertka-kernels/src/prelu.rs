//! The ReLU with a learned slope (He et al., 2015), of which one, one a channel or any other share of the elements has the same.

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::threads::SharedMut;

/// Which slope belongs to which element: the slopes' shape, spread over the tensor's as ONNX and numpy broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slopes {
    /// Axes of the tensor from the first to the last, neighbours of one kind joined.
    axes: Vec<Axis>,
    len: usize,
    count: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Axis {
    size: usize,
    /// Elements between two neighbours along it.
    step: usize,
    /// Whether slopes differ along it.
    differ: bool,
}

impl Slopes {
    /// Slopes of shape `slopes` for a tensor of shape `x`; `None` where they do not broadcast to it.
    pub fn new(x: &[usize], slopes: &[usize]) -> Option<Self> {
        let missing = x.len().checked_sub(slopes.len())?;
        let mut axes: Vec<Axis> = Vec::new();
        let mut step = 1;
        for axis in (0..x.len()).rev() {
            let (size, own) = (x[axis], if axis < missing { 1 } else { slopes[axis - missing] });
            if own != 1 && own != size {
                return None;
            }
            let differ = own != 1;
            match axes.last_mut() {
                Some(last) if last.differ == differ || size == 1 => last.size *= size,
                _ => axes.push(Axis { size, step, differ }),
            }
            step *= size;
        }
        axes.reverse();
        Some(Self { axes, len: step, count: slopes.iter().product() })
    }

    /// Rows of elements that lie one after the other and have either the same slope or slopes that lie one after the other.
    fn last(&self) -> Axis {
        self.axes.last().copied().unwrap_or(Axis { size: 1, step: 1, differ: false })
    }

    fn others(&self) -> &[Axis] {
        &self.axes[..self.axes.len().saturating_sub(1)]
    }

    /// The slope of the first element of a row.
    fn slope_of(&self, mut row: usize) -> usize {
        let last = self.last();
        let (mut at, mut step) = (0, if last.differ { last.size } else { 1 });
        for axis in self.others().iter().rev() {
            if axis.differ {
                at += row % axis.size * step;
                step *= axis.size;
            }
            row /= axis.size;
        }
        at
    }

    /// Calls `f(x, dy, slope, out)` for each element of `out`.
    fn run(&self, cpu: &Cpu, inputs: [&[f32]; 3], out: &mut [f32], f: impl Fn(f32, f32, f32) -> f32 + Sync) {
        let [x, dy, slopes] = inputs;
        assert!(x.len() == self.len && dy.len() == self.len && out.len() == self.len);
        assert_eq!(slopes.len(), self.count);
        let last = self.last();
        let rows = if self.len == 0 { 0 } else { self.len / last.size };
        let out = SharedMut::new(out);
        run_ranges(cpu, rows, last.size, |rows| {
            for row in rows {
                let range = row * last.size..(row + 1) * last.size;
                let slope = self.slope_of(row);
                // SAFETY: each job writes its own rows.
                let out = unsafe { out.slice(range.start, range.len()) };
                let elements = out.iter_mut().zip(x[range.clone()].iter().zip(&dy[range]));
                if last.differ {
                    let slopes = &slopes[slope..slope + last.size];
                    elements.zip(slopes).for_each(|((out, (x, dy)), slope)| *out = f(*x, *dy, *slope));
                } else {
                    let slope = slopes[slope];
                    elements.for_each(|(out, (x, dy))| *out = f(*x, *dy, slope));
                }
            }
        });
    }
}

/// `y = x` above zero, else `slope x`.
///
/// # Panics
/// Where a slice has not its length.
pub fn prelu(cpu: &Cpu, slopes: &Slopes, x: &[f32], slope: &[f32], y: &mut [f32]) {
    slopes.run(cpu, [x, x, slope], y, |x, _, slope| if x > 0.0 { x } else { slope * x });
}

/// Gradient of [`prelu`] by `x`, overwritten: `dy` above zero, else `slope dy`.
///
/// # Panics
/// Where a slice has not its length.
pub fn prelu_backward(cpu: &Cpu, slopes: &Slopes, x: &[f32], slope: &[f32], dy: &[f32], dx: &mut [f32]) {
    slopes.run(cpu, [x, dy, slope], dx, |x, dy, slope| if x > 0.0 { dy } else { slope * dy });
}

/// Gradient of [`prelu`] by the slopes, overwritten: the sum of `dy x` over the elements of each slope that are not above zero.
///
/// # Panics
/// Where a slice has not its length.
pub fn prelu_slope_gradient(cpu: &Cpu, slopes: &Slopes, x: &[f32], dy: &[f32], dslope: &mut [f32]) {
    assert!(x.len() == slopes.len && dy.len() == x.len() && dslope.len() == slopes.count);
    let shared: usize = slopes.axes.iter().filter(|axis| !axis.differ).map(|axis| axis.size).product();
    let last = slopes.last();
    // The elements of a slope: rows of this length.
    let row = if last.differ { 1 } else { last.size };
    let rows = shared.checked_div(row).unwrap_or(0);
    let out = SharedMut::new(dslope);
    run_ranges(cpu, slopes.count, shared, |range| {
        for slope in range {
            let first = place(slope, slopes.axes.iter().filter(|axis| axis.differ));
            let mut sum = 0.0;
            for index in 0..rows {
                let at = first + place(index, slopes.others().iter().filter(|axis| !axis.differ));
                let terms = x[at..at + row].iter().zip(&dy[at..at + row]);
                let term = |(&x, &dy): (&f32, &f32)| if x > 0.0 { 0.0 } else { f64::from(x) * f64::from(dy) };
                sum += terms.map(term).sum::<f64>();
            }
            // SAFETY: each job writes its own slopes.
            unsafe { out.slice(slope, 1) }.fill(sum as f32);
        }
    });
}

/// Where the element of this index among some axes stands.
fn place<'a>(mut index: usize, axes: impl DoubleEndedIterator<Item = &'a Axis>) -> usize {
    let mut at = 0;
    for axis in axes.rev() {
        at += index % axis.size * axis.step;
        index /= axis.size;
    }
    at
}
