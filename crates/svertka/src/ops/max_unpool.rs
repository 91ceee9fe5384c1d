//! Max unpooling (ONNX `MaxUnpool`, `torch.nn.MaxUnpool2d`; Zeiler and Fergus, 2014): values back to the cells they were the maxima of, zeros
//! elsewhere.

use std::ops::RangeInclusive;

use svertka_kernels::geometry_pool::{UnpoolGeometry, unpooled};
use svertka_kernels::pool::{unpool_backward, unpool_forward};

use super::{
    Domain, Example, Layouts, Lowered, Operator, Shapes, activation, expect_activation, expect_shape, spatial,
};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// Inputs: values `N x C x spatial`, and their indices of the same shape, into the whole `N x C x indexed` tensor, as
/// [`MaxPoolWithIndices`](super::MaxPoolWithIndices) gives them. The result is `N x C x output_size`.
///
/// An index that is no whole number, or means another image or channel than that of its value, or a cell outside the output, is left out; of
/// several equal ones the last value stays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaxUnpool {
    /// Spatial size of what the indices count, `[depth, height, width]`.
    pub indexed: [usize; 3],
    /// Spatial size of the result. Where it differs from `indexed`, the cells keep their places and others are cut off or zero, as in ONNX.
    pub output_size: [usize; 3],
}

impl MaxUnpool {
    fn geometry(&self, x: &[usize]) -> Result<UnpoolGeometry> {
        expect_activation(self, "input", x)?;
        for (argument, size) in [("indexed", self.indexed), ("output_size", self.output_size)] {
            if size[..5 - x.len()].iter().any(|&size| size != 1) {
                let expected = format!("{} spatial axes behind ones", x.len() - 2);
                return Err(Error::argument(self.name(), argument, expected, format!("{size:?}")));
            }
        }
        UnpoolGeometry::new(x[0], x[1], spatial(x), self.indexed, self.output_size)
            .map_err(Error::geometry(self.name()))
    }
}

impl Operator for MaxUnpool {
    fn name(&self) -> &'static str {
        "MaxUnpool"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        2..=2
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let geometry = self.geometry(inputs[0])?;
        expect_shape(self, "indices", inputs[0], inputs[1])?;
        Ok(vec![activation(geometry.batch, geometry.channels, geometry.output, inputs[0])])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let geometry = self.geometry(shapes.inputs[0])?;
        Ok(Lowered::new(move |cpu, io| {
            unpool_forward(cpu, &geometry, io.inputs.get(0), io.inputs.get(1), &mut io.outputs[0]);
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        if !context.needs(0) {
            return Ok(());
        }
        let dx = context.push(MaxUnpoolGradient(*self), &[context.input(1), dy])?;
        context.add(0, dx[0])
    }

    /// Windows are written only to infer sizes from: one that moves by one cell says any size.
    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let shape = export.shape_of_input(0).to_vec();
        let (input, dims) = (spatial(&shape), shape.len() - 2);
        let (mut kernel, mut pads) = (vec![], vec![0; dims]);
        for axis in 3 - dims..3 {
            kernel.push((self.indexed[axis] + 1).saturating_sub(input[axis]).max(1));
            pads.push((input[axis] + kernel[axis + dims - 3] - 1).saturating_sub(self.indexed[axis]));
        }
        let attributes = Attributes::new()
            .ints("kernel_shape", &kernel)
            .ints("strides", &vec![1; dims])
            .ints("pads", &pads);
        let indices = export.inner("Cast", &[export.input(1)], Attributes::new().int("to", 7));
        let mut inputs = vec![export.input(0), indices];
        if self.output_size != self.indexed {
            let sizes = [&shape[..2], &self.output_size[3 - dims..]].concat();
            let sizes: Vec<i64> = sizes.into_iter().map(|size| size as i64).collect();
            inputs.push(export.constant_ints("output_shape", &sizes));
        }
        export.node_with("MaxUnpool", &inputs, attributes);
        Ok(())
    }
}

/// Each value gets the gradient of its cell. Inputs: indices, gradient of the output.
#[derive(Clone, Copy, Debug)]
struct MaxUnpoolGradient(MaxUnpool);

impl Operator for MaxUnpoolGradient {
    fn name(&self) -> &'static str {
        "MaxUnpoolGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let geometry = self.0.geometry(shapes.inputs[0])?;
        Ok(Lowered::new(move |cpu, io| {
            unpool_backward(cpu, &geometry, io.inputs.get(0), io.inputs.get(1), &mut io.outputs[0]);
        }))
    }
}

/// `MaxUnpool`: indices count cells of the size that the windows infer; a constant `output_shape` may be another one.
pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let (x, indices) = (import.input(0)?, import.input(1)?);
    let shape = import.shape(x).to_vec();
    let dims = shape.len().saturating_sub(2);
    let missing = || Error::argument("MaxUnpool", "kernel_shape", "one size for each spatial axis", "none");
    let kernel = import.sizes("kernel_shape")?.ok_or_else(missing)?;
    let window = import.window(&kernel, &shape[2.min(shape.len())..], dims)?;
    let indexed = unpooled(spatial(&shape), window.kernel, window.stride, window.padding)
        .map_err(Error::geometry("MaxUnpool"))?;
    let mut output_size = indexed;
    if import.optional(2)?.is_some() {
        let sizes = import.constant_ints(2)?;
        let fits = sizes.len() == shape.len() && sizes[1] == shape[1] as i64;
        let spatial: Option<Vec<usize>> =
            sizes.iter().skip(2).map(|&size| usize::try_from(size).ok()).collect();
        let Some(spatial) = spatial.filter(|_| fits) else {
            let expected = format!("N, {} channels and {dims} sizes", shape[1]);
            return Err(Error::argument("MaxUnpool", "output_shape", expected, format!("{sizes:?}")));
        };
        output_size[3 - dims..].copy_from_slice(&spatial);
    }
    import.push(MaxUnpool { indexed, output_size }, &[x, indices])
}

pub(super) fn examples() -> Vec<Example> {
    let sizes: [([usize; 3], [usize; 3], &[usize]); 5] = [
        ([1, 5, 7], [1, 5, 7], &[1, 1, 3, 4]),
        ([1, 1, 5], [1, 1, 5], &[1, 9, 3]),
        ([2, 3, 5], [2, 3, 5], &[1, 2, 1, 2, 3]),
        // A result larger, and smaller, than what the indices count.
        ([1, 4, 3], [1, 5, 5], &[1, 1, 2, 3]),
        ([1, 4, 5], [1, 3, 6], &[1, 1, 2, 3]),
    ];
    let example = |(indexed, output_size, shape): ([usize; 3], [usize; 3], &[usize])| {
        let cells = indexed.iter().product();
        Example::new(MaxUnpool { indexed, output_size }, [shape, shape]).domain(1, Domain::Cells(cells))
    };
    sizes.map(example).into()
}
