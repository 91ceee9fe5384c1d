//! Batches of normalized pictures, prepared ahead of the one who takes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rand::seq::SliceRandom;

use super::augment::beta;
use super::random::{Purpose, rng};
use super::{Augment, Preprocessing, Split};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Batches of each thread: one is taken while the other is prepared.
const BATCHES_PER_THREAD: usize = 2;

/// Most values of the pictures of one batch: 4 GiB.
const MAX_BATCH_VALUES: usize = 1 << 30;

/// Some pictures with what is to be learned from them.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// N x channels x height x width, normalized.
    pub pictures: Tensor,
    /// N x classes: 1 at the label, or the shares of two labels after mixup.
    pub targets: Tensor,
    /// Of the pictures, before mixup.
    pub labels: Vec<usize>,
    /// Of the pictures within the split.
    pub indices: Vec<usize>,
}

/// What [`Loader`] does in an epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderOptions {
    /// Pictures per batch; the whole split where it is smaller. Default: 64.
    pub batch: usize,
    /// In an order that depends on seed and epoch; else in that of the split.
    pub shuffle: bool,
    /// Random changes; by default none.
    pub augment: Augment,
    /// Of order and changes.
    pub seed: u64,
    /// Of order and changes.
    pub epoch: u64,
    /// How many batches of the epoch are done already.
    pub start_batch: usize,
    /// Leaves out the last batch where it is smaller than the others.
    pub drop_last: bool,
    /// How many threads prepare batches; at least 1, the default. The batches do not depend on it.
    pub threads: usize,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        Self {
            batch: 64,
            shuffle: false,
            augment: Augment::default(),
            seed: 0,
            epoch: 0,
            start_batch: 0,
            drop_last: false,
            threads: 1,
        }
    }
}

/// One epoch over a split. Threads prepare batches in memory that goes round: after the first few nothing is
/// allocated. Dropping the loader stops them.
pub struct Loader {
    /// Batch `b` comes from thread `b % threads`.
    threads: Vec<Preparer>,
    next: usize,
    batches: usize,
    current: Option<Batch>,
    stop: Arc<AtomicBool>,
}

/// One end of a thread that prepares batches.
struct Preparer {
    prepared: Receiver<Result<Batch>>,
    used: Sender<Batch>,
    thread: JoinHandle<()>,
}

impl Loader {
    /// Starts to prepare batches of `split`.
    ///
    /// # Errors
    /// An empty split, a batch of no pictures or too large, colours or size other than the split's, changes without
    /// meaning.
    pub fn new(split: &Split, preprocessing: &Preprocessing, options: LoaderOptions) -> Result<Self> {
        let recipe = Arc::new(Recipe::new(split, preprocessing, options)?);
        let stop = Arc::new(AtomicBool::new(false));
        let batches = recipe.batches();
        let next = recipe.options.start_batch.min(batches);
        let count = recipe.options.threads.clamp(1, (batches - next).max(1));
        // Thread t takes the batches that leave t when divided by the number of threads.
        let threads = (0..count).map(|thread| {
            let first = next + (thread + count - next % count) % count;
            let numbers = (first..batches).step_by(count);
            Preparer::start(recipe.clone(), numbers, stop.clone())
        });
        Ok(Self { threads: threads.collect(), next, batches, current: None, stop })
    }

    /// Number of batches of the epoch, with those before `start_batch`.
    pub fn batches(&self) -> usize {
        self.batches
    }

    /// The next batch, until the epoch ends. Its memory is used again for a later one.
    ///
    /// # Errors
    /// A picture that cannot be read any more; it ends the epoch.
    pub fn next_batch(&mut self) -> Result<Option<&Batch>> {
        let count = self.threads.len();
        if let Some(batch) = self.current.take() {
            // Where its thread has prepared all its batches already, nobody needs the memory.
            let _ = self.threads[(self.next - 1) % count].used.send(batch);
        }
        if self.next == self.batches {
            return Ok(None);
        }
        let prepared = &self.threads[self.next % count].prepared;
        match prepared.recv().expect("a thread ends after its last batch") {
            Ok(batch) => {
                self.next += 1;
                Ok(Some(self.current.insert(batch)))
            }
            Err(error) => {
                self.next = self.batches;
                Err(error)
            }
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for Preparer { prepared, used, thread } in self.threads.drain(..) {
            drop((prepared, used));
            // A panic in the thread has been reported by the thread.
            let _ = thread.join();
        }
    }
}

impl Preparer {
    fn start(
        recipe: Arc<Recipe>,
        numbers: impl Iterator<Item = usize> + Send + 'static,
        stop: Arc<AtomicBool>,
    ) -> Self {
        // The number of batches that go round bounds both channels.
        let (used, free) = channel();
        let (send, prepared) = channel();
        for _ in 0..BATCHES_PER_THREAD {
            used.send(Batch::zeros(0, &recipe)).expect("the other end is in scope");
        }
        let thread = std::thread::spawn(move || {
            let mut scratch = Vec::new();
            for number in numbers {
                let Ok(mut batch) = free.recv() else { return };
                let result = recipe.prepare(number, &mut batch, &mut scratch, &stop);
                if send.send(result.map(|()| batch)).is_err() {
                    return;
                }
            }
        });
        Self { prepared, used, thread }
    }
}

/// Everything that determines the batches of an epoch.
struct Recipe {
    split: Split,
    preprocessing: Preprocessing,
    options: LoaderOptions,
    /// Of the epoch: indices into the split.
    order: Vec<u32>,
}

impl Recipe {
    fn new(split: &Split, preprocessing: &Preprocessing, mut options: LoaderOptions) -> Result<Self> {
        preprocessing.validate()?;
        options.augment.validate(preprocessing.height, preprocessing.width)?;
        let shape = |input: &Preprocessing| (input.channels, input.height, input.width);
        if shape(preprocessing) != shape(split.frame()) {
            let expected = format!("{:?} (channels, height, width) as the pictures", shape(split.frame()));
            let received = format!("{:?}", shape(preprocessing));
            return Err(Error::argument("loader", "preprocessing", expected, received));
        }
        if split.is_empty() {
            return Err(Error::argument("loader", "split", "at least one picture", "none"));
        }
        let most = MAX_BATCH_VALUES / preprocessing.len();
        options.batch = options.batch.min(split.len());
        if !(1..=most).contains(&options.batch) {
            return Err(Error::argument("loader", "batch", format!("1 to {most} pictures"), options.batch));
        }
        let mut order: Vec<u32> = (0..split.len() as u32).collect();
        if options.shuffle {
            order.shuffle(&mut rng(options.seed, Purpose::Shuffle, options.epoch, 0));
        }
        Ok(Self { split: split.clone(), preprocessing: preprocessing.clone(), options, order })
    }

    fn batches(&self) -> usize {
        match self.options.drop_last {
            true => self.order.len() / self.options.batch,
            false => self.order.len().div_ceil(self.options.batch),
        }
    }

    /// Fills `batch` with number `number` of the epoch. `scratch` holds its pictures as bytes.
    fn prepare(
        &self,
        number: usize,
        batch: &mut Batch,
        scratch: &mut Vec<u8>,
        stop: &AtomicBool,
    ) -> Result<()> {
        let Self { split, preprocessing, options, order } = self;
        let classes = split.classes();
        let Augment { mixup, .. } = options.augment;
        let first = number * options.batch;
        let members = &order[first..order.len().min(first + options.batch)];
        let (count, len) = (members.len(), preprocessing.len());
        if batch.labels.len() != count {
            *batch = Batch::zeros(count, self);
        }
        scratch.resize(count * len, 0);
        let changes = Augment { mixup: 0.0, ..options.augment.clone() };
        let unchanged = changes == Augment::default();
        batch.indices.clear();
        batch.indices.extend(members.iter().map(|&index| index as usize));
        batch.labels.clear();
        batch.labels.extend(batch.indices.iter().map(|&index| split.label(index)));
        for (&index, place) in batch.indices.iter().zip(scratch.chunks_exact_mut(len)) {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let pixels = split.pixels(index)?;
            if unchanged {
                place.copy_from_slice(&pixels);
            } else {
                let mut rng = rng(options.seed, Purpose::Augment, options.epoch, index as u64);
                changes.apply(&pixels, preprocessing, &mut rng, place);
            }
        }

        let mut partners: Vec<usize> = (0..count).collect();
        let mut share = 1.0;
        if mixup > 0.0 {
            let mut rng = rng(options.seed, Purpose::Mix, options.epoch, number as u64);
            share = beta(mixup, &mut rng);
            partners.shuffle(&mut rng);
        }
        let places = batch.pictures.data_mut().chunks_exact_mut(len);
        let targets = batch.targets.data_mut();
        targets.fill(0.0);
        for (row, (place, &partner)) in places.zip(&partners).enumerate() {
            let pixels = |row: usize| &scratch[row * len..][..len];
            let other = (mixup > 0.0).then(|| (pixels(partner), share));
            preprocessing.normalize(pixels(row), other, place);
            targets[row * classes + batch.labels[row]] += share;
            targets[row * classes + batch.labels[partner]] += 1.0 - share;
        }
        Ok(())
    }
}

impl Batch {
    fn zeros(count: usize, recipe: &Recipe) -> Self {
        let Preprocessing { channels, height, width, .. } = recipe.preprocessing;
        Self {
            pictures: Tensor::zeros([count, channels, height, width]),
            targets: Tensor::zeros([count, recipe.split.classes()]),
            labels: vec![0; count],
            indices: vec![0; count],
        }
    }
}
