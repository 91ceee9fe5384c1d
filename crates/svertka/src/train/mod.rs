//! Fitting a network to labelled pictures, and measuring how well it does.
//!
//! [`train()`] is the whole job with checkpoints; [`Step`] is one step, for a loop of one's own; [`Classifier`] runs a trained model on pictures.

mod checkpoint;
mod classifier;
mod config;
mod initialize;
mod metrics;
mod norm_fusion;
mod optimizer;
mod parts;
mod recompute;
mod renormalize;
mod run;
mod step;

pub use classifier::{Classifier, Evaluation, argmax};
pub use config::{OptimizerKind, Schedule, TrainConfig};
pub use initialize::initialize;
pub use metrics::{Confusion, wilson_interval};
pub use optimizer::{Gradient, Optimizer};
pub use parts::{Part, Pass};
pub use run::{EpochRecord, Event, Outcome, Stop, train};
pub use step::{Step, StepResult};
