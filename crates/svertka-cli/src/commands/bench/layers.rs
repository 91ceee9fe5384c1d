//! The list of layers, one by one.

use std::io::{self, Write};

use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;
use svertka::Cpu;
use svertka::measure::{LAYERS, LayerRun, Times, gflops, peak_gflops, repeat};

use super::{Args, machine, milliseconds, share};
use crate::output::{self, Align};
use crate::progress::style;

/// A line of the table.
#[derive(Serialize)]
struct Line {
    name: &'static str,
    algorithm: &'static str,
    macs: u64,
    median_ms: f64,
    best_ms: f64,
    runs: usize,
    /// Of the median run.
    gflops: f64,
    peak_gflops: f64,
}

pub(super) fn run(part: &str, args: &Args, cpu: &Cpu) -> anyhow::Result<()> {
    let chosen: Vec<_> = LAYERS.iter().filter(|(name, _)| name.contains(part)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
        let expected = format!("a part of one of {}", names.join(", "));
        return Err(svertka::Error::argument("bench", "layers", expected, format!("{part:?}")).into());
    }
    let (limit, batch) = (args.limit(0.2), args.batch.unwrap_or(1));
    let bar = ProgressBar::new(chosen.len() as u64).with_style(style("{msg} [{bar:30}] {pos} of {len}"));
    let mut lines = Vec::new();
    for &&(name, ref layer) in &chosen {
        bar.set_message(name);
        bar.tick();
        let mut run = LayerRun::new(layer, batch.into(), cpu)?;
        // Once for cold memory.
        run.run(cpu);
        let before = peak_gflops(cpu);
        let times = repeat(limit.budget, limit.most, || {
            run.run(cpu);
            anyhow::Ok(())
        })?;
        let times = Times::of(&times);
        lines.push(Line {
            name,
            algorithm: run.algorithm().name(),
            macs: run.macs(),
            median_ms: milliseconds(times.median),
            best_ms: milliseconds(times.best),
            runs: times.runs,
            gflops: gflops(run.macs(), times.median),
            peak_gflops: before.max(peak_gflops(cpu)),
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    if args.json {
        return output::json(&json!({
            "layers": lines,
            "batch": batch,
            "threads": cpu.threads.count(),
            "isa": cpu.isa.name(),
        }));
    }
    let peak = lines.iter().map(|line| line.peak_gflops).fold(0.0, f64::max);
    let mut out = io::stdout().lock();
    writeln!(out, "forward, batch {batch}; {}", machine(cpu, peak))?;
    let heads = [
        ("layer", Align::Left),
        ("algorithm", Align::Left),
        ("median ms", Align::Right),
        ("fastest", Align::Right),
        ("GFLOP/s", Align::Right),
        ("of peak", Align::Right),
    ];
    output::table(&mut out, &heads, &lines.iter().map(row).collect::<Vec<_>>())?;
    Ok(())
}

fn row(line: &Line) -> Vec<String> {
    vec![
        line.name.to_owned(),
        line.algorithm.to_owned(),
        format!("{:.3}", line.median_ms),
        format!("{:.3}", line.best_ms),
        format!("{:.1}", line.gflops),
        share(line.gflops, line.peak_gflops),
    ]
}
