//! Unshared convolution, also called locally connected: a convolution whose weight is another one at each output position (LeCun, 1989).
//!
//! `y[n, o, p] = bias[o, p] + sum over i, t of weight[p, o, i, t] * x[n, g(o) + i, p * stride + t * dilation - padding]`, where `i` runs over the
//! channels of the group of `o`. It costs the multiply-accumulates of [`Conv`](super::Conv), and its weights once for each position. ONNX has no
//! such operator: a file names it `Unshared` in this library's domain.

use std::ops::RangeInclusive;

use svertka_kernels::geometry::{ConvGeometry, Window, checked_product};
use svertka_kernels::unshared::Unshared as Passes;

use super::{
    Domain, Example, Field, Layouts, Lowered, Operator, Role, Shapes, activation, expect_activation,
    expect_shape, spatial,
};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// Unshared convolution. Inputs: activation `N x C x spatial`, weight `out spatial x out x C / groups x kernel`, and maybe bias `out x out spatial`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unshared {
    /// Kernel size, stride, dilation and padding (with zeros).
    pub window: Window,
    /// Groups of channels.
    pub groups: usize,
}

impl Unshared {
    /// The shapes of weight and bias over an input of shape `x`.
    pub(crate) fn parameter_shapes(
        &self,
        x: &[usize],
        out_channels: usize,
    ) -> Result<(Vec<usize>, Vec<usize>)> {
        let (geometry, dims) = (self.geometry(x, out_channels)?, x.len() - 2);
        Ok((weight_shape(&geometry, dims), bias_shape(&geometry, dims)))
    }

    fn geometry(&self, x: &[usize], out_channels: usize) -> Result<ConvGeometry> {
        expect_activation(self, "input", x)?;
        let geometry = ConvGeometry::new(x[0], x[1], out_channels, self.groups, spatial(x), self.window)
            .map_err(Error::geometry("Unshared"))?;
        checked_product("weight", &weight_shape(&geometry, x.len() - 2))
            .map_err(Error::geometry("Unshared"))?;
        Ok(geometry)
    }

    fn geometry_with(&self, x: &[usize], weight: &[usize]) -> Result<ConvGeometry> {
        let out_channels = weight.get(x.len().saturating_sub(2)).copied().unwrap_or(0);
        let geometry = self.geometry(x, out_channels)?;
        expect_shape(self, "weight", &weight_shape(&geometry, x.len() - 2), weight)?;
        Ok(geometry)
    }
}

/// `out spatial x out x C / groups x kernel`, for `dims` spatial axes.
fn weight_shape(geometry: &ConvGeometry, dims: usize) -> Vec<usize> {
    let channels = [geometry.out_channels, geometry.in_channels / geometry.groups];
    [&geometry.output[3 - dims..], &channels, &geometry.window.kernel[3 - dims..]].concat()
}

/// `out x out spatial`.
fn bias_shape(geometry: &ConvGeometry, dims: usize) -> Vec<usize> {
    [&[geometry.out_channels], &geometry.output[3 - dims..]].concat()
}

impl Operator for Unshared {
    fn name(&self) -> &'static str {
        "Unshared"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        2..=3
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let geometry = self.geometry_with(inputs[0], inputs[1])?;
        if let Some(bias) = inputs.get(2) {
            expect_shape(self, "bias", &bias_shape(&geometry, inputs[0].len() - 2), bias)?;
        }
        Ok(vec![activation(geometry.batch, geometry.out_channels, geometry.output, inputs[0])])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered> {
        let passes = Passes::new(&self.geometry_with(shapes.inputs[0], shapes.inputs[1])?);
        let scratch = passes.scratch_len(threads);
        Ok(Lowered::new(move |cpu, io| {
            let bias = (io.inputs.len() == 3).then(|| io.inputs.get(2));
            passes.forward(cpu, io.inputs.get(0), io.inputs.get(1), bias, &mut io.outputs[0], io.scratch);
        })
        .scratch(scratch))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let shape = context.shape(context.input(0)).to_vec();
        let geometry = self.geometry_with(&shape, context.shape(context.input(1)))?;
        let (dims, bias) = (shape.len() - 2, context.needs(2));
        let weight = UnsharedWeightGradient { geometry, dims, bias };
        context.add_layer(dy, UnsharedInputGradient { geometry, shape }, weight)
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        self.geometry_with(shapes.inputs[0], shapes.inputs[1]).map_or(0, |geometry| geometry.macs())
    }

    fn field(&self) -> Field {
        Field::Window(self.window)
    }

    fn role(&self, input: usize) -> Role {
        if input == 1 { Role::Weight } else { Role::Bias }
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let dims = export.shape_of_input(0).len() - 2;
        let attributes = Attributes::window(&self.window, dims)
            .dilations(&self.window, dims)
            .int("group", self.groups as i64);
        export.own_node("Unshared", attributes);
        Ok(())
    }
}

/// The gradient of the input; inputs: gradient of the output, weight.
#[derive(Clone, Debug)]
struct UnsharedInputGradient {
    geometry: ConvGeometry,
    shape: Vec<usize>,
}

impl Operator for UnsharedInputGradient {
    fn name(&self) -> &'static str {
        "UnsharedInputGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![[&inputs[0][..1], &self.shape[1..]].concat()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered> {
        let passes = Passes::new(&ConvGeometry { batch: shapes.inputs[0][0], ..self.geometry });
        let scratch = passes.scratch_len(threads);
        Ok(Lowered::new(move |cpu, io| {
            passes.input_gradient(cpu, io.inputs.get(0), io.inputs.get(1), &mut io.outputs[0], io.scratch);
        })
        .scratch(scratch))
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        ConvGeometry { batch: shapes.inputs[0][0], ..self.geometry }.macs()
    }
}

/// The gradients of weight and bias; inputs: input, gradient of the output.
#[derive(Clone, Debug)]
struct UnsharedWeightGradient {
    geometry: ConvGeometry,
    dims: usize,
    bias: bool,
}

impl Operator for UnsharedWeightGradient {
    fn name(&self) -> &'static str {
        "UnsharedWeightGradient"
    }

    fn infer(&self, _: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let bias = self.bias.then(|| bias_shape(&self.geometry, self.dims));
        Ok([weight_shape(&self.geometry, self.dims)].into_iter().chain(bias).collect())
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered> {
        let passes = Passes::new(&ConvGeometry { batch: shapes.inputs[0][0], ..self.geometry });
        let scratch = passes.scratch_len(threads);
        Ok(Lowered::new(move |cpu, io| {
            let (x, dy) = (io.inputs.get(0), io.inputs.get(1));
            let (weight, bias) = io.outputs.split_at_mut(1);
            passes.weight_gradient(cpu, x, dy, &mut weight[0], io.scratch);
            if let Some(bias) = bias.first_mut() {
                passes.bias_gradient(cpu, dy, bias);
            }
        })
        .scratch(scratch))
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        ConvGeometry { batch: shapes.inputs[0][0], ..self.geometry }.macs()
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let (x, weight) = (import.input(0)?, import.input(1)?);
    let (shape, weight_shape) = (import.shape(x).to_vec(), import.shape(weight).to_vec());
    let dims = shape.len().max(2) - 2;
    let kernel = weight_shape.get(dims + 2..).unwrap_or_default();
    let window = import.window(kernel, &shape[2.min(shape.len())..], dims)?;
    let op = Unshared { window, groups: import.int_at_least("group", 1, 1)? };
    let inputs: Vec<_> = [Some(x), Some(weight), import.optional(2)?].into_iter().flatten().collect();
    import.push(op, &inputs)
}

pub(super) fn examples() -> Vec<Example> {
    let window = |kernel, stride, dilation, padding| Window { kernel, stride, dilation, padding };
    let plain = window([1, 3, 2], [1, 1, 1], [1, 1, 1], [(0, 0), (1, 1), (0, 1)]);
    let strided = window([1, 2, 3], [1, 2, 3], [1, 2, 1], [(0, 0), (0, 2), (1, 0)]);
    let line = window([1, 1, 4], [1, 1, 2], [1, 1, 1], [(0, 0), (0, 0), (2, 1)]);
    let volume = window([2, 3, 1], [1, 2, 1], [1, 1, 1], [(1, 0), (1, 1), (0, 0)]);
    let example = |window, groups, x: &[usize], weight: &[usize]| {
        let bias = [&[weight[x.len() - 2]], &weight[..x.len() - 2]].concat();
        Example::new(Unshared { window, groups }, [x, weight, &bias])
            .domain(1, Domain::Unit)
            .domain(2, Domain::Unit)
    };
    vec![
        example(plain, 1, &[2, 3, 5, 4], &[5, 4, 5, 3, 3, 2]),
        Example::new(Unshared { window: strided, groups: 2 }, [&[2, 4, 7, 8], &[4, 3, 6, 2, 2, 3]])
            .domain(1, Domain::Unit),
        example(plain, 3, &[1, 3, 5, 4], &[5, 4, 3, 1, 3, 2]),
        example(line, 1, &[3, 9, 9], &[5, 11, 9, 4]),
        example(volume, 1, &[2, 2, 3, 5, 2], &[3, 3, 2, 3, 2, 2, 3, 1]),
    ]
}
