//! Elementwise nonlinearities: ReLU and its kin, sigmoid, tanh, Swish, GELU, ELU and its kin, softplus, Mish, and more.

use std::ops::RangeInclusive;

use svertka_kernels::activation::{self, Activation, Saved};

use super::{Example, Layouts, Lowered, Operator, Shapes};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// An elementwise nonlinearity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activate(pub Activation);

impl Activate {
    /// The operator of the gradient: of the output's gradient, and of what [`Activation::gradient_reads`] says.
    pub(super) fn backward(self) -> impl Operator + 'static {
        ActivateGradient(self.0)
    }
}

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
            Activation::Gelu | Activation::GeluTanh => "Gelu",
            Activation::Swish { .. } => "Swish",
            Activation::Elu { .. } => "Elu",
            Activation::Selu { .. } => "Selu",
            Activation::Celu { .. } => "Celu",
            Activation::Softplus => "Softplus",
            Activation::LogSigmoid => "LogSigmoid",
            Activation::Softsign => "Softsign",
            Activation::Mish => "Mish",
            Activation::ThresholdedRelu { .. } => "ThresholdedRelu",
            Activation::Shrink { .. } => "Shrink",
        }
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        if matches!(self.0, Activation::Celu { alpha: 0.0 }) {
            return Err(Error::argument("Celu", "alpha", "any number but zero", 0));
        }
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
        let dx = context.push(self.backward(), &[dy, saved])?;
        context.add(0, dx[0])
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let attributes = Attributes::new();
        let attributes = match self.0 {
            Activation::LeakyRelu { alpha }
            | Activation::Elu { alpha }
            | Activation::Celu { alpha }
            | Activation::ThresholdedRelu { alpha } => attributes.float("alpha", alpha),
            Activation::HardSigmoid { alpha, beta } => attributes.float("alpha", alpha).float("beta", beta),
            Activation::Selu { alpha, gamma } => attributes.float("alpha", alpha).float("gamma", gamma),
            Activation::Shrink { bias, lambd } => attributes.float("bias", bias).float("lambd", lambd),
            Activation::GeluTanh => attributes.string("approximate", "tanh"),
            Activation::Swish { alpha } => {
                export.needs_opset(24);
                attributes.float("alpha", alpha)
            }
            Activation::Clip { min, max } => {
                // A bound that is infinite is no bound.
                let bounds = [("min", min), ("max", max)].map(|(name, bound)| {
                    if bound.is_infinite() { String::new() } else { export.constant(name, &[], &[bound]) }
                });
                export.node_with("Clip", &[&[export.input(0)], &bounds[..]].concat(), attributes);
                return Ok(());
            }
            Activation::LogSigmoid => {
                export.own_node("LogSigmoid", attributes);
                return Ok(());
            }
            Activation::Silu => {
                // `Swish` came with opset 24; every older runtime knows this pair.
                let gate = export.inner("Sigmoid", &[export.input(0)], Attributes::new());
                export.node_with("Mul", &[export.input(0), gate], attributes);
                return Ok(());
            }
            _ => attributes,
        };
        export.node(self.name(), attributes);
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
    let float = |name, default| import.float(name, default);
    let kind = match import.op_type() {
        "Relu" => Activation::Relu,
        "LeakyRelu" => Activation::LeakyRelu { alpha: float("alpha", 0.01)? },
        "Sigmoid" => Activation::Sigmoid,
        "Tanh" => Activation::Tanh,
        "HardSwish" => Activation::HardSwish,
        "HardSigmoid" => Activation::HardSigmoid { alpha: float("alpha", 0.2)?, beta: float("beta", 0.5)? },
        "Gelu" => match import.string("approximate", "none")?.as_str() {
            "none" => Activation::Gelu,
            "tanh" => Activation::GeluTanh,
            other => return Err(Error::unsupported("Gelu", format!("approximate = {other:?}"))),
        },
        "Swish" => match float("alpha", 1.0)? {
            1.0 => Activation::Silu,
            alpha => Activation::Swish { alpha },
        },
        "Elu" => Activation::Elu { alpha: float("alpha", 1.0)? },
        "Selu" => {
            // The constants that the first version of the operator had.
            let [alpha, gamma] = if import.opset() < 6 { [1.6732, 1.0507] } else { [1.673_263_2, 1.050_701] };
            Activation::Selu { alpha: float("alpha", alpha)?, gamma: float("gamma", gamma)? }
        }
        "Celu" => Activation::Celu { alpha: float("alpha", 1.0)? },
        "Softplus" => Activation::Softplus,
        "LogSigmoid" => Activation::LogSigmoid,
        "Softsign" => Activation::Softsign,
        "Mish" => Activation::Mish,
        "ThresholdedRelu" => Activation::ThresholdedRelu { alpha: float("alpha", 1.0)? },
        "Shrink" => Activation::Shrink { bias: float("bias", 0.0)?, lambd: float("lambd", 0.5)? },
        other => return Err(Error::unsupported(other, "this activation")),
    };
    let x = import.input(0)?;
    import.push(Activate(kind), &[x])
}

/// `Clip`: bounds are attributes before opset 11, then constant inputs; one that is missing is none.
pub(super) fn import_clip(import: &mut Import<'_>) -> Result<()> {
    let mut bounds = [import.float("min", f32::NEG_INFINITY)?, import.float("max", f32::INFINITY)?];
    for (i, bound) in bounds.iter_mut().enumerate() {
        if import.has_input(i + 1) {
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
        Activation::GeluTanh,
        Activation::Clip { min: f32::NEG_INFINITY, max: 2.5 },
        Activation::Swish { alpha: 1.7 },
        Activation::Elu { alpha: 0.7 },
        Activation::SELU,
        Activation::Celu { alpha: 2.0 },
        Activation::Softplus,
        Activation::LogSigmoid,
        Activation::Softsign,
        Activation::Mish,
        Activation::ThresholdedRelu { alpha: 2.5 },
        Activation::Shrink { bias: 1.5, lambd: 2.5 },
    ];
    kinds.map(|kind| Example::new(Activate(kind), [&[2, 3, 5, 4]])).into()
}
