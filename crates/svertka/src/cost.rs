//! What a network costs and sees: shape, parameters, multiply-accumulates and receptive field of each layer.

use crate::error::Result;
use crate::graph::{Graph, Value};
use crate::ops::{Field, Role, Shapes, elements, spatial};

/// One node's figures.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct LayerCost {
    /// The node's name.
    pub name: String,
    /// The operator's name.
    pub op: &'static str,
    /// Shape of the output.
    pub output_shape: Vec<usize>,
    /// Learned numbers; a parameter that several nodes read counts at the first.
    pub parameters: usize,
    /// Multiply-accumulates, those on padding counted; one is two FLOPs.
    pub macs: u64,
    /// Bytes of what it reads and writes, parameters among them: the traffic that no cache could save.
    pub bytes: u64,
    /// Input cells that one output cell depends on, along each spatial axis, of the cell that sees most; the whole input after a global operator.
    pub receptive_field: Vec<usize>,
}

/// The figures of every node, for inputs of these shapes.
///
/// # Errors
/// Where the shapes do not fit the graph.
///
/// ```
/// // The lecture's example: 3 x 3, 3 to 16 channels, 128 x 128, once ordinary and once depthwise separable.
/// use svertka::{Network, cost};
/// let total = |text| {
///     let graph = Network::from_text(text, &[3, 128, 128], 0)?.finish();
///     let layers = cost(&graph, &graph.input_shapes(1))?;
///     Ok::<_, svertka::Error>((layers.iter().map(|l| l.parameters).sum(), layers.iter().map(|l| l.macs).sum()))
/// };
/// assert_eq!(total("conv16k3nobias")?, (432, 7_077_888));
/// assert_eq!(total("dwconvk3nobias conv16k1nobias")?, (75, 1_228_800));
/// # Ok::<(), svertka::Error>(())
/// ```
pub fn cost(graph: &Graph, inputs: &[Vec<usize>]) -> Result<Vec<LayerCost>> {
    let shapes = graph.shapes(inputs)?;
    let whole = inputs.first().map_or([1; 3], |shape| spatial(shape));
    let mut fields: Vec<Option<ReceptiveField>> = vec![None; graph.value_count()];
    for input in graph.inputs() {
        fields[input.value.0] = Some(ReceptiveField::CELL);
    }
    let mut counted = vec![false; graph.value_count()];
    let mut layers = Vec::new();
    for node in graph.nodes() {
        let shape =
            |values: &[Value]| values.iter().map(|value| shapes[value.0].as_slice()).collect::<Vec<_>>();
        let (read, made) = (shape(&node.inputs), shape(&node.outputs));
        let mut parameters = 0;
        for (i, value) in node.inputs.iter().enumerate() {
            if let Some(tensor) = graph.parameter_of(*value)
                && matches!(node.op.role(i), Role::Weight | Role::Bias)
                && !std::mem::replace(&mut counted[value.0], true)
            {
                parameters += tensor.data().len();
            }
        }
        let seen = node.inputs.iter().filter_map(|value| fields[value.0]).reduce(ReceptiveField::union);
        let field = seen.map(|field| field.through(node.op.field(), whole));
        node.outputs.iter().for_each(|value| fields[value.0] = field);
        let dims = inputs.first().map_or(0, |shape| shape.len().saturating_sub(2)).min(3);
        layers.push(LayerCost {
            name: node.name.clone(),
            op: node.op.name(),
            output_shape: made[0].to_vec(),
            parameters,
            bytes: read.iter().chain(&made).map(|shape| elements(shape) as u64).sum::<u64>() * 4,
            macs: node.op.macs(&Shapes::new(&read, &made)),
            receptive_field: field.map_or(vec![], |field| field.size(whole)[3 - dims..].to_vec()),
        });
    }
    Ok(layers)
}

/// The input cells from `first` to `last` that output cell 0 reads, and how far they move from one output cell to the next. Behind a transposed
/// convolution they lie between cells.
#[derive(Clone, Copy)]
struct ReceptiveField {
    first: [f64; 3],
    last: [f64; 3],
    jump: [f64; 3],
    all: bool,
}

impl ReceptiveField {
    const CELL: Self = Self { first: [0.0; 3], last: [0.0; 3], jump: [1.0; 3], all: false };

    fn through(mut self, field: Field, whole: [usize; 3]) -> Self {
        match field {
            Field::Cell => {}
            Field::All => {
                self = Self { last: whole.map(|size| size as f64 - 1.0), all: true, ..Self::CELL };
            }
            Field::Window(window) => {
                let extent = window.extent();
                for (axis, extent) in extent.into_iter().enumerate() {
                    let start = -(window.padding[axis].0 as f64) * self.jump[axis];
                    self.first[axis] += start;
                    self.last[axis] += start + (extent as f64 - 1.0) * self.jump[axis];
                    self.jump[axis] *= window.stride[axis] as f64;
                }
            }
            // Cell `o` lies in the windows of the cells from `(o + padding - (extent - 1)) / stride` to `(o + padding) / stride`.
            Field::Transposed(window) => {
                let extent = window.extent();
                for (axis, extent) in extent.into_iter().enumerate() {
                    self.jump[axis] /= window.stride[axis] as f64;
                    let start = window.padding[axis].0 as f64 * self.jump[axis];
                    self.first[axis] += start - (extent as f64 - 1.0) * self.jump[axis];
                    self.last[axis] += start;
                }
            }
        }
        self
    }

    /// What two branches that meet see together.
    fn union(self, other: Self) -> Self {
        Self {
            first: std::array::from_fn(|a| self.first[a].min(other.first[a])),
            last: std::array::from_fn(|a| self.last[a].max(other.last[a])),
            jump: std::array::from_fn(|a| self.jump[a].max(other.jump[a])),
            all: self.all || other.all,
        }
    }

    fn size(&self, whole: [usize; 3]) -> [usize; 3] {
        // Rounding of thirds must not take a cell away.
        let cells = |a: usize| (self.last[a] - self.first[a] + 1.0 + 1e-6) as usize;
        if self.all { whole } else { std::array::from_fn(cells) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{ConvTransposeSpec, Network};
    use crate::spec::ConvSpec;

    #[test]
    fn receptive_field_of_a_chain_and_of_branches() -> Result<()> {
        let field = |graph: &Graph| {
            cost(graph, &graph.input_shapes(1)).map(|layers| layers.last().unwrap().receptive_field.clone())
        };
        // conv 3, pool 2/2, conv 3: 3, 4, then 4 + 2 * 2.
        assert_eq!(field(&Network::from_text("conv4 pool2 conv4k3x5", &[1, 16, 16], 0)?.finish())?, [8, 12]);
        assert_eq!(
            field(&Network::from_text("conv4k3d3 conv4k3s2 conv4k1x3", &[1, 32, 32], 0)?.finish())?,
            [9, 13]
        );
        assert_eq!(field(&Network::from_text("conv4 gap linear3", &[1, 16, 20], 0)?.finish())?, [16, 20]);
        // A branch of 3 x 3 beside one of 1 x 7: together 3 x 7.
        let mut net = Network::new(&[2, 16, 16], 0);
        let a = net.conv(net.input(), 4, 3, &ConvSpec::new().padding(1))?;
        let b = net.conv(net.input(), 4, [1, 7], &ConvSpec::new().padding([0, 3]))?;
        net.add(a, b)?;
        assert_eq!(field(&net.finish())?, [3, 7]);
        // A transposed convolution of 4 with stride 2 reads 2 cells; a convolution of 3 behind it reads cells from 3 windows' starts.
        let mut net = Network::new(&[2, 6, 7], 0);
        let x = net.conv_transpose(
            net.input(),
            4,
            [4, 2],
            &ConvTransposeSpec::new().stride([2, 3]).padding([1, 0]),
        )?;
        assert_eq!(field(&net.clone().finish())?, [2, 1]);
        net.conv(x, 4, [3, 5], &ConvSpec::new())?;
        assert_eq!(field(&net.finish())?, [3, 2]);
        Ok(())
    }
}
