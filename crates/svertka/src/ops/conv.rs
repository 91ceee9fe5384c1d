//! Convolution (ONNX `Conv`), cross-correlation as everywhere in the field, over one to three spatial axes.
//!
//! `y[n, o, p] = bias[o] + sum over i, t of weight[o, i, t] * x[n, g(o) + i, p * stride + t * dilation - padding]`, where `i` runs over the
//! channels of the group of `o`. Padding is with zeros; the other kinds are a [`Pad`](super::Pad) before it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use svertka_kernels::activation::Activation;
use svertka_kernels::conv::{Algorithm, Forward, InputGradient, WeightGradient};
use svertka_kernels::epilogue::{Epilogue, Residual};
use svertka_kernels::geometry::{ConvGeometry, Window};

use super::{
    Domain, Example, Field, Io, Layouts, Lowered, Operator, Role, Shapes, activation, expect_activation,
    expect_shape, spatial,
};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::graph::Value;
use crate::onnx::{Attributes, Export, Import};

/// Convolution. Inputs: activation `N x C x spatial`, weight `out x C / groups x kernel`, and maybe bias `out`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv {
    /// Kernel size, stride, dilation and padding.
    pub window: Window,
    /// Groups of channels.
    pub groups: usize,
}

impl Conv {
    pub(super) fn geometry(&self, x: &[usize], weight: &[usize]) -> Result<ConvGeometry> {
        expect_activation(self, "input", x)?;
        let kernel = activation(
            weight.first().copied().unwrap_or(0),
            x[1] / self.groups.max(1),
            self.window.kernel,
            x,
        );
        let geometry = ConvGeometry::new(x[0], x[1], kernel[0], self.groups, spatial(x), self.window)
            .map_err(Error::geometry("Conv"))?;
        expect_shape(self, "weight", &kernel, weight)?;
        Ok(geometry)
    }

    /// Whether the kernel wants the activation plain.
    pub(super) fn reads_plain(&self, shapes: &Shapes<'_>) -> bool {
        let geometry = self.geometry(shapes.inputs[0], shapes.inputs[1]);
        geometry.is_ok_and(|geometry| shapes.algorithm_for(&geometry).reads_plain())
    }
}

impl Operator for Conv {
    fn name(&self) -> &'static str {
        "Conv"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        2..=3
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let geometry = self.geometry(inputs[0], inputs[1])?;
        if let Some(bias) = inputs.get(2) {
            expect_shape(self, "bias", &[geometry.out_channels], bias)?;
        }
        Ok(vec![activation(geometry.batch, geometry.out_channels, geometry.output, inputs[0])])
    }

    fn layouts(&self, shapes: &Shapes<'_>) -> Layouts {
        let inputs: &[usize] = if self.reads_plain(shapes) { &[] } else { &[0] };
        Layouts::Blocked { inputs, outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered> {
        let plan =
            Forward::with_accuracy(&self.geometry(shapes.inputs[0], shapes.inputs[1])?, shapes.accuracy);
        Ok(lower_forward(plan, threads, After::of(shapes)))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let shape = context.shape(context.input(0)).to_vec();
        let weight_shape = context.shape(context.input(1)).to_vec();
        let geometry = self.geometry(&shape, &weight_shape)?;
        let weight = ConvWeightGradient { geometry, weight_shape, bias: context.needs(2) };
        context.add_layer(dy, ConvInputGradient { geometry, shape }, weight)
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        self.geometry(shapes.inputs[0], shapes.inputs[1]).map_or(0, |geometry| geometry.macs())
    }

    fn field(&self) -> Field {
        Field::Window(self.window)
    }

    fn role(&self, input: usize) -> Role {
        if input == 1 { Role::Weight } else { Role::Bias }
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let dims = export.shape_of_input(1).len() - 2;
        let attributes = Attributes::window(&self.window, dims)
            .dilations(&self.window, dims)
            .int("group", self.groups as i64);
        export.node("Conv", attributes);
        Ok(())
    }
}

/// What a convolution's kernel does to its sums. The inputs after activation and weight are bias and residual, as far as there are such.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct After {
    pub(crate) bias: bool,
    pub(crate) residual: bool,
    pub(crate) activation: Option<Activation>,
}

impl After {
    /// Of a layer alone: the bias, if it is there.
    pub(super) fn of(shapes: &Shapes<'_>) -> Self {
        Self { bias: shapes.inputs.len() == 3, ..Self::default() }
    }

    pub(super) fn residual_input(self) -> usize {
        2 + usize::from(self.bias)
    }

    fn epilogue<'a>(self, io: &Io<'a>) -> Epilogue<'a> {
        let residual = |_| match io.in_place {
            true => Residual::InOutput,
            false => Residual::Apart(io.inputs.get(self.residual_input())),
        };
        Epilogue {
            bias: self.bias.then(|| io.inputs.get(2)),
            residual: self.residual.then_some(()).map(residual),
            activation: self.activation,
        }
    }

    /// The residual's memory may become the output's.
    fn place(self, lowered: Lowered) -> Lowered {
        if self.residual { lowered.in_place_of(self.residual_input()) } else { lowered }
    }
}

/// A node that runs `plan` on an activation and a weight, which it wants packed.
pub(super) fn lower_forward(plan: Forward, threads: usize, after: After) -> Lowered {
    let plan = Arc::new(plan);
    let (packer, packed, scratch) = (Arc::clone(&plan), plan.packed_len(), plan.scratch_len(threads));
    let algorithm = plan.algorithm().name();
    let lowered = Lowered::new(move |cpu, io| {
        let epilogue = after.epilogue(io);
        plan.run(cpu, io.inputs.get(0), io.inputs.get(1), &epilogue, &mut io.outputs[0], io.scratch);
    });
    let pack = move |cpu: &_, io: &mut Io<'_>| packer.pack(cpu, io.inputs.get(0), &mut io.outputs[0]);
    after.place(lowered.scratch(scratch).algorithm(algorithm).pack(1, packed, pack))
}

/// As [`lower_forward`] the other way: the transposed convolution.
pub(super) fn lower_input_gradient(plan: InputGradient, threads: usize, after: After) -> Lowered {
    let plan = Arc::new(plan);
    let (packer, packed, scratch) = (Arc::clone(&plan), plan.packed_len(), plan.scratch_len(threads));
    let algorithm = plan.algorithm().name();
    let lowered = Lowered::new(move |cpu, io| {
        let (dy, packed, epilogue) = (io.inputs.get(0), io.inputs.get(1), after.epilogue(io));
        plan.run_with_epilogue(cpu, dy, packed, &epilogue, &mut io.outputs[0], io.scratch);
    });
    let pack = move |cpu: &_, io: &mut Io<'_>| packer.pack(cpu, io.inputs.get(0), &mut io.outputs[0]);
    after.place(lowered.scratch(scratch).algorithm(algorithm).pack(1, packed, pack))
}

/// A gradient's geometry, which is of one picture, for as many as there are.
pub(super) fn of_batch(geometry: &ConvGeometry, shapes: &Shapes<'_>) -> ConvGeometry {
    ConvGeometry { batch: shapes.inputs[0][0], ..*geometry }
}

/// The gradient of the input; inputs: gradient of the output, weight.
#[derive(Clone, Debug)]
struct ConvInputGradient {
    geometry: ConvGeometry,
    shape: Vec<usize>,
}

impl Operator for ConvInputGradient {
    fn name(&self) -> &'static str {
        "ConvInputGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![[&inputs[0][..1], &self.shape[1..]].concat()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered> {
        let plan = InputGradient::with_accuracy(&of_batch(&self.geometry, shapes), shapes.accuracy);
        Ok(lower_input_gradient(plan, threads, After::default()))
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        of_batch(&self.geometry, shapes).macs()
    }
}

/// The gradients of weight and bias; inputs: input, gradient of the output.
#[derive(Clone, Debug)]
struct ConvWeightGradient {
    geometry: ConvGeometry,
    weight_shape: Vec<usize>,
    bias: bool,
}

impl Operator for ConvWeightGradient {
    fn name(&self) -> &'static str {
        "ConvWeightGradient"
    }

    fn infer(&self, _: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let bias = self.bias.then(|| vec![self.geometry.out_channels]);
        Ok([self.weight_shape.clone()].into_iter().chain(bias).collect())
    }

    fn layouts(&self, shapes: &Shapes<'_>) -> Layouts {
        let inputs: &[usize] =
            if Algorithm::choose(&of_batch(&self.geometry, shapes), shapes.accuracy).reads_plain() {
                &[1]
            } else {
                &[0, 1]
            };
        Layouts::Blocked { inputs, outputs: &[] }
    }

    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered> {
        let plan = WeightGradient::with_accuracy(&of_batch(&self.geometry, shapes), shapes.accuracy);
        let scratch = plan.scratch_len(threads);
        Ok(Lowered::new(move |cpu, io| {
            let (weight, bias) = io.outputs.split_at_mut(1);
            let bias = bias.first_mut().map(|bias| &mut **bias);
            plan.run(cpu, io.inputs.get(0), io.inputs.get(1), &mut weight[0], bias, io.scratch);
        })
        .scratch(scratch))
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        of_batch(&self.geometry, shapes).macs()
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let (x, weight) = (import.input(0)?, import.input(1)?);
    let op = of_node(import, x, weight)?;
    let inputs: Vec<_> = [Some(x), Some(weight), import.optional(2)?].into_iter().flatten().collect();
    import.push(op, &inputs)
}

/// The convolution that a node's attributes describe.
pub(super) fn of_node(import: &Import<'_>, x: Value, weight: Value) -> Result<Conv> {
    let (shape, weight_shape) = (import.shape(x), import.shape(weight));
    let dims = shape.len().max(2) - 2;
    let window =
        import.window(&weight_shape[2.min(weight_shape.len())..], &shape[2.min(shape.len())..], dims)?;
    Ok(Conv { window, groups: import.int_at_least("group", 1, 1)? })
}

pub(super) fn examples() -> Vec<Example> {
    let window = |kernel, stride, dilation, padding| Window { kernel, stride, dilation, padding };
    let plain = window([1, 3, 2], [1, 1, 1], [1, 1, 1], [(0, 0), (1, 1), (0, 1)]);
    let strided = window([1, 2, 3], [1, 2, 3], [1, 2, 1], [(0, 0), (0, 2), (1, 0)]);
    let line = window([1, 1, 4], [1, 1, 2], [1, 1, 1], [(0, 0), (0, 0), (2, 1)]);
    let volume = window([2, 3, 1], [1, 2, 1], [1, 1, 1], [(1, 0), (1, 1), (0, 0)]);
    let example = |window, groups, x: &[usize], weight: &[usize]| {
        Example::new(Conv { window, groups }, [x, weight, &weight[..1]])
            .domain(1, Domain::Unit)
            .domain(2, Domain::Unit)
    };
    vec![
        example(plain, 1, &[2, 3, 5, 4], &[5, 3, 3, 2]),
        Example::new(Conv { window: strided, groups: 2 }, [&[2, 4, 7, 8], &[6, 2, 2, 3]])
            .domain(1, Domain::Unit),
        example(plain, 3, &[1, 3, 5, 4], &[3, 1, 3, 2]),
        example(plain, 1, &[2, 9, 4, 3], &[10, 9, 3, 2]),
        example(line, 1, &[3, 2, 9], &[3, 2, 4]),
        example(volume, 1, &[2, 2, 3, 5, 2], &[3, 2, 2, 3, 1]),
    ]
}
