//! Pooling to a given output size, whatever the input's (`torch.nn.AdaptiveMaxPool2d`, `AdaptiveAvgPool2d`): output cell `o` of an axis sees the
//! input cells `floor(o * input / output)..ceil((o + 1) * input / output)`.

use svertka_kernels::Cpu;
use svertka_kernels::geometry::{PoolGeometry, Window};
use svertka_kernels::pool::{self, Divisor};

use super::pooling::Pooling;
use super::{Example, Field, Operator, expect_activation, spatial};
use crate::error::{Error, Result};
use crate::onnx::{Attributes, Export, Import};

/// The largest value of each bin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveMaxPool {
    /// Output size, `[depth, height, width]`, leading axes that the input lacks being one.
    pub output_size: [usize; 3],
}

/// The mean of each bin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveAveragePool {
    /// Output size, `[depth, height, width]`, leading axes that the input lacks being one.
    pub output_size: [usize; 3],
}

fn geometry(op: &dyn Operator, x: &[usize], output_size: [usize; 3]) -> Result<PoolGeometry> {
    expect_activation(op, "input", x)?;
    let lacking = &output_size[..5 - x.len()];
    if lacking.iter().any(|&size| size != 1) {
        let expected = format!("1 along the {} axes that the input lacks", lacking.len());
        return Err(Error::argument(op.name(), "output_size", expected, format!("{output_size:?}")));
    }
    PoolGeometry::adaptive(x[0], x[1], spatial(x), output_size).map_err(Error::geometry(op.name()))
}

/// As the pooling `name` where all bins are alike, else as a node of our own.
fn write(export: &mut Export<'_>, own: &str, name: &str, output_size: [usize; 3]) {
    let (input, dims) = (spatial(export.shape_of_input(0)), export.shape_of_input(0).len() - 2);
    if (0..3).all(|axis| input[axis] > 0 && input[axis].is_multiple_of(output_size[axis])) {
        let kernel = std::array::from_fn(|axis| input[axis] / output_size[axis]);
        let window = Window { kernel, stride: kernel, ..Window::default() };
        export.node(name, Attributes::window(&window, dims));
    } else {
        export.own_node(own, Attributes::new().ints("output_size", &output_size[3 - dims..]));
    }
}

impl Pooling for AdaptiveMaxPool {
    fn names(&self) -> [&'static str; 2] {
        ["AdaptiveMaxPool", "AdaptiveMaxPoolGradient"]
    }

    fn geometry(&self, x: &[usize]) -> Result<PoolGeometry> {
        geometry(self, x, self.output_size)
    }

    fn forward(&self, cpu: &Cpu, g: &PoolGeometry, x: &[f32], y: &mut [f32]) {
        pool::max_forward(cpu, g, x, y);
    }

    fn backward(&self, cpu: &Cpu, g: &PoolGeometry, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        pool::max_backward(cpu, g, x, dy, dx);
    }

    /// The size of a bin depends on the input.
    fn sees(&self) -> Field {
        Field::All
    }

    fn write(&self, export: &mut Export<'_>) {
        write(export, "AdaptiveMaxPool", "MaxPool", self.output_size);
    }
}

impl Pooling for AdaptiveAveragePool {
    fn names(&self) -> [&'static str; 2] {
        ["AdaptiveAveragePool", "AdaptiveAveragePoolGradient"]
    }

    fn geometry(&self, x: &[usize]) -> Result<PoolGeometry> {
        geometry(self, x, self.output_size)
    }

    fn forward(&self, cpu: &Cpu, g: &PoolGeometry, x: &[f32], y: &mut [f32]) {
        pool::average_forward(cpu, g, Divisor::Inside, x, y);
    }

    fn backward_reads_input(&self) -> bool {
        false
    }

    fn backward(&self, cpu: &Cpu, g: &PoolGeometry, _: &[f32], dy: &[f32], dx: &mut [f32]) {
        pool::average_backward(cpu, g, Divisor::Inside, dy, dx);
    }

    /// The size of a bin depends on the input.
    fn sees(&self) -> Field {
        Field::All
    }

    fn write(&self, export: &mut Export<'_>) {
        write(export, "AdaptiveAveragePool", "AveragePool", self.output_size);
    }
}

/// The attribute `output_size`, one size for each spatial axis.
fn import_output_size(import: &mut Import<'_>) -> Result<[usize; 3]> {
    let x = import.input(0)?;
    let dims = import.shape(x).len().saturating_sub(2);
    let sizes = import.sizes("output_size")?.unwrap_or_default();
    if sizes.len() != dims || dims > 3 {
        let expected = format!("{dims} sizes");
        return Err(Error::argument(import.op_type(), "output_size", expected, format!("{sizes:?}")));
    }
    let mut output_size = [1; 3];
    output_size[3 - dims..].copy_from_slice(&sizes);
    Ok(output_size)
}

pub(super) fn import_max(import: &mut Import<'_>) -> Result<()> {
    let (x, output_size) = (import.input(0)?, import_output_size(import)?);
    import.push(AdaptiveMaxPool { output_size }, &[x])
}

pub(super) fn import_average(import: &mut Import<'_>) -> Result<()> {
    let (x, output_size) = (import.input(0)?, import_output_size(import)?);
    import.push(AdaptiveAveragePool { output_size }, &[x])
}

pub(super) fn examples() -> Vec<Example> {
    let sizes: [([usize; 3], &[usize]); 5] = [
        ([1, 3, 2], &[2, 3, 7, 5]),
        ([1, 2, 3], &[1, 9, 6, 3]),
        ([1, 1, 4], &[2, 2, 9]),
        ([2, 3, 1], &[1, 2, 3, 5, 4]),
        // More cells than the input has.
        ([1, 5, 3], &[1, 3, 3, 4]),
    ];
    let examples = |(output_size, shape): ([usize; 3], &[usize])| {
        [
            Example::new(AdaptiveMaxPool { output_size }, [shape]),
            Example::new(AdaptiveAveragePool { output_size }, [shape]),
        ]
    };
    sizes.into_iter().flat_map(examples).collect()
}
