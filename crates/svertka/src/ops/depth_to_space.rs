//! Blocks of pixels into channels and back (ONNX `DepthToSpace`, `SpaceToDepth`; Shi et al., "Real-time single image and video super-resolution using an
//! efficient sub-pixel convolutional neural network", 2016). Each is the other's inverse and gradient. Both have two spatial axes, as in ONNX.

use std::ops::RangeInclusive;

use svertka_kernels::depth_to_space::{self, BlockGeometry, BlockOrder};
use svertka_kernels::geometry::{Window, checked_product};

use super::{Example, Field, Layouts, Lowered, Operator, Shapes};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// `N x C * block^2 x H x W` to `N x C x H * block x W * block`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DepthToSpace {
    /// Pixels of a block along either axis.
    pub block_size: usize,
    /// Order of the channels before.
    pub order: BlockOrder,
}

/// `N x C x H x W` to `N x C * block^2 x H / block x W / block`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpaceToDepth {
    /// Pixels of a block along either axis.
    pub block_size: usize,
    /// Order of the channels after.
    pub order: BlockOrder,
}

/// The sizes of `x` if it has two spatial axes, and the pixels of a block.
fn sizes(op: &dyn Operator, x: &[usize], block: usize) -> Result<([usize; 4], usize)> {
    let &[batch, channels, height, width] = x else {
        return Err(Error::argument(op.name(), "input", "N x C x H x W", format!("shape {x:?}")));
    };
    if block == 0 {
        return Err(Error::argument(op.name(), "block_size", "at least 1", block));
    }
    let area = checked_product("block_size", &[block, block]).map_err(Error::geometry(op.name()))?;
    Ok(([batch, channels, height, width], area))
}

impl DepthToSpace {
    fn geometry(&self, x: &[usize]) -> Result<BlockGeometry> {
        let ([batch, deep, height, width], area) = sizes(self, x, self.block_size)?;
        if deep % area != 0 {
            let expected = format!("a multiple of block_size^2 = {area} channels");
            return Err(Error::argument("DepthToSpace", "input", expected, format!("shape {x:?}")));
        }
        let Self { block_size: block, order } = *self;
        Ok(BlockGeometry { batch, channels: deep / area, height, width, block, order })
    }
}

impl SpaceToDepth {
    fn geometry(&self, x: &[usize]) -> Result<BlockGeometry> {
        let ([batch, channels, height, width], _) = sizes(self, x, self.block_size)?;
        let Self { block_size: block, order } = *self;
        if height % block != 0 || width % block != 0 {
            let expected = format!("height and width that are multiples of block_size = {block}");
            return Err(Error::argument("SpaceToDepth", "input", expected, format!("shape {x:?}")));
        }
        Ok(BlockGeometry { batch, channels, height: height / block, width: width / block, block, order })
    }
}

impl Operator for DepthToSpace {
    fn name(&self) -> &'static str {
        "DepthToSpace"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let g = self.geometry(inputs[0])?;
        let shape = [g.batch, g.channels, g.height.saturating_mul(g.block), g.width.saturating_mul(g.block)];
        checked_product("output", &shape).map_err(Error::geometry("DepthToSpace"))?;
        Ok(vec![shape.to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let geometry = self.geometry(shapes.inputs[0])?;
        Ok(Lowered::new(move |cpu, io| {
            depth_to_space::depth_to_space(cpu, &geometry, io.inputs.get(0), &mut io.outputs[0]);
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let Self { block_size, order } = *self;
        let dx = context.push(SpaceToDepth { block_size, order }, &[dy])?;
        context.add(0, dx[0])
    }

    fn field(&self) -> Field {
        Field::All
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let mode = if self.order == BlockOrder::DepthFirst { "DCR" } else { "CRD" };
        let attributes = Attributes::new().int("blocksize", self.block_size as i64).string("mode", mode);
        export.node("DepthToSpace", attributes);
        Ok(())
    }
}

impl Operator for SpaceToDepth {
    fn name(&self) -> &'static str {
        "SpaceToDepth"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let g = self.geometry(inputs[0])?;
        let deep = g.channels.saturating_mul(g.block * g.block);
        let shape = [g.batch, deep, g.height, g.width];
        checked_product("output", &shape).map_err(Error::geometry("SpaceToDepth"))?;
        Ok(vec![shape.to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let geometry = self.geometry(shapes.inputs[0])?;
        Ok(Lowered::new(move |cpu, io| {
            depth_to_space::space_to_depth(cpu, &geometry, io.inputs.get(0), &mut io.outputs[0]);
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let Self { block_size, order } = *self;
        let dx = context.push(DepthToSpace { block_size, order }, &[dy])?;
        context.add(0, dx[0])
    }

    fn field(&self) -> Field {
        let block = [1, self.block_size, self.block_size];
        Field::Window(Window { kernel: block, stride: block, ..Window::default() })
    }

    /// ONNX has the other order from opset 28 on only.
    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let attributes = Attributes::new().int("blocksize", self.block_size as i64);
        if self.order == BlockOrder::DepthFirst {
            export.node("SpaceToDepth", attributes);
        } else {
            export.own_node("SpaceToDepth", attributes.string("mode", "CRD"));
        }
        Ok(())
    }
}

fn import_block(import: &Import<'_>) -> Result<(usize, BlockOrder)> {
    let order = match import.string("mode", "DCR")?.as_str() {
        "DCR" => BlockOrder::DepthFirst,
        "CRD" => BlockOrder::DepthLast,
        other => return Err(Error::unsupported(import.op_type(), format!("mode = {other:?}"))),
    };
    Ok((import.int_at_least("blocksize", 0, 1)?, order))
}

pub(super) fn import_depth_to_space(import: &mut Import<'_>) -> Result<()> {
    let (x, (block_size, order)) = (import.input(0)?, import_block(import)?);
    import.push(DepthToSpace { block_size, order }, &[x])
}

pub(super) fn import_space_to_depth(import: &mut Import<'_>) -> Result<()> {
    let (x, (block_size, order)) = (import.input(0)?, import_block(import)?);
    import.push(SpaceToDepth { block_size, order }, &[x])
}

pub(super) fn examples() -> Vec<Example> {
    [BlockOrder::DepthFirst, BlockOrder::DepthLast]
        .into_iter()
        .flat_map(|order| {
            [
                Example::new(DepthToSpace { block_size: 2, order }, [&[2, 12, 3, 5]]),
                Example::new(DepthToSpace { block_size: 3, order }, [&[1, 9, 2, 1]]),
                Example::new(SpaceToDepth { block_size: 2, order }, [&[2, 3, 4, 6]]),
                Example::new(SpaceToDepth { block_size: 3, order }, [&[1, 9, 3, 6]]),
            ]
        })
        .collect()
}
