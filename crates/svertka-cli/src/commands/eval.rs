//! `svertka eval`: how good a model is on labelled pictures.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::ValueEnum;
use serde_json::json;
use svertka::data::{Dataset, OpenOptions, Split};
use svertka::train::{Classifier, Evaluation, wilson_interval};
use svertka::{Cpu, Model};

use crate::open::{Cache, open};
use crate::output::{self, Align, class_names, percent, plain, thousands};
use crate::report;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Model file
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// As for train; classes are matched by name with the model's labels
    #[arg(value_name = "DATA")]
    data: PathBuf,
    /// Which part of the data [default: test, else val, else all]
    #[arg(long, value_name = "PART", value_enum)]
    split: Option<Part>,
    /// Share that train held out, where the data has no val part [default: what train does by default]
    #[arg(long, value_name = "SHARE", requires = "split")]
    val_fraction: Option<f64>,
    /// The seed that train held it out with
    #[arg(long, value_name = "N", requires = "split", default_value_t = 0)]
    seed: u64,
    /// Share of unreadable pictures above which the data is refused
    #[arg(long, value_name = "SHARE", default_value_t = OpenOptions::default().max_skipped_fraction)]
    max_skipped: f64,
    #[command(flatten)]
    cache: Cache,
    /// Pictures that are run together [default: up to 64, fewer of large ones]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch: Option<u16>,
    /// Threads; 0 takes all cores
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Write a report with the worst mistakes
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Train,
    Val,
    Test,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let cpu = Cpu::new(args.threads.into());
    let model = Model::load(&args.model)?;
    let input = model.picture_preprocessing()?;
    let options = OpenOptions {
        size: Some((input.height, input.width)),
        channels: Some(input.channels),
        resize: input.resize,
        classes: Some(model.labels.clone()).filter(|labels| !labels.is_empty()),
        // Nothing is held out unless a part is asked for.
        val_fraction: if args.split.is_some() { args.val_fraction } else { Some(0.0) },
        seed: args.seed,
        max_skipped_fraction: args.max_skipped,
        threads: cpu.threads.count(),
        cache: args.cache.folder(),
        ..OpenOptions::default()
    };
    let dataset = open(&args.data, options, true)?;
    let (part, split) = choose(&dataset, args.split)?;
    let batch =
        args.batch.map_or_else(|| Classifier::batch_for(split.len(), input.height, input.width), usize::from);
    let mut classifier = Classifier::new(&model.graph, batch, &cpu)?;
    let evaluation = classifier.evaluate(&cpu, model.graph.parameters(), split, &input)?;
    let names = class_names(&model.labels, classifier.classes());
    if let Some(path) = &args.report {
        let input = report::Input {
            title: &dataset.name,
            model: &model,
            history: &[],
            summary: vec![
                ("model", args.model.display().to_string()),
                ("data", args.data.display().to_string()),
            ],
            split,
            split_name: part,
            evaluation: &evaluation,
            skipped: &dataset.skipped,
            cpu: &cpu,
        };
        report::write(path, &input)?;
    }
    if args.json {
        print_json(&names, part, &evaluation, args.report)
    } else {
        print(&dataset.name, &names, part, &evaluation)
    }
}

fn choose(dataset: &Dataset, part: Option<Part>) -> anyhow::Result<(&'static str, &Split)> {
    let Dataset { train, val, test, .. } = dataset;
    match part {
        Some(Part::Train) => Ok(("train", train)),
        Some(Part::Val) => Ok((
            "val",
            val.as_ref().context("--split val: the data has no such part, and nothing is held out")?,
        )),
        Some(Part::Test) => Ok(("test", test.as_ref().context("--split test: the data has no such part")?)),
        None => Ok(match (test, val) {
            (Some(test), _) => ("test", test),
            (None, Some(val)) => ("val", val),
            (None, None) => ("all", train),
        }),
    }
}

fn print(data: &str, names: &[String], part: &str, evaluation: &Evaluation) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let confusion = &evaluation.confusion;
    let share = |share: Option<f64>| share.map_or("-".to_owned(), percent);
    let rows: Vec<Vec<String>> = names
        .iter()
        .zip(&confusion.counts)
        .enumerate()
        .map(|(class, (name, row))| {
            let count = thousands(row.iter().sum::<usize>() as u64);
            vec![name.clone(), count, share(confusion.precision(class)), share(confusion.recall(class))]
        })
        .collect();
    let heads = [
        ("class", Align::Left),
        ("pictures", Align::Right),
        ("precision", Align::Right),
        ("recall", Align::Right),
    ];
    output::table(&mut out, &heads, &rows)?;
    writeln!(out)?;
    output::confusion(&mut out, names, confusion)?;
    writeln!(out, "\n{}, {part}: {}, loss {:.4}", plain(data), output::accuracy(confusion), evaluation.loss)?;
    Ok(())
}

fn print_json(
    names: &[String],
    part: &str,
    evaluation: &Evaluation,
    report: Option<PathBuf>,
) -> anyhow::Result<()> {
    let confusion = &evaluation.confusion;
    let per_class: Vec<_> = names
        .iter()
        .zip(&confusion.counts)
        .enumerate()
        .map(|(class, (name, row))| {
            json!({
                "label": name,
                "count": row.iter().sum::<usize>(),
                "precision": confusion.precision(class),
                "recall": confusion.recall(class),
            })
        })
        .collect();
    output::json(&json!({
        "accuracy": confusion.accuracy(),
        "interval": wilson_interval(confusion.correct(), confusion.total()),
        "count": confusion.total(),
        "loss": evaluation.loss,
        "measured_on": part,
        "labels": names,
        "per_class": per_class,
        "confusion": &confusion.counts,
        "report": report,
    }))
}
