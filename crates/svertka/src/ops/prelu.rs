//! ReLU with a learned slope (ONNX `PRelu`; He et al., 2015).

use std::ops::RangeInclusive;

use svertka_kernels::prelu::{self, Slopes};

use super::{Domain, Example, Layouts, Lowered, Operator, Role, Shapes};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// `x` above zero, else `slope * x`. Inputs: tensor and slope, whose shape broadcasts to the tensor's: one number, `C x 1...` for one a channel, or
/// any other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PRelu;

fn slopes(x: &[usize], slope: &[usize]) -> Result<Slopes> {
    Slopes::new(x, slope).ok_or_else(|| {
        let expected = format!("a shape that broadcasts to {x:?}");
        Error::argument("PRelu", "slope", expected, format!("shape {slope:?}"))
    })
}

impl Operator for PRelu {
    fn name(&self) -> &'static str {
        "PRelu"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        2..=2
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        slopes(inputs[0], inputs[1])?;
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let slopes = slopes(shapes.inputs[0], shapes.inputs[1])?;
        Ok(Lowered::new(move |cpu, io| {
            prelu::prelu(cpu, &slopes, io.inputs.get(0), io.inputs.get(1), &mut io.outputs[0]);
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let (x, slope) = (context.input(0), context.input(1));
        if context.needs(0) {
            let dx = context.push(PReluGradient, &[x, slope, dy])?;
            context.add(0, dx[0])?;
        }
        if context.needs(1) {
            let dslope = context.push(PReluSlopeGradient, &[x, slope, dy])?;
            context.add(1, dslope[0])?;
        }
        Ok(())
    }

    /// A slope that decays is no longer what was learned: `torch.nn.PReLU` advises against it.
    fn role(&self, _: usize) -> Role {
        Role::Bias
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        export.node("PRelu", Attributes::new());
        Ok(())
    }
}

/// Inputs: input, slope, gradient of the output.
#[derive(Clone, Copy, Debug)]
struct PReluGradient;

impl Operator for PReluGradient {
    fn name(&self) -> &'static str {
        "PReluGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let slopes = slopes(shapes.inputs[0], shapes.inputs[1])?;
        Ok(Lowered::new(move |cpu, io| {
            let [x, slope, dy] = [0, 1, 2].map(|i| io.inputs.get(i));
            prelu::prelu_backward(cpu, &slopes, x, slope, dy, &mut io.outputs[0]);
        }))
    }
}

/// Inputs: input, slope, gradient of the output.
#[derive(Clone, Copy, Debug)]
struct PReluSlopeGradient;

impl Operator for PReluSlopeGradient {
    fn name(&self) -> &'static str {
        "PReluSlopeGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[1].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let slopes = slopes(shapes.inputs[0], shapes.inputs[1])?;
        Ok(Lowered::new(move |cpu, io| {
            prelu::prelu_slope_gradient(cpu, &slopes, io.inputs.get(0), io.inputs.get(2), &mut io.outputs[0]);
        }))
    }
}

/// Before opset 7 a slope of `C` numbers belonged to the channels.
pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let (x, mut slope) = (import.input(0)?, import.input(1)?);
    let (shape, own) = (import.shape(x).to_vec(), import.shape(slope).to_vec());
    if import.opset() < 7 && own.len() == 1 && own[0] > 1 && shape.len() > 2 {
        let by_channel: Vec<usize> = own.iter().copied().chain(vec![1; shape.len() - 2]).collect();
        let tensor = import.constant(1)?.reshape(by_channel)?;
        slope = import.replace_parameter(1, tensor);
    }
    import.push(PRelu, &[x, slope])
}

pub(super) fn examples() -> Vec<Example> {
    let shapes: [(&[usize], &[usize]); 7] = [
        (&[2, 3, 5, 4], &[3, 1, 1]),
        (&[2, 9, 5], &[9, 1]),
        (&[2, 3, 5, 4], &[1]),
        (&[3, 8], &[8]),
        (&[3, 8], &[]),
        (&[2, 3, 2, 1, 3], &[3, 2, 1, 1]),
        (&[2, 3, 5], &[2, 1, 5]),
    ];
    shapes.map(|(x, slope)| Example::new(PRelu, [x, slope]).domain(1, Domain::Unit)).into()
}
