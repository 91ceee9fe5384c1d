//! Stochastic pooling (Zeiler and Fergus, 2013). In training each window gives one of its cells, drawn with a probability in proportion to its
//! value; at inference the mean with these probabilities, `sum x^2 / sum x`.
//!
//! It is meant for values that are not negative, behind a ReLU: negative ones count as zero. A window whose values sum to zero gives zero and
//! passes no gradient.

use std::ops::RangeInclusive;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use svertka_kernels::geometry::{PoolGeometry, Window};
use svertka_kernels::layout::blocked_len;
use svertka_kernels::pool;

use super::pooling::{example_windows, import_window, moving, window_attributes};
use super::{Domain, Example, Field, Layouts, Lowered, Operator, Shapes, TrainingForm, activation};
use crate::error::Result;
use crate::gradient::GradientContext;
use crate::onnx::{Export, Import};

/// Stochastic pooling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StochasticPool {
    /// Kernel size, stride, dilation and padding; padding is never drawn.
    pub window: Window,
    /// Round the output size up.
    pub ceil_mode: bool,
    /// Tells several operators of a network that draw numbers apart.
    pub stream: u64,
    /// Whether cells are drawn; outside training their mean is taken.
    pub training: bool,
}

/// Numbers of at least 0 and below 1, the same for the same seed, stream and place.
pub(super) fn draw(seed: u64, stream: u64, numbers: &mut [f32]) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    // With 23 bits the largest number times a sum stays below the sum.
    numbers.iter_mut().for_each(|number| *number = (random.next_u32() >> 9) as f32 / (1 << 23) as f32);
}

impl StochasticPool {
    fn geometry(&self, x: &[usize]) -> Result<PoolGeometry> {
        moving(self, x, self.window, self.ceil_mode)
    }

    /// Numbers that a run draws: one for each output cell, blocked.
    fn drawn(&self, g: &PoolGeometry) -> usize {
        if self.training { blocked_len(g.batch, g.channels, g.output.iter().product()) } else { 0 }
    }
}

impl Operator for StochasticPool {
    fn name(&self) -> &'static str {
        "StochasticPool"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let geometry = self.geometry(inputs[0])?;
        Ok(vec![activation(geometry.batch, geometry.channels, geometry.output, inputs[0])])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (op, geometry) = (*self, self.geometry(shapes.inputs[0])?);
        let scratch = self.drawn(&geometry);
        Ok(Lowered::new(move |cpu, io| {
            let (x, y) = (io.inputs.get(0), &mut io.outputs[0]);
            if op.training {
                draw(io.seed, op.stream, io.scratch);
                pool::stochastic_forward(cpu, &geometry, io.scratch, x, y);
            } else {
                pool::stochastic_mean_forward(cpu, &geometry, x, y);
            }
        })
        .scratch(scratch))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let dx = context.push(StochasticPoolGradient(*self), &[context.input(0), dy])?;
        context.add(0, dx[0])
    }

    fn training(&self) -> Option<TrainingForm> {
        Some(TrainingForm { op: Arc::new(Self { training: true, ..*self }), outputs: 1, statistics: vec![] })
    }

    fn field(&self) -> Field {
        Field::Window(self.window)
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        export.own_node("StochasticPool", window_attributes(export, &self.window, self.ceil_mode));
        Ok(())
    }
}

/// Inputs: input, gradient of the output. Draws the cells again.
#[derive(Clone, Copy, Debug)]
struct StochasticPoolGradient(StochasticPool);

impl Operator for StochasticPoolGradient {
    fn name(&self) -> &'static str {
        "StochasticPoolGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0, 1], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (op, geometry) = (self.0, self.0.geometry(shapes.inputs[0])?);
        let scratch = op.drawn(&geometry);
        Ok(Lowered::new(move |cpu, io| {
            let (x, dy, dx) = (io.inputs.get(0), io.inputs.get(1), &mut io.outputs[0]);
            if op.training {
                draw(io.seed, op.stream, io.scratch);
                pool::stochastic_backward(cpu, &geometry, io.scratch, x, dy, dx);
            } else {
                pool::stochastic_mean_backward(cpu, &geometry, x, dy, dx);
            }
        })
        .scratch(scratch))
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let (window, ceil_mode) = import_window(import)?;
    let (x, stream) = (import.input(0)?, import.node_index());
    import.push(StochasticPool { window, ceil_mode, stream, training: false }, &[x])
}

pub(super) fn examples() -> Vec<Example> {
    let example = |window, ceil_mode, shape: &[usize], training| {
        Example::new(StochasticPool { window, ceil_mode, stream: 4, training }, [shape])
            .domain(0, Domain::Positive)
    };
    let means = example_windows().map(|(window, ceil_mode, shape)| example(window, ceil_mode, shape, false));
    // Few windows, and a stream with which no step of a finite difference draws another cell.
    let window = |kernel, stride, padding| Window {
        kernel,
        stride,
        padding: [(0, 0), (0, 0), padding],
        ..Window::default()
    };
    let drawn = [
        example(window([1, 2, 2], [1, 2, 2], (0, 0)), false, &[1, 2, 5, 4], true),
        example(window([1, 2, 3], [1, 1, 1], (0, 0)), false, &[1, 9, 2, 3], true),
        example(window([1, 1, 3], [1, 1, 2], (1, 1)), false, &[2, 1, 7], true),
        example(window([2, 2, 1], [1, 2, 1], (0, 0)), true, &[1, 1, 3, 5, 2], true),
    ];
    [&means[..], &drawn].concat()
}
