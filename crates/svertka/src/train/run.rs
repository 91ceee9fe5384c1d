//! A whole training run: epochs, validation, checkpoints, the best weights.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use svertka_kernels::Cpu;

use super::checkpoint::{self, Identity, Progress};
use super::classifier::{Classifier, Evaluation, argmax};
use super::config::TrainConfig;
use super::step::{Step, logits};
use crate::data::{Dataset, FNV_OFFSET, Loader, LoaderOptions, Preprocessing, fnv};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::onnx::Model;
use crate::ops::Softmax;
use crate::tensor::Tensor;
use crate::write_file::write_file;

/// How often a checkpoint is written within an epoch.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(20);

/// Share of an epoch's time spent waiting for pictures above which the next epoch has twice as many threads that prepare them. They
/// take turns with the threads that compute: those wait then anyway. The batches do not depend on it.
const MOST_WAITED: f64 = 0.05;

/// One epoch's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: usize,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Mean loss of the training pictures as they were shown, augmented.
    pub train_loss: f64,
    /// Share of them that was right.
    pub train_accuracy: f64,
    /// Mean cross-entropy of the validation pictures.
    pub val_loss: f64,
    /// Share of them that was right.
    pub val_accuracy: f64,
    /// Whether it is the best validation so far.
    pub best: bool,
    /// Seconds of training so far, those before an interruption counted.
    pub seconds: f64,
    /// Of the epoch's seconds, those in which training waited for pictures to be read, decoded and changed. Where they are more
    /// than a few percent, data is what limits the speed.
    pub data_seconds: f64,
}

/// What a run tells while it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Training begins, or goes on after this many epochs and batches.
    Started {
        /// Epochs done before.
        epochs_done: usize,
        /// Batches done of the next epoch.
        batches_done: usize,
        /// Batches in an epoch.
        batches: usize,
    },
    /// A batch is done.
    Step {
        /// Counted from 1.
        epoch: usize,
        /// Batches done of this epoch.
        batch: usize,
        /// Batches in an epoch.
        batches: usize,
        /// Mean loss of the epoch so far.
        loss: f64,
    },
    /// An epoch is done and its checkpoint written.
    Epoch(&'a EpochRecord),
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stop {
    /// All epochs are done.
    Epochs,
    /// No better validation for `patience` epochs.
    Patience,
    /// The time is over.
    Budget,
}

/// What a run gives.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The best network, ending in probabilities, with the labels and the preprocessing.
    pub model: Model,
    /// Every epoch.
    pub history: Vec<EpochRecord>,
    /// Why it ended.
    pub stop: Stop,
    /// Seconds of training, over all interruptions.
    pub seconds: f64,
}

/// Trains `graph` on `dataset`; the run's state lies in `folder`. A run that was interrupted, in any way and at any moment, goes on where its
/// last checkpoint stands and ends with the same bits as an uninterrupted one (unless a time budget decides); a finished one gives its result again.
///
/// The best epoch is chosen by the accuracy on the validation pictures, else (a set that has none) on the test pictures, else on the training pictures.
///
/// # Errors
/// Settings without meaning, a network that does not fit the pictures, a folder that can't be written or holds another run, a loss that is no number.
pub fn train(
    graph: &Graph,
    dataset: &Dataset,
    config: &TrainConfig,
    folder: &Path,
    cpu: &Cpu,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome> {
    config.validate()?;
    let preprocessing = dataset.preprocessing()?;
    config.augment.validate(preprocessing.height, preprocessing.width)?;
    let batch = config.batch_size.min(dataset.train.len());
    let step = Step::new(graph, config, batch, cpu)?;
    let Preprocessing { height, width, .. } = preprocessing;
    let validated = Classifier::batch_for(dataset.validation().1.len(), height, width);
    let classifier = Classifier::new(graph, validated, cpu)?;
    if classifier.classes() != dataset.classes.len() {
        let expected = format!("{} outputs, one for each class", dataset.classes.len());
        return Err(Error::argument("train", "network", expected, classifier.classes()));
    }
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let network = fnv(FNV_OFFSET, &Model::new(graph.clone()).to_bytes()?);
    // Computing again changes no bit of the result, so it is no part of what a run is.
    let deciding = TrainConfig { recompute: false, ..config.clone() };
    let identity = Identity { config: deciding, network, data: dataset.fingerprint() };
    let best = graph.parameters().to_vec();
    let mut run = Run {
        dataset,
        config,
        preprocessing,
        folder,
        cpu,
        step,
        classifier,
        best,
        progress: Progress::new(identity),
        data_threads: 1,
    };
    if let Some(progress) = checkpoint::load(folder, &run.progress.identity, &mut run.step, &mut run.best)? {
        run.progress = progress;
    } else {
        // A folder that can't be written is an error now, not after the first epoch.
        run.save()?;
    }
    let stop = run.finish(observe)?;
    let mut model = Model::new(graph.clone()).with_labels(&dataset.classes);
    model.graph.parameters_mut().clone_from_slice(&run.best);
    if logits(graph)? == graph.outputs[0] {
        model.graph.outputs = model.graph.push("probabilities", Arc::new(Softmax::new(1)), &graph.outputs, 1);
    }
    model.preprocessing = Some(run.preprocessing);
    let Progress { history, seconds, .. } = run.progress;
    Ok(Outcome { model, history, stop, seconds })
}

struct Run<'a> {
    dataset: &'a Dataset,
    config: &'a TrainConfig,
    preprocessing: Preprocessing,
    folder: &'a Path,
    cpu: &'a Cpu,
    step: Step,
    classifier: Classifier,
    best: Vec<Tensor>,
    progress: Progress,
    /// How many threads prepare batches.
    data_threads: usize,
}

impl Run<'_> {
    /// Trains until an end is reached.
    fn finish(&mut self, observe: &mut dyn FnMut(Event<'_>)) -> Result<Stop> {
        let batches = self.loader()?.batches();
        let (epochs_done, batches_done) = (self.progress.epoch, self.progress.batch);
        observe(Event::Started { epochs_done, batches_done, batches });
        loop {
            if let Some(stop) = self.stop() {
                if !std::mem::replace(&mut self.progress.finished, true) {
                    self.save()?;
                }
                return Ok(stop);
            }
            self.epoch(observe)?;
        }
    }

    fn stop(&self) -> Option<Stop> {
        let Progress { epoch, batch, seconds, ref history, .. } = self.progress;
        let TrainConfig { epochs, patience, budget_seconds, .. } = *self.config;
        let waited = history.iter().rev().take_while(|record| !record.best).count();
        let over = budget_seconds > 0.0 && seconds >= budget_seconds;
        match () {
            () if epoch >= epochs => Some(Stop::Epochs),
            () if over && epoch > 0 && batch == 0 => Some(Stop::Budget),
            () if patience > 0 && waited >= patience && batch == 0 => Some(Stop::Patience),
            () => None,
        }
    }

    fn loader(&self) -> Result<Loader> {
        let options = LoaderOptions {
            batch: self.config.batch_size.min(self.dataset.train.len()),
            shuffle: true,
            augment: self.config.augment.clone(),
            seed: self.config.seed,
            epoch: self.progress.epoch as u64,
            start_batch: self.progress.batch,
            drop_last: true,
            threads: self.data_threads,
        };
        Loader::new(&self.dataset.train, &self.preprocessing, options)
    }

    /// The learning rate of the next step.
    fn lr(&self, batches: usize, seconds: f64) -> f64 {
        let total = (self.config.epochs * batches) as f64;
        let mut progress = (self.progress.epoch * batches + self.progress.batch) as f64 / total;
        if self.config.budget_seconds > 0.0 {
            progress = progress.max(seconds / self.config.budget_seconds).min(1.0);
        }
        let warmup = self.config.warmup_epochs / self.config.epochs as f64;
        // The first step of a warm-up from zero would be lost: take the rate at its end.
        let first = 1.0 / total;
        self.config.lr * self.config.schedule.factor(progress.max(first), warmup)
    }

    /// What is left of the epoch, its validation and its checkpoint.
    fn epoch(&mut self, observe: &mut dyn FnMut(Event<'_>)) -> Result<()> {
        let mut loader = self.loader()?;
        let (batches, epoch) = (loader.batches(), self.progress.epoch + 1);
        let (start, before) = (Instant::now(), self.progress.seconds);
        let (mut saved, mut lr, waited_before) = (Instant::now(), 0.0, self.progress.data_seconds);
        loop {
            let asked = Instant::now();
            let Some(batch) = loader.next_batch()? else { break };
            self.progress.data_seconds += asked.elapsed().as_secs_f64();
            let seconds = before + start.elapsed().as_secs_f64();
            lr = self.lr(batches, seconds);
            let seed = self.config.seed.rotate_left(32) ^ self.progress.steps;
            let result = self.step.run(self.cpu, &batch.pictures, &batch.targets, lr, seed)?;
            let classes = self.classifier.classes();
            let rows = self.step.logits().chunks_exact(classes).zip(&batch.labels);
            self.progress.correct += rows.filter(|(row, label)| argmax(row) == **label).count();
            self.progress.loss += f64::from(result.loss) * batch.labels.len() as f64;
            self.progress.seen += batch.labels.len();
            self.progress.steps += 1;
            self.progress.batch += 1;
            let loss = self.progress.loss / self.progress.seen as f64;
            observe(Event::Step { epoch, batch: self.progress.batch, batches, loss });
            if saved.elapsed() >= CHECKPOINT_EVERY && self.progress.batch < batches {
                self.progress.seconds = seconds;
                self.save()?;
                saved = Instant::now();
            }
            let over = self.config.budget_seconds > 0.0 && seconds >= self.config.budget_seconds;
            if over {
                break;
            }
        }
        drop(loader);
        if self.progress.data_seconds - waited_before > MOST_WAITED * start.elapsed().as_secs_f64() {
            self.data_threads = (2 * self.data_threads).min(self.cpu.threads.count());
        }
        let validation = self.validate()?;
        self.progress.seconds = before + start.elapsed().as_secs_f64();
        let (seen, accuracy) = (self.progress.seen.max(1) as f64, validation.confusion.accuracy());
        let best_before = self.progress.history.iter().rfind(|record| record.best);
        // Of equal accuracies the smaller loss is the better one.
        let best = best_before
            .is_none_or(|record| (accuracy, -validation.loss) > (record.val_accuracy, -record.val_loss));
        if best {
            self.best.clone_from_slice(self.step.parameters());
        }
        self.progress.history.push(EpochRecord {
            epoch,
            lr,
            train_loss: self.progress.loss / seen,
            train_accuracy: self.progress.correct as f64 / seen,
            val_loss: validation.loss,
            val_accuracy: accuracy,
            best,
            seconds: self.progress.seconds,
            data_seconds: self.progress.data_seconds,
        });
        self.progress.epoch += 1;
        (self.progress.batch, self.progress.loss) = (0, 0.0);
        (self.progress.correct, self.progress.seen) = (0, 0);
        self.progress.data_seconds = 0.0;
        self.save()?;
        self.write_metrics()?;
        if let Some(record) = self.progress.history.last() {
            observe(Event::Epoch(record));
        }
        Ok(())
    }

    fn validate(&mut self) -> Result<Evaluation> {
        self.classifier.parameters_changed();
        let (_, split) = self.dataset.validation();
        self.classifier.evaluate(self.cpu, self.step.parameters(), split, &self.preprocessing)
    }

    fn save(&self) -> Result<()> {
        checkpoint::save(self.folder, &self.progress, &self.step, &self.best)
    }

    /// One line of JSON an epoch, all written anew, so that an interruption leaves no half line.
    fn write_metrics(&self) -> Result<()> {
        let lines: Result<Vec<String>, _> = self.progress.history.iter().map(serde_json::to_string).collect();
        let lines = lines
            .map_err(|error| Error::argument("train", "metrics", "numbers that JSON can hold", error))?;
        write_file(&self.folder.join("metrics.jsonl"), (lines.join("\n") + "\n").as_bytes())
    }
}
