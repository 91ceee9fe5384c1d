//! Steps of optimizers, on plain parameter slices. Each takes a `gradient_scale`, by which the gradient is multiplied first (1, or less to clip
//! its norm).

use crate::cpu::Cpu;
use crate::elementwise::{Lanewise, map};
use crate::simd::Simd;

/// Stochastic gradient descent with momentum, as `torch.optim.SGD` without dampening.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f32,
    /// Share of the velocity that stays.
    pub momentum: f32,
    /// Looks one step ahead along the velocity.
    pub nesterov: bool,
    /// Weight decay, added to the gradient.
    pub weight_decay: f32,
}

/// Adam with decoupled weight decay (Loshchilov and Hutter, 2019), as `torch.optim.AdamW`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the mean of gradients.
    pub beta1: f32,
    /// Decay of the mean of squared gradients.
    pub beta2: f32,
    /// Added to the root of the mean square.
    pub eps: f32,
    /// Share of the weight that a step with `lr` 1 takes away.
    pub weight_decay: f32,
    /// Number of this step; the first is 1.
    pub step: u64,
}

/// One step: `g = gradient_scale grad + weight_decay weight`, `velocity = momentum velocity + g`, then `weight -= lr velocity`, or with
/// `nesterov` `weight -= lr (g + momentum velocity)`. The velocity starts at zero; with `momentum` 0 it is
/// neither read nor written and may be empty.
///
/// # Panics
/// Where the lengths differ.
pub fn sgd(cpu: &Cpu, sgd: Sgd, gradient_scale: f32, grad: &[f32], velocity: &mut [f32], weight: &mut [f32]) {
    let step = SgdStep { sgd, gradient_scale };
    if sgd.momentum == 0.0 {
        map(cpu, step, [Some(grad)], [weight]);
    } else {
        map(cpu, step, [Some(grad)], [velocity, weight]);
    }
}

/// One step; `m` and `v`, the running means of `g = gradient_scale grad` and of `g^2`, start at zero.
///
/// # Panics
/// Where the lengths differ.
pub fn adamw(
    cpu: &Cpu,
    adamw: AdamW,
    gradient_scale: f32,
    grad: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    weight: &mut [f32],
) {
    let correction = |beta: f32| 1.0 - f64::from(beta).powf(adamw.step as f64);
    let step = AdamStep {
        adamw,
        gradient_scale,
        rate: (f64::from(adamw.lr) / correction(adamw.beta1)) as f32,
        root: correction(adamw.beta2).sqrt().recip() as f32,
    };
    map(cpu, step, [Some(grad)], [m, v, weight]);
}

/// Exponential moving average: `average = decay average + (1 - decay) weight`.
///
/// # Panics
/// Where the lengths differ.
pub fn ema(cpu: &Cpu, decay: f32, weight: &[f32], average: &mut [f32]) {
    map(cpu, EmaStep { rate: 1.0 - decay }, [Some(weight)], [average]);
}

#[derive(Clone, Copy)]
struct SgdStep {
    sgd: Sgd,
    gradient_scale: f32,
}

impl Lanewise<1, 2> for SgdStep {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [grad]: [S::V; 1], [velocity, weight]: [S::V; 2]) -> [S::V; 2] {
        let momentum = s.splat(self.sgd.momentum);
        let g = s.fma(weight, s.splat(self.sgd.weight_decay), s.mul(grad, s.splat(self.gradient_scale)));
        let velocity = s.fma(momentum, velocity, g);
        let direction = if self.sgd.nesterov { s.fma(momentum, velocity, g) } else { velocity };
        [velocity, s.fma(s.splat(-self.sgd.lr), direction, weight)]
    }
}

impl Lanewise<1, 1> for SgdStep {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, grad: [S::V; 1], [weight]: [S::V; 1]) -> [S::V; 1] {
        let [_, weight] = self.step(s, grad, [s.splat(0.0), weight]);
        [weight]
    }
}

#[derive(Clone, Copy)]
struct AdamStep {
    adamw: AdamW,
    gradient_scale: f32,
    /// The learning rate, corrected for the mean that started at zero.
    rate: f32,
    /// What corrects the root of the mean square.
    root: f32,
}

impl Lanewise<1, 3> for AdamStep {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [grad]: [S::V; 1], [m, v, weight]: [S::V; 3]) -> [S::V; 3] {
        let AdamW { lr, beta1, beta2, eps, weight_decay, .. } = self.adamw;
        let g = s.mul(grad, s.splat(self.gradient_scale));
        let m = s.fma(s.splat(beta1), m, s.mul(s.splat(1.0 - beta1), g));
        let v = s.fma(s.splat(beta2), v, s.mul(s.splat(1.0 - beta2), s.mul(g, g)));
        let kept = s.mul(weight, s.splat(1.0 - lr * weight_decay));
        let root = s.fma(s.sqrt(v), s.splat(self.root), s.splat(eps));
        [m, v, s.sub(kept, s.mul(s.splat(self.rate), s.div(m, root)))]
    }
}

#[derive(Clone, Copy)]
struct EmaStep {
    rate: f32,
}

impl Lanewise<1, 1> for EmaStep {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [weight]: [S::V; 1], [average]: [S::V; 1]) -> [S::V; 1] {
        // A weight that the average equals leaves it as it is, to the bit.
        [s.fma(s.splat(self.rate), s.sub(weight, average), average)]
    }
}
