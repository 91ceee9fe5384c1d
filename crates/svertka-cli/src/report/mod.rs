//! `report.html`: one page that says how good a model is, where it is wrong and what it looks at. It needs no network and no other file.

mod confusion;
mod curves;
mod features;
mod mistakes;
mod page;
mod thumbnail;

use std::path::Path;

use anyhow::{Result, ensure};
use svertka::data::{Skipped, Split};
use svertka::train::{EpochRecord, Evaluation, argmax};
use svertka::{Cpu, Model, write_file};

/// What the report is about.
pub(crate) struct Input<'a> {
    /// The data set's or the model's name.
    pub(crate) title: &'a str,
    /// Network, names of the classes, preprocessing.
    pub(crate) model: &'a Model,
    /// Epochs of training; empty where the model was only evaluated.
    pub(crate) history: &'a [EpochRecord],
    /// Key facts and settings, shown as they are.
    pub(crate) summary: Vec<(&'a str, String)>,
    /// The pictures that were classified.
    pub(crate) split: &'a Split,
    /// What these pictures are called: "test".
    pub(crate) split_name: &'a str,
    /// The model's answers over `split`.
    pub(crate) evaluation: &'a Evaluation,
    /// Files that were left out.
    pub(crate) skipped: &'a [Skipped],
    /// Runs the network for the feature maps.
    pub(crate) cpu: &'a Cpu,
}

/// Writes the report, under another name first, so that an earlier one is never lost.
///
/// # Errors
/// Answers that do not belong to the pictures, a picture that cannot be read any more, a folder that cannot be written to.
pub(crate) fn write(path: &Path, input: &Input<'_>) -> Result<()> {
    let html = page::page(input)?.into_string();
    Ok(write_file(path, html.as_bytes())?)
}

/// The answer to one picture.
struct Answer<'a> {
    /// Of the picture in the split.
    index: usize,
    label: usize,
    answer: usize,
    /// Of each class.
    probabilities: &'a [f32],
}

impl Answer<'_> {
    fn is_right(&self) -> bool {
        self.label == self.answer
    }
}

impl Input<'_> {
    fn classes(&self) -> usize {
        self.evaluation.confusion.counts.len()
    }

    /// A class's name, which comes from a folder or a file: anything.
    fn class(&self, class: usize) -> String {
        self.model.labels.get(class).cloned().unwrap_or_else(|| format!("class {class}"))
    }

    /// One for each picture, in the order of the split.
    fn answers(&self) -> Result<Vec<Answer<'_>>> {
        let (classes, probabilities) = (self.classes(), &self.evaluation.probabilities);
        let fits = classes > 0 && self.split.len().checked_mul(classes) == Some(probabilities.len());
        ensure!(
            fits && self.split.classes() <= classes,
            "report: evaluation: expected {} pictures of {} classes, received {} probabilities of {classes} classes",
            self.split.len(),
            self.split.classes(),
            probabilities.len(),
        );
        let rows = probabilities.chunks_exact(classes).enumerate();
        Ok(rows
            .map(|(index, row)| Answer {
                index,
                label: self.split.label(index),
                answer: argmax(row),
                probabilities: row,
            })
            .collect())
    }
}

/// `98.7 %`.
fn percent(share: f64) -> String {
    format!("{:.1}\u{a0}%", 100.0 * share)
}

/// `1 picture`, `2 pictures`.
fn pictures(count: usize) -> String {
    format!("{count} {}", if count == 1 { "picture" } else { "pictures" })
}

#[cfg(test)]
mod tests;
