//! Opening a data set: the cache of its pictures, a bar where it takes long, and a list of what was skipped.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget};
use svertka::data::{CacheUse, Dataset, OpenOptions};

use crate::output::{pictures, plain, thousands};
use crate::progress::style;

/// How long it takes before a bar is shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// Most skipped files that are listed.
const LISTED: usize = 10;

/// Where the pictures of a folder are kept once they are decoded.
#[derive(clap::Args)]
pub(crate) struct Cache {
    /// Where the pictures of a folder are kept, decoded and at their size, for the next time; may be deleted at any time
    /// [default: svertka in the user's cache folder]
    #[arg(long, value_name = "DIR", conflicts_with = "no_cache")]
    cache: Option<PathBuf>,
    /// Decode all pictures anew and keep none
    #[arg(long)]
    no_cache: bool,
}

impl Cache {
    /// The folder; `None` where none is wanted, or the system names none.
    ///
    /// By default it lies where the system wants what can be made again, and not in the run folder: then runs of other names, `eval` and
    /// `train --fresh` find the pictures too. Nor in the folder of the pictures, which is the user's and may be read-only.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        let variable = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let own = || match () {
            () if cfg!(windows) => variable("LOCALAPPDATA"),
            () if cfg!(target_os = "macos") => Some(variable("HOME")?.join("Library/Caches")),
            () => Some(variable("HOME")?.join(".cache")),
        };
        let default = || Some(variable("XDG_CACHE_HOME").or_else(own)?.join("svertka"));
        (!self.no_cache).then(|| self.cache.clone().or_else(default)).flatten()
    }
}

/// `1,000 pictures from FILE`, or what else became of them.
pub(crate) fn cache_fact(CacheUse { path, reused, decoded, problem }: &CacheUse) -> String {
    let file = path.display();
    match (*reused, *decoded) {
        _ if problem.is_some() => "none".to_owned(),
        (reused, 0) => format!("{} from {file}", pictures(reused)),
        (0, _) => format!("decoded into {file}"),
        (reused, _) => {
            format!("{} of the pictures from {file}, the others decoded into it", thousands(reused as u64))
        }
    }
}

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
    if let Some(problem) = dataset.cache.as_ref().and_then(|cache| cache.problem.as_ref()) {
        writeln!(io::stderr(), "note: decoded pictures can't be kept for the next time: {}", plain(problem))?;
    }
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
