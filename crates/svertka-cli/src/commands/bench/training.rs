//! Steps of training, and what operators and layers take of them.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::bail;
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;
use svertka::measure::{Times, gflops, numbers, peak_gflops, repeat};
use svertka::train::{Classifier, Part, Pass, Step, TrainConfig};
use svertka::{Cpu, Graph, Tensor};

use super::{Args, expect_batch, machine, memory, milliseconds, share};
use crate::commands::train::peak_rss_bytes;
use crate::errors::usage;
use crate::network;
use crate::output::{self, Align, by, plain, thousands};
use crate::progress::style;

/// What parts of a step take together: those of an operator or of a layer.
#[derive(Serialize)]
struct Line {
    name: String,
    op: String,
    output_shape: Vec<usize>,
    forward_ms: f64,
    recomputation_ms: f64,
    input_gradient_ms: f64,
    weight_gradient_ms: f64,
    /// All directions and the update.
    ms: f64,
    /// Those that are computed: a layer whose input needs no gradient has two thirds.
    macs: u64,
    /// None where nothing is multiplied.
    gflops: Option<f64>,
}

pub(super) fn run(name: &str, args: &Args, cpu: &Cpu) -> anyhow::Result<()> {
    let graph = network::graph(name, args.input, args.classes)?;
    let batch = batch(name, &graph, args)?;
    let config =
        TrainConfig { accuracy: args.accuracy.into(), recompute: args.memory, ..TrainConfig::default() };
    let mut step = Step::new(&graph, &config, batch, cpu)?;
    let shape = graph.input_shapes(batch).swap_remove(0);
    let pictures = numbers(shape.as_slice());
    let targets = targets(batch, step.logits().len() / batch);

    let bar = ProgressBar::new_spinner().with_style(style("measuring {msg}, step {pos}"));
    bar.set_message(plain(name));
    bar.tick();
    // A rate of zero, or the same pictures again and again would drive the weights anywhere. Once for cold memory.
    step.run(cpu, &pictures, &targets, 0.0, 0)?;
    let before = peak_gflops(cpu);
    let mut of_parts: Vec<Vec<Duration>> = vec![vec![]; step.parts().len()];
    let (limit, mut seed) = (args.limit(2.0), 0);
    let times = repeat(limit.budget, limit.most, || {
        let mut parts = of_parts.iter_mut();
        bar.inc(1);
        seed += 1;
        let observe = |_: &str, time| parts.by_ref().take(1).for_each(|times| times.push(time));
        step.run_observed(cpu, &pictures, &targets, 0.0, seed, observe).map(drop)
    })?;
    bar.finish_and_clear();
    let (times, peak) = (Times::of(&times), before.max(peak_gflops(cpu)));
    let timed: Vec<(&Part, f64)> = step
        .parts()
        .iter()
        .zip(&of_parts)
        .map(|(part, times)| (part, milliseconds(Times::of(times).median)))
        .collect();
    let mut operators = lines(&timed, |part| &part.kind);
    operators.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    let layers = lines(&timed, |part| &part.layer);
    let forward = timed.iter().filter(|(part, _)| part.pass == Pass::Forward);
    let macs: u64 = forward.map(|(part, _)| part.info.macs).sum();
    let (rate, throughput) = (gflops(3 * macs, times.median), batch as f64 / times.median.as_secs_f64());
    let process = peak_rss_bytes();
    if args.json {
        return output::json(&json!({
            "network": name,
            "inputs": [shape],
            "batch": batch,
            "threads": cpu.threads.count(),
            "isa": cpu.isa.name(),
            "runs": times.runs,
            "median_ms": milliseconds(times.median),
            "best_ms": milliseconds(times.best),
            "images_per_second": throughput,
            "macs": 3 * macs,
            "gflops": rate,
            "peak_gflops": peak,
            "peak_rss_bytes": process,
            "recompute": config.recompute,
            "plan_bytes": step.memory(),
            "operators": operators,
            "layers": layers,
        }));
    }
    let mut out = io::stdout().lock();
    writeln!(out, "training {}, input {}; {}", plain(name), by(&shape), machine(cpu, peak))?;
    writeln!(
        out,
        "a step: median {:.3} ms, fastest {:.3} ms of {}; {throughput:.1} images/s; {rate:.1} GFLOP/s, {} of peak",
        milliseconds(times.median),
        milliseconds(times.best),
        thousands(times.runs as u64),
        share(rate, peak),
    )?;
    writeln!(out, "{}", memory(step.memory(), process))?;
    writeln!(
        out,
        "a step counts as three times the forward pass's multiply-adds, a line as what it computes\n"
    )?;
    let lines = if args.per_layer { layers } else { operators };
    print(&mut out, &lines, args, milliseconds(times.median), peak)?;
    Ok(())
}

/// Pictures in a step: what the network is for, what is asked for, or as many as training takes, fewer of large pictures.
fn batch(name: &str, graph: &Graph, args: &Args) -> anyhow::Result<usize> {
    let [input] = graph.inputs() else {
        bail!("{name}: it has {} inputs: training takes networks of one", graph.inputs().len());
    };
    // A file's sizes are known, but for the batch, or it could not be read.
    let sizes: Vec<usize> = graph.input_shapes(1).swap_remove(0).into_iter().skip(1).collect();
    if let Some([channels, height, width]) = args.input
        && sizes != [channels, height, width]
    {
        return Err(usage(format!(
            "the argument '--input' cannot be used with {name}, which is for {}",
            by(&sizes)
        )));
    }
    if let Some(&Some(batch)) = input.shape.first() {
        expect_batch(name, args, batch)?;
        return Ok(batch);
    }
    let pixels = sizes.iter().skip(1).product();
    let most = Classifier::batch_for(TrainConfig::default().batch_size, pixels, 1);
    Ok(args.batch.map_or(most, usize::from))
}

/// Picture after picture the next class.
fn targets(batch: usize, classes: usize) -> Tensor {
    let mut targets = Tensor::zeros([batch, classes]);
    let rows = targets.data_mut().chunks_exact_mut(classes.max(1));
    rows.enumerate().for_each(|(i, row)| row[i % classes] = 1.0);
    targets
}

/// The parts with the same `name` together, in the order of their first ones.
fn lines<'a>(timed: &[(&'a Part, f64)], name: impl Fn(&'a Part) -> &'a str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for &(part, ms) in timed {
        let name = name(part);
        let index = lines.iter().position(|line| line.name == name).unwrap_or_else(|| {
            lines.push(Line::new(name));
            lines.len() - 1
        });
        lines[index].take_in(part, ms);
    }
    lines.iter_mut().for_each(|line| {
        let time = Duration::from_secs_f64(line.ms / 1e3);
        line.gflops = (line.macs > 0).then(|| gflops(line.macs, time));
    });
    lines
}

impl Line {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            op: String::new(),
            output_shape: vec![],
            forward_ms: 0.0,
            recomputation_ms: 0.0,
            input_gradient_ms: 0.0,
            weight_gradient_ms: 0.0,
            ms: 0.0,
            macs: 0,
            gflops: None,
        }
    }

    fn take_in(&mut self, part: &Part, ms: f64) {
        if self.op.is_empty() && part.info.op.is_some() {
            self.op.clone_from(&part.kind);
            self.output_shape.clone_from(&part.info.output_shape);
        }
        match part.pass {
            Pass::Forward => self.forward_ms += ms,
            Pass::Recomputation => self.recomputation_ms += ms,
            Pass::InputGradient => self.input_gradient_ms += ms,
            Pass::WeightGradient => self.weight_gradient_ms += ms,
            Pass::Update => {}
        }
        self.ms += ms;
        self.macs += part.info.macs;
    }

    /// The last cells of a row: time, share, rate.
    fn figures(&self, whole_ms: f64, peak: f64) -> [String; 4] {
        [
            format!("{:.3}", self.ms),
            share(self.ms, whole_ms),
            self.gflops.map_or_else(String::new, |rate| format!("{rate:.1}")),
            self.gflops.map_or_else(String::new, |rate| share(rate, peak)),
        ]
    }
}

/// The heads of [`Line::figures`].
const FIGURES: [(&str, Align); 4] =
    [("ms", Align::Right), ("of all", Align::Right), ("GFLOP/s", Align::Right), ("of peak", Align::Right)];

/// Milliseconds; nothing where there is no such work.
fn cell(ms: f64) -> String {
    if ms == 0.0 { String::new() } else { format!("{ms:.3}") }
}

/// A head, and its milliseconds in a line.
type Column = (&'static str, fn(&Line) -> f64);

/// Lines of operators, or of layers: with their outputs, and both gradients apart.
fn print(out: &mut impl Write, lines: &[Line], args: &Args, whole_ms: f64, peak: f64) -> io::Result<()> {
    let mut heads = vec![(if args.per_layer { "layer" } else { "op" }, Align::Left)];
    if args.per_layer {
        heads.extend([("op", Align::Left), ("output", Align::Left)]);
    }
    let mut directions: Vec<Column> = vec![("forward", |line| line.forward_ms)];
    if lines.iter().any(|line| line.recomputation_ms > 0.0) {
        directions.push(("again", |line| line.recomputation_ms));
    }
    if args.per_layer {
        directions.push(("input gradient", |line| line.input_gradient_ms));
        directions.push(("weight gradient", |line| line.weight_gradient_ms));
    } else {
        directions.push(("backward", |line| line.input_gradient_ms + line.weight_gradient_ms));
    }
    heads.extend(directions.iter().map(|&(head, _)| (head, Align::Right)));
    heads.extend(FIGURES);
    let row = |line: &Line| {
        let mut cells = vec![line.name.clone()];
        if args.per_layer {
            cells.extend([line.op.clone(), by(&line.output_shape)]);
        }
        cells.extend(directions.iter().map(|(_, ms)| cell(ms(line))));
        cells.extend(line.figures(whole_ms, peak));
        cells
    };
    output::table(out, &heads, &lines.iter().map(row).collect::<Vec<_>>())
}
