//! How a training run is shown while it goes on: a bar for the epoch on a terminal, and a line for each epoch everywhere.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use svertka::train::{EpochRecord, Event};

use crate::output::{percent, thousands};

/// Where progress goes.
pub(crate) struct Training {
    out: Box<dyn Write>,
    /// `None` where neither bars nor lines are wanted.
    epochs: Option<usize>,
    batch_size: usize,
    /// What the validation pictures are called.
    validation: &'static str,
    bar: Option<ProgressBar>,
    began_at: (usize, usize),
    steps: usize,
    /// A run goes on when nobody listens any more.
    written: io::Result<()>,
}

impl Training {
    /// Tells to `out` about `epochs` (`None`: nothing) of batches of `batch_size`.
    pub(crate) fn new(
        out: Box<dyn Write>,
        epochs: Option<usize>,
        batch_size: usize,
        validation: &'static str,
    ) -> Self {
        Self { out, epochs, batch_size, validation, bar: None, began_at: (0, 0), steps: 0, written: Ok(()) }
    }

    /// Whether an earlier, interrupted run went on.
    pub(crate) fn resumed(&self) -> bool {
        self.began_at != (0, 0)
    }

    /// Whether nothing was left to do.
    pub(crate) fn was_finished(&self) -> bool {
        self.resumed() && self.steps == 0
    }

    /// The first error of writing.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.written
    }

    pub(crate) fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Started { epochs_done, batches_done, .. } => self.began_at = (epochs_done, batches_done),
            Event::Step { epoch, batch, batches, loss } => {
                let (epochs_done, batches_done) = self.began_at;
                if self.steps == 0 && self.resumed() {
                    self.line(&format!(
                        "resumed after {epochs_done} epochs and {batches_done} of {batches} batches"
                    ));
                }
                self.steps += 1;
                self.step(epoch, batch, batches, loss);
            }
            Event::Epoch(record) => {
                // Without a step only the last validation was missing.
                self.steps += 1;
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
                if let Some(epochs) = self.epochs {
                    self.line(&epoch_line(record, epochs, self.validation));
                }
            }
        }
    }

    fn step(&mut self, epoch: usize, batch: usize, batches: usize, loss: f64) {
        let Some(epochs) = self.epochs else { return };
        let bar = self.bar.get_or_insert_with(|| {
            let style = style("{prefix} [{bar:30}] {msg}  {rate}  {eta} left").with_key("rate", rate);
            let bar = ProgressBar::new((batches * self.batch_size) as u64).with_style(style);
            bar.set_prefix(format!("epoch {epoch}/{epochs}"));
            // Batches before this one were not done now: they say nothing about the speed.
            bar.set_position(((batch - 1) * self.batch_size) as u64);
            bar.reset_eta();
            bar
        });
        bar.set_message(format!("loss {loss:.4}"));
        bar.set_position((batch * self.batch_size) as u64);
    }

    fn line(&mut self, line: &str) {
        if self.epochs.is_some() && self.written.is_ok() {
            self.written = writeln!(self.out, "{line}");
        }
    }
}

/// `epoch  3/20  loss 0.4123  train 87.21 %  val 96.50 %  14.2 s  best`
fn epoch_line(record: &EpochRecord, epochs: usize, validation: &str) -> String {
    let EpochRecord { epoch, train_loss, seconds, .. } = record;
    let width = epochs.to_string().len();
    let (train, val) = (percent(record.train_accuracy), percent(record.val_accuracy));
    let best = if record.best { "  best" } else { "" };
    format!(
        "epoch {epoch:>width$}/{epochs}  loss {train_loss:.4}  train {train:>8}  {validation} {val:>8}  {seconds:.1} s{best}"
    )
}

fn rate(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    // A writer that fails shows less, and that is all.
    let _ = write!(out, "{} pictures/s", thousands(state.per_sec() as u64));
}

/// A bar's style; its template is one of ours.
pub(crate) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("our templates are valid").progress_chars("=> ")
}
