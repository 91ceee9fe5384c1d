//! Windows as columns (PyTorch `Unfold`, im2col) and back (ONNX `Col2Im`, PyTorch `Fold`), over one to three spatial axes. Each is the other's gradient.

use std::ops::RangeInclusive;

use svertka_kernels::fold;
use svertka_kernels::geometry::{PoolGeometry, Window, checked_product};

use super::{
    Example, Field, Layouts, Lowered, Operator, Shapes, activation, elements, expect_activation, spatial,
};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// `N x C x spatial` to `N x C * taps x windows`: row `c * taps + t` holds what tap `t` of each window reads in channel `c`, zero in the padding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unfold {
    /// Kernel size, stride, dilation and padding.
    pub window: Window,
}

/// `N x C * taps x windows` to `N x C x spatial`: each cell the sum over the taps that read it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fold {
    /// Kernel size, stride, dilation and padding, with ones before the spatial axes there are.
    pub window: Window,
    /// The spatial size, 1 to 3 axes.
    pub output_size: Vec<usize>,
}

impl Unfold {
    fn geometry(&self, x: &[usize]) -> Result<PoolGeometry> {
        expect_activation(self, "input", x)?;
        let geometry = PoolGeometry::new(x[0], x[1], spatial(x), self.window, false);
        geometry.map_err(Error::geometry("Unfold"))
    }
}

impl Fold {
    fn geometry(&self, x: &[usize]) -> Result<PoolGeometry> {
        let wrong = |argument, expected: String, received: String| {
            Err(Error::argument("Fold", argument, expected, received))
        };
        let dims = self.output_size.len();
        if !(1..=3).contains(&dims) || self.window.kernel[..3 - dims.min(3)].iter().any(|&size| size != 1) {
            let expected = "1 to 3 spatial axes, as many as the window has".into();
            return wrong("output_size", expected, format!("{:?}", self.output_size));
        }
        let taps = checked_product("kernel_size", &self.window.kernel).map_err(Error::geometry("Fold"))?;
        let &[batch, rows, windows] = x else {
            return wrong("input", "N x C * taps x windows".into(), format!("shape {x:?}"));
        };
        if taps == 0 || rows % taps != 0 {
            return wrong("input", format!("a multiple of {taps} taps along axis 1"), format!("shape {x:?}"));
        }
        let output = activation(batch, rows / taps, [1; 3], &[1; 2]);
        let output = [&output[..], &self.output_size].concat();
        let geometry = PoolGeometry::new(batch, rows / taps, spatial(&output), self.window, false)
            .map_err(Error::geometry("Fold"))?;
        if elements(&geometry.output) != windows {
            let expected = format!("{} windows along axis 2", elements(&geometry.output));
            return wrong("input", expected, format!("shape {x:?}"));
        }
        Ok(geometry)
    }
}

impl Operator for Unfold {
    fn name(&self) -> &'static str {
        "Unfold"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let geometry = self.geometry(inputs[0])?;
        let taps = checked_product("kernel_size", &self.window.kernel).map_err(Error::geometry("Unfold"))?;
        let shape = [geometry.batch, geometry.channels.saturating_mul(taps), elements(&geometry.output)];
        checked_product("output", &shape).map_err(Error::geometry("Unfold"))?;
        Ok(vec![shape.to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let geometry = self.geometry(shapes.inputs[0])?;
        Ok(Lowered::new(move |cpu, io| fold::unfold(cpu, &geometry, io.inputs.get(0), &mut io.outputs[0])))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let output_size = context.shape(context.input(0))[2..].to_vec();
        let dx = context.push(Fold { window: self.window, output_size }, &[dy])?;
        context.add(0, dx[0])
    }

    fn field(&self) -> Field {
        Field::All
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let dims = export.shape_of_input(0).len() - 2;
        export.own_node("Unfold", Attributes::window(&self.window, dims).dilations(&self.window, dims));
        Ok(())
    }
}

impl Operator for Fold {
    fn name(&self) -> &'static str {
        "Fold"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let geometry = self.geometry(inputs[0])?;
        Ok(vec![[&[geometry.batch, geometry.channels], &self.output_size[..]].concat()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let geometry = self.geometry(shapes.inputs[0])?;
        Ok(Lowered::new(move |cpu, io| fold::fold(cpu, &geometry, io.inputs.get(0), &mut io.outputs[0])))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let dx = context.push(Unfold { window: self.window }, &[dy])?;
        context.add(0, dx[0])
    }

    fn field(&self) -> Field {
        Field::All
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let dims = self.output_size.len();
        let ints = |sizes: &[usize]| sizes.iter().map(|&size| size as i64).collect::<Vec<_>>();
        let image = export.constant_ints("image_shape", &ints(&self.output_size));
        let block = export.constant_ints("block_shape", &ints(&self.window.kernel[3 - dims..]));
        let attributes = Attributes::moving_window(&self.window, dims).dilations(&self.window, dims);
        export.node_with("Col2Im", &[export.input(0), image, block], attributes);
        Ok(())
    }
}

pub(super) fn import_unfold(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let shape = import.shape(x).to_vec();
    let kernel = import.sizes("kernel_shape")?.unwrap_or_default();
    let window = import.window(&kernel, &shape[2.min(shape.len())..], shape.len().max(2) - 2)?;
    import.push(Unfold { window }, &[x])
}

pub(super) fn import_col2im(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let sizes = |import: &Import<'_>, i, name| {
        let ints = import.constant_ints(i)?;
        let sizes: Option<Vec<usize>> = ints.iter().map(|&size| usize::try_from(size).ok()).collect();
        sizes.ok_or_else(|| Error::argument("Col2Im", name, "no negative number", format!("{ints:?}")))
    };
    let output_size = sizes(import, 1, "image_shape")?;
    let kernel = sizes(import, 2, "block_shape")?;
    let window = import.window(&kernel, &output_size, output_size.len())?;
    import.push(Fold { window, output_size }, &[x])
}

pub(super) fn examples() -> Vec<Example> {
    let window = |kernel, stride, dilation, padding| Window { kernel, stride, dilation, padding };
    let plane = window([1, 3, 2], [1, 2, 1], [1, 1, 2], [(0, 0), (1, 0), (0, 2)]);
    let line = window([1, 1, 3], [1, 1, 2], [1; 3], [(0, 0), (0, 0), (2, 1)]);
    let volume = window([2, 1, 3], [1, 2, 1], [1; 3], [(0, 1), (0, 0), (1, 1)]);
    let cases: [(Window, &[usize]); 3] =
        [(plane, &[2, 3, 6, 5]), (line, &[3, 2, 7]), (volume, &[1, 9, 3, 4, 2])];
    cases
        .into_iter()
        .flat_map(|(window, shape)| {
            let unfold = Unfold { window };
            let columns = unfold.infer(&[shape]).unwrap_or_default().concat();
            let fold = Fold { window, output_size: shape[2..].to_vec() };
            [Example::new(unfold, [shape]), Example::new(fold, [&columns])]
        })
        .collect()
}
