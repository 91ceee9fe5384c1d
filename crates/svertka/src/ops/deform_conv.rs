//! Deformable convolution (ONNX `DeformConv`; Dai et al., "Deformable Convolutional Networks", 2017; with a mask Zhu et al., "Deformable ConvNets v2", 2018)
//! over two spatial axes.
//!
//! `y[n, o, p] = bias[o] + sum over i, t of weight[o, i, t] * mask[n, t, p] * x[n, g(o) + i, p * stride + t * dilation - padding + offset[n, t, p]]`:
//! a [`Conv`](super::Conv) in which an offset, one for each tap and output pixel, moves what is read. Between cells it is interpolated in both
//! directions; outside there are zeros.

use std::ops::RangeInclusive;

use svertka_kernels::deform_conv::{
    DeformGeometry, Offsets, forward, forward_scratch_len, input_backward, input_backward_scratch_len,
    offset_backward, offset_backward_scratch_len, weight_backward, weight_backward_scratch_len,
};
use svertka_kernels::geometry::{ConvGeometry, Window, checked_product};

use super::{
    Domain, Example, Field, Inputs, Layouts, Lowered, Operator, Role, Shapes, activation, expect_shape,
    spatial,
};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// Pixels that one channel may have.
const MAX_PLANE: usize = 1 << 31;

/// Deformable convolution. Inputs: activation `N x C x H x W`, weight `out x C / groups x kernel`, offset
/// `N x offset_groups * taps * 2 x output` (for each tap first vertical, then horizontal), then bias `out` and mask
/// `N x offset_groups * taps x output` where the attributes say so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeformConv {
    /// Kernel size, stride, dilation and padding.
    pub window: Window,
    /// Groups of channels.
    pub groups: usize,
    /// Groups of input channels with offsets and masks of their own.
    pub offset_groups: usize,
    /// Whether there is a bias.
    pub bias: bool,
    /// Whether there is a mask.
    pub mask: bool,
}

impl DeformConv {
    fn geometry(&self, x: &[usize], weight: &[usize]) -> Result<DeformGeometry> {
        let &[batch, in_channels, _, _] = x else {
            let received = format!("shape {x:?}");
            return Err(Error::argument(self.name(), "input", "N x C x H x W", received));
        };
        let out_channels = weight.first().copied().unwrap_or(0);
        let conv = ConvGeometry::new(batch, in_channels, out_channels, self.groups, spatial(x), self.window)
            .map_err(Error::geometry(self.name()))?;
        expect_shape(
            self,
            "weight",
            &activation(out_channels, in_channels / self.groups, self.window.kernel, x),
            weight,
        )?;
        if self.offset_groups == 0 || !in_channels.is_multiple_of(self.offset_groups) {
            let expected = format!("a divisor of in_channels = {in_channels}");
            return Err(Error::argument(self.name(), "offset_groups", expected, self.offset_groups));
        }
        // The kernel keeps indices of cells in 32 bits.
        if x[2].saturating_mul(x[3]) > MAX_PLANE {
            let expected = format!("at most {MAX_PLANE} pixels");
            return Err(Error::argument(self.name(), "input", expected, format!("{} x {}", x[2], x[3])));
        }
        let geometry = DeformGeometry { conv, offset_groups: self.offset_groups };
        let moved = [2, batch, self.offset_groups, geometry.taps(), geometry.pixels()];
        checked_product("offset", &moved).map_err(Error::geometry(self.name()))?;
        Ok(geometry)
    }

    /// Which input the mask is, where there is one.
    fn mask_input(&self) -> Option<usize> {
        self.mask.then_some(3 + usize::from(self.bias))
    }
}

/// Offset and mask among a kernel's inputs.
fn offsets<'a>(inputs: &Inputs<'a>, offset: usize, mask: Option<usize>) -> Offsets<'a> {
    Offsets { offset: inputs.get(offset), mask: mask.map(|mask| inputs.get(mask)) }
}

impl Operator for DeformConv {
    fn name(&self) -> &'static str {
        "DeformConv"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        let count = 3 + usize::from(self.bias) + usize::from(self.mask);
        count..=count
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let geometry = self.geometry(inputs[0], inputs[1])?;
        let ConvGeometry { batch, out_channels, output, .. } = geometry.conv;
        let moved = self.offset_groups * geometry.taps();
        let shape = |channels| activation(batch, channels, output, inputs[0]);
        expect_shape(self, "offset", &shape(2 * moved), inputs[2])?;
        if self.bias {
            expect_shape(self, "bias", &[out_channels], inputs[3])?;
        }
        if let Some(mask) = self.mask_input() {
            expect_shape(self, "mask", &shape(moved), inputs[mask])?;
        }
        Ok(vec![shape(out_channels)])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered> {
        let (op, geometry) = (*self, self.geometry(shapes.inputs[0], shapes.inputs[1])?);
        Ok(Lowered::new(move |cpu, io| {
            let (x, weight) = (io.inputs.get(0), io.inputs.get(1));
            let at = offsets(&io.inputs, 2, op.mask_input());
            let bias = op.bias.then(|| io.inputs.get(3));
            forward(cpu, &geometry, x, weight, at, bias, &mut io.outputs[0], io.scratch);
        })
        .scratch(forward_scratch_len(&geometry, threads)))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let [x, weight, offset] = [0, 1, 2].map(|i| context.input(i));
        let (shape, weight_shape) = (context.shape(x).to_vec(), context.shape(weight).to_vec());
        let geometry = self.geometry(&shape, &weight_shape)?;
        let mask = self.mask_input();
        let with_mask = |inputs: &[_], context: &GradientContext<'_>| {
            inputs.iter().copied().chain(mask.map(|mask| context.input(mask))).collect::<Vec<_>>()
        };
        if context.needs(0) {
            let inputs = with_mask(&[dy, weight, offset], context);
            let dx = context.push(DeformConvInputGradient { geometry, shape }, &inputs)?;
            context.add(0, dx[0])?;
        }
        let bias = self.bias && context.needs(3);
        if context.needs(1) || bias {
            let inputs = with_mask(&[x, dy, offset], context);
            let gradients =
                context.push(DeformConvWeightGradient { geometry, weight_shape, bias }, &inputs)?;
            context.add(1, gradients[0])?;
            if bias {
                context.add(3, gradients[1])?;
            }
        }
        if context.needs(2) || mask.is_some_and(|mask| context.needs(mask)) {
            let inputs = with_mask(&[x, dy, offset, weight], context);
            let gradients = context.push(DeformConvOffsetGradient { geometry }, &inputs)?;
            context.add(2, gradients[0])?;
            if let Some(mask) = mask {
                context.add(mask, gradients[1])?;
            }
        }
        Ok(())
    }

    /// Those of the dense product; four more for each number read are those of its place.
    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        self.geometry(shapes.inputs[0], shapes.inputs[1]).map_or(0, |geometry| geometry.conv.macs())
    }

    /// The window with offsets of zero.
    fn field(&self) -> Field {
        Field::Window(self.window)
    }

    fn role(&self, input: usize) -> Role {
        match input {
            1 => Role::Weight,
            3 if self.bias => Role::Bias,
            _ => Role::Constant,
        }
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let mut inputs: Vec<String> = (0..3).map(|i| export.input(i)).collect();
        inputs.push(if self.bias { export.input(3) } else { String::new() });
        inputs.extend(self.mask_input().map(|mask| export.input(mask)));
        let attributes = Attributes::window(&self.window, 2)
            .dilations(&self.window, 2)
            .int("group", self.groups as i64)
            .int("offset_group", self.offset_groups as i64);
        export.node_with("DeformConv", &inputs, attributes);
        Ok(())
    }
}

fn of_batch(geometry: DeformGeometry, batch: usize) -> DeformGeometry {
    DeformGeometry { conv: ConvGeometry { batch, ..geometry.conv }, ..geometry }
}

/// The gradient of the input; inputs: gradient of the output, weight, offset, and maybe mask.
#[derive(Clone, Debug)]
struct DeformConvInputGradient {
    geometry: DeformGeometry,
    shape: Vec<usize>,
}

impl Operator for DeformConvInputGradient {
    fn name(&self) -> &'static str {
        "DeformConvInputGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![[&inputs[0][..1], &self.shape[1..]].concat()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered> {
        let geometry = of_batch(self.geometry, shapes.inputs[0][0]);
        Ok(Lowered::new(move |cpu, io| {
            let (dy, weight) = (io.inputs.get(0), io.inputs.get(1));
            let at = offsets(&io.inputs, 2, (io.inputs.len() == 4).then_some(3));
            input_backward(cpu, &geometry, weight, at, dy, &mut io.outputs[0], io.scratch);
        })
        .scratch(input_backward_scratch_len(&geometry, threads)))
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        of_batch(self.geometry, shapes.inputs[0][0]).conv.macs()
    }
}

/// The gradients of weight and bias; inputs: input, gradient of the output, offset, and maybe mask.
#[derive(Clone, Debug)]
struct DeformConvWeightGradient {
    geometry: DeformGeometry,
    weight_shape: Vec<usize>,
    bias: bool,
}

impl Operator for DeformConvWeightGradient {
    fn name(&self) -> &'static str {
        "DeformConvWeightGradient"
    }

    fn infer(&self, _: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let bias = self.bias.then(|| vec![self.geometry.conv.out_channels]);
        Ok([self.weight_shape.clone()].into_iter().chain(bias).collect())
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered> {
        let geometry = of_batch(self.geometry, shapes.inputs[0][0]);
        Ok(Lowered::new(move |cpu, io| {
            let (x, dy) = (io.inputs.get(0), io.inputs.get(1));
            let at = offsets(&io.inputs, 2, (io.inputs.len() == 4).then_some(3));
            let (weight, bias) = io.outputs.split_at_mut(1);
            let bias = bias.first_mut().map(|bias| &mut **bias);
            weight_backward(cpu, &geometry, x, at, dy, &mut weight[0], bias, io.scratch);
        })
        .scratch(weight_backward_scratch_len(&geometry, threads)))
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        of_batch(self.geometry, shapes.inputs[0][0]).conv.macs()
    }
}

/// The gradients of offset and mask; inputs: input, gradient of the output, offset, weight, and maybe mask.
#[derive(Clone, Debug)]
struct DeformConvOffsetGradient {
    geometry: DeformGeometry,
}

impl Operator for DeformConvOffsetGradient {
    fn name(&self) -> &'static str {
        "DeformConvOffsetGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok([2]
            .into_iter()
            .chain((inputs.len() == 5).then_some(4))
            .map(|like| inputs[like].to_vec())
            .collect())
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered> {
        let geometry = of_batch(self.geometry, shapes.inputs[0][0]);
        Ok(Lowered::new(move |cpu, io| {
            let [x, dy, weight] = [0, 1, 3].map(|i| io.inputs.get(i));
            let at = offsets(&io.inputs, 2, (io.inputs.len() == 5).then_some(4));
            let (offset, mask) = io.outputs.split_at_mut(1);
            let mask = mask.first_mut().map(|mask| &mut **mask);
            offset_backward(cpu, &geometry, x, weight, at, dy, &mut offset[0], mask, io.scratch);
        })
        .scratch(offset_backward_scratch_len(&geometry, threads)))
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        of_batch(self.geometry, shapes.inputs[0][0]).conv.macs()
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let [x, weight, offset] = [import.input(0)?, import.input(1)?, import.input(2)?];
    let (bias, mask) = (import.optional(3)?, import.optional(4)?);
    let (shape, kernel) = (import.shape(x).to_vec(), import.shape(weight).to_vec());
    if shape.len() != 4 || kernel.len() != 4 {
        return Err(Error::unsupported(
            "DeformConv",
            format!("an input of shape {shape:?}, weight {kernel:?}"),
        ));
    }
    let op = DeformConv {
        window: import.window(&kernel[2..], &shape[2..], 2)?,
        groups: import.int_at_least("group", 1, 1)?,
        offset_groups: import.int_at_least("offset_group", 1, 1)?,
        bias: bias.is_some(),
        mask: mask.is_some(),
    };
    let inputs: Vec<_> = [x, weight, offset].into_iter().chain(bias).chain(mask).collect();
    import.push(op, &inputs)
}

pub(super) fn examples() -> Vec<Example> {
    let window = |kernel, stride, dilation, padding| Window { kernel, stride, dilation, padding };
    let plain = window([1, 3, 2], [1, 1, 1], [1, 1, 1], [(0, 0), (1, 1), (0, 1)]);
    let strided = window([1, 2, 3], [1, 2, 3], [1, 2, 1], [(0, 0), (0, 2), (1, 0)]);
    let large = window([1, 3, 3], [1, 1, 1], [1, 1, 1], [(0, 0), (0, 0), (0, 0)]);
    // Between one and two fifths from the next cell, where the derivative by an offset has no jump.
    let moved = |example: Example, mask: Option<usize>| {
        let example = example.domain(1, Domain::Unit).domain(2, Domain::Positive);
        mask.into_iter().fold(example, |example, mask| example.domain(mask, Domain::Positive))
    };
    let op =
        |window, groups, offset_groups, bias, mask| DeformConv { window, groups, offset_groups, bias, mask };
    vec![
        moved(
            Example::new(
                op(plain, 1, 1, true, true),
                [&[2, 3, 5, 4], &[5, 3, 3, 2], &[2, 12, 5, 4], &[5], &[2, 6, 5, 4]],
            ),
            Some(4),
        ),
        moved(
            Example::new(
                op(strided, 2, 2, false, true),
                [&[2, 4, 7, 8], &[6, 2, 2, 3], &[2, 24, 4, 3], &[2, 12, 4, 3]],
            ),
            Some(3),
        ),
        // More rows than a block holds, and groups of offsets that the groups of channels cut.
        moved(
            Example::new(
                op(large, 2, 3, true, false),
                [&[1, 42, 4, 5], &[2, 21, 3, 3], &[1, 54, 2, 3], &[2]],
            ),
            None,
        ),
        moved(
            Example::new(op(plain, 4, 4, false, false), [&[1, 4, 5, 4], &[4, 1, 3, 2], &[1, 48, 5, 4]]),
            None,
        ),
    ]
}
