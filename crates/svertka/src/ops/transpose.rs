//! Axes in another order (ONNX `Transpose`).

use std::ops::RangeInclusive;
use std::sync::Arc;

use svertka_kernels::strided::{self, View};

use super::{Example, Field, Layouts, Lowered, Operator, Shapes};
use crate::error::{Error, Result};
use crate::function::apply;
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// Axis `i` of the output is axis `axes[i]` of the input.
#[derive(Clone, Debug, PartialEq)]
pub struct Transpose {
    /// Every axis of the input once.
    pub axes: Vec<usize>,
}

impl Operator for Transpose {
    fn name(&self) -> &'static str {
        "Transpose"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let mut sorted = self.axes.clone();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..inputs[0].len()) {
            let expected = format!("each axis of {:?} once", inputs[0]);
            return Err(Error::argument("Transpose", "perm", expected, format!("{:?}", self.axes)));
        }
        Ok(vec![self.axes.iter().map(|&axis| inputs[0][axis]).collect()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let strides = View::contiguous(shapes.inputs[0]).strides;
        let view = View { offset: 0, strides: self.axes.iter().map(|&axis| strides[axis]).collect() };
        let (shape, views) = (shapes.outputs[0].to_vec(), [view]);
        Ok(Lowered::new(move |cpu, io| {
            strided::map(cpu, &shape, &views, [io.inputs.get(0)], &mut io.outputs[0], |[x]| x);
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let mut axes = vec![0; self.axes.len()];
        self.axes.iter().enumerate().for_each(|(to, &from)| axes[from] = to);
        let dx = context.push(Self { axes }, &[dy])?;
        context.add(0, dx[0])
    }

    fn field(&self) -> Field {
        Field::All
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        export.node("Transpose", Attributes::new().ints("perm", &self.axes));
        Ok(())
    }
}

/// `Transpose`; of a constant it is one too, so that a weight stored the other way round stays a weight.
pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let perm = import.sizes("perm")?;
    let axes = |rank: usize| perm.clone().unwrap_or_else(|| (0..rank).rev().collect());
    if let Ok(constant) = import.constant(0) {
        let op = Transpose { axes: axes(constant.shape().len()) };
        return import.define_tensor(apply(Arc::new(op), &[&constant])?);
    }
    let x = import.input(0)?;
    let axes = axes(import.shape(x).len());
    import.push(Transpose { axes }, &[x])
}

pub(super) fn examples() -> Vec<Example> {
    vec![
        Example::new(Transpose { axes: vec![0, 2, 3, 1] }, [&[2, 9, 5, 4]]),
        Example::new(Transpose { axes: vec![1, 0] }, [&[3, 7]]),
        Example::new(Transpose { axes: vec![4, 2, 0, 3, 1] }, [&[2, 3, 1, 4, 2]]),
    ]
}
