//! `svertka predict`: labels with probabilities.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::bail;
use serde::Serialize;
use svertka::data::{Preprocessing, read_picture};
use svertka::formats::Limits;
use svertka::formats::picture::{self, EXTENSIONS, Picture};
use svertka::train::Classifier;
use svertka::{Cpu, Error, Model, Tensor};

use crate::output::{self, class_names, pictures, plain};
use crate::values::Shard;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Model file
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// Pictures, folders with pictures in them or below them, or `-` for one picture from stdin
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Labels for each picture, most probable first
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Print a JSON list
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV: path, rank, label, index, probability
    #[arg(long)]
    csv: bool,
    /// Only the I-th of N shares of the pictures, to divide them among machines
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Pictures that are run together
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Threads; 0 takes all cores
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
}

#[derive(Serialize)]
struct Prediction {
    path: String,
    labels: Vec<Label>,
}

#[derive(Serialize)]
struct Label {
    label: String,
    index: usize,
    probability: f32,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let cpu = Cpu::new(args.threads.into());
    let model = Model::load(&args.model)?;
    let input = model.picture_preprocessing()?;
    let (mut files, mut failures) = (Vec::new(), 0);
    for path in &args.paths {
        if let Err(error) = list(path, &mut files) {
            failures += tell(&error)?;
        }
    }
    if let Some(Shard { index, count }) = args.shard {
        files = files.into_iter().skip(index).step_by(count).collect();
    }
    let total = files.len() + failures;
    let (batch, classes, mut classifier) = classifier(&model, files.len().min(args.batch.into()), &cpu)?;
    let names = class_names(&model.labels, classes);

    let mut out = io::stdout().lock();
    let mut all = Vec::new();
    if args.csv {
        writeln!(out, "path,rank,label,index,probability")?;
    }
    for files in files.chunks(batch) {
        let mut read = Vec::new();
        for (file, picture) in files.iter().zip(read_all(files, &input, cpu.threads.count())) {
            match picture {
                Ok(picture) => read.push((file, picture)),
                Err(error) => failures += tell(&error)?,
            }
        }
        if read.is_empty() {
            continue;
        }
        let mut tensor = Tensor::zeros([read.len(), input.channels, input.height, input.width]);
        let places = tensor.data_mut().chunks_exact_mut(input.channels * input.height * input.width);
        for ((_, picture), place) in read.iter().zip(places) {
            input.write(picture, place)?;
        }
        let rows = classifier.probabilities(&cpu, model.graph.parameters(), &tensor)?;
        for ((file, _), row) in read.iter().zip(rows.chunks_exact(classes)) {
            let prediction =
                Prediction { path: file.display().to_string(), labels: best(row, &names, args.top as usize) };
            match (args.json, args.csv) {
                (true, _) => all.push(prediction),
                (_, true) => prediction.write_csv(&mut out)?,
                _ => prediction.write_line(&mut out)?,
            }
        }
    }
    if args.json {
        output::json(&all)?;
    }
    if failures > 0 {
        bail!("{failures} of {} could not be read", pictures(total));
    }
    Ok(())
}

/// The batch (that of the file where it is fixed there), the number of classes, and the network ready to run.
fn classifier(model: &Model, batch: usize, cpu: &Cpu) -> anyhow::Result<(usize, usize, Classifier)> {
    let batch = batch.max(1);
    let fixed = model.graph.inputs().first().and_then(|input| *input.shape.first()?);
    let classifier = Classifier::new(&model.graph, batch, cpu)?;
    Ok((fixed.unwrap_or(batch).max(1), classifier.classes(), classifier))
}

/// Adds a file, or the pictures in and below a folder, sorted by path; hidden ones are left out.
fn list(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let before = files.len();
    if path.is_dir() {
        walk(path, &mut BTreeSet::new(), files)?;
        if files.len() == before {
            return Err(Error::argument(path.display().to_string(), "folder", "pictures", "none"));
        }
    } else {
        files.push(path.to_path_buf());
    }
    Ok(())
}

/// Each folder is `seen` once, so that links in circles end.
fn walk(folder: &Path, seen: &mut BTreeSet<PathBuf>, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    if !seen.insert(fs::canonicalize(folder).map_err(Error::io(folder))?) {
        return Ok(());
    }
    let entries = fs::read_dir(folder).map_err(Error::io(folder))?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(Error::io(folder))?;
    paths.sort();
    for path in paths {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        if hidden {
            continue;
        } else if path.is_dir() {
            walk(&path, seen, files)?;
        } else if ending.is_some_and(|ending| EXTENSIONS.contains(&&*ending)) {
            files.push(path);
        }
    }
    Ok(())
}

/// Reads and fits pictures, by a few threads; the results stand in the order of the files.
fn read_all(files: &[PathBuf], input: &Preprocessing, threads: usize) -> Vec<Result<Picture, Error>> {
    let read =
        |path: &PathBuf| input.fit(if path == Path::new("-") { read_stdin()? } else { read_picture(path)? });
    std::thread::scope(|scope| {
        let parts = files.chunks(files.len().div_ceil(threads));
        let workers: Vec<_> =
            parts.map(|part| scope.spawn(move || part.iter().map(read).collect::<Vec<_>>())).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("reading does not panic")).collect()
    })
}

fn read_stdin() -> Result<Picture, Error> {
    let limits = Limits::default();
    let mut bytes = Vec::new();
    io::stdin().lock().take(limits.picture_bytes).read_to_end(&mut bytes).map_err(Error::io("-"))?;
    picture::decode(&bytes, &limits).map_err(Error::format("-"))
}

/// The `top` most probable labels; of equals the first.
fn best(row: &[f32], names: &[String], top: usize) -> Vec<Label> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
    order
        .into_iter()
        .take(top)
        .map(|index| Label { label: names[index].clone(), index, probability: row[index] })
        .collect()
}

/// Tells that a picture could not be read; one failure more.
fn tell(error: &Error) -> io::Result<usize> {
    writeln!(io::stderr(), "error: {}", plain(&error.to_string()))?;
    Ok(1)
}

impl Prediction {
    /// `cat.jpg: cat 97.30 %, dog 2.10 %`
    fn write_line(&self, out: &mut impl Write) -> io::Result<()> {
        let labels: Vec<String> = self
            .labels
            .iter()
            .map(|label| format!("{} {}", plain(&label.label), output::percent(label.probability.into())))
            .collect();
        writeln!(out, "{}: {}", plain(&self.path), labels.join(", "))
    }

    fn write_csv(&self, out: &mut impl Write) -> io::Result<()> {
        let path = quoted(&self.path);
        for (rank, Label { label, index, probability }) in self.labels.iter().enumerate() {
            writeln!(out, "{path},{},{},{index},{probability}", rank + 1, quoted(label))?;
        }
        Ok(())
    }
}

/// A field of CSV as RFC 4180 has it.
fn quoted(field: &str) -> String {
    match field.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}
