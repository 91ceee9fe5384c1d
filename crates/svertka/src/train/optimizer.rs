//! The state of an optimizer and its step over all parameters.

use svertka_kernels::update::{self, AdamW, Sgd};
use svertka_kernels::{Buffer, Cpu};

use super::config::OptimizerKind;
use crate::ops::Role;
use crate::tensor::Tensor;

/// An optimizer with its state: one buffer a parameter for the velocity of SGD, two for the moments of AdamW.
#[derive(Clone, Debug)]
pub struct Optimizer {
    kind: OptimizerKind,
    weight_decay: f32,
    /// First and second moments of each learned parameter, empty where the rule has none.
    state: Vec<[Buffer; 2]>,
    steps: u64,
}

/// A parameter's gradient, as an optimizer takes it.
#[derive(Clone, Copy, Debug)]
pub struct Gradient<'a> {
    /// The gradient.
    pub values: &'a [f32],
    /// What it is multiplied by first, to clip its norm.
    pub scale: f32,
    /// What the parameter is.
    pub role: Role,
}

impl Optimizer {
    /// A fresh optimizer for parameters of these sizes.
    pub fn new(kind: OptimizerKind, weight_decay: f64, sizes: impl Iterator<Item = usize>) -> Self {
        let moments = |size| match kind {
            OptimizerKind::Sgd { momentum: 0.0, .. } => [0, 0],
            OptimizerKind::Sgd { .. } => [size, 0],
            OptimizerKind::AdamW { .. } => [size, size],
        };
        let state = sizes.map(|size| moments(size).map(Buffer::zeroed)).collect();
        Self { kind, weight_decay: weight_decay as f32, state, steps: 0 }
    }

    /// Counts a step; comes before the [`Optimizer::update`]s of its parameters.
    pub fn begin_step(&mut self) {
        self.steps += 1;
    }

    /// Changes parameter `index` against its gradient; only weights decay.
    ///
    /// # Panics
    /// Where the lengths differ from those the optimizer was made for.
    pub fn update(&mut self, cpu: &Cpu, index: usize, gradient: Gradient<'_>, lr: f32, weight: &mut Tensor) {
        let Gradient { values: gradient, scale, role } = gradient;
        let weight_decay = if role == Role::Weight { self.weight_decay } else { 0.0 };
        let [first, second] = &mut self.state[index];
        match self.kind {
            OptimizerKind::Sgd { momentum, nesterov } => {
                let rule = Sgd { lr, momentum, nesterov, weight_decay };
                update::sgd(cpu, rule, scale, gradient, first, weight.data_mut());
            }
            OptimizerKind::AdamW { beta1, beta2, eps } => {
                let rule = AdamW { lr, beta1, beta2, eps, weight_decay, step: self.steps };
                update::adamw(cpu, rule, scale, gradient, first, second, weight.data_mut());
            }
        }
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The state's buffers, for a checkpoint; those a rule does not use are empty.
    pub fn state(&self) -> impl Iterator<Item = &Buffer> {
        self.state.iter().flatten()
    }

    /// Puts back what [`Optimizer::steps`] and [`Optimizer::state`] gave.
    pub(super) fn restore(&mut self, steps: u64) -> impl Iterator<Item = &mut Buffer> {
        self.steps = steps;
        self.state.iter_mut().flatten()
    }
}
