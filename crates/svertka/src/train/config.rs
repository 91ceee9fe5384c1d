//! Everything that decides how a network is trained.

use serde::{Deserialize, Serialize};
use svertka_kernels::conv::Accuracy;

use crate::data::Augment;
use crate::error::{Error, Result};
use crate::models::{MANY_PICTURES, is_small};

/// The rule that changes weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum OptimizerKind {
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// Share of the velocity that stays.
        momentum: f32,
        /// Looks one step ahead.
        nesterov: bool,
    },
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019).
    AdamW {
        /// Decay of the mean of gradients.
        beta1: f32,
        /// Decay of the mean of squared gradients.
        beta2: f32,
        /// Added to the root of the mean square.
        eps: f32,
    },
}

impl OptimizerKind {
    /// Momentum 0.9, Nesterov's form.
    pub const SGD: Self = Self::Sgd { momentum: 0.9, nesterov: true };
    /// The usual constants.
    pub const ADAMW: Self = Self::AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8 };

    /// A learning rate to begin with. AdamW's steps have the length of the rate itself: that of SGD would be far too long.
    pub fn default_lr(self) -> f64 {
        match self {
            Self::Sgd { .. } => 0.05,
            Self::AdamW { .. } => 1e-3,
        }
    }
}

/// How the learning rate falls after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Schedule {
    /// Not at all.
    Constant,
    /// Along half a cosine to zero (Loshchilov and Hutter, 2017).
    Cosine,
    /// By a factor, each time this share of the work is done.
    Step {
        /// Share of the work between two falls, above 0 and below 1.
        every: f64,
        /// What is left of the rate.
        factor: f64,
    },
}

impl Schedule {
    /// To a tenth after each third of the work.
    pub const THIRDS: Self = Self::Step { every: 1.0 / 3.0, factor: 0.1 };

    /// The factor of the learning rate when `progress` (0 to 1) of the work is done and the warm-up takes `warmup` of it.
    ///
    /// ```
    /// use svertka::train::Schedule;
    /// assert_eq!(Schedule::Cosine.factor(0.05, 0.1), 0.5);
    /// assert!((Schedule::Cosine.factor(0.55, 0.1) - 0.5).abs() < 1e-9);
    /// assert!((Schedule::Step { every: 0.25, factor: 0.1 }.factor(0.6, 0.0) - 0.01).abs() < 1e-9);
    /// ```
    pub fn factor(self, progress: f64, warmup: f64) -> f64 {
        if progress < warmup {
            return progress / warmup;
        }
        let rest = ((progress - warmup) / (1.0 - warmup)).min(1.0);
        match self {
            Self::Constant => 1.0,
            Self::Cosine => (1.0 + (std::f64::consts::PI * rest).cos()) / 2.0,
            Self::Step { every, factor } => factor.powi((progress / every).floor() as i32),
        }
    }
}

/// [`Accuracy`] in JSON.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Accuracy", rename_all = "lowercase")]
enum AccuracyName {
    Strict,
    Default,
    Fast,
}

/// Everything that decides how a network is trained. Same configuration, data and machine: same bits, whatever the number of threads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    /// Passes over the training pictures.
    pub epochs: usize,
    /// Pictures in a step.
    pub batch_size: usize,
    /// The rule that changes weights.
    pub optimizer: OptimizerKind,
    /// Highest learning rate.
    pub lr: f64,
    /// Share of a weight that decays; biases and norms do not.
    pub weight_decay: f64,
    /// How the learning rate falls.
    pub schedule: Schedule,
    /// Epochs in which the learning rate rises from zero.
    pub warmup_epochs: f64,
    /// Share of a target spread over all classes.
    pub label_smoothing: f32,
    /// The gradient's norm is cut to this; 0 leaves it.
    pub clip_norm: f64,
    /// Decay of the moving average of weights that is evaluated and kept; 0 keeps the weights themselves. Early steps average less.
    pub ema: f64,
    /// Epochs without a better validation before training stops; 0 never stops it.
    pub patience: usize,
    /// Seconds after which training stops; the schedule then falls with whichever of steps and time is further. 0 sets no limit.
    pub budget_seconds: f64,
    /// How much rounding error convolutions and their gradients may have.
    #[serde(default, with = "AccuracyName")]
    pub accuracy: Accuracy,
    /// Keep a part of the activations only and compute the others again in the backward pass: less memory, a longer step, the same bits. A run may go on
    /// with or without it.
    #[serde(default)]
    pub recompute: bool,
    /// Seed of weights, order, augmentation and dropout.
    pub seed: u64,
    /// Random changes to pictures.
    pub augment: Augment,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 20,
            batch_size: 64,
            optimizer: OptimizerKind::SGD,
            lr: OptimizerKind::SGD.default_lr(),
            weight_decay: 5e-4,
            schedule: Schedule::Cosine,
            warmup_epochs: 1.0,
            label_smoothing: 0.05,
            clip_norm: 5.0,
            ema: 0.998,
            patience: 10,
            budget_seconds: 0.0,
            accuracy: Accuracy::Default,
            recompute: false,
            seed: 0,
            augment: Augment::default(),
        }
    }
}

impl TrainConfig {
    /// The defaults for so many training pictures of a shape (channels, height, width). Few pictures are shown more often and in smaller batches, so that
    /// there are enough steps; many small ones in larger batches with a higher rate. Grey ones, which vary less, are shown half as often as colour ones.
    ///
    /// ```
    /// use svertka::train::TrainConfig;
    /// let epochs = |pictures, shape| TrainConfig::default_for(pictures, shape).epochs;
    /// assert_eq!((epochs(500, [3, 32, 32]), epochs(48_000, [3, 32, 32]), epochs(1_000_000, [3, 32, 32])), (20, 24, 10));
    /// assert_eq!((epochs(58_000, [1, 28, 28]), epochs(48_000, [3, 224, 224])), (12, 18));
    /// ```
    pub fn default_for(pictures: usize, shape: [usize; 3]) -> Self {
        let shown = |most: usize, times: usize| (times / pictures.max(1)).clamp(10, most);
        if pictures < MANY_PICTURES || !is_small(&shape) {
            let batch_size = if pictures < 10_000 { 32 } else { 64 };
            return Self { epochs: shown(20, 900_000), batch_size, ..Self::default() };
        }
        let epochs = if shape[0] == 1 { shown(12, 700_000) } else { shown(24, 1_200_000) };
        Self { epochs, batch_size: 128, lr: 0.1, label_smoothing: 0.1, ..Self::default() }
    }

    /// Refuses numbers without meaning.
    ///
    /// # Errors
    /// For the first field that has one, with what it needs.
    pub fn validate(&self) -> Result<()> {
        let check =
            |argument: &str, right: bool, expected: &str, received: &dyn std::fmt::Display| match right {
                true => Ok(()),
                false => Err(Error::argument("train", argument, expected, received)),
            };
        let within = |value: f64, low: f64, high: f64| value >= low && value < high;
        check("epochs", self.epochs > 0, "at least 1", &self.epochs)?;
        check("batch_size", self.batch_size > 0, "at least 1", &self.batch_size)?;
        check("lr", self.lr > 0.0 && self.lr.is_finite(), "a number above 0", &self.lr)?;
        let positive = [
            ("weight_decay", self.weight_decay),
            ("warmup_epochs", self.warmup_epochs),
            ("clip_norm", self.clip_norm),
            ("budget", self.budget_seconds),
        ];
        for (argument, value) in positive {
            check(argument, value >= 0.0 && value.is_finite(), "a number of at least 0", &value)?;
        }
        check(
            "label_smoothing",
            within(self.label_smoothing.into(), 0.0, 1.0),
            "at least 0 and below 1",
            &self.label_smoothing,
        )?;
        check("ema", within(self.ema, 0.0, 1.0), "at least 0 and below 1", &self.ema)?;
        let warmup = self.warmup_epochs <= self.epochs as f64;
        check("warmup_epochs", warmup, &format!("at most the {} epochs", self.epochs), &self.warmup_epochs)?;
        match self.optimizer {
            OptimizerKind::Sgd { momentum, .. } => {
                check("momentum", within(momentum.into(), 0.0, 1.0), "at least 0 and below 1", &momentum)?;
            }
            OptimizerKind::AdamW { beta1, beta2, eps } => {
                for (argument, beta) in [("beta1", beta1), ("beta2", beta2)] {
                    check(argument, within(beta.into(), 0.0, 1.0), "at least 0 and below 1", &beta)?;
                }
                check("eps", eps > 0.0 && eps.is_finite(), "a number above 0", &eps)?;
            }
        }
        if let Schedule::Step { every, factor } = self.schedule {
            check("every", every > 0.0 && every < 1.0, "above 0 and below 1", &every)?;
            check("factor", within(factor, 0.0, 1.0), "at least 0 and below 1", &factor)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_meaning_are_refused_by_name() {
        let message = |config: TrainConfig| config.validate().unwrap_err().to_string();
        let base = TrainConfig::default;
        assert!(base().validate().is_ok());
        assert_eq!(
            message(TrainConfig { lr: f64::NAN, ..base() }),
            "train: lr: expected a number above 0, received NaN"
        );
        assert_eq!(
            message(TrainConfig { epochs: 0, ..base() }),
            "train: epochs: expected at least 1, received 0"
        );
        assert_eq!(
            message(TrainConfig { ema: 1.0, ..base() }),
            "train: ema: expected at least 0 and below 1, received 1"
        );
        assert_eq!(
            message(TrainConfig { warmup_epochs: 30.0, ..base() }),
            "train: warmup_epochs: expected at most the 20 epochs, received 30"
        );
        assert!(message(TrainConfig { weight_decay: -1.0, ..base() }).starts_with("train: weight_decay"));
        assert!(
            message(TrainConfig { budget_seconds: f64::INFINITY, ..base() }).starts_with("train: budget")
        );
        let optimizer = OptimizerKind::Sgd { momentum: 1.5, nesterov: false };
        assert!(message(TrainConfig { optimizer, ..base() }).starts_with("train: momentum"));
        let schedule = Schedule::Step { every: 0.0, factor: 0.1 };
        assert!(message(TrainConfig { schedule, ..base() }).starts_with("train: every"));
    }

    #[test]
    fn the_rate_rises_then_falls_to_zero() {
        let factors: Vec<f64> =
            (0..=100).map(|i| Schedule::Cosine.factor(f64::from(i) / 100.0, 0.2)).collect();
        assert_eq!((factors[0], factors[20]), (0.0, 1.0));
        assert!(factors[..20].windows(2).all(|pair| pair[0] < pair[1]));
        assert!(factors[20..].windows(2).all(|pair| pair[0] > pair[1]));
        assert!(factors[100].abs() < 1e-12);
    }
}
