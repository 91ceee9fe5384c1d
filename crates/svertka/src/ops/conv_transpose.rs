//! Transposed convolution (ONNX `ConvTranspose`, `torch.nn.ConvTranspose1d` to `3d`) over one to three spatial axes.
//!
//! Each input cell adds a window, its values times the weight: `y[n, o, p * stride + t * dilation - padding] += weight[i, o, t] * x[n, i, p]`,
//! where `i` runs over the channels of the group of `o`. What padding cuts off is lost. It is the input gradient of the convolution that
//! leads from `y` to `x` with the same weight (Dumoulin and Visin, 2016, chapter 4), so its own gradients are that convolution, and its weight
//! gradient with `x` and `dy` in each other's place.

use std::ops::RangeInclusive;

use svertka_kernels::conv::{Algorithm, Forward, InputGradient, WeightGradient};
use svertka_kernels::geometry::{ConvGeometry, Window};
use svertka_kernels::norm::{channel_sums, channel_sums_scratch_len};

use super::{
    Domain, Example, Field, Layouts, Lowered, Operator, Role, Shapes, activation, conv, expect_activation,
    expect_shape, planes, spatial,
};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// Transposed convolution. Inputs: activation `N x C x spatial`, weight `C x out / groups x kernel`, and maybe bias `out`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvTranspose {
    /// Kernel size, stride (of the windows in the output), dilation, and padding: cells cropped from the output.
    pub window: Window,
    /// Cells more at the far ends, which choose among the output sizes that a stride leads from; below stride or dilation.
    pub output_padding: [usize; 3],
    /// Groups of channels.
    pub groups: usize,
}

impl ConvTranspose {
    /// Of the convolution that leads from the output to the input.
    pub(super) fn geometry(&self, x: &[usize], weight: &[usize]) -> Result<ConvGeometry> {
        expect_activation(self, "input", x)?;
        let out = weight.get(1).copied().unwrap_or(0);
        let geometry = ConvGeometry::transposed(
            x[0],
            x[1],
            out.saturating_mul(self.groups),
            self.groups,
            spatial(x),
            self.window,
            self.output_padding,
        )
        .map_err(Error::geometry("ConvTranspose"))?;
        expect_shape(self, "weight", &activation(x[1], out, self.window.kernel, x), weight)?;
        Ok(geometry)
    }
}

impl Operator for ConvTranspose {
    fn name(&self) -> &'static str {
        "ConvTranspose"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        2..=3
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let geometry = self.geometry(inputs[0], inputs[1])?;
        if let Some(bias) = inputs.get(2) {
            expect_shape(self, "bias", &[geometry.in_channels], bias)?;
        }
        Ok(vec![activation(geometry.batch, geometry.in_channels, geometry.input, inputs[0])])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered> {
        let plan = InputGradient::with_accuracy(
            &self.geometry(shapes.inputs[0], shapes.inputs[1])?,
            shapes.accuracy,
        );
        Ok(conv::lower_input_gradient(plan, threads, conv::After::of(shapes)))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let shape = context.shape(context.input(0)).to_vec();
        let weight_shape = context.shape(context.input(1)).to_vec();
        let geometry = self.geometry(&shape, &weight_shape)?;
        let weight = ConvTransposeWeightGradient { geometry, weight_shape, bias: context.needs(2) };
        context.add_layer(dy, ConvTransposeInputGradient { geometry, shape }, weight)
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        self.geometry(shapes.inputs[0], shapes.inputs[1]).map_or(0, |geometry| geometry.macs())
    }

    fn field(&self) -> Field {
        Field::Transposed(self.window)
    }

    fn role(&self, input: usize) -> Role {
        if input == 1 { Role::Weight } else { Role::Bias }
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let dims = export.shape_of_input(1).len() - 2;
        let attributes = Attributes::window(&self.window, dims)
            .dilations(&self.window, dims)
            .ints("output_padding", &self.output_padding[3 - dims..])
            .int("group", self.groups as i64);
        export.node("ConvTranspose", attributes);
        Ok(())
    }
}

/// The gradient of the input; inputs: gradient of the output, weight.
#[derive(Clone, Debug)]
struct ConvTransposeInputGradient {
    geometry: ConvGeometry,
    shape: Vec<usize>,
}

impl Operator for ConvTransposeInputGradient {
    fn name(&self) -> &'static str {
        "ConvTransposeInputGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![[&inputs[0][..1], &self.shape[1..]].concat()])
    }

    fn layouts(&self, shapes: &Shapes<'_>) -> Layouts {
        let inputs: &[usize] =
            if Algorithm::choose(&conv::of_batch(&self.geometry, shapes), shapes.accuracy).reads_plain() {
                &[]
            } else {
                &[0]
            };
        Layouts::Blocked { inputs, outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered> {
        let plan = Forward::with_accuracy(&conv::of_batch(&self.geometry, shapes), shapes.accuracy);
        Ok(conv::lower_forward(plan, threads, conv::After::default()))
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        conv::of_batch(&self.geometry, shapes).macs()
    }
}

/// The gradients of weight and bias; inputs: input, gradient of the output.
#[derive(Clone, Debug)]
struct ConvTransposeWeightGradient {
    geometry: ConvGeometry,
    weight_shape: Vec<usize>,
    bias: bool,
}

impl Operator for ConvTransposeWeightGradient {
    fn name(&self) -> &'static str {
        "ConvTransposeWeightGradient"
    }

    fn infer(&self, _: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let bias = self.bias.then(|| vec![self.geometry.in_channels]);
        Ok([self.weight_shape.clone()].into_iter().chain(bias).collect())
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0, 1], outputs: &[] }
    }

    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered> {
        // Blocked, as the sums for the bias want it.
        let plan = WeightGradient::of_blocked(&conv::of_batch(&self.geometry, shapes), shapes.accuracy);
        let planes = planes(shapes.inputs[1]);
        let scratch = plan.scratch_len(threads).max(channel_sums_scratch_len(planes));
        Ok(Lowered::new(move |cpu, io| {
            let (x, dy) = (io.inputs.get(0), io.inputs.get(1));
            let (weight, bias) = io.outputs.split_at_mut(1);
            plan.run(cpu, dy, x, &mut weight[0], None, io.scratch);
            if let Some(bias) = bias.first_mut() {
                channel_sums(cpu, planes, dy, bias, io.scratch);
            }
        })
        .scratch(scratch))
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        conv::of_batch(&self.geometry, shapes).macs()
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let (x, weight) = (import.input(0)?, import.input(1)?);
    let (shape, weight_shape) = (import.shape(x).to_vec(), import.shape(weight).to_vec());
    let dims = shape.len().max(2) - 2;
    let mut window =
        import.window(&weight_shape[2.min(weight_shape.len())..], &shape[2.min(shape.len())..], dims)?;
    let axes = |import: &Import<'_>, name: &'static str, fill: usize| {
        let Some(sizes) = import.sizes(name)? else { return Ok(None) };
        let mut all = [fill; 3];
        if sizes.len() != dims {
            let expected = format!("{dims} sizes");
            return Err(Error::argument(import.op_type(), name, expected, format!("{sizes:?}")));
        }
        all[3 - dims..].copy_from_slice(&sizes);
        Ok(Some(all))
    };
    let mut output_padding = axes(import, "output_padding", 0)?.unwrap_or_default();
    let (input, auto_pad) = (spatial(&shape), import.string("auto_pad", "NOTSET")?);
    let same = || std::array::from_fn(|axis| input[axis].saturating_mul(window.stride[axis]));
    let size = axes(import, "output_shape", 1)?.or_else(|| auto_pad.starts_with("SAME").then(same));
    if let Some(size) = size {
        (window.padding, output_padding) =
            window.transposed_padding(input, size, output_padding, auto_pad == "SAME_UPPER");
    }
    let op = ConvTranspose { window, output_padding, groups: import.int_at_least("group", 1, 1)? };
    let inputs: Vec<_> = [Some(x), Some(weight), import.optional(2)?].into_iter().flatten().collect();
    import.push(op, &inputs)
}

pub(super) fn examples() -> Vec<Example> {
    let window = |kernel, stride, dilation, padding| Window { kernel, stride, dilation, padding };
    let plain = window([1, 3, 2], [1, 1, 1], [1, 1, 1], [(0, 0), (1, 1), (0, 1)]);
    let strided = window([1, 2, 3], [1, 2, 3], [1, 2, 1], [(0, 0), (0, 2), (1, 0)]);
    let line = window([1, 1, 4], [1, 1, 2], [1, 1, 1], [(0, 0), (0, 0), (2, 1)]);
    let volume = window([2, 3, 1], [1, 2, 1], [1, 1, 1], [(1, 0), (1, 1), (0, 0)]);
    let example = |window, output_padding, groups, x: &[usize], weight: &[usize]| {
        let op = ConvTranspose { window, output_padding, groups };
        Example::new(op, [x, weight, &[weight[1] * groups]]).domain(1, Domain::Unit).domain(2, Domain::Unit)
    };
    vec![
        example(plain, [0; 3], 1, &[2, 3, 5, 4], &[3, 5, 3, 2]),
        Example::new(
            ConvTranspose { window: strided, output_padding: [0, 1, 2], groups: 2 },
            [&[2, 6, 4, 3], &[6, 2, 2, 3]],
        )
        .domain(1, Domain::Unit),
        example(strided, [0, 1, 0], 3, &[1, 3, 5, 4], &[3, 1, 2, 3]),
        example(line, [0, 0, 1], 1, &[3, 9, 5], &[9, 2, 4]),
        example(volume, [0, 1, 0], 1, &[2, 2, 2, 3, 2], &[2, 11, 2, 3, 1]),
    ]
}
