//! Every n-th element along axes (ONNX `Slice`), and a value cut in parts (`Split`).

use std::ops::RangeInclusive;

use svertka_kernels::strided::{self, View};

use super::{Example, Field, Flip, Layouts, Lowered, Operator, Shapes};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// Elements `start`, `start + step`, ... before `end` along an axis. Bounds beyond the axis mean its end; negative bounds count from the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The axis.
    pub axis: usize,
    /// First element.
    pub start: i64,
    /// The bound that is not reached.
    pub end: i64,
    /// Distance of elements; negative ones go backwards.
    pub step: i64,
}

impl Range {
    /// The first element and how many there are, on an axis of `size`.
    fn resolve(&self, size: usize) -> (usize, usize) {
        if size == 0 {
            return (0, 0);
        }
        let size = size as i64;
        let clamp = |bound: i64, low: i64, high: i64| {
            (if bound < 0 { bound.saturating_add(size) } else { bound }).clamp(low, high)
        };
        let (start, room) = if self.step > 0 {
            let start = clamp(self.start, 0, size);
            (start, clamp(self.end, 0, size) - start)
        } else {
            let start = clamp(self.start, 0, size - 1);
            // One before the first element is a bound that no index from the end can say.
            let end = if self.end < -size { -1 } else { clamp(self.end, -1, size - 1) };
            (start, start - end)
        };
        let count = (room.max(0) as u64).div_ceil(self.step.unsigned_abs().max(1));
        if count == 0 { (0, 0) } else { (start as usize, count as usize) }
    }
}

/// Some elements along some axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// At most one range for each axis.
    pub ranges: Vec<Range>,
}

impl Slice {
    fn view(&self, shape: &[usize]) -> View {
        let mut view = View::contiguous(shape);
        for range in &self.ranges {
            let (start, _) = range.resolve(shape[range.axis]);
            view.offset += start * view.strides[range.axis] as usize;
            view.strides[range.axis] *= range.step as isize;
        }
        view
    }
}

impl Operator for Slice {
    fn name(&self) -> &'static str {
        "Slice"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let mut shape = inputs[0].to_vec();
        for (i, range) in self.ranges.iter().enumerate() {
            if range.axis >= shape.len() || self.ranges[..i].iter().any(|other| other.axis == range.axis) {
                let expected = format!("different axes below {}", shape.len());
                return Err(Error::argument("Slice", "axes", expected, range.axis));
            }
            // A longer step than any axis is the same as one past its end.
            if range.step == 0 || range.step.unsigned_abs() > 1 << 40 {
                let expected = "a step that is not zero, of at most 2^40";
                return Err(Error::argument("Slice", "steps", expected, range.step));
            }
            shape[range.axis] = range.resolve(shape[range.axis]).1;
        }
        Ok(vec![shape])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (shape, views) = (shapes.outputs[0].to_vec(), [self.view(shapes.inputs[0])]);
        Ok(Lowered::new(move |cpu, io| {
            strided::map(cpu, &shape, &views, [io.inputs.get(0)], &mut io.outputs[0], |[x]| x);
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let dx = context.push(SliceGradient(self.clone()), &[dy, context.input(0)])?;
        context.add(0, dx[0])
    }

    fn field(&self) -> Field {
        Field::All
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let mut inputs = vec![export.input(0)];
        let of = |f: fn(&Range) -> i64| self.ranges.iter().map(f).collect::<Vec<_>>();
        for (name, values) in [
            ("starts", of(|range| range.start)),
            ("ends", of(|range| range.end)),
            ("axes", of(|range| range.axis as i64)),
            ("steps", of(|range| range.step)),
        ] {
            inputs.push(export.constant_ints(name, &values));
        }
        export.node_with("Slice", &inputs, Attributes::new());
        Ok(())
    }
}

/// Each element's gradient goes where it was read, zero elsewhere; inputs: gradient of the output, input.
#[derive(Clone, Debug)]
struct SliceGradient(Slice);

impl Operator for SliceGradient {
    fn name(&self) -> &'static str {
        "SliceGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[1].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (shape, view) = (shapes.inputs[0].to_vec(), self.0.view(shapes.outputs[0]));
        Ok(Lowered::new(move |cpu, io| {
            strided::scatter(cpu, &shape, &view, io.inputs.get(0), &mut io.outputs[0]);
        }))
    }
}

/// `Slice`: bounds are attributes before opset 10, then constant inputs.
pub(super) fn import_slice(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let rank = import.shape(x).len();
    let list = |name: &str, input: usize| match import.ints(name)? {
        Some(list) => Ok(Some(list)),
        None if import.has_input(input) => import.constant_ints(input).map(Some),
        None => Ok(None),
    };
    let missing = |name| Error::argument("Slice", name, "one bound for each axis", "none");
    let starts = list("starts", 1)?.ok_or_else(|| missing("starts"))?;
    let ends = list("ends", 2)?.ok_or_else(|| missing("ends"))?;
    let axes = list("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = list("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        let received = format!("{starts:?}, {ends:?}, {axes:?}, {steps:?}");
        return Err(Error::argument("Slice", "starts, ends, axes, steps", "lists of one length", received));
    }
    let mut ranges = vec![];
    for i in 0..starts.len() {
        ranges.push(Range {
            axis: import.axis_number("axes", axes[i], rank)?,
            start: starts[i],
            end: ends[i],
            step: steps[i],
        });
    }
    let shape = import.shape(x);
    let turned = |range: &Range| {
        let size = shape[range.axis];
        size > 0 && range.step == -1 && range.resolve(size) == (size - 1, size)
    };
    // All spatial axes backwards: how a weight that is turned around is written.
    let flip = rank > 2 && ranges.iter().map(|range| range.axis).eq(2..rank) && ranges.iter().all(turned);
    if flip { import.push(Flip, &[x]) } else { import.push(Slice { ranges }, &[x]) }
}

/// `Split` in parts of given sizes, or as many equal ones (the last may be smaller) as there are outputs.
pub(super) fn import_split(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let shape = import.shape(x).to_vec();
    let axis = import.axis("axis", 0, shape.len())?;
    let outputs = import.node_outputs();
    let sizes = match import.sizes("split")? {
        Some(sizes) => sizes,
        None if import.has_input(1) => {
            let sizes = import.constant_ints(1)?;
            sizes.iter().map(|&size| usize::try_from(size).unwrap_or(usize::MAX)).collect()
        }
        None => {
            let each = shape[axis].div_ceil(outputs.max(1));
            (0..outputs).map(|i| each.min(shape[axis].saturating_sub(i * each))).collect()
        }
    };
    if sizes.len() != outputs || sizes.iter().fold(0usize, |a, &b| a.saturating_add(b)) != shape[axis] {
        let expected = format!("{outputs} sizes that add up to {}", shape[axis]);
        return Err(Error::argument("Split", "split", expected, format!("{sizes:?}")));
    }
    let mut start = 0;
    for (i, size) in sizes.into_iter().enumerate() {
        let end = start + size as i64;
        let op = Slice { ranges: vec![Range { axis, start, end, step: 1 }] };
        let part = import.append(&i.to_string(), op, &[x])?[0];
        import.define(i, part);
        start = end;
    }
    Ok(())
}

pub(super) fn examples() -> Vec<Example> {
    let range = |axis, start, end, step| Range { axis, start, end, step };
    vec![
        Example::new(Slice { ranges: vec![range(1, 1, 8, 3), range(3, -3, -1, 1)] }, [&[2, 9, 5, 4]]),
        Example::new(
            Slice { ranges: vec![range(2, -1, i64::MIN, -2), range(0, 1, i64::MAX, 1)] },
            [&[3, 2, 7]],
        ),
        Example::new(Slice { ranges: vec![] }, [&[3, 7]]),
    ]
}
