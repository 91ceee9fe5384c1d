//! Another shape for the same elements (ONNX `Flatten`, `Reshape`, `Squeeze`, `Unsqueeze`), and nodes that compute nothing.

use std::ops::RangeInclusive;

use super::{Example, Field, Layouts, Lowered, Operator, Shapes, elements};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};
use crate::tensor::Tensor;

/// `N x ...` to `N x features`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flatten;

fn copy(io: &mut super::Io<'_>) {
    if let Some(x) = io.first() {
        io.outputs[0].copy_from_slice(x);
    }
}

impl Operator for Flatten {
    fn name(&self) -> &'static str {
        "Flatten"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        match inputs[0] {
            [batch, rest @ ..] => Ok(vec![vec![*batch, elements(rest)]]),
            [] => Err(Error::argument("Flatten", "input", "at least one axis", "a scalar")),
        }
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, _: &Shapes<'_>, _: usize) -> Result<Lowered> {
        Ok(Lowered::new(|_, io| copy(io)).in_place())
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let shape = context.shape(context.input(0)).to_vec();
        let dx = context.push(Unflatten { shape }, &[dy])?;
        context.add(0, dx[0])
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        export.node("Flatten", Attributes::new().int("axis", 1));
        Ok(())
    }
}

/// The way back; `shape` holds the sizes after the batch.
#[derive(Clone, Debug)]
struct Unflatten {
    shape: Vec<usize>,
}

impl Operator for Unflatten {
    fn name(&self) -> &'static str {
        "FlattenGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![[&inputs[0][..1], &self.shape[1..]].concat()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, _: &Shapes<'_>, _: usize) -> Result<Lowered> {
        Ok(Lowered::new(|_, io| copy(io)).in_place())
    }
}

/// Another shape for the same elements (ONNX `Reshape`). In `target` a zero stands for the input's size along that axis and -1 for what is left.
#[derive(Clone, Debug, PartialEq)]
pub struct Reshape {
    /// Sizes of the axes.
    pub target: Vec<i64>,
}

impl Operator for Reshape {
    fn name(&self) -> &'static str {
        "Reshape"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let wrong = || {
            let expected = format!("a shape for the {} elements of {:?}", elements(inputs[0]), inputs[0]);
            Error::argument("Reshape", "shape", expected, format!("{:?}", self.target))
        };
        let known = |(axis, &size): (usize, &i64)| match size {
            0 => inputs[0].get(axis).copied().map(Some),
            -1 => Some(None),
            _ => usize::try_from(size).ok().map(Some),
        };
        let sizes: Option<Vec<Option<usize>>> = self.target.iter().enumerate().map(known).collect();
        let sizes = sizes.ok_or_else(wrong)?;
        let product = sizes.iter().flatten().fold(1usize, |a, &b| a.saturating_mul(b));
        let left = match sizes.iter().filter(|size| size.is_none()).count() {
            0 => 1,
            1 => elements(inputs[0]).checked_div(product).ok_or_else(wrong)?,
            _ => return Err(wrong()),
        };
        if product.saturating_mul(left) != elements(inputs[0]) {
            return Err(wrong());
        }
        Ok(vec![sizes.into_iter().map(|size| size.unwrap_or(left)).collect()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, _: &Shapes<'_>, _: usize) -> Result<Lowered> {
        Ok(Lowered::new(|_, io| copy(io)).in_place())
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let dx = context.push(ReshapeLike, &[dy, context.input(0)])?;
        context.add(0, dx[0])
    }

    fn field(&self) -> Field {
        Field::All
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let target = export.constant_ints("shape", &self.target);
        export.node_with("Reshape", &[export.input(0), target], Attributes::new());
        Ok(())
    }
}

/// Input 0 in the shape of input 1.
#[derive(Clone, Copy, Debug)]
struct ReshapeLike;

impl Operator for ReshapeLike {
    fn name(&self) -> &'static str {
        "ReshapeGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[1].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, _: &Shapes<'_>, _: usize) -> Result<Lowered> {
        Ok(Lowered::new(|_, io| copy(io)).in_place())
    }
}

/// `Flatten` to two axes, the first of which ends before `axis`.
pub(super) fn import_flatten(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let shape = import.shape(x).to_vec();
    // One more than the axes there are is the end, but negative ones count those there are.
    let axis = match import.int("axis", 1)? {
        axis if axis < 0 => import.axis("axis", 1, shape.len())?,
        _ => import.axis("axis", 1, shape.len() + 1)?,
    };
    match (axis, shape.len()) {
        (1, 1..) => import.push(Flatten, &[x]),
        (0, _) => import.push(Reshape { target: vec![1, -1] }, &[x]),
        // The first size depends on the batch, so it is what is left; of no elements nothing can be.
        (axis, _) => {
            let after = elements(&shape[axis..]) as i64;
            let before = if after == 0 { elements(&shape[..axis]) as i64 } else { -1 };
            import.push(Reshape { target: vec![before, after] }, &[x])
        }
    }
}

/// `Reshape` with a constant shape. Written for a batch of one, it keeps any batch where the other sizes allow it.
pub(super) fn import_reshape(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let mut target = match import.ints("shape")? {
        Some(target) => target,
        None => import.constant_ints(1)?,
    };
    let shape = import.shape(x).to_vec();
    if import.int("allowzero", 0)? != 0 && target.contains(&0) {
        return Err(Error::unsupported("Reshape", format!("allowzero = 1 with shape {target:?}")));
    }
    let rest = elements(&shape[1.min(shape.len())..]) as i64;
    let others: i64 = target.iter().skip(1).fold(1, |a: i64, &b| a.saturating_mul(b));
    if shape.first() == Some(&1)
        && target.first() == Some(&1)
        && (others == rest || others < 0 && !target.contains(&0))
    {
        target[0] = 0;
    }
    match target[..] {
        [0, features] if shape.len() > 1 && (features == -1 || features == rest) => {
            import.push(Flatten, &[x])
        }
        [-1, features] if shape.len() > 1 && features == rest => import.push(Flatten, &[x]),
        _ => import.push(Reshape { target }, &[x]),
    }
}

/// The target of a reshape that leaves the elements of `shape` in their order and has these axes: the size of one of the input's, or one.
fn axes_target(shape: &[usize], axes: &[Option<usize>]) -> Vec<i64> {
    let size = |(place, axis): (usize, &Option<usize>)| match axis {
        // The batch keeps its place, and may be of any size.
        Some(0) if place == 0 => 0,
        Some(axis) => shape[*axis] as i64,
        None => 1,
    };
    axes.iter().enumerate().map(size).collect()
}

pub(super) fn import_squeeze(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let shape = import.shape(x).to_vec();
    let dropped = import.axes(shape.len())?;
    let dropped = dropped.unwrap_or_else(|| (0..shape.len()).filter(|&axis| shape[axis] == 1).collect());
    if let Some(axis) = dropped.iter().find(|axis| shape[**axis] != 1) {
        return Err(Error::argument(
            "Squeeze",
            "axes",
            "axes of size 1",
            format!("axis {axis} of {shape:?}"),
        ));
    }
    let kept: Vec<_> = (0..shape.len()).filter(|axis| !dropped.contains(axis)).map(Some).collect();
    import.push(Reshape { target: axes_target(&shape, &kept) }, &[x])
}

pub(super) fn import_unsqueeze(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let shape = import.shape(x).to_vec();
    let count = match import.ints("axes")? {
        Some(axes) => axes.len(),
        None => import.constant_ints(1)?.len(),
    };
    let rank = shape.len() + count;
    let new = import.axes(rank)?.unwrap_or_default();
    let mut old = (0..shape.len()).map(Some);
    let all: Vec<_> =
        (0..rank).map(|axis| if new.contains(&axis) { None } else { old.next().flatten() }).collect();
    import.push(Reshape { target: axes_target(&shape, &all) }, &[x])
}

pub(super) fn import_identity(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    import.forward(x)
}

pub(super) fn import_constant(import: &mut Import<'_>) -> Result<()> {
    match import.tensor("value")? {
        Some(constant) => import.define_constant(constant),
        None => {
            let scalar = import.float("value_float", f32::NAN)?;
            if scalar.is_nan() {
                return Err(Error::unsupported("Constant", "any attribute but value and value_float"));
            }
            import.define_tensor(Tensor::scalar(scalar))
        }
    }
}

pub(super) fn examples() -> Vec<Example> {
    vec![
        Example::new(Flatten, [&[2, 9, 5, 4]]),
        Example::new(Flatten, [&[3, 2, 7]]),
        Example::new(Flatten, [&[3, 7]]),
        Example::new(Reshape { target: vec![0, -1, 5] }, [&[2, 9, 5, 4]]),
        Example::new(Reshape { target: vec![3, 2, 1, 7] }, [&[6, 7]]),
        Example::new(Reshape { target: vec![] }, [&[1, 1]]),
    ]
}
