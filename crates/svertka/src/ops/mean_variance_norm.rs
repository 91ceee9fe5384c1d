//! Mean and variance normalization (ONNX `MeanVarianceNormalization`): mean zero and deviation one over chosen axes, nothing learned.

use std::ops::RangeInclusive;

use svertka_kernels::lines::Lines;
use svertka_kernels::norm::{LineNorm, Parameters};

use super::line_norm::{self, NormalizesLines};
use super::{Example, Layouts, Lowered, Operator, Shapes};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// `(x - mean) / deviation` with the statistics over some axes: those of the batch and then of a run, or of a run alone. Where the deviation is zero,
/// so is the result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanVarianceNorm {
    /// Whether the statistics are over the batch, too.
    pub batch: bool,
    /// The first of the run of axes that the statistics are over.
    pub first: usize,
    /// The axis after the run.
    pub end: usize,
}

impl NormalizesLines for MeanVarianceNorm {
    const GRADIENT: &'static str = "MeanVarianceNormalizationGradient";

    fn norm(&self, x: &[usize], _: Option<&[usize]>) -> LineNorm {
        let mut lines = Lines::along(x, self.first..self.end);
        if self.batch {
            (lines.batch, lines.outer) = (x[0], x[1..self.first].iter().product());
        }
        // ONNX adds 1e-9 to the deviation, so that zero can be divided by it.
        LineNorm { lines, parameters: Parameters::NONE, eps: 1e-18, centered: true }
    }
}

impl Operator for MeanVarianceNorm {
    fn name(&self) -> &'static str {
        "MeanVarianceNormalization"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let rank = inputs[0].len();
        let least = usize::from(self.batch);
        if !(least..=self.end).contains(&self.first) || self.end > rank || rank < least {
            let received = format!("{}..{}", self.first, self.end);
            return Err(Error::argument(
                self.name(),
                "axes",
                format!("a run of axes {least}..{rank}"),
                received,
            ));
        }
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        Ok(line_norm::lower(self, shapes))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        line_norm::gradient(self, context)
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let axes: Vec<usize> = self.batch.then_some(0).into_iter().chain(self.first..self.end).collect();
        export.node("MeanVarianceNormalization", Attributes::new().ints("axes", &axes));
        Ok(())
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let rank = import.shape(x).len();
    let axes = import.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
    let unsupported =
        || Error::unsupported("MeanVarianceNormalization", format!("axes = {axes:?} of {rank} axes"));
    let mut reduced = vec![false; rank];
    for &axis in &axes {
        let axis = usize::try_from(if axis < 0 { axis.saturating_add(rank as i64) } else { axis });
        *axis.ok().and_then(|axis| reduced.get_mut(axis)).ok_or_else(unsupported)? = true;
    }
    let run = |from: usize| {
        let first = (from..rank).find(|&axis| reduced[axis]).unwrap_or(rank);
        let end = (first..rank).find(|&axis| !reduced[axis]).unwrap_or(rank);
        (first, end)
    };
    let (mut batch, (mut first, mut end)) = (false, run(0));
    if first == 0 && reduced[end..].contains(&true) && end == 1 {
        batch = true;
        (first, end) = run(1);
    }
    if reduced[end..].contains(&true) {
        return Err(unsupported());
    }
    import.push(MeanVarianceNorm { batch, first, end }, &[x])
}

pub(super) fn examples() -> Vec<Example> {
    let example = |batch, first, end, x: &[usize]| Example::new(MeanVarianceNorm { batch, first, end }, [x]);
    vec![
        example(true, 2, 4, &[2, 3, 5, 4]),
        example(false, 2, 4, &[2, 3, 5, 4]),
        example(false, 1, 2, &[2, 9, 3]),
        example(true, 2, 3, &[3, 2, 5, 2]),
        example(false, 0, 1, &[7, 3]),
    ]
}
