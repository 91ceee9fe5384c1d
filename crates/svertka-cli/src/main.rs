//! The command `svertka`: arguments, progress and tables around the library. It computes nothing itself.

#![forbid(unsafe_code)]

mod commands;
mod errors;
mod network;
mod open;
mod output;
mod progress;
mod report;
mod settings;
mod values;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use svertka::kernels::cpu::Isa;

/// Convolutional networks on the CPU: train, run and inspect them
#[derive(Parser)]
#[command(name = "svertka", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Option<commands::Command>,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => errors::tell(&error),
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    // A wrong name in the environment would otherwise count as none.
    Isa::forced()?;
    match cli.command {
        Some(command) => command.run(),
        None => Ok(Cli::command().print_help()?),
    }
}
