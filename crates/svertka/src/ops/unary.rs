//! Elementwise functions of one value that are no activations (ONNX `Exp`, `Log`, `Sqrt`, `Abs`, `Neg`, `Reciprocal`, `Floor`, `Ceil`, `Round`,
//! `Sign`, `Sin`, `Cos`, and `Cast` to integers).

use std::ops::RangeInclusive;

use svertka_formats::onnx::DataType;
use svertka_kernels::strided;

use super::{Domain, Example, Layouts, Lowered, Operator, Shapes};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryFunction {
    /// `e^x`.
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// Absolute value; the derivative at zero is zero.
    Abs,
    /// `-x`.
    Neg,
    /// `1 / x`.
    Reciprocal,
    /// The whole number below; derivative zero.
    Floor,
    /// The whole number above; derivative zero.
    Ceil,
    /// The nearest whole number, the even one of two; derivative zero.
    Round,
    /// Without what stands after the point: ONNX `Cast` to integers; derivative zero.
    Trunc,
    /// -1, 0 or 1; derivative zero.
    Sign,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
}

impl UnaryFunction {
    const ALL: [Self; 13] = [
        Self::Exp,
        Self::Log,
        Self::Sqrt,
        Self::Abs,
        Self::Neg,
        Self::Reciprocal,
        Self::Floor,
        Self::Ceil,
        Self::Round,
        Self::Trunc,
        Self::Sign,
        Self::Sin,
        Self::Cos,
    ];

    fn value(self, x: f32) -> f32 {
        match self {
            Self::Exp => x.exp(),
            Self::Log => x.ln(),
            Self::Sqrt => x.sqrt(),
            Self::Abs => x.abs(),
            Self::Neg => -x,
            Self::Reciprocal => 1.0 / x,
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
            Self::Round => x.round_ties_even(),
            Self::Trunc => x.trunc(),
            Self::Sign if x == 0.0 => 0.0,
            Self::Sign => x.signum(),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
        }
    }

    fn derivative(self, x: f32) -> f32 {
        match self {
            Self::Exp => x.exp(),
            Self::Log => 1.0 / x,
            Self::Sqrt => 0.5 / x.sqrt(),
            Self::Abs => Self::Sign.value(x),
            Self::Neg => -1.0,
            Self::Reciprocal => -1.0 / (x * x),
            Self::Floor | Self::Ceil | Self::Round | Self::Trunc | Self::Sign => 0.0,
            Self::Sin => x.cos(),
            Self::Cos => -x.sin(),
        }
    }

    /// Whether the value jumps, so that no difference says anything of the derivative.
    fn is_step(self) -> bool {
        matches!(self, Self::Floor | Self::Ceil | Self::Round | Self::Trunc | Self::Sign)
    }
}

/// An elementwise function of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unary(pub UnaryFunction);

impl Operator for Unary {
    fn name(&self) -> &'static str {
        match self.0 {
            UnaryFunction::Exp => "Exp",
            UnaryFunction::Log => "Log",
            UnaryFunction::Sqrt => "Sqrt",
            UnaryFunction::Abs => "Abs",
            UnaryFunction::Neg => "Neg",
            UnaryFunction::Reciprocal => "Reciprocal",
            UnaryFunction::Floor => "Floor",
            UnaryFunction::Ceil => "Ceil",
            UnaryFunction::Round => "Round",
            UnaryFunction::Trunc => "Trunc",
            UnaryFunction::Sign => "Sign",
            UnaryFunction::Sin => "Sin",
            UnaryFunction::Cos => "Cos",
        }
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }
    // Not the blocked layout: its spare lanes must stay finite, and the logarithm of zero is not.
    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, _: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let function = self.0;
        Ok(Lowered::new(move |cpu, io| {
            strided::zip(cpu, [io.inputs.get(0)], &mut io.outputs[0], |[x]| function.value(x));
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let dx = context.push(UnaryGradient(self.0), &[dy, context.input(0)])?;
        context.add(0, dx[0])
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        if self.0 == UnaryFunction::Trunc {
            let whole = export.integers(0);
            export.node_with("Cast", &[whole], Attributes::new().int("to", DataType::Float as i64));
        } else {
            export.node(self.name(), Attributes::new());
        }
        Ok(())
    }
}

/// Inputs: gradient of the output, input.
#[derive(Clone, Copy, Debug)]
struct UnaryGradient(UnaryFunction);

impl Operator for UnaryGradient {
    fn name(&self) -> &'static str {
        "UnaryGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, _: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let function = self.0;
        Ok(Lowered::new(move |cpu, io| {
            let inputs = [io.inputs.get(0), io.inputs.get(1)];
            strided::zip(cpu, inputs, &mut io.outputs[0], |[dy, x]| dy * function.derivative(x));
        }))
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let name = import.op_type();
    let function = UnaryFunction::ALL.into_iter().find(|function| Unary(*function).name() == name);
    let function = function.ok_or_else(|| Error::unsupported(name, "this function"))?;
    let x = import.input(0)?;
    import.push(Unary(function), &[x])
}

/// `Cast`: every number here is an `f32`, so only what stands after the point can be lost.
pub(super) fn import_cast(import: &mut Import<'_>) -> Result<()> {
    let to = import.int("to", 0)?;
    let to = i32::try_from(to).ok().and_then(|to| DataType::try_from(to).ok());
    match to {
        Some(DataType::Float | DataType::Double) => {
            let x = import.input(0)?;
            import.forward(x)
        }
        Some(
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Uint8
            | DataType::Uint16
            | DataType::Uint32
            | DataType::Uint64,
        ) => {
            let x = import.input(0)?;
            import.push(Unary(UnaryFunction::Trunc), &[x])
        }
        other => Err(Error::unsupported("Cast", format!("element type {other:?}"))),
    }
}

pub(super) fn examples() -> Vec<Example> {
    let shapes: [&[usize]; 2] = [&[2, 9, 5, 4], &[3, 7]];
    let functions = UnaryFunction::ALL.into_iter();
    functions
        .flat_map(|function| {
            let domain = match function {
                UnaryFunction::Log | UnaryFunction::Sqrt | UnaryFunction::Reciprocal => Domain::Positive,
                UnaryFunction::Abs => Domain::Any,
                _ if function.is_step() => Domain::Quarters,
                _ => Domain::Unit,
            };
            shapes.map(|shape| Example::new(Unary(function), [shape]).domain(0, domain))
        })
        .collect()
}
