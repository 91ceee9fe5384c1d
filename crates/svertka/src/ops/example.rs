//! Operators with inputs to try them on: every test and comparison that is driven by the list of operators starts here.

use std::sync::Arc;

use super::{Operator, elements};
use crate::tensor::Tensor;

/// An operator and the shapes of inputs to try it on.
#[derive(Clone, Debug)]
pub struct Example {
    /// The operator.
    pub op: Arc<dyn Operator>,
    /// Shapes of its inputs.
    pub inputs: Vec<Vec<usize>>,
    /// What numbers each input may hold.
    pub domains: Vec<Domain>,
}

/// The numbers for which an operator has a meaning, or a derivative that can be checked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Domain {
    /// Any.
    #[default]
    Any,
    /// Between minus one and one.
    Unit,
    /// Above zero.
    Positive,
    /// Rows along the last axis are probabilities.
    Probabilities,
    /// Whole numbers and a quarter: where functions that jump are flat.
    Quarters,
    /// Whole numbers from zero, each below this; they have no derivative.
    Indices(usize),
    /// Flat indices into a tensor with this many cells a plane: as many of each plane as the input has, none twice.
    Cells(usize),
}

impl Example {
    pub(crate) fn new<const N: usize>(op: impl Operator + 'static, inputs: [&[usize]; N]) -> Self {
        let inputs = inputs.iter().map(|shape| shape.to_vec()).collect();
        Self { op: Arc::new(op), inputs, domains: vec![Domain::Any; N] }
    }

    /// With the numbers that input `input` may hold.
    pub(crate) fn domain(mut self, input: usize, domain: Domain) -> Self {
        self.domains[input] = domain;
        self
    }

    /// Numbers for input `index`.
    ///
    /// # Panics
    /// Where the operator has fewer inputs.
    pub fn input(&self, index: usize) -> Tensor {
        self.domains[index].numbers(&self.inputs[index], index)
    }
}

impl Domain {
    /// Numbers of this domain, others for each `salt`. They are 0.07 apart in a scrambled order, and none is within 0.015 of 0, 2.5, 3, 6 or
    /// their negatives: a step of 0.01 crosses no kink of an activation and changes no maximum.
    pub fn numbers(self, shape: &[usize], salt: usize) -> Tensor {
        let len = elements(shape);
        let stride = [7919, 6007, 4999].into_iter().find(|stride| gcd(*stride, len) == 1).unwrap_or(1);
        let mut tensor = Tensor::zeros(shape);
        for (i, value) in tensor.data_mut().iter_mut().enumerate() {
            let any = 0.07 * (((i * stride + 31 * salt) % len) as f32 - (len / 2) as f32) + 0.035;
            *value = match self {
                Self::Any => any,
                // Products of such numbers stay where differences of f32 mean something.
                Self::Unit => (any * 5.0).sin(),
                Self::Positive | Self::Probabilities => 0.5 + 0.1 * (any * 3.0).sin(),
                Self::Quarters => any.floor() + 0.25,
                Self::Cells(cells) => {
                    let own = elements(&shape[2.min(shape.len())..]).max(1);
                    (i / own * cells + (i % own * 7919 + salt) % cells.max(1)) as f32
                }
                Self::Indices(below) => ((i * 7919 + salt) % below.max(1)) as f32,
            };
        }
        if self == Self::Probabilities {
            for row in tensor.data_mut().chunks_exact_mut(shape.last().copied().unwrap_or(1).max(1)) {
                let sum: f32 = row.iter().sum();
                row.iter_mut().for_each(|value| *value /= sum);
            }
        }
        tensor
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
