//! Flags of training and augmentation, and the library's settings that they give. Defaults are the library's.

use clap::ValueEnum;
use svertka::data::{Affine, Augment, Preprocessing, Resize};
use svertka::train::{OptimizerKind, Schedule, TrainConfig};

use crate::errors::usage;
use crate::values::{self, AccuracyClass};

/// How a network is trained.
#[derive(clap::Args)]
#[command(next_help_heading = "Training")]
pub(crate) struct Settings {
    /// Passes over the training pictures [default: 10 to 24, the more the fewer pictures there are]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Pictures in a step [default: 64; 32 of few pictures, 128 of many small ones]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// The rule that changes weights
    #[arg(long, value_name = "RULE", value_enum, default_value_t = Optimizer::of(TrainConfig::default().optimizer))]
    optimizer: Optimizer,
    #[arg(long, value_name = "RATE", help = format!("Highest learning rate [default: {0}; with batches of 128 {1}; with adamw {2}]", TrainConfig::default().lr, 2.0 * TrainConfig::default().lr, OptimizerKind::ADAMW.default_lr()))]
    lr: Option<f64>,
    #[arg(long, value_name = "SHARE", help = format!("Share of sgd's velocity that stays [default: {}]", default_momentum()))]
    momentum: Option<f32>,
    /// Share of a weight that decays in a step, times the learning rate
    #[arg(long, value_name = "SHARE", default_value_t = TrainConfig::default().weight_decay)]
    weight_decay: f64,
    /// How the learning rate falls; step: to a tenth after each third
    #[arg(long, value_name = "CURVE", value_enum, default_value_t = Curve::of(TrainConfig::default().schedule))]
    schedule: Curve,
    #[arg(long, value_name = "EPOCHS", help = format!("Epochs in which the learning rate rises [default: {}, or all if fewer]", TrainConfig::default().warmup_epochs))]
    warmup: Option<f64>,
    /// Share of a target spread over all classes [default: 0.05, of many small pictures 0.1]
    #[arg(long, value_name = "SHARE")]
    label_smoothing: Option<f32>,
    /// The gradient's norm is cut to this; 0 leaves it
    #[arg(long, value_name = "NORM", default_value_t = TrainConfig::default().clip_norm)]
    clip: f64,
    /// Decay of the average of weights that is kept; 0 keeps the weights themselves
    #[arg(long, value_name = "SHARE", default_value_t = TrainConfig::default().ema)]
    ema: f64,
    /// Epochs without a better validation before training stops; 0 never stops it
    #[arg(long, value_name = "EPOCHS", default_value_t = TrainConfig::default().patience)]
    patience: usize,
    /// Time after which training stops, such as 90s, 10m or 1h30m
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    budget: Option<f64>,
    /// How much rounding error convolutions may have beside that of one sum after the other
    #[arg(long, value_enum, default_value_t = AccuracyClass::Default)]
    accuracy: AccuracyClass,
    /// Keep fewer activations and compute the others again: about half the memory, a sixth more time, the same result
    #[arg(long)]
    memory: bool,
    /// Seed of weights, held-out pictures, order and augmentation
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().seed)]
    pub(crate) seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Optimizer {
    Sgd,
    Adamw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Curve {
    Cosine,
    Step,
    Constant,
}

impl Optimizer {
    fn of(kind: OptimizerKind) -> Self {
        match kind {
            OptimizerKind::Sgd { .. } => Self::Sgd,
            OptimizerKind::AdamW { .. } => Self::Adamw,
        }
    }
}

impl Curve {
    fn of(schedule: Schedule) -> Self {
        match schedule {
            Schedule::Cosine => Self::Cosine,
            Schedule::Step { .. } => Self::Step,
            Schedule::Constant => Self::Constant,
        }
    }
}

fn default_momentum() -> f32 {
    match OptimizerKind::SGD {
        OptimizerKind::Sgd { momentum, .. } => momentum,
        OptimizerKind::AdamW { .. } => unreachable!("SGD is Sgd"),
    }
}

impl Settings {
    /// The library's settings `base` with what the flags change, without augmentation: it depends on the pictures.
    pub(crate) fn config(&self, base: TrainConfig) -> anyhow::Result<TrainConfig> {
        let epochs = self.epochs.unwrap_or(base.epochs);
        let optimizer = match (self.optimizer, self.momentum) {
            (Optimizer::Sgd, None) => OptimizerKind::SGD,
            (Optimizer::Sgd, Some(momentum)) => OptimizerKind::Sgd { momentum, nesterov: momentum > 0.0 },
            (Optimizer::Adamw, None) => OptimizerKind::ADAMW,
            (Optimizer::Adamw, Some(_)) => {
                return Err(usage("the argument '--momentum' cannot be used with '--optimizer adamw'"));
            }
        };
        let config = TrainConfig {
            epochs,
            batch_size: self.batch.unwrap_or(base.batch_size),
            optimizer,
            lr: self.lr.unwrap_or(match optimizer {
                OptimizerKind::Sgd { .. } => base.lr,
                OptimizerKind::AdamW { .. } => optimizer.default_lr(),
            }),
            weight_decay: self.weight_decay,
            schedule: match self.schedule {
                Curve::Cosine => Schedule::Cosine,
                Curve::Step => Schedule::THIRDS,
                Curve::Constant => Schedule::Constant,
            },
            warmup_epochs: self.warmup.unwrap_or_else(|| base.warmup_epochs.min(epochs as f64)),
            label_smoothing: self.label_smoothing.unwrap_or(base.label_smoothing),
            clip_norm: self.clip,
            ema: self.ema,
            patience: self.patience,
            budget_seconds: self.budget.unwrap_or(0.0),
            accuracy: self.accuracy.into(),
            recompute: self.memory,
            seed: self.seed,
            augment: Augment::default(),
        };
        config.validate()?;
        Ok(config)
    }
}

/// Random changes to training pictures.
#[derive(clap::Args)]
#[command(next_help_heading = "Augmentation")]
pub(crate) struct Changes {
    /// Where to begin: as suits the pictures, or with none; the flags below change single ones
    #[arg(long, value_name = "SET", value_enum, default_value_t = Set::Default)]
    augment: Set,
    /// Shift by cropping out of this many pixels of padding; 0 is off
    #[arg(long, value_name = "PIXELS")]
    crop: Option<usize>,
    /// Exchange left and right
    #[arg(long, conflicts_with = "no_flip")]
    flip: bool,
    /// Keep left and right
    #[arg(long)]
    no_flip: bool,
    /// Turn by up to this many degrees
    #[arg(long, value_name = "DEGREES")]
    rotate: Option<f32>,
    /// Move by up to this share of the sides
    #[arg(long, value_name = "SHARE")]
    translate: Option<f32>,
    /// Scale by a factor from this range, such as 0.9..1.1
    #[arg(long, value_name = "LO..HI", value_parser = values::range)]
    scale: Option<(f32, f32)>,
    /// Shear by up to this many degrees
    #[arg(long, value_name = "DEGREES")]
    shear: Option<f32>,
    /// Change brightness, contrast and saturation by up to this share; 0 is off
    #[arg(long, value_name = "SHARE")]
    colour: Option<f32>,
    /// Blank out a square of this side; 0 is off
    #[arg(long, value_name = "PIXELS")]
    cutout: Option<usize>,
    /// Mix pictures in pairs, in shares from Beta(A, A); 0 is off
    #[arg(long, value_name = "A")]
    mixup: Option<f32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Set {
    None,
    Default,
}

impl Changes {
    /// What is done to pictures of this size and colour.
    pub(crate) fn resolve(&self, input: &Preprocessing) -> anyhow::Result<Augment> {
        let mut augment = match self.augment {
            Set::None => Augment::default(),
            Set::Default => Augment::default_for(input.height, input.width, input.channels),
        };
        augment.crop_padding = self.crop.unwrap_or(augment.crop_padding);
        augment.flip = self.flip || augment.flip && !self.no_flip;
        if self.rotate.is_some() || self.translate.is_some() || self.scale.is_some() || self.shear.is_some() {
            let none = Affine { degrees: 0.0, translate: 0.0, scale: (1.0, 1.0), shear: 0.0 };
            let base = augment.affine.unwrap_or(none);
            augment.affine = Some(Affine {
                degrees: self.rotate.unwrap_or(base.degrees),
                translate: self.translate.unwrap_or(base.translate),
                scale: self.scale.unwrap_or(base.scale),
                shear: self.shear.unwrap_or(base.shear),
            })
            .filter(|affine| *affine != none);
        }
        augment.colour = self.colour.unwrap_or(augment.colour);
        augment.cutout = self.cutout.unwrap_or(augment.cutout);
        augment.mixup = self.mixup.unwrap_or(augment.mixup);
        augment.validate(input.height, input.width)?;
        Ok(augment)
    }
}

/// How a picture of other proportions is made to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fit {
    /// Scaled to cover the size, the rest cropped
    Cover,
    /// Scaled out of proportion
    Stretch,
}

impl From<Fit> for Resize {
    fn from(fit: Fit) -> Self {
        match fit {
            Fit::Cover => Self::Cover,
            Fit::Stretch => Self::Stretch,
        }
    }
}
