//! Steps of optimizers as the ONNX operators of training define them: they differ from those of [`update`](crate::update) in where the small
//! constant is added and in the decay, so that the two are no variants of each other.

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::threads::SharedMut;

/// A rule for the new weight `x` and state from the gradient. In all of them `g = gradient + decay x`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// `v = alpha v + (1 - alpha) g`, `h = beta h + (1 - beta) g^2`, `x = (1 - decay_after) (x - r v / (sqrt(h) + eps))`; at step `t > 0` the rate is
    /// `r sqrt(1 - beta^t) / (1 - alpha^t)`.
    Adam {
        /// Share of the mean of gradients that stays.
        alpha: f32,
        /// Share of the mean of squares that stays.
        beta: f32,
        /// Added to the root.
        eps: f32,
        /// Share of the new weight that is taken away.
        decay_after: f32,
    },
    /// `h = h + g^2`, `x = x - r g / (sqrt(h) + eps)`; at step `t` the rate is `r / (1 + rate_decay t)`.
    Adagrad {
        /// Added to the root.
        eps: f32,
        /// How fast the rate falls.
        rate_decay: f32,
    },
    /// `v = alpha v + beta g`, with `beta` 1 at step 0, and `x = x - r v`, or `x = x - r (g + alpha v)` with `nesterov`.
    Momentum {
        /// Share of the velocity that stays.
        alpha: f32,
        /// Factor of the gradient.
        beta: f32,
        /// Looks one step ahead.
        nesterov: bool,
    },
}

impl Rule {
    /// How many states a weight has.
    pub fn states(self) -> usize {
        if matches!(self, Self::Adam { .. }) { 2 } else { 1 }
    }

    /// The learning rate of step `t`.
    fn rate(self, rate: f32, t: f32) -> f32 {
        let (rate, t) = (f64::from(rate), f64::from(t));
        let rate = match self {
            Self::Adam { alpha, beta, .. } if t > 0.0 => {
                rate * (1.0 - f64::from(beta).powf(t)).sqrt() / (1.0 - f64::from(alpha).powf(t))
            }
            Self::Adagrad { rate_decay, .. } => rate / (1.0 + t * f64::from(rate_decay)),
            _ => rate,
        };
        rate as f32
    }

    /// The new weight and states of one element.
    fn apply(self, rate: f32, first: bool, g: f32, x: f32, [v, h]: [f32; 2]) -> (f32, [f32; 2]) {
        match self {
            Self::Adam { alpha, beta, eps, decay_after } => {
                let (v, h) = (alpha * v + (1.0 - alpha) * g, beta * h + (1.0 - beta) * g * g);
                ((1.0 - decay_after) * (x - rate * v / (h.sqrt() + eps)), [v, h])
            }
            Self::Adagrad { eps, .. } => {
                let h = v + g * g;
                (x - rate * g / (h.sqrt() + eps), [h, 0.0])
            }
            Self::Momentum { alpha, beta, nesterov } => {
                let v = alpha * v + if first { g } else { beta * g };
                (x - rate * if nesterov { g + alpha * v } else { v }, [v, 0.0])
            }
        }
    }
}

/// Step `t` of a rule with learning rate `rate`. The states of a rule that has one only are its first; the second may be any slice of the length.
///
/// # Panics
/// Where the lengths differ, or there are not as many new states as the rule has.
pub fn optimizer_step(
    cpu: &Cpu,
    rule: Rule,
    [rate, t, decay]: [f32; 3],
    [x, gradient]: [&[f32]; 2],
    states: [&[f32]; 2],
    new_x: &mut [f32],
    new_states: &mut [&mut [f32]],
) {
    let len = x.len();
    assert!(gradient.len() == len && new_x.len() == len && states.iter().all(|state| state.len() == len));
    assert!(new_states.len() == rule.states() && new_states.iter().all(|state| state.len() == len));
    let rate = rule.rate(rate, t);
    let new_x = SharedMut::new(new_x);
    let [first, second] = match new_states {
        [first, second] => [Some(SharedMut::new(first)), Some(SharedMut::new(second))],
        [first] => [Some(SharedMut::new(first)), None],
        _ => [None, None],
    };
    run_ranges(cpu, len, 1, |range| {
        // SAFETY: ranges of different jobs do not overlap.
        let new_x = unsafe { new_x.slice(range.start, range.len()) };
        // SAFETY: as above.
        let mut new =
            [first, second].map(|state| state.map(|state| unsafe { state.slice(range.start, range.len()) }));
        for (i, at) in range.clone().enumerate() {
            let g = gradient[at] + decay * x[at];
            let (weight, values) = rule.apply(rate, t == 0.0, g, x[at], states.map(|state| state[at]));
            new_x[i] = weight;
            for (state, value) in new.iter_mut().flatten().zip(values) {
                state[i] = value;
            }
        }
    });
}
