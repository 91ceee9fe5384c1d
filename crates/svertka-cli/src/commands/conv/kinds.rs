//! What is not an ordinary convolution: transposed and unshared ones, the layer as a matrix, and layers of the one-line language.

use std::sync::Arc;

use svertka::ops::{Conv, ConvTranspose, Operator, Unshared};
use svertka::{
    Cpu, Error, LayerMatrix, Network, PaddingMode, Plan, Result, Tensor, Weights, apply, layer_matrix,
};

use super::{Answer, Args, numbers};

/// The largest matrix that is printed.
const MAX_PRINTED: usize = 1 << 16;

/// A kernel and the operator that it belongs to, over an input `1 x channels x spatial`.
pub(super) struct Layer {
    pub(super) op: Arc<dyn Operator>,
    pub(super) weight: Tensor,
}

impl Args {
    /// The transposed or unshared layer of `kernel` over `x`, or the ordinary one where only its matrix is wanted.
    pub(super) fn layer(&self, x: &Tensor, kernel: Tensor, channels: bool) -> anyhow::Result<Layer> {
        let dims = x.shape().len() - 2;
        let shape = kernel.shape().to_vec();
        if self.padding_mode != PaddingMode::Zeros {
            let expected = "zeros, for transposed and unshared convolutions and matrices";
            return Err(Error::argument("conv", "padding_mode", expected, "another mode").into());
        }
        if self.unshared {
            if channels || shape.len() != 2 * dims {
                let expected = format!("{dims} sizes of the output, then {dims} of the filters");
                return Err(Error::argument("conv", "kernel", expected, format!("shape {shape:?}")).into());
            }
            let weight = kernel.reshape([&shape[..dims], &[1, 1], &shape[dims..]].concat())?;
            let window = self.window(&x.shape()[2..], &shape[dims..])?;
            return Ok(Layer { op: Arc::new(Unshared { window, groups: self.groups }), weight });
        }
        let weight = if channels { kernel } else { kernel.reshape([&[1, 1], &shape[..]].concat())? };
        let window = self.window(&x.shape()[2..], &weight.shape()[2..])?;
        let groups = self.groups;
        let op: Arc<dyn Operator> = if self.transposed {
            let output_padding = self.output_padding.expand("output_padding", dims, 0)?;
            Arc::new(ConvTranspose { window, output_padding, groups })
        } else {
            Arc::new(Conv { window, groups })
        };
        Ok(Layer { op, weight })
    }
}

impl Layer {
    /// The output without its batch; of an unshared layer there is a bias for each cell.
    pub(super) fn run(&self, x: &Tensor, bias: Option<Tensor>) -> Result<Tensor> {
        let bias = bias.map(|bias| {
            let one: &[usize] = if self.op.name() == "Unshared" { &[1] } else { &[] };
            let shape = [one, bias.shape()].concat();
            bias.reshape(shape)
        });
        let bias = bias.transpose()?;
        let mut inputs = vec![x, &self.weight];
        inputs.extend(bias.as_ref());
        let y = apply(Arc::clone(&self.op), &inputs)?;
        let shape = y.shape()[1..].to_vec();
        y.reshape(shape)
    }

    pub(super) fn matrix(&self, x: &Tensor, answer: &mut Answer) -> Result<()> {
        let LayerMatrix { rows, columns, matrix, .. } =
            layer_matrix(Arc::clone(&self.op), &x.shape()[1..], &[&self.weight])?;
        if rows * columns > MAX_PRINTED {
            let expected = format!("at most {MAX_PRINTED} numbers to print");
            return Err(Error::argument("conv", "matrix", expected, format!("{rows} x {columns}")));
        }
        answer.json.insert("matrix".into(), numbers::to_json(&[rows, columns], matrix.data()));
        answer.lines.push(format!("matrix, {rows} x {columns}:"));
        answer.lines.extend(numbers::to_text(&matrix));
        Ok(())
    }
}

/// The input `1 x channels x spatial` behind layers of the one-line language that have no weights.
pub(super) fn layers(text: &str, x: &Tensor) -> Result<Tensor> {
    let graph = Network::from_text(text, &x.shape()[1..], 0)?.finish();
    if let Some(value) = graph.parameter_values().first() {
        return Err(Error::argument("conv", "layers", "layers without weights", graph.name(*value)));
    }
    let cpu = Cpu::new(0);
    let mut plan = Plan::new(&graph, &[x.shape().to_vec()], Weights::Constant, &cpu)?;
    plan.run(&cpu, graph.parameters(), &[x], 0)?;
    Tensor::new(&plan.output_shape(0)[1..], plan.output(0))
}

/// Where a value is one picture, it has no channels.
pub(super) fn without_channels(y: Tensor, channels: bool) -> Result<Tensor> {
    let shape = y.shape().to_vec();
    if channels || shape.first() != Some(&1) || shape.len() == 1 { Ok(y) } else { y.reshape(&shape[1..]) }
}
