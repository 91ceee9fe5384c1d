//! `k`-max pooling (Kalchbrenner, Grefenstette and Blunsom, 2014): the `k` largest values along an axis, in the order in which they stand.

use std::ops::RangeInclusive;

use svertka_kernels::geometry_pool::KMaxGeometry;
use svertka_kernels::pool::{k_max_backward, k_max_forward};

use super::{Example, Field, Layouts, Lowered, Operator, Shapes, expect_activation};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// The `k` largest values along `axis`, in their order; of equal ones the first. The axis then has the size `k`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KMaxPool {
    /// How many are kept, at most the size of the axis.
    pub k: usize,
    /// A spatial axis of `N x C x spatial`: 2 for the first of them.
    pub axis: usize,
}

impl KMaxPool {
    fn geometry(&self, x: &[usize]) -> Result<KMaxGeometry> {
        expect_activation(self, "input", x)?;
        KMaxGeometry::new(x, self.axis, self.k).map_err(Error::geometry(self.name()))
    }
}

impl Operator for KMaxPool {
    fn name(&self) -> &'static str {
        "KMaxPool"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        self.geometry(inputs[0])?;
        let mut shape = inputs[0].to_vec();
        shape[self.axis] = self.k;
        Ok(vec![shape])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered> {
        let geometry = self.geometry(shapes.inputs[0])?;
        Ok(Lowered::new(move |cpu, io| {
            k_max_forward(cpu, &geometry, io.inputs.get(0), &mut io.outputs[0], io.scratch);
        })
        .scratch(threads * geometry.size))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let dx = context.push(KMaxPoolGradient(*self), &[context.input(0), dy])?;
        context.add(0, dx[0])
    }

    /// Any cell of the axis may be chosen.
    fn field(&self) -> Field {
        Field::All
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let attributes = Attributes::new().int("k", self.k as i64).int("axis", self.axis as i64);
        export.own_node("KMaxPool", attributes);
        Ok(())
    }
}

/// Inputs: input, gradient of the output. Finds the chosen values again.
#[derive(Clone, Copy, Debug)]
struct KMaxPoolGradient(KMaxPool);

impl Operator for KMaxPoolGradient {
    fn name(&self) -> &'static str {
        "KMaxPoolGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered> {
        let geometry = self.0.geometry(shapes.inputs[0])?;
        Ok(Lowered::new(move |cpu, io| {
            let (x, dy) = (io.inputs.get(0), io.inputs.get(1));
            k_max_backward(cpu, &geometry, x, dy, &mut io.outputs[0], io.scratch);
        })
        .scratch(threads * geometry.size))
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let axis = import.axis("axis", -1, import.shape(x).len())?;
    let k = import.int_at_least("k", 1, 1)?;
    import.push(KMaxPool { k, axis }, &[x])
}

pub(super) fn examples() -> Vec<Example> {
    vec![
        Example::new(KMaxPool { k: 3, axis: 2 }, [&[2, 9, 8]]),
        Example::new(KMaxPool { k: 2, axis: 3 }, [&[2, 3, 4, 5]]),
        Example::new(KMaxPool { k: 4, axis: 2 }, [&[1, 3, 6, 5]]),
        Example::new(KMaxPool { k: 1, axis: 3 }, [&[1, 2, 3, 4, 3]]),
        Example::new(KMaxPool { k: 5, axis: 4 }, [&[1, 2, 2, 3, 5]]),
    ]
}
