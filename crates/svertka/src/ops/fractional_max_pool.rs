//! Fractional max pooling (Graham, 2014; `torch.nn.FractionalMaxPool2d`): windows at pseudo-random distances reduce a size by any factor.

use std::ops::RangeInclusive;
use std::sync::Arc;

use svertka_kernels::geometry_pool::FractionalGeometry;
use svertka_kernels::pool::{fractional_backward, fractional_forward};

use super::stochastic_pool::draw;
use super::{
    Domain, Example, Field, Io, Layouts, Lowered, Operator, Shapes, TrainingForm, activation,
    expect_activation, expect_shape, spatial,
};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// The largest values of windows whose first cells along an axis are `floor((o + u) * alpha) - floor(u * alpha)`, with
/// `alpha = (input - kernel_size) / (output_size - 1)`; the last one ends with the input.
///
/// The numbers `u` from 0 to 1 are input 1, `N x C x spatial axes` (depth, height, width; PyTorch's `_random_samples` for two axes have the width
/// first), where it is given. Else they are drawn for each image and channel in training, and all 0.5 at inference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FractionalMaxPool {
    /// Window size, `[depth, height, width]`.
    pub kernel_size: [usize; 3],
    /// Output size; `output_size + kernel_size - 1` is at most the input's.
    pub output_size: [usize; 3],
    /// Tells several operators of a network that draw numbers apart.
    pub stream: u64,
    /// Whether the places of windows are drawn.
    pub training: bool,
}

impl FractionalMaxPool {
    fn geometry(&self, x: &[usize]) -> Result<FractionalGeometry> {
        expect_activation(self, "input", x)?;
        FractionalGeometry::new(x[0], x[1], spatial(x), self.output_size, self.kernel_size)
            .map_err(Error::geometry(self.name()))
    }

    /// Puts three numbers for each image and channel into the scratch memory; `given` is the input that has them, with how many for each.
    fn samples(&self, io: &mut Io<'_>, given: Option<(usize, usize)>) {
        match given {
            Some((input, dims)) => {
                let rows = io.inputs.get(input).chunks_exact(dims);
                for (to, from) in io.scratch.chunks_exact_mut(3).zip(rows) {
                    to.fill(0.0);
                    to[3 - dims..].copy_from_slice(from);
                }
            }
            None if self.training => draw(io.seed, self.stream, io.scratch),
            None => io.scratch.fill(0.5),
        }
    }
}

impl Operator for FractionalMaxPool {
    fn name(&self) -> &'static str {
        "FractionalMaxPool"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=2
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let (x, geometry) = (inputs[0], self.geometry(inputs[0])?);
        if let Some(samples) = inputs.get(1) {
            expect_shape(self, "samples", &[x[0], x[1], x.len() - 2], samples)?;
        }
        Ok(vec![activation(geometry.batch, geometry.channels, geometry.output, x)])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (op, geometry) = (*self, self.geometry(shapes.inputs[0])?);
        let given = shapes.inputs.get(1).map(|samples| (1, samples[2]));
        Ok(Lowered::new(move |cpu, io| {
            op.samples(io, given);
            fractional_forward(cpu, &geometry, io.scratch, io.inputs.get(0), &mut io.outputs[0]);
        })
        .scratch(geometry.batch * geometry.channels * 3))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        if !context.needs(0) {
            return Ok(());
        }
        let mut inputs = vec![context.input(0), dy];
        inputs.extend((context.inputs() == 2).then(|| context.input(1)));
        let dx = context.push(FractionalMaxPoolGradient(*self), &inputs)?;
        context.add(0, dx[0])
    }

    fn training(&self) -> Option<TrainingForm> {
        Some(TrainingForm { op: Arc::new(Self { training: true, ..*self }), outputs: 1, statistics: vec![] })
    }

    /// The distance of windows depends on the input's size.
    fn field(&self) -> Field {
        Field::All
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let dims = export.shape_of_input(0).len() - 2;
        let attributes = Attributes::new()
            .ints("kernel_shape", &self.kernel_size[3 - dims..])
            .ints("output_size", &self.output_size[3 - dims..]);
        export.own_node("FractionalMaxPool", attributes);
        Ok(())
    }
}

/// Inputs: input, gradient of the output, and maybe the samples. Finds windows and maxima again.
#[derive(Clone, Copy, Debug)]
struct FractionalMaxPoolGradient(FractionalMaxPool);

impl Operator for FractionalMaxPoolGradient {
    fn name(&self) -> &'static str {
        "FractionalMaxPoolGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (op, geometry) = (self.0, self.0.geometry(shapes.inputs[0])?);
        let given = shapes.inputs.get(2).map(|samples| (2, samples[2]));
        Ok(Lowered::new(move |cpu, io| {
            op.samples(io, given);
            let (x, dy) = (io.inputs.get(0), io.inputs.get(1));
            fractional_backward(cpu, &geometry, io.scratch, x, dy, &mut io.outputs[0]);
        })
        .scratch(geometry.batch * geometry.channels * 3))
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let inputs: Vec<_> = [Some(import.input(0)?), import.optional(1)?].into_iter().flatten().collect();
    let dims = import.shape(inputs[0]).len().saturating_sub(2).min(3);
    let mut sizes = [[1; 3]; 2];
    for (name, size) in ["kernel_shape", "output_size"].into_iter().zip(&mut sizes) {
        let received = import.sizes(name)?.unwrap_or_default();
        if received.len() != dims {
            let expected = format!("{dims} sizes");
            return Err(Error::argument("FractionalMaxPool", name, expected, format!("{received:?}")));
        }
        size[3 - dims..].copy_from_slice(&received);
    }
    let [kernel_size, output_size] = sizes;
    let stream = import.node_index();
    import.push(FractionalMaxPool { kernel_size, output_size, stream, training: false }, &inputs)
}

pub(super) fn examples() -> Vec<Example> {
    let op = |kernel_size, output_size, training| FractionalMaxPool {
        kernel_size,
        output_size,
        stream: 1,
        training,
    };
    vec![
        Example::new(op([1, 2, 2], [1, 5, 3], false), [&[2, 3, 7, 5]]),
        Example::new(op([1, 3, 2], [1, 4, 5], true), [&[1, 9, 8, 7]]),
        Example::new(op([1, 1, 2], [1, 1, 6], true), [&[2, 2, 9]]),
        Example::new(op([2, 2, 2], [2, 3, 1], false), [&[1, 2, 4, 5, 3]]),
        // Samples have no derivative: whole numbers say so.
        Example::new(op([1, 2, 2], [1, 4, 3], false), [&[2, 3, 7, 5], &[2, 3, 2]])
            .domain(1, Domain::Indices(1)),
    ]
}
