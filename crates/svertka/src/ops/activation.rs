//! Elementwise nonlinearities: ReLU and its kin, sigmoid, tanh, SiLU, HardSwish, GELU.

use std::ops::RangeInclusive;

use svertka_kernels::activation::{self, Activation, Saved};

use super::{Example, Layouts, Lowered, Operator, Shapes};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// An elementwise nonlinearity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activate(pub Activation);

impl Operator for Activate {
    fn name(&self) -> &'static str {
        match self.0 {
            Activation::Relu => "Relu",
            Activation::Clip { .. } => "Clip",
            Activation::LeakyRelu { .. } => "LeakyRelu",
            Activation::Sigmoid => "Sigmoid",
            Activation::Tanh => "Tanh",
            Activation::Silu => "Swish",
            Activation::HardSwish => "HardSwish",
            Activation::HardSigmoid { .. } => "HardSigmoid",
            Activation::Gelu => "Gelu",
        }
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Same
    }

    fn lower(&self, _: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let kind = self.0;
        Ok(Lowered::new(move |cpu, io| activation::forward(cpu, kind, io.first(), &mut io.outputs[0]))
            .in_place())
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let saved = match self.0.gradient_reads() {
            Saved::Input => context.input(0),
            Saved::Output => context.output(0),
        };
        let dx = context.push(ActivateGradient(self.0), &[dy, saved])?;
        context.add(0, dx[0])
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        match self.0 {
            Activation::LeakyRelu { alpha } => {
                export.node("LeakyRelu", Attributes::new().float("alpha", alpha))
            }
            Activation::HardSigmoid { alpha, beta } => {
                export.node("HardSigmoid", Attributes::new().float("alpha", alpha).float("beta", beta));
            }
            Activation::Clip { min, max } => {
                let bounds = [export.constant("min", &[], &[min]), export.constant("max", &[], &[max])];
                export.node_with("Clip", &[&[export.input(0)], &bounds[..]].concat(), Attributes::new());
            }
            Activation::Silu => {
                // `Swish` came with opset 24; every older runtime knows this pair.
                let gate = export.inner("Sigmoid", &[export.input(0)], Attributes::new());
                export.node_with("Mul", &[export.input(0), gate], Attributes::new());
            }
            _ => export.node(self.name(), Attributes::new()),
        }
        Ok(())
    }
}

/// Inputs: gradient of the output, and the input or output of the activation, whichever its derivative needs.
#[derive(Clone, Copy, Debug)]
struct ActivateGradient(Activation);

impl Operator for ActivateGradient {
    fn name(&self) -> &'static str {
        "ActivateGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Same
    }

    fn lower(&self, _: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let kind = self.0;
        Ok(Lowered::new(move |cpu, io| {
            activation::backward(cpu, kind, io.inputs.get(1), io.first(), &mut io.outputs[0]);
        })
        .in_place())
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let kind = match import.op_type() {
        "Relu" => Activation::Relu,
        "LeakyRelu" => Activation::LeakyRelu { alpha: import.float("alpha", 0.01)? },
        "Sigmoid" => Activation::Sigmoid,
        "Tanh" => Activation::Tanh,
        "HardSwish" => Activation::HardSwish,
        "HardSigmoid" => {
            Activation::HardSigmoid { alpha: import.float("alpha", 0.2)?, beta: import.float("beta", 0.5)? }
        }
        "Gelu" => match import.string("approximate", "none")?.as_str() {
            "none" => Activation::Gelu,
            other => return Err(Error::unsupported("Gelu", format!("approximate = {other:?}"))),
        },
        other => return Err(Error::unsupported(other, "this activation")),
    };
    let x = import.input(0)?;
    import.push(Activate(kind), &[x])
}

/// `Clip`: bounds are attributes before opset 11, then constant inputs.
pub(super) fn import_clip(import: &mut Import<'_>) -> Result<()> {
    let mut bounds = [import.float("min", f32::MIN)?, import.float("max", f32::MAX)?];
    for (i, bound) in bounds.iter_mut().enumerate() {
        if import.optional(i + 1)?.is_some() {
            let tensor = import.constant(i + 1)?;
            *bound = tensor.data().first().copied().unwrap_or(*bound);
        }
    }
    let x = import.input(0)?;
    import.push(Activate(Activation::Clip { min: bounds[0], max: bounds[1] }), &[x])
}

pub(super) fn examples() -> Vec<Example> {
    let kinds = [
        Activation::Relu,
        Activation::Clip { min: 0.0, max: 6.0 },
        Activation::LeakyRelu { alpha: 0.1 },
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Silu,
        Activation::HardSwish,
        Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Activation::Gelu,
    ];
    kinds.map(|kind| Example::new(Activate(kind), [&[2, 3, 5, 4]])).into()
}
