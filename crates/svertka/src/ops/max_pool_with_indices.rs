//! Max pooling that says where the maxima stand (ONNX `MaxPool` with its output `Indices`).

use std::ops::RangeInclusive;

use svertka_kernels::geometry::Window;
use svertka_kernels::geometry_pool::indexable;
use svertka_kernels::pool::{IndexOrder, max_forward_with_indices};

use super::pooling::{Pooling, add_gradient, example_windows, import_window, moving, window_attributes};
use super::{Example, Field, Layouts, Lowered, MaxPool, Operator, Shapes, activation, spatial};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// The largest value of each window, and the index of its first cell of that value in the whole `N x C x spatial` input, as ONNX counts;
/// PyTorch counts in each plane. Minus one stands for a window that lies in the padding altogether. Indices are whole numbers in `f32`, so
/// the input has at most 2^24 elements. The output of values has a gradient, that of indices none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaxPoolWithIndices {
    /// Kernel size, stride, dilation and padding.
    pub window: Window,
    /// Round the output size up.
    pub ceil_mode: bool,
    /// How the cells of a plane are numbered.
    pub storage_order: IndexOrder,
}

impl MaxPoolWithIndices {
    fn values(&self) -> MaxPool {
        MaxPool { window: self.window, ceil_mode: self.ceil_mode }
    }

    pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
        let (window, ceil_mode) = import_window(import)?;
        let storage_order = match import.int("storage_order", 0)? {
            0 => IndexOrder::RowMajor,
            1 => IndexOrder::ColumnMajor,
            other => return Err(Error::argument("MaxPool", "storage_order", "0 or 1", other)),
        };
        let x = import.input(0)?;
        import.push(Self { window, ceil_mode, storage_order }, &[x])
    }
}

impl Operator for MaxPoolWithIndices {
    fn name(&self) -> &'static str {
        "MaxPoolWithIndices"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let x = inputs[0];
        let geometry = moving(self, x, self.window, self.ceil_mode)?;
        indexable("elements that the indices count", x[0], x[1], spatial(x))
            .map_err(Error::geometry(self.name()))?;
        let shape = activation(geometry.batch, geometry.channels, geometry.output, x);
        Ok(vec![shape.clone(), shape])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::AllBlocked
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (geometry, order) = (self.values().geometry(shapes.inputs[0])?, self.storage_order);
        Ok(Lowered::new(move |cpu, io| {
            if let [y, indices] = &mut *io.outputs {
                max_forward_with_indices(cpu, &geometry, order, io.inputs.get(0), y, indices);
            }
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        add_gradient(self.values(), context, dy)
    }

    fn field(&self) -> Field {
        Field::Window(self.window)
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let attributes = window_attributes(export, &self.window, self.ceil_mode)
            .int("storage_order", i64::from(self.storage_order == IndexOrder::ColumnMajor));
        // Indices are integers there.
        let integers = format!("{}/Indices", export.output(1));
        let outputs = [export.output(0), integers.clone()];
        export.push("MaxPool", export.output(0), &[export.input(0)], &outputs, attributes);
        let to_float = Attributes::new().int("to", 1);
        export.push("Cast", integers.clone(), &[integers], &[export.output(1)], to_float);
        Ok(())
    }
}

pub(super) fn examples() -> Vec<Example> {
    let examples = |(window, ceil_mode, shape): (_, _, &[usize])| {
        [IndexOrder::RowMajor, IndexOrder::ColumnMajor].map(|storage_order| {
            Example::new(MaxPoolWithIndices { window, ceil_mode, storage_order }, [shape])
        })
    };
    example_windows().into_iter().flat_map(examples).collect()
}
