//! What poolings of windows have in common: a geometry, a kernel over blocked activations, and a gradient that needs the input or not.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use svertka_kernels::Cpu;
use svertka_kernels::geometry::{PoolGeometry, Window};

use super::{Field, Layouts, Lowered, Operator, Shapes, activation, expect_activation, spatial};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// A pooling of windows; every one is an [`Operator`].
pub(super) trait Pooling: Debug + Copy + Send + Sync + 'static {
    /// The operator's name and its gradient's.
    fn names(&self) -> [&'static str; 2];

    /// The windows over an input of this shape.
    fn geometry(&self, x: &[usize]) -> Result<PoolGeometry>;

    /// The kernel, `x` to `y`.
    fn forward(&self, cpu: &Cpu, g: &PoolGeometry, x: &[f32], y: &mut [f32]);

    /// Whether the gradient depends on the input; else `x` of [`Pooling::backward`] is empty.
    fn backward_reads_input(&self) -> bool {
        true
    }

    /// The gradient's kernel, `x` and `dy` to `dx`.
    fn backward(&self, cpu: &Cpu, g: &PoolGeometry, x: &[f32], dy: &[f32], dx: &mut [f32]);

    /// What a window sees of the input.
    fn sees(&self) -> Field;

    /// Adds the ONNX node.
    fn write(&self, export: &mut Export<'_>);
}

impl<P: Pooling> Operator for P {
    fn name(&self) -> &'static str {
        self.names()[0]
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
        Ok(Lowered::new(move |cpu, io| op.forward(cpu, &geometry, io.inputs.get(0), &mut io.outputs[0])))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        add_gradient(*self, context, dy)
    }

    fn field(&self) -> Field {
        self.sees()
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        self.write(export);
        Ok(())
    }
}

/// Adds the gradient of `op` by input 0, given that of its output.
pub(super) fn add_gradient(
    op: impl Pooling,
    context: &mut GradientContext<'_>,
    dy: crate::Value,
) -> Result<()> {
    let x = context.input(0);
    let shape = context.shape(x).to_vec();
    let inputs: &[_] = if op.backward_reads_input() { &[x, dy] } else { &[dy] };
    let dx = context.push(PoolGradient { of: op, shape }, inputs)?;
    context.add(0, dx[0])
}

/// Inputs: the pooling's input where the gradient depends on it, gradient of the output.
#[derive(Clone, Debug)]
struct PoolGradient<P> {
    of: P,
    shape: Vec<usize>,
}

impl<P: Pooling> Operator for PoolGradient<P> {
    fn name(&self) -> &'static str {
        self.of.names()[1]
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![[&inputs[0][..1], &self.shape[1..]].concat()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0, 1], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (op, geometry) = (self.of, self.of.geometry(shapes.outputs[0])?);
        Ok(Lowered::new(move |cpu, io| {
            let dx = &mut io.outputs[0];
            if op.backward_reads_input() {
                op.backward(cpu, &geometry, io.inputs.get(0), io.inputs.get(1), dx);
            } else {
                op.backward(cpu, &geometry, &[], io.inputs.get(0), dx);
            }
        }))
    }
}

/// The geometry of a window that moves evenly.
pub(super) fn moving(
    op: &dyn Operator,
    x: &[usize],
    window: Window,
    ceil_mode: bool,
) -> Result<PoolGeometry> {
    expect_activation(op, "input", x)?;
    PoolGeometry::new(x[0], x[1], spatial(x), window, ceil_mode).map_err(Error::geometry(op.name()))
}

/// The attributes of a window that moves evenly.
pub(super) fn window_attributes(export: &Export<'_>, window: &Window, ceil_mode: bool) -> Attributes {
    let dims = export.shape_of_input(0).len() - 2;
    Attributes::window(window, dims).dilations(window, dims).int("ceil_mode", i64::from(ceil_mode))
}

/// Reads what [`window_attributes`] writes.
pub(super) fn import_window(import: &mut Import<'_>) -> Result<(Window, bool)> {
    let x = import.input(0)?;
    let shape = import.shape(x).to_vec();
    let kernel = import.sizes("kernel_shape")?.ok_or_else(|| {
        Error::argument(import.op_type(), "kernel_shape", "one size for each spatial axis", "none")
    })?;
    let window = import.window(&kernel, &shape[2.min(shape.len())..], shape.len().max(2) - 2)?;
    Ok((window, import.int("ceil_mode", 0)? != 0))
}

/// Windows over inputs of one to three spatial axes, for examples: with overlap, dilation, uneven padding, and a last window that hangs over.
pub(super) fn example_windows() -> [(Window, bool, &'static [usize]); 5] {
    let window = |kernel, stride, dilation, padding| Window { kernel, stride, dilation, padding };
    let none = [(0, 0); 3];
    [
        (window([1, 2, 2], [1, 2, 2], [1; 3], none), false, &[2, 3, 6, 4]),
        (window([1, 3, 2], [1, 2, 1], [1; 3], [(0, 0), (1, 1), (1, 0)]), true, &[1, 9, 6, 5]),
        (window([1, 1, 3], [1, 1, 2], [1; 3], [(0, 0), (0, 0), (1, 1)]), false, &[2, 2, 7]),
        (window([2, 2, 1], [1, 2, 1], [1; 3], none), true, &[1, 2, 3, 5, 2]),
        (window([1, 2, 3], [1, 1, 2], [1, 3, 2], [(0, 0), (1, 0), (1, 2)]), false, &[1, 3, 6, 7]),
    ]
}
