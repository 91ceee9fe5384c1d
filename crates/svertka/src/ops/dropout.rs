//! Dropout (ONNX `Dropout`; Srivastava et al., 2014): in training each value is zeroed with probability `p`, the others are scaled by
//! `1 / (1 - p)`. The mask is drawn again in the backward pass from the same seed, not stored.

use std::ops::RangeInclusive;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Example, Io, Layouts, Lowered, Operator, Shapes, TrainingForm};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// Values that are decided from one call of the generator.
const DRAWN: usize = 1024;
/// ONNX's number of the element type `float`.
const FLOAT: i64 = 1;

/// Dropout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability of zeroing a value, `0.0..1.0`.
    pub p: f32,
    /// Tells several dropouts of a network apart, so that their masks differ.
    pub stream: u64,
    /// Whether values are dropped; outside training nothing is.
    pub training: bool,
    /// Whether the mask is an output, too: one where a value is kept.
    pub mask: bool,
}

impl Dropout {
    /// The same mask for the same seed, stream and element, forward and backward.
    fn run(&self, io: &mut Io<'_>) {
        let x = io.first();
        let (y, mask) = io.outputs.split_at_mut(1);
        let y = &mut *y[0];
        if let Some(x) = x {
            y.copy_from_slice(x);
        }
        if let [mask] = &mut *mask {
            mask.fill(1.0);
            self.draw(io.seed, mask, 1.0);
        }
        self.draw(io.seed, y, 1.0 / (1.0 - self.p));
    }

    /// In training multiplies each value by zero or `scale`.
    fn draw(&self, seed: u64, values: &mut [f32], scale: f32) {
        if !self.training {
            return;
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(self.stream);
        // Sixteen bits decide for a value, drawn for many values at a time: one at a time would take longer than a convolution.
        let threshold = (self.p * 65_536.0) as u32;
        let mut bits = [0; 2 * DRAWN];
        for values in values.chunks_mut(DRAWN) {
            random.fill_bytes(&mut bits);
            for (value, bits) in values.iter_mut().zip(bits.chunks_exact(2)) {
                let keep = u32::from(u16::from_le_bytes([bits[0], bits[1]])) >= threshold;
                *value *= if keep { scale } else { 0.0 };
            }
        }
    }
}

impl Operator for Dropout {
    fn name(&self) -> &'static str {
        "Dropout"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        if !(0.0..1.0).contains(&self.p) {
            return Err(Error::argument("Dropout", "p", "a probability of at least 0 and below 1", self.p));
        }
        Ok(vec![inputs[0].to_vec(); if self.mask { 2 } else { 1 }])
    }

    /// Plain, so that the mask does not depend on the layout.
    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        if self.training { Layouts::Plain } else { Layouts::Same }
    }

    fn lower(&self, _: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let op = *self;
        Ok(Lowered::new(move |_, io| op.run(io)).in_place())
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let dx = context.push(Self { mask: false, ..*self }, &[dy])?;
        context.add(0, dx[0])
    }

    fn training(&self) -> Option<TrainingForm> {
        let outputs = if self.mask { 2 } else { 1 };
        Some(TrainingForm { op: Arc::new(Self { training: true, ..*self }), outputs, statistics: vec![] })
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let mut inputs = vec![export.input(0), export.constant("ratio", &[], &[self.p])];
        if self.training {
            inputs.push(export.constant_bool("training_mode", true));
        }
        let mut outputs = vec![export.output(0)];
        if self.mask {
            outputs.push(format!("{}/bool", export.output(1)));
        }
        export.node_named("Dropout", &inputs, &outputs, Attributes::new());
        if self.mask {
            let name = export.output(1);
            export.push("Cast", name.clone(), &outputs[1..], &[name], Attributes::new().int("to", FLOAT));
        }
        Ok(())
    }
}

/// `Dropout`: the ratio is an attribute before opset 12, then a constant input. It is training before opset 7 unless `is_test` says otherwise, and
/// from 12 on where the constant input `training_mode` says so.
pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let mut p = import.float("ratio", 0.5)?;
    if import.has_input(1) {
        p = import.constant(1)?.data().first().copied().unwrap_or(p);
    }
    let training = if import.has_input(2) {
        import.constant(2)?.data().first().is_some_and(|&mode| mode != 0.0)
    } else {
        import.opset() < 7 && import.int("is_test", 0)? == 0
    };
    let stream = import.node_index();
    import.push(Dropout { p, stream, training, mask: import.names_output(1) }, &[x])
}

pub(super) fn examples() -> Vec<Example> {
    [(false, false), (true, false), (true, true)]
        .map(|(training, mask)| Example::new(Dropout { p: 0.3, stream: 1, training, mask }, [&[2, 3, 5, 4]]))
        .into()
}
