//! Slices picked by index along an axis (ONNX `Gather`); of a table of vectors, an embedding.

use std::ops::RangeInclusive;

use svertka_kernels::gather::{self, Axis};
use svertka_kernels::pad::{self, PadMode};

use super::{Domain, Example, Field, Layouts, Lowered, Operator, Pad, Role, Shapes, elements};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// Sizes up to this are whole numbers in `f32`.
const MAX_SIZE: usize = 1 << 24;

/// `y[.., i.., ..] = x[.., indices[i..], ..]`. Inputs: data, and indices of any shape: whole numbers, negative ones count from the end.
/// An index outside the axis reads not-a-number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gather {
    /// The axis that is indexed.
    pub axis: usize,
}

impl Gather {
    fn kernel_axis(&self, x: &[usize]) -> Axis {
        Axis { outer: elements(&x[..self.axis]), size: x[self.axis], inner: elements(&x[self.axis + 1..]) }
    }
}

impl Operator for Gather {
    fn name(&self) -> &'static str {
        "Gather"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        2..=2
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let x = inputs[0];
        if self.axis >= x.len() {
            return Err(Error::argument("Gather", "axis", format!("below {}", x.len()), self.axis));
        }
        if x[self.axis] > MAX_SIZE {
            let expected = format!("at most {MAX_SIZE} along axis {}", self.axis);
            return Err(Error::argument("Gather", "input", expected, x[self.axis]));
        }
        Ok(vec![[&x[..self.axis], inputs[1], &x[self.axis + 1..]].concat()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let axis = self.kernel_axis(shapes.inputs[0]);
        Ok(Lowered::new(move |cpu, io| {
            gather::forward(cpu, axis, io.inputs.get(0), io.inputs.get(1), &mut io.outputs[0]);
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        if context.needs(0) {
            let dx = context.push(GatherGradient(*self), &[dy, context.input(1), context.input(0)])?;
            context.add(0, dx[0])?;
        }
        Ok(())
    }

    fn field(&self) -> Field {
        Field::All
    }

    fn role(&self, input: usize) -> Role {
        if input == 0 { Role::Weight } else { Role::Constant }
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let indices = export.integers(1);
        export.node_with(
            "Gather",
            &[export.input(0), indices],
            Attributes::new().int("axis", self.axis as i64),
        );
        Ok(())
    }
}

/// Inputs: gradient of the output, indices, data.
#[derive(Clone, Copy, Debug)]
struct GatherGradient(Gather);

impl Operator for GatherGradient {
    fn name(&self) -> &'static str {
        "GatherGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[2].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let axis = self.0.kernel_axis(shapes.outputs[0]);
        Ok(Lowered::new(move |cpu, io| {
            gather::backward(cpu, axis, io.inputs.get(0), io.inputs.get(1), &mut io.outputs[0]);
        }))
    }
}

/// `Gather`; along a spatial axis with constant indices that mirror the edges it is how [`PadMode::Symmetric`] is written.
pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let shape = import.shape(x).to_vec();
    let axis = import.axis("axis", 0, shape.len())?;
    if let Ok(index) = import.constant_ints(1)
        && let Some(pads) = symmetric(&shape, axis, &index)
    {
        return import.push(Pad { mode: PadMode::Symmetric, pads }, &[x]);
    }
    let indices = import.input(1)?;
    import.push(Gather { axis }, &[x, indices])
}

/// The pads of the mirror that these indices read.
fn symmetric(shape: &[usize], axis: usize, index: &[i64]) -> Option<[(usize, usize); 3]> {
    let (size, dims) = (shape[axis], shape.len().checked_sub(2)?);
    let added = index.len().checked_sub(size).filter(|added| *added > 0 && axis >= 2 && dims <= 3)?;
    let mirrors = |before: &usize| {
        let cell = |i| pad::source(PadMode::Symmetric, size, *before, i).map(|cell| cell as i64);
        *before <= size
            && added - before <= size
            && index.iter().enumerate().all(|(i, read)| cell(i) == Some(*read))
    };
    let before = (0..=added).find(mirrors)?;
    let mut pads = [(0, 0); 3];
    pads[axis + 1 - dims] = (before, added - before);
    Some(pads)
}

pub(super) fn examples() -> Vec<Example> {
    vec![
        Example::new(Gather { axis: 0 }, [&[6, 3], &[2, 4]]).domain(1, Domain::Indices(6)),
        Example::new(Gather { axis: 2 }, [&[2, 9, 5, 4], &[7]]).domain(1, Domain::Indices(5)),
        Example::new(Gather { axis: 1 }, [&[3, 7], &[]]).domain(1, Domain::Indices(7)),
    ]
}
