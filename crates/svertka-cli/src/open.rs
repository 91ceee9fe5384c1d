//! Opening a data set: a bar where it takes long, and a list of what was skipped.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget};
use svertka::data::{Dataset, OpenOptions};

use crate::output::{pictures, plain};
use crate::progress::style;

/// How long it takes before a bar is shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// Most skipped files that are listed.
const LISTED: usize = 10;

/// Opens `source`; where `bar` says so, and stderr is a terminal, with a bar.
pub(crate) fn open(source: &Path, options: OpenOptions<'_>, bar: bool) -> anyhow::Result<Dataset> {
    let start = Instant::now();
    let hidden = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    let bar_of_files = hidden.with_style(style("{msg} [{bar:30}] {human_pos} of {human_len}  {eta} left"));
    bar_of_files.set_message(format!("reading {}", plain(&source.display().to_string())));
    let decided = AtomicBool::new(!bar);
    let progress = |done: usize, total: usize| {
        if start.elapsed() > PATIENCE && !decided.swap(true, Ordering::Relaxed) {
            bar_of_files.set_draw_target(ProgressDrawTarget::stderr());
        }
        bar_of_files.set_length(total as u64);
        bar_of_files.set_position(done as u64);
    };
    let dataset = Dataset::open(source, &OpenOptions { progress: &progress, ..options });
    bar_of_files.finish_and_clear();
    let dataset = dataset?;
    tell_skipped(&dataset)?;
    Ok(dataset)
}

fn tell_skipped(dataset: &Dataset) -> io::Result<()> {
    let skipped = &dataset.skipped;
    if skipped.is_empty() {
        return Ok(());
    }
    let mut stderr = io::stderr().lock();
    writeln!(stderr, "skipped {} that could not be read:", pictures(skipped.len()))?;
    for file in skipped.iter().take(LISTED) {
        writeln!(stderr, "  {}", plain(&file.to_string()))?;
    }
    match skipped.len().saturating_sub(LISTED) {
        0 => Ok(()),
        more => writeln!(stderr, "  and {more} more"),
    }
}
