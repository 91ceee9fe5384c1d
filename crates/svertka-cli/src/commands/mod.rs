//! The commands, one file each. To add one, write its file and add its lines here.

mod bench;
mod conv;
mod eval;
mod inspect;
mod predict;
mod train;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Train a classifier on labelled pictures; the same command again resumes interrupted work
    Train(Box<train::Args>),
    /// Label pictures with a model
    Predict(predict::Args),
    /// Measure a model on labelled pictures
    Eval(eval::Args),
    /// Show a network's layers with their shapes, parameters, costs and receptive fields
    Inspect(inspect::Args),
    /// Convolve numbers, with every option, and show the terms
    Conv(Box<conv::Args>),
    /// Measure how fast a network, or each layer of a list, runs on this machine
    Bench(bench::Args),
}

impl Command {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Train(args) => train::run(*args),
            Self::Predict(args) => predict::run(args),
            Self::Eval(args) => eval::run(args),
            Self::Inspect(args) => inspect::run(args),
            Self::Conv(args) => conv::run(*args),
            Self::Bench(args) => bench::run(args),
        }
    }
}
