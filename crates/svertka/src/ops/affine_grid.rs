//! Grids for [`GridSample`](super::GridSample) by affine maps (ONNX `AffineGrid`, PyTorch `affine_grid`), over one to three spatial axes.

use std::ops::RangeInclusive;

use svertka_kernels::affine_grid;
use svertka_kernels::geometry::checked_product;

use super::{Example, Layouts, Lowered, Operator, Shapes};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// `theta`, `N x r x (r + 1)` for `r` spatial axes, to places `N x spatial x r`, the last axis first; see [`svertka_kernels::affine_grid`].
#[derive(Clone, Debug, PartialEq)]
pub struct AffineGrid {
    /// The spatial size of the grid, 2 or 3 axes.
    pub size: Vec<usize>,
    /// Whether -1 and 1 are the middles of the outer cells, or their outer edges.
    pub align_corners: bool,
}

impl AffineGrid {
    fn kernel(&self, batch: usize) -> affine_grid::AffineGrid {
        let mut output = [1; 3];
        output[3 - self.size.len()..].copy_from_slice(&self.size);
        affine_grid::AffineGrid { batch, dims: self.size.len(), output, align_corners: self.align_corners }
    }
}

impl Operator for AffineGrid {
    fn name(&self) -> &'static str {
        "AffineGrid"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let dims = self.size.len();
        if !(2..=3).contains(&dims) {
            let received = format!("{:?}", self.size);
            return Err(Error::argument("AffineGrid", "size", "2 or 3 spatial sizes", received));
        }
        match inputs[0] {
            &[batch, rows, columns] if rows == dims && columns == dims + 1 => {
                let shape = [&[batch], &self.size[..], &[dims]].concat();
                checked_product("size", &shape).map_err(Error::geometry("AffineGrid"))?;
                Ok(vec![shape])
            }
            theta => {
                let expected = format!("N x {dims} x {}", dims + 1);
                Err(Error::argument("AffineGrid", "theta", expected, format!("shape {theta:?}")))
            }
        }
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let grid = self.kernel(shapes.inputs[0][0]);
        Ok(Lowered::new(move |cpu, io| {
            affine_grid::forward(cpu, &grid, io.inputs.get(0), &mut io.outputs[0])
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let d_theta = context.push(AffineGridGradient(self.clone()), &[dy])?;
        context.add(0, d_theta[0])
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        // The sizes of a batch of one: ONNX has them whole.
        let batch = export.shape_of_input(0)[0] as i64;
        let size: Vec<i64> =
            [batch, 1].into_iter().chain(self.size.iter().map(|&size| size as i64)).collect();
        let inputs = [export.input(0), export.constant_ints("size", &size)];
        let attributes = Attributes::new().int("align_corners", i64::from(self.align_corners));
        export.node_with("AffineGrid", &inputs, attributes);
        Ok(())
    }
}

/// Input: gradient of the grid.
#[derive(Clone, Debug)]
struct AffineGridGradient(AffineGrid);

impl Operator for AffineGridGradient {
    fn name(&self) -> &'static str {
        "AffineGridGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let dims = self.0.size.len();
        Ok(vec![vec![inputs[0][0], dims, dims + 1]])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let grid = self.0.kernel(shapes.inputs[0][0]);
        Ok(Lowered::new(move |cpu, io| {
            affine_grid::backward(cpu, &grid, io.inputs.get(0), &mut io.outputs[0]);
        }))
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let (theta, size) = (import.input(0)?, import.constant_ints(1)?);
    let sizes: Option<Vec<usize>> = size.iter().skip(2).map(|&size| usize::try_from(size).ok()).collect();
    let batch = import.shape(theta).first().map(|&batch| batch as i64);
    let sizes = sizes.filter(|_| size.first().copied() == batch || batch == Some(1)).ok_or_else(|| {
        let expected = "the batch of theta, channels, and 2 or 3 spatial sizes";
        Error::argument("AffineGrid", "size", expected, format!("{size:?}"))
    })?;
    let align_corners = import.int("align_corners", 0)? != 0;
    import.push(AffineGrid { size: sizes, align_corners }, &[theta])
}

pub(super) fn examples() -> Vec<Example> {
    // Where the corners of a single cell are, PyTorch and ONNX Runtime do not agree.
    [true, false]
        .into_iter()
        .flat_map(|align_corners| {
            [
                Example::new(AffineGrid { size: vec![4, 5], align_corners }, [&[2, 2, 3]]),
                Example::new(
                    AffineGrid { size: vec![2, if align_corners { 4 } else { 1 }, 3], align_corners },
                    [&[3, 3, 4]],
                ),
            ]
        })
        .collect()
}
