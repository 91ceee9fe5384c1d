//! Pooling by the `p`-norm, `(sum |x|^p)^(1/p)` (ONNX `LpPool`; Sermanet, Chintala and LeCun, 2012).
//!
//! `torch.nn.LPPool2d` leaves out the absolute value: for an odd `p` it differs where values are negative. Here it is as in ONNX.

use svertka_kernels::Cpu;
use svertka_kernels::geometry::{PoolGeometry, Window};
use svertka_kernels::pool;

use super::pooling::{Pooling, example_windows, import_window, moving, window_attributes};
use super::{Example, Field, Operator};
use crate::error::{Error, Result};
use crate::onnx::{Attributes, Export, Import};

/// The `p`-norm of each window; padding adds nothing. The gradient is zero where the value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LpPool {
    /// Kernel size, stride, dilation and padding.
    pub window: Window,
    /// Round the output size up.
    pub ceil_mode: bool,
    /// The norm, at least 1.
    pub p: f32,
}

/// Fails unless `p` is a norm.
pub(super) fn expect_norm(op: &dyn Operator, p: f32) -> Result<()> {
    if p >= 1.0 && p.is_finite() {
        return Ok(());
    }
    Err(Error::argument(op.name(), "p", "a finite number of at least 1", p))
}

/// Writes a node with the attribute `p`, which is an integer in ONNX.
pub(super) fn write_norm(export: &mut Export<'_>, name: &str, p: f32, attributes: Attributes) {
    if p.fract() == 0.0 && p < i32::MAX as f32 {
        export.node(name, attributes.int("p", p as i64));
    } else {
        export.own_node(name, attributes.float("p", p));
    }
}

/// The attribute `p`: a float in opset 1 and in nodes of our own, else an integer.
pub(super) fn import_norm(import: &Import<'_>) -> Result<f32> {
    import.float("p", 2.0).or_else(|_| Ok(import.int("p", 2)? as f32))
}

impl Pooling for LpPool {
    fn names(&self) -> [&'static str; 2] {
        ["LpPool", "LpPoolGradient"]
    }

    fn geometry(&self, x: &[usize]) -> Result<PoolGeometry> {
        expect_norm(self, self.p)?;
        moving(self, x, self.window, self.ceil_mode)
    }

    fn forward(&self, cpu: &Cpu, g: &PoolGeometry, x: &[f32], y: &mut [f32]) {
        pool::lp_forward(cpu, g, self.p, x, y);
    }

    fn backward(&self, cpu: &Cpu, g: &PoolGeometry, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        pool::lp_backward(cpu, g, self.p, x, dy, dx);
    }

    fn sees(&self) -> Field {
        Field::Window(self.window)
    }

    fn write(&self, export: &mut Export<'_>) {
        let attributes = window_attributes(export, &self.window, self.ceil_mode);
        write_norm(export, "LpPool", self.p, attributes);
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let (window, ceil_mode) = import_window(import)?;
    let (x, p) = (import.input(0)?, import_norm(import)?);
    import.push(LpPool { window, ceil_mode, p }, &[x])
}

pub(super) fn examples() -> Vec<Example> {
    let with = |p| {
        example_windows()
            .map(|(window, ceil_mode, shape)| Example::new(LpPool { window, ceil_mode, p }, [shape]))
    };
    [with(1.0), with(2.0), with(3.0), with(2.5)].concat()
}
