//! `svertka bench`: how fast networks and layers run here, beside what the machine could reach.

mod layers;
mod model;
mod training;

use std::time::Duration;

use svertka::Cpu;
use svertka::kernels::Isa;

use crate::errors::usage;
use crate::values::{self, AccuracyClass};

/// Most runs that are kept to find their median.
const MOST_RUNS: u32 = 100_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Model file, name of a network, or layers such as "conv32 relu pool2 linear10"
    #[arg(value_name = "MODEL|NET", required_unless_present = "layers")]
    network: Option<String>,
    /// Measure the layers that figures are given for, or those with this in their name
    #[arg(long, value_name = "NAME-PART", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["network", "input", "per_layer"])]
    layers: Option<String>,
    /// Measure steps of training: forward, backward and update
    #[arg(long, conflicts_with = "layers")]
    train: bool,
    /// As train --memory: fewer activations are kept, the others computed again
    #[arg(long, requires = "train")]
    memory: bool,
    /// Classes of a named network [default: 1000 for pictures above 64 x 64, else 10]
    #[arg(long, value_name = "N", conflicts_with = "layers")]
    classes: Option<usize>,
    /// Input [default: that of the model, or that a named network was made for; 3x32x32 for layers]
    #[arg(long, value_name = "CxHxW", value_parser = values::shape)]
    input: Option<[usize; 3]>,
    /// Pictures that are run together [default: as many as the model file says, else 1; with --train 64, fewer of large pictures]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch: Option<u16>,
    /// Threads; 0 takes all cores
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// How long to measure: a network, or each layer [default: 2s, or 0.2s a layer]
    #[arg(long, value_name = "TIME", value_parser = values::duration, conflicts_with = "runs")]
    time: Option<f64>,
    /// Measure so many runs instead
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_RUNS)))]
    runs: Option<u32>,
    /// How much rounding error convolutions may have beside that of one sum after the other
    #[arg(long, value_enum, default_value_t = AccuracyClass::Default, conflicts_with = "layers")]
    accuracy: AccuracyClass,
    /// Try every algorithm that a convolution may go by and take the fastest here, where otherwise a rule over shapes chooses
    #[arg(long, conflicts_with_all = ["layers", "train"])]
    measured: bool,
    /// Show every step in order, not only the slowest; with --train every layer
    #[arg(long)]
    per_layer: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// When to stop.
#[derive(Clone, Copy)]
struct Limit {
    budget: Duration,
    most: usize,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let cpu = Cpu::new(args.threads.into());
    match (&args.network, &args.layers) {
        (Some(network), _) if args.train => training::run(network, &args, &cpu),
        (Some(network), _) => model::run(network, &args, &cpu),
        (None, part) => layers::run(part.as_deref().unwrap_or_default(), &args, &cpu),
    }
}

impl Args {
    fn limit(&self, default_seconds: f64) -> Limit {
        match self.runs {
            Some(runs) => Limit { budget: Duration::MAX, most: runs as usize },
            None => Limit {
                // A time beyond all clocks never ends, as one says who asks for it.
                budget: Duration::try_from_secs_f64(self.time.unwrap_or(default_seconds))
                    .unwrap_or(Duration::MAX),
                most: MOST_RUNS as usize,
            },
        }
    }
}

/// `2 threads, avx2, peak 203.5 GFLOP/s`
fn machine(cpu: &Cpu, peak: f64) -> String {
    let threads = cpu.threads.count();
    let plural = if threads == 1 { "" } else { "s" };
    format!("{threads} thread{plural}, {}, peak {peak:.1} GFLOP/s", Isa::name(cpu.isa))
}

/// `memory of the plan 12.0 MiB; process at its peak 40.2 MiB`
fn memory(plan: usize, process: Option<u64>) -> String {
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let most = process.map_or_else(String::new, |bytes| format!("; process at its peak {}", mib(bytes)));
    format!("memory of the plan {}{most}", mib(plan as u64))
}

/// Refuses another batch than that which a network is for.
fn expect_batch(name: &str, args: &Args, batch: usize) -> anyhow::Result<()> {
    match args.batch {
        Some(asked) if usize::from(asked) != batch => Err(usage(format!(
            "the argument '--batch' cannot be used with {name}, which is for batches of {batch}"
        ))),
        _ => Ok(()),
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A whole number of percent; the share may pass 100, as algorithms that save products do.
fn share(rate: f64, peak: f64) -> String {
    format!("{:.0} %", 100.0 * rate / peak)
}
