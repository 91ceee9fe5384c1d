//! Values of an activation at the places of a grid (ONNX `GridSample`, PyTorch `grid_sample`), over one to three spatial axes.

use std::ops::RangeInclusive;

use svertka_kernels::geometry::checked_product;
use svertka_kernels::grid_sample::{self, SampleGeometry, SampleMode, SamplePadding};

use super::{Domain, Example, Field, Layouts, Lowered, Operator, Shapes, expect_activation, spatial};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// Inputs: activation `N x C x spatial`, grid `N x out spatial x r` for `r` spatial axes. Output: `N x C x out spatial`; see
/// [`svertka_kernels::grid_sample`]. Beyond the picture the cubic follows PyTorch, which brings in each tap and not the place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GridSample {
    /// How values are made.
    pub mode: SampleMode,
    /// What stands beyond the picture.
    pub padding: SamplePadding,
    /// Whether -1 and 1 are the middles of the outer cells, or their outer edges.
    pub align_corners: bool,
}

/// A place is an `f32`: cells further from each other it can't tell apart.
const MAX_SIZE: usize = 1 << 24;

impl GridSample {
    fn geometry(&self, x: &[usize], grid: &[usize]) -> Result<SampleGeometry> {
        expect_activation(self, "input", x)?;
        let dims = x.len() - 2;
        if x[2..].iter().any(|size| !(1..=MAX_SIZE).contains(size)) {
            let expected = format!("1 to {MAX_SIZE} cells along each spatial axis");
            return Err(Error::argument("GridSample", "input", expected, format!("shape {x:?}")));
        }
        if grid.len() != x.len() || grid[0] != x[0] || grid[dims + 1] != dims {
            let sizes = ["W", "H x W", "D x H x W"][dims - 1];
            let expected = format!("{} x {sizes} x {dims}", x[0]);
            return Err(Error::argument("GridSample", "grid", expected, format!("shape {grid:?}")));
        }
        let output = [&x[..2], &grid[1..=dims]].concat();
        checked_product("grid", &[&output[..], &[8]].concat()).map_err(Error::geometry("GridSample"))?;
        let Self { mode, padding, align_corners } = *self;
        let (input, output) = (spatial(x), spatial(&output));
        Ok(SampleGeometry { batch: x[0], channels: x[1], dims, input, output, mode, padding, align_corners })
    }
}

impl Operator for GridSample {
    fn name(&self) -> &'static str {
        "GridSample"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        2..=2
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let (x, grid) = (inputs[0], inputs[1]);
        self.geometry(x, grid)?;
        Ok(vec![[&x[..2], &grid[1..grid.len() - 1]].concat()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let geometry = self.geometry(shapes.inputs[0], shapes.inputs[1])?;
        Ok(Lowered::new(move |cpu, io| {
            grid_sample::forward(cpu, &geometry, io.inputs.get(0), io.inputs.get(1), &mut io.outputs[0]);
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let (x, grid) = (context.input(0), context.input(1));
        if context.needs(0) {
            let shape = context.shape(x).to_vec();
            let dx = context.push(GridSampleInputGradient { of: *self, shape }, &[grid, dy])?;
            context.add(0, dx[0])?;
        }
        if context.needs(1) {
            let d_grid = context.push(GridSampleGridGradient(*self), &[x, grid, dy])?;
            context.add(1, d_grid[0])?;
        }
        Ok(())
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        let count = |g: SampleGeometry| {
            let cells: usize = [&[g.batch, g.channels], &g.output[..]].concat().iter().product();
            (cells as u64).saturating_mul(g.taps() as u64)
        };
        self.geometry(shapes.inputs[0], shapes.inputs[1]).map_or(0, count)
    }

    fn field(&self) -> Field {
        Field::All
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let mode = match self.mode {
            SampleMode::Linear => "linear",
            SampleMode::Nearest => "nearest",
            SampleMode::Cubic => "cubic",
        };
        let padding = match self.padding {
            SamplePadding::Zeros => "zeros",
            SamplePadding::Border => "border",
            SamplePadding::Reflection => "reflection",
        };
        let attributes = Attributes::new()
            .string("mode", mode)
            .string("padding_mode", padding)
            .int("align_corners", i64::from(self.align_corners));
        export.node("GridSample", attributes);
        Ok(())
    }
}

/// Inputs: grid, gradient of the output.
#[derive(Clone, Debug)]
struct GridSampleInputGradient {
    of: GridSample,
    shape: Vec<usize>,
}

impl Operator for GridSampleInputGradient {
    fn name(&self) -> &'static str {
        "GridSampleInputGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![[&inputs[0][..1], &self.shape[1..]].concat()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[1], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let geometry = self.of.geometry(shapes.outputs[0], shapes.inputs[0])?;
        Ok(Lowered::new(move |cpu, io| {
            let (grid, dy) = (io.inputs.get(0), io.inputs.get(1));
            grid_sample::backward_input(cpu, &geometry, grid, dy, &mut io.outputs[0]);
        }))
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        self.of.macs(&Shapes::new(&[shapes.outputs[0], shapes.inputs[0]], &[]))
    }
}

/// Inputs: input, grid, gradient of the output.
#[derive(Clone, Copy, Debug)]
struct GridSampleGridGradient(GridSample);

impl Operator for GridSampleGridGradient {
    fn name(&self) -> &'static str {
        "GridSampleGridGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[1].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0, 2], outputs: &[] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let geometry = self.0.geometry(shapes.inputs[0], shapes.inputs[1])?;
        Ok(Lowered::new(move |cpu, io| {
            let [x, grid, dy] = [0, 1, 2].map(|i| io.inputs.get(i));
            grid_sample::backward_grid(cpu, &geometry, x, grid, dy, &mut io.outputs[0]);
        }))
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        let of_one_axis = self.0.macs(&Shapes::new(&shapes.inputs[..2], &[]));
        of_one_axis.saturating_mul(shapes.inputs[1].last().map_or(0, |&dims| dims as u64))
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let (x, grid) = (import.input(0)?, import.input(1)?);
    let mode = match import.string("mode", "linear")?.as_str() {
        "linear" | "bilinear" => SampleMode::Linear,
        "nearest" => SampleMode::Nearest,
        "cubic" | "bicubic" => SampleMode::Cubic,
        other => return Err(Error::unsupported("GridSample", format!("mode = {other:?}"))),
    };
    let padding = match import.string("padding_mode", "zeros")?.as_str() {
        "zeros" => SamplePadding::Zeros,
        "border" => SamplePadding::Border,
        "reflection" => SamplePadding::Reflection,
        other => return Err(Error::unsupported("GridSample", format!("padding_mode = {other:?}"))),
    };
    let align_corners = import.int("align_corners", 0)? != 0;
    import.push(GridSample { mode, padding, align_corners }, &[x, grid])
}

pub(super) fn examples() -> Vec<Example> {
    use SampleMode::{Cubic, Linear, Nearest};
    // Shapes for which no place lies on a kink of its mode, where differences say nothing about gradients.
    type Case = (SampleMode, bool, Domain, &'static [usize], &'static [usize]);
    let cases: [Case; 10] = [
        (Linear, false, Domain::Unit, &[2, 9, 3, 7], &[2, 4, 5, 2]),
        (Linear, true, Domain::Any, &[2, 9, 8, 3], &[2, 3, 2, 2]),
        (Linear, false, Domain::Unit, &[3, 2, 3], &[3, 4, 1]),
        (Linear, false, Domain::Unit, &[2, 3, 2, 3, 4], &[2, 2, 1, 3, 3]),
        (Cubic, false, Domain::Unit, &[2, 9, 3, 7], &[2, 4, 5, 2]),
        (Cubic, true, Domain::Unit, &[2, 3, 5, 4], &[2, 3, 2, 2]),
        (Cubic, false, Domain::Unit, &[2, 3, 2, 3, 4], &[2, 2, 1, 3, 3]),
        (Nearest, false, Domain::Any, &[2, 9, 2, 7], &[2, 3, 3, 2]),
        (Nearest, true, Domain::Any, &[2, 9, 8, 3], &[2, 3, 2, 2]),
        (Nearest, false, Domain::Any, &[1, 2, 2, 3, 4], &[1, 2, 1, 3, 3]),
    ];
    let paddings = [SamplePadding::Zeros, SamplePadding::Border, SamplePadding::Reflection];
    paddings
        .into_iter()
        .flat_map(|padding| {
            cases.map(|(mode, align_corners, domain, x, grid)| {
                Example::new(GridSample { mode, padding, align_corners }, [x, grid]).domain(1, domain)
            })
        })
        .collect()
}
