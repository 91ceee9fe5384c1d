//! A value repeated side by side (ONNX `Tile`).

use std::ops::RangeInclusive;

use svertka_kernels::geometry::checked_product;
use svertka_kernels::strided::{self, Reduce, Reduction, View};

use super::{Example, Field, Layouts, Lowered, Operator, Shapes};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// The input `repeats[i]` times side by side along axis `i`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// One number for each axis.
    pub repeats: Vec<usize>,
}

impl Tile {
    /// The output's axes, each cut in repeats and cells: sizes, and steps in the input.
    fn axes(&self, input: &[usize]) -> (Vec<usize>, Vec<isize>) {
        let strides = View::contiguous(input).strides;
        let axis = |axis: usize| [(self.repeats[axis], 0), (input[axis], strides[axis])];
        (0..input.len()).flat_map(axis).unzip()
    }
}

impl Operator for Tile {
    fn name(&self) -> &'static str {
        "Tile"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        if self.repeats.len() != inputs[0].len() {
            let expected = format!("{} numbers", inputs[0].len());
            return Err(Error::argument("Tile", "repeats", expected, format!("{:?}", self.repeats)));
        }
        let sizes = inputs[0].iter().zip(&self.repeats);
        let shape: Vec<usize> = sizes.map(|(size, repeats)| size.saturating_mul(*repeats)).collect();
        checked_product("repeats", &shape).map_err(Error::geometry("Tile"))?;
        Ok(vec![shape])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (shape, strides) = self.axes(shapes.inputs[0]);
        let views = [View { offset: 0, strides }];
        Ok(Lowered::new(move |cpu, io| {
            strided::map(cpu, &shape, &views, [io.inputs.get(0)], &mut io.outputs[0], |[x]| x);
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let dx = context.push(TileGradient(self.clone()), &[dy, context.input(0)])?;
        context.add(0, dx[0])
    }

    fn field(&self) -> Field {
        Field::All
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let repeats: Vec<i64> = self.repeats.iter().map(|&count| count as i64).collect();
        let repeats = export.constant_ints("repeats", &repeats);
        export.node_with("Tile", &[export.input(0), repeats], Attributes::new());
        Ok(())
    }
}

/// The sum over all repeats; inputs: gradient of the output, input.
#[derive(Clone, Debug)]
struct TileGradient(Tile);

impl Operator for TileGradient {
    fn name(&self) -> &'static str {
        "TileGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[1].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (sizes, _) = self.0.axes(shapes.outputs[0]);
        let axes: Vec<_> = sizes.iter().copied().zip(View::contiguous(&sizes).strides).collect();
        let every_second = |from: usize| axes.iter().copied().skip(from).step_by(2).collect::<Vec<_>>();
        let reduce = Reduce::new(Reduction::Sum, &every_second(1), &every_second(0));
        Ok(Lowered::new(move |cpu, io| reduce.run(cpu, io.inputs.get(0), &mut io.outputs[0])))
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let repeats = import.constant_ints(1)?;
    let counts: Option<Vec<usize>> = repeats.iter().map(|&count| usize::try_from(count).ok()).collect();
    let negative = || Error::argument("Tile", "repeats", "no negative number", format!("{repeats:?}"));
    import.push(Tile { repeats: counts.ok_or_else(negative)? }, &[x])
}

pub(super) fn examples() -> Vec<Example> {
    vec![
        Example::new(Tile { repeats: vec![1, 2, 1, 3] }, [&[2, 3, 5, 4]]),
        Example::new(Tile { repeats: vec![2, 2] }, [&[3, 7]]),
    ]
}
