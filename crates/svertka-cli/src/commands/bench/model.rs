//! A whole network, and what its steps take of it.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;
use svertka::measure::{Times, gflops, numbers, peak_gflops, repeat};
use svertka::{Choice, Cpu, PlanOptions, Session, StepInfo, Tensor};

use super::{Args, expect_batch, machine, memory, milliseconds, share};
use crate::commands::train::peak_rss_bytes;
use crate::network;
use crate::output::{self, Align, by, plain, thousands};
use crate::progress::style;

/// Steps that are shown unless all are asked for.
const SLOWEST: usize = 12;

/// A step of the plan with its time.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    step: StepInfo,
    median_ms: f64,
    /// None where the step multiplies nothing.
    gflops: Option<f64>,
}

pub(super) fn run(name: &str, args: &Args, cpu: &Cpu) -> anyhow::Result<()> {
    let choice = if args.measured { Choice::Measured } else { Choice::Heuristic };
    let options = PlanOptions { accuracy: args.accuracy.into(), choice };
    // A file is read part by part; the figures are then those of a program that only answers.
    let mut session = if args.input.is_none() && args.classes.is_none() && Path::new(name).is_file() {
        Session::open_with_options(name, args.batch.unwrap_or(1).into(), &options, cpu)?
    } else {
        let graph = network::graph(name, args.input, args.classes)?;
        let shapes = network::input_shapes(name, &graph, args.input, args.batch.unwrap_or(1).into())?;
        Session::new(graph, shapes, &options, cpu)?
    };
    let shapes = session.input_shapes().to_vec();
    let batch = shapes.first().and_then(|shape| shape.first()).copied().unwrap_or(1);
    expect_batch(name, args, batch)?;
    let inputs: Vec<Tensor> = shapes.iter().map(|shape| numbers(shape.as_slice())).collect();
    let inputs: Vec<&Tensor> = inputs.iter().collect();

    let bar = ProgressBar::new_spinner().with_style(style("measuring {msg}, run {pos}"));
    bar.set_message(plain(name));
    bar.tick();
    // Once for cold memory and for what is made of constant weights.
    session.run(cpu, &inputs)?;
    let before = peak_gflops(cpu);
    let mut of_steps: Vec<Vec<Duration>> = vec![vec![]; session.plan().steps().len()];
    let limit = args.limit(2.0);
    let times = repeat(limit.budget, limit.most, || {
        let mut steps = of_steps.iter_mut();
        bar.inc(1);
        session.run_observed(cpu, &inputs, |_, time| {
            steps.by_ref().take(1).for_each(|times| times.push(time));
        })
    })?;
    bar.finish_and_clear();
    let (times, peak) = (Times::of(&times), before.max(peak_gflops(cpu)));
    let lines: Vec<Line> =
        session.plan().steps().zip(&of_steps).map(|(step, times)| line(step, times)).collect();
    let macs = lines.iter().map(|line| line.step.macs).sum();
    let (rate, throughput) = (gflops(macs, times.median), batch as f64 / times.median.as_secs_f64());
    let process = peak_rss_bytes();
    if args.json {
        return output::json(&json!({
            "network": name,
            "inputs": shapes,
            "batch": batch,
            "threads": cpu.threads.count(),
            "isa": cpu.isa.name(),
            "runs": times.runs,
            "median_ms": milliseconds(times.median),
            "best_ms": milliseconds(times.best),
            "images_per_second": throughput,
            "macs": macs,
            "gflops": rate,
            "peak_gflops": peak,
            "peak_rss_bytes": process,
            "plan_bytes": session.plan().memory(),
            "steps": lines,
        }));
    }
    let mut out = io::stdout().lock();
    let inputs: Vec<String> = shapes.iter().map(|shape| by(shape)).collect();
    writeln!(out, "{}, input {}; {}", plain(name), inputs.join(" and "), machine(cpu, peak))?;
    writeln!(
        out,
        "median {:.3} ms, fastest {:.3} ms of {} runs; {throughput:.1} images/s; {rate:.1} GFLOP/s, {} of peak",
        milliseconds(times.median),
        milliseconds(times.best),
        thousands(times.runs as u64),
        share(rate, peak),
    )?;
    writeln!(out, "{}\n", memory(session.plan().memory(), process))?;
    print(&mut out, lines, args.per_layer, milliseconds(times.median), peak)?;
    Ok(())
}

fn line(step: &StepInfo, times: &[Duration]) -> Line {
    let median = Times::of(times).median;
    let gflops = (step.macs > 0).then(|| gflops(step.macs, median));
    Line { step: step.clone(), median_ms: milliseconds(median), gflops }
}

fn print(
    out: &mut impl Write,
    mut lines: Vec<Line>,
    all: bool,
    whole_ms: f64,
    peak: f64,
) -> anyhow::Result<()> {
    let count = lines.len();
    if !all {
        lines.sort_by(|a, b| b.median_ms.total_cmp(&a.median_ms));
        lines.truncate(SLOWEST);
    }
    let heads = [
        ("step", Align::Left),
        ("op", Align::Left),
        ("output", Align::Left),
        ("algorithm", Align::Left),
        ("ms", Align::Right),
        ("of all", Align::Right),
        ("GFLOP/s", Align::Right),
        ("of peak", Align::Right),
    ];
    let row = |line: &Line| {
        let Line { step, median_ms, gflops } = line;
        vec![
            step.name.clone(),
            step.op.unwrap_or_default().to_owned(),
            by(&step.output_shape),
            step.algorithm.unwrap_or_default().to_owned(),
            format!("{median_ms:.3}"),
            share(*median_ms, whole_ms),
            gflops.map_or_else(String::new, |rate| format!("{rate:.1}")),
            gflops.map_or_else(String::new, |rate| share(rate, peak)),
        ]
    };
    output::table(out, &heads, &lines.iter().map(row).collect::<Vec<_>>())?;
    if lines.len() < count {
        writeln!(out, "the {} slowest of {count} steps; --per-layer shows all", lines.len())?;
    }
    Ok(())
}
