//! Max and average pooling over windows (ONNX `MaxPool`, `AveragePool`), one to three spatial axes.

use std::ops::RangeInclusive;

use svertka_kernels::geometry::{PoolGeometry, Window};
use svertka_kernels::pool;

use super::{Example, Field, Layouts, Lowered, Operator, Shapes, activation, expect_activation, spatial};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// The largest value of each window; cells of padding never win.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaxPool {
    /// Kernel size, stride, dilation and padding.
    pub window: Window,
    /// Round the output size up.
    pub ceil_mode: bool,
}

/// The mean of each window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AveragePool {
    /// Kernel size, stride, dilation and padding.
    pub window: Window,
    /// Round the output size up.
    pub ceil_mode: bool,
    /// Divide by the cells of the window inside the padded input, not by those inside the input.
    pub count_include_pad: bool,
}

fn geometry(op: &dyn Operator, x: &[usize], window: Window, ceil_mode: bool) -> Result<PoolGeometry> {
    expect_activation(op, "input", x)?;
    PoolGeometry::new(x[0], x[1], spatial(x), window, ceil_mode).map_err(Error::geometry(op.name()))
}

fn infer(op: &dyn Operator, x: &[usize], window: Window, ceil_mode: bool) -> Result<Vec<Vec<usize>>> {
    let geometry = geometry(op, x, window, ceil_mode)?;
    Ok(vec![activation(geometry.batch, geometry.channels, geometry.output, x)])
}

impl Operator for MaxPool {
    fn name(&self) -> &'static str {
        "MaxPool"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        infer(self, inputs[0], self.window, self.ceil_mode)
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let geometry = geometry(self, shapes.inputs[0], self.window, self.ceil_mode)?;
        Ok(Lowered::new(move |cpu, io| {
            pool::max_forward(cpu, &geometry, io.inputs.get(0), &mut io.outputs[0])
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let dx = context.push(MaxPoolGradient(*self), &[context.input(0), dy])?;
        context.add(0, dx[0])
    }

    fn field(&self) -> Field {
        Field::Window(self.window)
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let dims = export.shape_of_input(0).len() - 2;
        let attributes = Attributes::window(&self.window, dims).dilations(&self.window, dims);
        export.node("MaxPool", attributes.int("ceil_mode", i64::from(self.ceil_mode)));
        Ok(())
    }
}

/// Inputs: input, gradient of the output. Finds each window's first maximum again.
#[derive(Clone, Copy, Debug)]
struct MaxPoolGradient(MaxPool);

impl Operator for MaxPoolGradient {
    fn name(&self) -> &'static str {
        "MaxPoolGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0, 1], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let geometry = geometry(&self.0, shapes.inputs[0], self.0.window, self.0.ceil_mode)?;
        Ok(Lowered::new(move |cpu, io| {
            pool::max_backward(cpu, &geometry, io.inputs.get(0), io.inputs.get(1), &mut io.outputs[0]);
        }))
    }
}

impl Operator for AveragePool {
    fn name(&self) -> &'static str {
        "AveragePool"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        infer(self, inputs[0], self.window, self.ceil_mode)
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let geometry = geometry(self, shapes.inputs[0], self.window, self.ceil_mode)?;
        let include = self.count_include_pad;
        Ok(Lowered::new(move |cpu, io| {
            pool::average_forward(cpu, &geometry, include, io.inputs.get(0), &mut io.outputs[0]);
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let shape = context.shape(context.input(0)).to_vec();
        let dx = context.push(AveragePoolGradient { of: *self, shape }, &[dy])?;
        context.add(0, dx[0])
    }

    fn field(&self) -> Field {
        Field::Window(self.window)
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let dims = export.shape_of_input(0).len() - 2;
        let attributes = Attributes::window(&self.window, dims)
            .dilations(&self.window, dims)
            .int("ceil_mode", i64::from(self.ceil_mode))
            .int("count_include_pad", i64::from(self.count_include_pad));
        export.node("AveragePool", attributes);
        Ok(())
    }
}

/// Input: gradient of the output.
#[derive(Clone, Debug)]
struct AveragePoolGradient {
    of: AveragePool,
    shape: Vec<usize>,
}

impl Operator for AveragePoolGradient {
    fn name(&self) -> &'static str {
        "AveragePoolGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![[&inputs[0][..1], &self.shape[1..]].concat()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let geometry = geometry(&self.of, shapes.outputs[0], self.of.window, self.of.ceil_mode)?;
        let include = self.of.count_include_pad;
        Ok(Lowered::new(move |cpu, io| {
            pool::average_backward(cpu, &geometry, include, io.inputs.get(0), &mut io.outputs[0]);
        }))
    }
}

fn import_window(import: &mut Import<'_>) -> Result<(Window, bool)> {
    let x = import.input(0)?;
    let shape = import.shape(x).to_vec();
    let kernel = import.sizes("kernel_shape")?.ok_or_else(|| {
        Error::argument(import.op_type(), "kernel_shape", "one size for each spatial axis", "none")
    })?;
    let window = import.window(&kernel, &shape[2.min(shape.len())..], shape.len().max(2) - 2)?;
    Ok((window, import.int("ceil_mode", 0)? != 0))
}

pub(super) fn import_max(import: &mut Import<'_>) -> Result<()> {
    let (window, ceil_mode) = import_window(import)?;
    if import.outputs() > 1 {
        return Err(Error::unsupported("MaxPool", "the output Indices"));
    }
    let x = import.input(0)?;
    import.push(MaxPool { window, ceil_mode }, &[x])
}

pub(super) fn import_average(import: &mut Import<'_>) -> Result<()> {
    let (window, ceil_mode) = import_window(import)?;
    let count_include_pad = import.int("count_include_pad", 0)? != 0;
    let x = import.input(0)?;
    import.push(AveragePool { window, ceil_mode, count_include_pad }, &[x])
}

fn windows() -> [(Window, bool, &'static [usize]); 4] {
    let window = |kernel, stride, padding| Window { kernel, stride, dilation: [1; 3], padding };
    [
        (window([1, 2, 2], [1, 2, 2], [(0, 0); 3]), false, &[2, 3, 6, 4]),
        (window([1, 3, 2], [1, 2, 1], [(0, 0), (1, 1), (1, 0)]), true, &[1, 9, 6, 5]),
        (window([1, 1, 3], [1, 1, 2], [(0, 0), (0, 0), (1, 1)]), false, &[2, 2, 7]),
        (window([2, 2, 1], [1, 2, 1], [(0, 0); 3]), true, &[1, 2, 3, 5, 2]),
    ]
}

pub(super) fn examples() -> Vec<Example> {
    let max =
        windows().map(|(window, ceil_mode, shape)| Example::new(MaxPool { window, ceil_mode }, [shape]));
    let average = |count_include_pad| {
        windows().map(|(window, ceil_mode, shape)| {
            Example::new(AveragePool { window, ceil_mode, count_include_pad }, [shape])
        })
    };
    [max, average(false), average(true)].concat()
}
