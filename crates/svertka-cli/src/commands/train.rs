//! `svertka train`: from labelled pictures to a model file and a run folder.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;
use svertka::data::{Dataset, OpenOptions, Preprocessing, Split};
use svertka::train::{
    Classifier, Evaluation, Outcome, Stop, TrainConfig, initialize, train, wilson_interval,
};
use svertka::{Cpu, Graph, Model, cost, models, write_file};

use crate::open::{Cache, cache_fact, open};
use crate::output::{self, pictures, plain, thousands};
use crate::progress;
use crate::report;
use crate::settings::{Changes, Fit, Settings};
use crate::values;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// `digits` (built in), a folder with one folder of pictures for each class, or with train/, val/ and test/ of
    /// those, with IDX or CIFAR files, or an .npz file
    #[arg(value_name = "DATA", default_value = "digits")]
    data: PathBuf,
    #[arg(long, value_name = "NET", help = net_help())]
    net: Option<String>,
    /// Begin with the weights of this model, made for the same classes
    #[arg(long, value_name = "MODEL.onnx", conflicts_with_all = ["net", "size", "channels", "resize"])]
    from: Option<PathBuf>,
    /// Run folder: model, report and what is needed to resume [default: runs/ and the data's name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Throw away the run in that folder; its model stays until the new one is done
    #[arg(long)]
    fresh: bool,
    /// Threads; 0 takes all cores. The result does not depend on it
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Print one JSON object on stdout, progress on stderr
    #[arg(long)]
    json: bool,
    /// Show no progress, only the result
    #[arg(long)]
    quiet: bool,
    /// Height and width of the network's input: N or HxW [default: as suits the pictures]
    #[arg(long, value_name = "N|HxW", value_parser = values::size, help_heading = "Pictures")]
    size: Option<(usize, usize)>,
    /// 1 (grey) or 3 (colour) [default: grey where all pictures are]
    #[arg(long, value_name = "1|3", help_heading = "Pictures")]
    channels: Option<usize>,
    /// How pictures of other proportions are made to fit
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Fit::Cover, help_heading = "Pictures")]
    resize: Fit,
    /// Share held out for validation where the data has no such part [default: a tenth, but not more than 2000 pictures]
    #[arg(long, value_name = "SHARE", help_heading = "Pictures")]
    val_fraction: Option<f64>,
    /// Share of unreadable pictures above which the data is refused
    #[arg(long, value_name = "SHARE", default_value_t = OpenOptions::default().max_skipped_fraction, help_heading = "Pictures")]
    max_skipped: f64,
    #[command(flatten, next_help_heading = "Pictures")]
    cache: Cache,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    changes: Changes,
}

fn net_help() -> String {
    let names: Vec<&str> = models::MODELS.iter().map(|entry| entry.name).collect();
    format!(
        "Network: {}, or layers such as \"conv32 relu pool2 linear10\" [default: small up to 64 x 64 pixels, or resnet9 for 20,000 pictures and more; resnet18 above]",
        names.join(", ")
    )
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    // Once before the pictures are read, so that a slip of the finger is told at once.
    args.settings.config(TrainConfig::default())?;
    let cpu = Cpu::new(args.threads.into());
    let from = args.from.as_ref().map(Model::load).transpose()?;
    let dataset = open(&args.data, args.open_options(from.as_ref(), &cpu)?, !args.quiet)?;
    let input = dataset.preprocessing()?;
    let shape = [input.channels, input.height, input.width];
    let mut config = args.settings.config(TrainConfig::default_for(dataset.train.len(), shape))?;
    config.augment = args.changes.resolve(&input)?;
    let (network, graph) = args.network(from, &dataset, &input)?;
    let folder = args.out.clone().unwrap_or_else(|| Path::new("runs").join(dataset.name.trim_matches('/')));

    let facts = [("data", data_fact(&dataset, &input)), ("network", network_fact(&network, &graph)?)];
    let mut human: Box<dyn Write> = if args.json { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
    if !args.quiet {
        facts.iter().try_for_each(|(name, fact)| writeln!(human, "{name:<8} {}", plain(fact)))?;
        if let Some(cache) = &dataset.cache {
            writeln!(human, "cache    {}", plain(&cache_fact(cache)))?;
        }
    }
    let resolved = Resolved {
        svertka: env!("CARGO_PKG_VERSION"),
        data: &args.data,
        pictures: Counts::of(&dataset),
        val_fraction: args.val_fraction,
        classes: &dataset.classes,
        input: &input,
        network: &network,
        train: &config,
        isa: cpu.isa.name(),
        threads: cpu.threads.count(),
    };
    prepare(&folder, args.fresh, &resolved)?;

    let shown = (!args.quiet).then_some(config.epochs);
    let batch_size = config.batch_size.min(dataset.train.len());
    let mut display = progress::Training::new(human, shown, batch_size, dataset.validation().0);
    let mut outcome = train(&graph, &dataset, &config, &folder, &cpu, &mut |event| display.event(event))?;
    let (resumed, was_finished) = (display.resumed(), display.was_finished());

    let (part, split) = measured(&dataset);
    let batch = Classifier::batch_for(split.len(), input.height, input.width);
    let mut classifier = Classifier::new(&outcome.model.graph, batch, &cpu)?;
    let evaluation = classifier.evaluate(&cpu, outcome.model.graph.parameters(), split, &input)?;
    let summary = summary(&dataset, &network, &config, &outcome, part, &evaluation);
    outcome.model.metadata.insert("training".into(), summary.to_string());
    let model = folder.join("model.onnx");
    outcome.model.save(&model)?;
    let report = folder.join("report.html");
    report::write(
        &report,
        &report::Input {
            title: &dataset.name,
            model: &outcome.model,
            history: &outcome.history,
            summary: facts.into_iter().chain(settings_facts(&config, &outcome)?).collect(),
            split,
            split_name: part,
            evaluation: &evaluation,
            skipped: &dataset.skipped,
            cpu: &cpu,
        },
    )?;
    display.finish()?;

    if args.json {
        return result_json(&model, &report, summary, &outcome, &evaluation, resumed);
    }
    let end = match (was_finished, outcome.stop) {
        (true, _) => "this run was finished before; its result again (--fresh begins anew)".to_owned(),
        (_, Stop::Epochs) => "all epochs are done".to_owned(),
        (_, Stop::Patience) => format!("stopped: no better for {} epochs", config.patience),
        (_, Stop::Budget) => "stopped: the time is over".to_owned(),
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{end}; {:.1} s of training", outcome.seconds)?;
    output::confusion(&mut out, &dataset.classes, &evaluation.confusion)?;
    writeln!(out, "{part} {}", output::accuracy(&evaluation.confusion))?;
    for path in [&model, &report] {
        writeln!(out, "wrote {}", plain(&path.display().to_string()))?;
    }
    Ok(())
}

impl Args {
    fn open_options(&self, from: Option<&Model>, cpu: &Cpu) -> anyhow::Result<OpenOptions<'static>> {
        let options = OpenOptions {
            size: self.size,
            channels: self.channels,
            resize: self.resize.into(),
            val_fraction: self.val_fraction,
            max_skipped_fraction: self.max_skipped,
            seed: self.settings.seed,
            threads: cpu.threads.count(),
            cache: self.cache.folder(),
            ..OpenOptions::default()
        };
        let Some(model) = from else { return Ok(options) };
        let Preprocessing { channels, height, width, resize, mean, std } = model.picture_preprocessing()?;
        let normalization = Some((mean, std));
        Ok(OpenOptions {
            size: Some((height, width)),
            channels: Some(channels),
            resize,
            normalization,
            ..options
        })
    }

    /// The network and what it is called.
    fn network(
        &self,
        from: Option<Model>,
        dataset: &Dataset,
        input: &Preprocessing,
    ) -> anyhow::Result<(String, Graph)> {
        if let (Some(path), Some(model)) = (&self.from, from) {
            let path = path.display().to_string();
            if !model.labels.is_empty() && model.labels != dataset.classes {
                writeln!(
                    io::stderr(),
                    "note: {path} was made for other classes than those of the data; its outputs learn the new ones"
                )?;
            }
            return Ok((path, model.graph));
        }
        let shape = [input.channels, input.height, input.width];
        let name = self.net.as_deref().unwrap_or_else(|| models::default_for(dataset.train.len(), shape));
        let mut graph = models::build(name, &shape, dataset.classes.len(), self.settings.seed)?;
        initialize(&mut graph, &dataset.train, input)?;
        Ok((name.to_owned(), graph))
    }
}

/// `digits: 3,600 pictures to train, 400 to validate, 1,000 to test; 10 classes; 28 x 28 pixels, grey`
fn data_fact(dataset: &Dataset, input: &Preprocessing) -> String {
    let Counts { train, val, test, .. } = Counts::of(dataset);
    format!(
        "{}: {} to train, {} to validate, {} to test; {} classes; {} x {} pixels, {}",
        dataset.name,
        pictures(train),
        thousands(val as u64),
        thousands(test as u64),
        thousands(dataset.classes.len() as u64),
        input.height,
        input.width,
        if input.channels == 1 { "grey" } else { "colour" }
    )
}

/// `small: 140,458 parameters, 21,903,104 MACs a picture`
fn network_fact(network: &str, graph: &Graph) -> anyhow::Result<String> {
    let layers = cost(graph, &graph.input_shapes(1))?;
    let parameters = thousands(layers.iter().map(|layer| layer.parameters as u64).sum());
    let macs = thousands(layers.iter().map(|layer| layer.macs).sum());
    Ok(format!("{network}: {parameters} parameters, {macs} MACs a picture"))
}

/// What the report tells about the training.
fn settings_facts(config: &TrainConfig, outcome: &Outcome) -> anyhow::Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("epochs", format!("{} of {} in {:.1} s", outcome.history.len(), config.epochs, outcome.seconds)),
        ("batch", config.batch_size.to_string()),
        ("optimizer", words(&config.optimizer)?),
        ("learning rate", config.lr.to_string()),
        ("schedule", words(&config.schedule)?),
        ("weight decay", config.weight_decay.to_string()),
        ("augmentation", words(&config.augment)?),
        ("seed", config.seed.to_string()),
    ])
}

/// Settings as a line for people: `sgd, momentum 0.9, nesterov`; what is off is left out.
fn words(settings: &impl Serialize) -> anyhow::Result<String> {
    let serde_json::Value::Object(fields) = serde_json::to_value(settings)? else { return Ok(String::new()) };
    let word = |(name, value): (String, serde_json::Value)| match value {
        serde_json::Value::String(kind) if name == "kind" => Some(kind),
        serde_json::Value::Bool(on) => on.then_some(name),
        serde_json::Value::Number(number) if number.as_f64() == Some(0.0) => None,
        // An `f32` has more digits as JSON than anybody wrote.
        serde_json::Value::Number(number) => {
            Some(format!("{} {}", name.replace('_', " "), number.as_f64()? as f32))
        }
        value => Some(format!(
            "{name} {}",
            value.to_string().replace(['{', '}', '"'], "").replace([':', ','], " ")
        )),
    };
    let words: Vec<String> = fields.into_iter().filter_map(word).collect();
    Ok(if words.is_empty() { "none".to_owned() } else { words.join(", ") })
}

/// Everything that decides a run, as `config.json` keeps it.
#[derive(Serialize)]
struct Resolved<'a> {
    svertka: &'static str,
    data: &'a Path,
    pictures: Counts,
    val_fraction: Option<f64>,
    classes: &'a [String],
    input: &'a Preprocessing,
    network: &'a str,
    train: &'a TrainConfig,
    isa: &'static str,
    threads: usize,
}

/// Pictures in each part of the data.
#[derive(Serialize)]
struct Counts {
    train: usize,
    val: usize,
    test: usize,
    skipped: usize,
}

impl Counts {
    fn of(dataset: &Dataset) -> Self {
        let count = |split: &Option<Split>| split.as_ref().map_or(0, Split::len);
        Self {
            train: dataset.train.len(),
            val: count(&dataset.val),
            test: count(&dataset.test),
            skipped: dataset.skipped.len(),
        }
    }
}

/// Makes the run folder ready: with `fresh` without an earlier run, and with the resolved settings of a new one.
fn prepare(folder: &Path, fresh: bool, resolved: &Resolved<'_>) -> anyhow::Result<()> {
    fs::create_dir_all(folder).map_err(svertka::Error::io(folder))?;
    let checkpoint = folder.join("checkpoint.safetensors");
    if fresh {
        // The checkpoint first: without it the rest is no run that could go on.
        for name in ["checkpoint.safetensors", "metrics.jsonl", "config.json", "report.html"] {
            let path = folder.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(svertka::Error::io(&path)(error).into());
                }
                _ => {}
            }
        }
    }
    // A run that goes on was begun with the same settings, or the library refuses it.
    if !checkpoint.exists() {
        let text = serde_json::to_string_pretty(resolved)? + "\n";
        write_file(&folder.join("config.json"), text.as_bytes())?;
    }
    Ok(())
}

/// What the result is measured on.
fn measured(dataset: &Dataset) -> (&'static str, &Split) {
    dataset.test.as_ref().map_or_else(|| dataset.validation(), |test| ("test", test))
}

/// What the model file tells about its training. Nothing in it depends on time: same training, same bytes.
fn summary(
    dataset: &Dataset,
    network: &str,
    config: &TrainConfig,
    outcome: &Outcome,
    part: &str,
    evaluation: &Evaluation,
) -> serde_json::Value {
    let best = outcome.history.iter().rfind(|record| record.best);
    let accuracy = evaluation.confusion.accuracy();
    json!({
        "data": &dataset.name,
        "pictures": Counts::of(dataset),
        "network": network,
        "seed": config.seed,
        "epochs": outcome.history.len(),
        "best_epoch": best.map(|record| record.epoch),
        "val_accuracy": best.filter(|_| dataset.val.is_some()).map(|record| record.val_accuracy),
        "test_accuracy": (part == "test").then_some(accuracy),
        "measured_on": part,
        "accuracy": accuracy,
    })
}

fn result_json(
    model: &Path,
    report: &Path,
    mut summary: serde_json::Value,
    outcome: &Outcome,
    evaluation: &Evaluation,
    resumed: bool,
) -> anyhow::Result<()> {
    let confusion = &evaluation.confusion;
    let more = json!({
        "model": model,
        "report": report,
        "interval": wilson_interval(confusion.correct(), confusion.total()),
        "confusion": &confusion.counts,
        "stop": outcome.stop,
        "resumed": resumed,
        "seconds": outcome.seconds,
        "peak_rss_bytes": peak_rss_bytes(),
    });
    if let (Some(summary), serde_json::Value::Object(more)) = (summary.as_object_mut(), more) {
        summary.extend(more);
    }
    output::json(&summary)
}

/// Most memory that this process has held, where the system tells.
pub(crate) fn peak_rss_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
