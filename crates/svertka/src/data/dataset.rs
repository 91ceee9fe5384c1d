//! A set of labelled pictures and how it is opened.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::seq::SliceRandom;

use super::arrays::{self, name_of};
use super::cache::CacheUse;
use super::folder;
use super::random::{Purpose, rng};
use super::split::{FNV_OFFSET, Split, Store, fnv};
use super::{Preprocessing, Resize};
use crate::error::{Error, Result};

/// Labelled pictures to train, validate and test with.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// "digits", or the name of the folder or file.
    pub name: String,
    /// Names of the classes; a label is an index into them.
    pub classes: Vec<String>,
    /// Pictures to learn from.
    pub train: Split,
    /// Pictures to choose by: the set's own, or held out of its training pictures.
    pub val: Option<Split>,
    /// Pictures to report on; `None` where the set has none.
    pub test: Option<Split>,
    /// Files that could not be read.
    pub skipped: Vec<Skipped>,
    /// What came of [`OpenOptions::cache`]; `None` where none was asked for, or nothing had to be decoded.
    pub cache: Option<CacheUse>,
    /// Mean and std that a model already has; `None` takes those of the training pictures.
    pub normalization: Option<(Vec<f32>, Vec<f32>)>,
}

/// A file that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// How [`Dataset::open`] works.
#[derive(Clone)]
pub struct OpenOptions<'a> {
    /// Height and width of all pictures; `None` chooses.
    pub size: Option<(usize, usize)>,
    /// 1 (grey) or 3 (colour); `None` chooses.
    pub channels: Option<usize>,
    /// How pictures of other proportions are made to fit.
    pub resize: Resize,
    /// Mean and std of each channel, where a model that goes on learning already has them.
    pub normalization: Option<(Vec<f32>, Vec<f32>)>,
    /// Names that a model knows, in its order; `None` takes the set's own. With names given, one class is enough.
    pub classes: Option<Vec<String>>,
    /// Share of each class's training pictures that is held out for validation if the set has no such part; 0 to
    /// hold out none, below 1. Default: `None`, a tenth, of sets above 20,000 pictures as much less as makes 2,000: those tell an accuracy within a percent.
    pub val_fraction: Option<f64>,
    /// Chooses which pictures are held out.
    pub seed: u64,
    /// Share of unreadable pictures above which a folder is refused. Default: 0.1.
    pub max_skipped_fraction: f64,
    /// Most bytes of fitted pictures to keep in memory; beyond that they are read, or fitted, when they are needed.
    /// Default: 256 MiB.
    pub memory_limit: usize,
    /// Folder in which the fitted pictures of a folder are kept in a file, so that the next opening decodes only those that are new or
    /// changed; made where it is missing. Pictures then are in memory only as far as the system has room. Default: `None`,
    /// since a library writes nothing unasked.
    pub cache: Option<PathBuf>,
    /// Called from the reading threads with the number of pictures read and their total, in any order.
    pub progress: &'a (dyn Fn(usize, usize) + Sync),
    /// How many threads read. Default: as many as the machine runs at once.
    pub threads: usize,
}

impl Default for OpenOptions<'_> {
    fn default() -> Self {
        Self {
            size: None,
            channels: None,
            resize: Resize::default(),
            normalization: None,
            classes: None,
            val_fraction: None,
            seed: 0,
            max_skipped_fraction: 0.1,
            memory_limit: 256 << 20,
            cache: None,
            progress: &|_, _| {},
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// What the readers of the several kinds of sets return.
pub(super) struct Parts {
    pub(super) classes: Vec<String>,
    pub(super) train: Store,
    pub(super) val: Option<Store>,
    pub(super) test: Option<Store>,
    pub(super) skipped: Vec<Skipped>,
    pub(super) cache: Option<CacheUse>,
}

impl Dataset {
    /// Opens a set of pictures. `source` is one of
    ///
    /// - `digits`: 4,000 handwritten digits of 28 x 28 and 1,000 to test, built in (`./digits` is a folder);
    /// - a folder of IDX files under MNIST's names, plain or gzip; `classes.txt` or `labels.txt` names the classes;
    /// - a folder of CIFAR-10 or CIFAR-100 files, binary version;
    /// - an `.npz` file with byte arrays `x_train`, `y_train` and, if there are, `x_val`, `y_val`, `x_test`, `y_test`;
    ///   or `x` and `y`;
    /// - a folder with `train`, and perhaps `val` (`valid`, `validation`) and `test`, each of class folders;
    /// - a folder of class folders.
    ///
    /// Classes are sorted by name, and are the same in all parts by name. Pictures are read in the order of their
    /// paths, below class folders too. Hidden files and files that do not end as pictures do are not looked at.
    /// Unreadable pictures are [`skipped`](Self::skipped).
    ///
    /// All pictures get one size and colour. What is not given is chosen from the training pictures (from 1,000 of
    /// them, evenly spaced, which are decoded twice for that): the size they all have, where that is at most 64;
    /// else a square of the median of their shorter sides, rounded to a multiple of 8 between 16 and 224. Grey
    /// where all are stored as grey.
    ///
    /// Pictures stay in memory as bytes up to [`OpenOptions::memory_limit`] in all; beyond that they are
    /// read from their files each time. Both ways every picture is decoded while opening, to find the broken ones. With
    /// [`OpenOptions::cache`] pictures of a folder are decoded once and stay in a file, which is mapped: what is there is known by
    /// path, size and times of each picture's file. Splits and pictures are the same with and without it.
    ///
    /// If there is no validation part, a share of each class, chosen by the seed, is held out of the training
    /// pictures: rounded, at least one of two or more, never all.
    ///
    /// # Errors
    /// Nothing that can be opened at `source`; a training class without a readable picture; fewer than two classes;
    /// a class in val or test that train lacks; too many unreadable pictures; broken files of numbers.
    pub fn open(source: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        let source = source.as_ref();
        options.validate()?;
        let (name, mut parts) = if source == Path::new("digits") {
            ("digits".to_owned(), arrays::digits(options)?)
        } else {
            (name_of(source), Parts::read(source, options)?)
        };
        match &options.classes {
            Some(known) => parts.rename(source, known)?,
            None => {
                let first = parts.train.labels.first();
                if parts.train.labels.iter().all(|label| Some(label) == first) {
                    let received = match first {
                        Some(&label) => format!("one: {}", parts.classes[label as usize]),
                        None => "none".to_owned(),
                    };
                    let expected = "at least two with pictures";
                    return Err(Error::argument(source.display().to_string(), "classes", expected, received));
                }
            }
        }
        let Parts { classes, train, val, test, skipped, cache } = parts;
        let whole = |store: Store| {
            let members = 0..store.labels.len() as u32;
            Split::new(Arc::new(store), members, classes.len())
        };
        let present = |store: Option<Store>| store.filter(|store| !store.labels.is_empty());
        let (train, val) = match present(val) {
            Some(val) => (whole(train), Some(whole(val))),
            None => hold_out(train, classes.len(), options),
        };
        let normalization = options.normalization.clone();
        Ok(Self { name, train, val, test: present(test).map(whole), classes, skipped, cache, normalization })
    }

    /// Colours and size of the pictures, with the statistics of the training ones unless others were given: what the model's input is.
    ///
    /// # Errors
    /// A file that cannot be read any more.
    pub fn preprocessing(&self) -> Result<Preprocessing> {
        let (mean, std) = self.normalization.clone().map_or_else(|| self.train.statistics(), Ok)?;
        Ok(Preprocessing { mean, std, ..self.train.frame().clone() })
    }

    /// What the best epoch is chosen by, and its name: the validation pictures, else the test pictures, else those of training.
    pub fn validation(&self) -> (&'static str, &Split) {
        match (&self.val, &self.test) {
            (Some(val), _) => ("val", val),
            (None, Some(test)) => ("test", test),
            (None, None) => ("train", &self.train),
        }
    }

    /// A hash of class names, colours, size, and of the names, labels and fitted pixels of all splits, the same on
    /// every machine: tells whether interrupted work goes on with the same data. Where a folder lies does not count.
    pub fn fingerprint(&self) -> u64 {
        let Preprocessing { channels, height, width, .. } = *self.train.frame();
        let numbers = [channels, height, width, self.classes.len()];
        let mut hash = numbers.iter().fold(FNV_OFFSET, |hash, &n| fnv(hash, &(n as u64).to_le_bytes()));
        for class in &self.classes {
            hash = fnv(fnv(hash, class.as_bytes()), &[0]);
        }
        for split in [Some(&self.train), self.val.as_ref(), self.test.as_ref()] {
            hash = split.map_or(fnv(hash, &[0]), |split| split.hash(fnv(hash, &[1])));
        }
        hash
    }
}

impl OpenOptions<'_> {
    fn validate(&self) -> Result<()> {
        if let Some(fraction) = self.val_fraction.filter(|fraction| !(0.0..1.0).contains(fraction)) {
            return Err(Error::argument("data", "val_fraction", "0 or more, below 1", fraction));
        }
        if !(0.0..=1.0).contains(&self.max_skipped_fraction) {
            return Err(Error::argument("data", "max_skipped_fraction", "0 to 1", self.max_skipped_fraction));
        }
        Ok(())
    }
}

impl Parts {
    fn read(source: &Path, options: &OpenOptions) -> Result<Self> {
        let shown = source.display().to_string();
        let kinds = "digits, an .npz file, or a folder with class folders, with train/ of class folders, \
                     with IDX files (train-images-idx3-ubyte, ...) or with CIFAR files (data_batch_1.bin, ...)";
        if source.is_file() {
            return match source.extension() {
                Some(ending) if ending.eq_ignore_ascii_case("npz") => arrays::npz_file(source, options),
                _ => Err(Error::argument(shown, "data", kinds, "another file")),
            };
        }
        let metadata = source.metadata().map_err(|error| {
            let received = match error.kind() {
                std::io::ErrorKind::NotFound => "nothing there".to_owned(),
                _ => error.to_string(),
            };
            Error::argument(&shown, "data", kinds, received)
        })?;
        if !metadata.is_dir() {
            return Err(Error::argument(shown, "data", kinds, "neither file nor folder"));
        }
        if let Some(parts) = arrays::idx_folder(source, options)? {
            return Ok(parts);
        }
        if let Some(parts) = arrays::cifar_folder(source, options)? {
            return Ok(parts);
        }
        if let Some(parts) = folder::open(source, options)? {
            return Ok(parts);
        }
        let received = match folder::visible(source)?.len() {
            0 => "an empty folder".to_owned(),
            count => format!("a folder of {count} files without any folder"),
        };
        Err(Error::argument(shown, "data", kinds, received))
    }

    /// Labels become indices into `known`.
    fn rename(&mut self, source: &Path, known: &[String]) -> Result<()> {
        let places: Vec<Option<u32>> = self
            .classes
            .iter()
            .map(|class| known.iter().position(|other| other == class).map(|place| place as u32))
            .collect();
        let stores = [Some(&mut self.train), self.val.as_mut(), self.test.as_mut()];
        for label in stores.into_iter().flatten().flat_map(|store| &mut store.labels) {
            let class = *label as usize;
            *label = places[class].ok_or_else(|| {
                let expected = format!("one of: {}", known.join(", "));
                Error::argument(source.display().to_string(), "class", expected, &self.classes[class])
            })?;
        }
        self.classes = known.to_vec();
        Ok(())
    }
}

/// Pictures that are held out at most, where nothing else is said.
const MOST_HELD_OUT: f64 = 2000.0;

/// Training and validation split of one store, stratified; no validation split where it would be empty.
fn hold_out(store: Store, classes: usize, options: &OpenOptions) -> (Split, Option<Split>) {
    let pictures = store.labels.len();
    let fraction =
        options.val_fraction.unwrap_or(MOST_HELD_OUT / (pictures as f64).max(10.0 * MOST_HELD_OUT));
    let mut by_class = BTreeMap::<u32, Vec<u32>>::new();
    for (item, &label) in (0..).zip(&store.labels) {
        by_class.entry(label).or_default().push(item);
    }
    let mut held = vec![false; pictures];
    for (class, mut items) in by_class {
        items.shuffle(&mut rng(options.seed, Purpose::Hold, 0, class.into()));
        let most = items.len() - 1;
        let count =
            if fraction > 0.0 { (items.len() as f64 * fraction).round().max(1.0) as usize } else { 0 };
        items.iter().take(count.min(most)).for_each(|&item| held[item as usize] = true);
    }
    let store = Arc::new(store);
    let choose = |wanted: bool| {
        let members = (0..).zip(&held).filter(|&(_, &held)| held == wanted).map(|(item, _)| item);
        Split::new(store.clone(), members, classes)
    };
    (choose(false), Some(choose(true)).filter(|val| !val.is_empty()))
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}
