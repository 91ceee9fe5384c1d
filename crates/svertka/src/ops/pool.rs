//! Maximum, minimum, average and sum of windows (ONNX `MaxPool`, `AveragePool`), one to three spatial axes.

use svertka_kernels::Cpu;
use svertka_kernels::geometry::{PoolGeometry, Window};
use svertka_kernels::pool::{self, Divisor};

use super::pooling::{Pooling, example_windows, import_window, moving, window_attributes};
use super::{Example, Field, MaxPoolWithIndices};
use crate::error::{Error, Result};
use crate::onnx::{Export, Import};

/// The largest value of each window; cells of padding never win.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaxPool {
    /// Kernel size, stride, dilation and padding.
    pub window: Window,
    /// Round the output size up.
    pub ceil_mode: bool,
}

/// The smallest value of each window, `-max(-x)`; cells of padding never win.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MinPool {
    /// Kernel size, stride, dilation and padding.
    pub window: Window,
    /// Round the output size up.
    pub ceil_mode: bool,
}

/// The mean of each window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AveragePool {
    /// Kernel size, stride, dilation and padding.
    pub window: Window,
    /// Round the output size up.
    pub ceil_mode: bool,
    /// Divide by the cells of the window inside the padded input, not by those inside the input.
    pub count_include_pad: bool,
    /// Divide by this instead, at least one (`torch.nn.AvgPool2d`; ONNX has no such attribute).
    pub divisor_override: Option<usize>,
}

/// The sum of each window; padding adds nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SumPool {
    /// Kernel size, stride, dilation and padding.
    pub window: Window,
    /// Round the output size up.
    pub ceil_mode: bool,
}

impl Pooling for MaxPool {
    fn names(&self) -> [&'static str; 2] {
        ["MaxPool", "MaxPoolGradient"]
    }

    fn geometry(&self, x: &[usize]) -> Result<PoolGeometry> {
        moving(self, x, self.window, self.ceil_mode)
    }

    fn forward(&self, cpu: &Cpu, g: &PoolGeometry, x: &[f32], y: &mut [f32]) {
        pool::max_forward(cpu, g, x, y);
    }

    fn backward(&self, cpu: &Cpu, g: &PoolGeometry, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        pool::max_backward(cpu, g, x, dy, dx);
    }

    fn sees(&self) -> Field {
        Field::Window(self.window)
    }

    fn write(&self, export: &mut Export<'_>) {
        export.node("MaxPool", window_attributes(export, &self.window, self.ceil_mode));
    }
}

impl Pooling for MinPool {
    fn names(&self) -> [&'static str; 2] {
        ["MinPool", "MinPoolGradient"]
    }

    fn geometry(&self, x: &[usize]) -> Result<PoolGeometry> {
        moving(self, x, self.window, self.ceil_mode)
    }

    fn forward(&self, cpu: &Cpu, g: &PoolGeometry, x: &[f32], y: &mut [f32]) {
        pool::min_forward(cpu, g, x, y);
    }

    fn backward(&self, cpu: &Cpu, g: &PoolGeometry, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        pool::min_backward(cpu, g, x, dy, dx);
    }

    fn sees(&self) -> Field {
        Field::Window(self.window)
    }

    fn write(&self, export: &mut Export<'_>) {
        export.own_node("MinPool", window_attributes(export, &self.window, self.ceil_mode));
    }
}

impl AveragePool {
    fn divisor(&self) -> Divisor {
        match (self.divisor_override, self.count_include_pad) {
            (Some(divisor), _) => Divisor::Fixed(divisor as f32),
            (None, true) => Divisor::Padded,
            (None, false) => Divisor::Inside,
        }
    }
}

impl Pooling for AveragePool {
    fn names(&self) -> [&'static str; 2] {
        ["AveragePool", "AveragePoolGradient"]
    }

    fn geometry(&self, x: &[usize]) -> Result<PoolGeometry> {
        if self.divisor_override == Some(0) {
            return Err(Error::argument("AveragePool", "divisor_override", "at least 1", 0));
        }
        moving(self, x, self.window, self.ceil_mode)
    }

    fn forward(&self, cpu: &Cpu, g: &PoolGeometry, x: &[f32], y: &mut [f32]) {
        pool::average_forward(cpu, g, self.divisor(), x, y);
    }

    fn backward_reads_input(&self) -> bool {
        false
    }

    fn backward(&self, cpu: &Cpu, g: &PoolGeometry, _: &[f32], dy: &[f32], dx: &mut [f32]) {
        pool::average_backward(cpu, g, self.divisor(), dy, dx);
    }

    fn sees(&self) -> Field {
        Field::Window(self.window)
    }

    fn write(&self, export: &mut Export<'_>) {
        let attributes = window_attributes(export, &self.window, self.ceil_mode)
            .int("count_include_pad", i64::from(self.count_include_pad));
        match self.divisor_override {
            None => export.node("AveragePool", attributes),
            Some(divisor) => {
                export.own_node("AveragePool", attributes.int("divisor_override", divisor as i64));
            }
        }
    }
}

impl Pooling for SumPool {
    fn names(&self) -> [&'static str; 2] {
        ["SumPool", "SumPoolGradient"]
    }

    fn geometry(&self, x: &[usize]) -> Result<PoolGeometry> {
        moving(self, x, self.window, self.ceil_mode)
    }

    fn forward(&self, cpu: &Cpu, g: &PoolGeometry, x: &[f32], y: &mut [f32]) {
        pool::average_forward(cpu, g, Divisor::Fixed(1.0), x, y);
    }

    fn backward_reads_input(&self) -> bool {
        false
    }

    fn backward(&self, cpu: &Cpu, g: &PoolGeometry, _: &[f32], dy: &[f32], dx: &mut [f32]) {
        pool::average_backward(cpu, g, Divisor::Fixed(1.0), dy, dx);
    }

    fn sees(&self) -> Field {
        Field::Window(self.window)
    }

    fn write(&self, export: &mut Export<'_>) {
        export.own_node("SumPool", window_attributes(export, &self.window, self.ceil_mode));
    }
}

/// `MaxPool`, with the output `Indices` or without.
pub(super) fn import_max(import: &mut Import<'_>) -> Result<()> {
    if import.outputs() > 1 {
        return MaxPoolWithIndices::import(import);
    }
    let (window, ceil_mode) = import_window(import)?;
    let x = import.input(0)?;
    import.push(MaxPool { window, ceil_mode }, &[x])
}

pub(super) fn import_min(import: &mut Import<'_>) -> Result<()> {
    let (window, ceil_mode) = import_window(import)?;
    let x = import.input(0)?;
    import.push(MinPool { window, ceil_mode }, &[x])
}

pub(super) fn import_average(import: &mut Import<'_>) -> Result<()> {
    let (window, ceil_mode) = import_window(import)?;
    let count_include_pad = import.int("count_include_pad", 0)? != 0;
    let divisor_override = Some(import.int_at_least("divisor_override", 0, 0)?).filter(|&d| d > 0);
    let x = import.input(0)?;
    import.push(AveragePool { window, ceil_mode, count_include_pad, divisor_override }, &[x])
}

pub(super) fn import_sum(import: &mut Import<'_>) -> Result<()> {
    let (window, ceil_mode) = import_window(import)?;
    let x = import.input(0)?;
    import.push(SumPool { window, ceil_mode }, &[x])
}

pub(super) fn examples() -> Vec<Example> {
    let average = |window, ceil_mode, count_include_pad, divisor_override| AveragePool {
        window,
        ceil_mode,
        count_include_pad,
        divisor_override,
    };
    let windows = example_windows().into_iter();
    windows
        .flat_map(|(window, ceil_mode, shape)| {
            [
                Example::new(MaxPool { window, ceil_mode }, [shape]),
                Example::new(MinPool { window, ceil_mode }, [shape]),
                Example::new(average(window, ceil_mode, false, None), [shape]),
                Example::new(average(window, ceil_mode, true, None), [shape]),
                Example::new(average(window, ceil_mode, false, Some(3)), [shape]),
                Example::new(SumPool { window, ceil_mode }, [shape]),
            ]
        })
        .collect()
}
