//! Pooling over all spatial cells (ONNX `GlobalAveragePool`, `GlobalMaxPool`, `GlobalLpPool`): `N x C x spatial` to `N x C x 1...`.

use svertka_kernels::Cpu;
use svertka_kernels::geometry::PoolGeometry;
use svertka_kernels::planes::Planes;
use svertka_kernels::pool::{self, Divisor};

use super::lp_pool::{expect_norm, import_norm, write_norm};
use super::pooling::Pooling;
use super::{Example, Field, expect_activation, spatial};
use crate::error::{Error, Result};
use crate::onnx::{Attributes, Export, Import};

/// What is kept of all the cells of a channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reduction {
    /// Their mean.
    Average,
    /// Their sum.
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// Their `p`-norm, `(sum |x|^p)^(1/p)`, `p` at least 1.
    Lp(f32),
}

/// Pooling over all spatial cells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GlobalPool(pub Reduction);

impl GlobalPool {
    /// What the sum of all cells is divided by, where it is a sum.
    fn divisor(&self) -> Divisor {
        if self.0 == Reduction::Sum { Divisor::Fixed(1.0) } else { Divisor::Inside }
    }
}

fn planes(g: &PoolGeometry) -> Planes {
    Planes { batch: g.batch, channels: g.channels, pixels: g.input.iter().product() }
}

impl Pooling for GlobalPool {
    fn names(&self) -> [&'static str; 2] {
        match self.0 {
            Reduction::Average => ["GlobalAveragePool", "GlobalAveragePoolGradient"],
            Reduction::Sum => ["GlobalSumPool", "GlobalSumPoolGradient"],
            Reduction::Max => ["GlobalMaxPool", "GlobalMaxPoolGradient"],
            Reduction::Min => ["GlobalMinPool", "GlobalMinPoolGradient"],
            Reduction::Lp(_) => ["GlobalLpPool", "GlobalLpPoolGradient"],
        }
    }

    /// One bin.
    fn geometry(&self, x: &[usize]) -> Result<PoolGeometry> {
        if let Reduction::Lp(p) = self.0 {
            expect_norm(self, p)?;
        }
        expect_activation(self, "input", x)?;
        PoolGeometry::adaptive(x[0], x[1], spatial(x), [1; 3]).map_err(Error::geometry(self.names()[0]))
    }

    fn forward(&self, cpu: &Cpu, g: &PoolGeometry, x: &[f32], y: &mut [f32]) {
        match self.0 {
            Reduction::Average | Reduction::Sum => {
                pool::global_average_forward(cpu, planes(g), self.divisor(), x, y);
            }
            Reduction::Max => pool::max_forward(cpu, g, x, y),
            Reduction::Min => pool::min_forward(cpu, g, x, y),
            Reduction::Lp(p) => pool::lp_forward(cpu, g, p, x, y),
        }
    }

    fn backward_reads_input(&self) -> bool {
        !matches!(self.0, Reduction::Average | Reduction::Sum)
    }

    fn backward(&self, cpu: &Cpu, g: &PoolGeometry, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        match self.0 {
            Reduction::Average | Reduction::Sum => {
                pool::global_average_backward(cpu, planes(g), self.divisor(), dy, dx);
            }
            Reduction::Max => pool::max_backward(cpu, g, x, dy, dx),
            Reduction::Min => pool::min_backward(cpu, g, x, dy, dx),
            Reduction::Lp(p) => pool::lp_backward(cpu, g, p, x, dy, dx),
        }
    }

    fn sees(&self) -> Field {
        Field::All
    }

    fn write(&self, export: &mut Export<'_>) {
        let name = self.names()[0];
        match self.0 {
            Reduction::Average | Reduction::Max => export.node(name, Attributes::new()),
            Reduction::Sum | Reduction::Min => export.own_node(name, Attributes::new()),
            Reduction::Lp(p) => write_norm(export, name, p, Attributes::new()),
        }
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let reduction = match import.op_type() {
        "GlobalAveragePool" => Reduction::Average,
        "GlobalSumPool" => Reduction::Sum,
        "GlobalMaxPool" => Reduction::Max,
        "GlobalMinPool" => Reduction::Min,
        "GlobalLpPool" => Reduction::Lp(import_norm(import)?),
        other => return Err(Error::unsupported(other, "this reduction")),
    };
    let x = import.input(0)?;
    import.push(GlobalPool(reduction), &[x])
}

pub(super) fn examples() -> Vec<Example> {
    let reductions = [
        Reduction::Average,
        Reduction::Sum,
        Reduction::Max,
        Reduction::Min,
        Reduction::Lp(1.0),
        Reduction::Lp(2.0),
        Reduction::Lp(3.5),
    ];
    let examples = |reduction| {
        let op = GlobalPool(reduction);
        [
            Example::new(op, [&[2, 3, 5, 4]]),
            Example::new(op, [&[1, 9, 7]]),
            Example::new(op, [&[2, 2, 2, 3, 1]]),
        ]
    };
    reductions.into_iter().flat_map(examples).collect()
}
