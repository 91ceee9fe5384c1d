//! Labelled pictures: training, validation or test.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use svertka_formats::Picture;

use super::cache::Pictures;
use super::dataset::OpenOptions;
use super::folder::read_picture;
use super::{Preprocessing, parallel};
use crate::error::Result;

/// How many pictures [`Split::statistics`] reads, at most, of a set that memory would not hold.
const STATISTICS_SAMPLE: usize = 10_000;

/// Some of a data set's pictures with their labels. A copy shares the pictures.
#[derive(Clone, Debug)]
pub struct Split {
    store: Arc<Store>,
    /// Which of the store, ascending.
    members: Arc<[u32]>,
    classes: usize,
}

/// Pictures that were read together; training and validation split may share one.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) names: Names,
    /// One per picture.
    pub(super) labels: Vec<u32>,
    /// Of each fitted picture, one per picture.
    pub(super) digests: Vec<u64>,
    pub(super) pixels: Pixels,
    /// Colours and size that pictures are fitted to.
    pub(super) frame: Preprocessing,
    /// Whether [`Split::statistics`] looks at some only, because all are more than [`OpenOptions::memory_limit`].
    pub(super) sampled: bool,
}

#[derive(Debug)]
pub(super) enum Names {
    /// Numbers after this prefix.
    Numbered(String),
    /// Paths relative to a root.
    Files { root: PathBuf, paths: Vec<PathBuf> },
}

#[derive(Debug)]
pub(super) enum Pixels {
    /// One picture after another, fitted.
    Fitted(Vec<u8>),
    /// One picture after another, in the frame they came in: fitted they would take too much memory.
    Native(Vec<u8>, Preprocessing),
    /// In a file, fitted; the numbers are their places there.
    Cached(Arc<Pictures>, Vec<usize>),
    /// In the files that [`Names::path`] says.
    OnDisk,
}

impl Names {
    fn path(&self, item: usize) -> PathBuf {
        match self {
            Self::Numbered(prefix) => format!("{prefix}/{item}").into(),
            Self::Files { root, paths } => root.join(&paths[item]),
        }
    }
}

impl Split {
    pub(super) fn new(store: Arc<Store>, members: impl IntoIterator<Item = u32>, classes: usize) -> Self {
        Self { store, members: members.into_iter().collect(), classes }
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no picture.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Number of classes; labels are below it.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The class of picture `index`.
    ///
    /// # Panics
    /// As all of these methods, where `index` is not below [`len`](Self::len).
    pub fn label(&self, index: usize) -> usize {
        self.store.labels[self.members[index] as usize] as usize
    }

    /// Where picture `index` comes from: a path, or the set's name with a number, as in "digits/test/17".
    pub fn name(&self, index: usize) -> String {
        self.store.names.path(self.members[index] as usize).display().to_string()
    }

    /// Picture `index` at the data set's size.
    ///
    /// # Errors
    /// A file that cannot be read any more.
    pub fn picture(&self, index: usize) -> Result<Picture> {
        let Preprocessing { channels, height, width, .. } = self.store.frame;
        Ok(Picture { channels, height, width, data: self.pixels(index)?.into_owned() })
    }

    /// The bytes of picture `index` at the data set's size: height x width x channels.
    ///
    /// # Errors
    /// A file that cannot be read any more.
    pub fn pixels(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        self.store.fitted(self.members[index] as usize)
    }

    /// Colours and size of [`picture`](Self::picture), without normalization.
    pub fn frame(&self) -> &Preprocessing {
        &self.store.frame
    }

    /// Mean and standard deviation of each channel of pixel values between 0 and 1. Exact sums over all pictures;
    /// over at most 10,000 evenly spaced ones of a folder above [`OpenOptions::memory_limit`]. A channel that does not vary has deviation 1.
    ///
    /// # Errors
    /// A file that cannot be read any more.
    pub fn statistics(&self) -> Result<(Vec<f32>, Vec<f32>)> {
        let step = if self.store.sampled { self.len().div_ceil(STATISTICS_SAMPLE).max(1) } else { 1 };
        let channels = self.store.frame.channels;
        // Sums of integers: exact, and so the same in any order. 2^64 holds the squares of 2^48 pixels.
        let mut sums = vec![(0_u64, 0_u64); channels];
        let mut count = 0_u64;
        for index in (0..self.len()).step_by(step) {
            let pixels = self.pixels(index)?;
            count += (pixels.len() / channels) as u64;
            for (c, (sum, squares)) in sums.iter_mut().enumerate() {
                for &value in pixels.iter().skip(c).step_by(channels) {
                    *sum += u64::from(value);
                    *squares += u64::from(value) * u64::from(value);
                }
            }
        }
        let count = count.max(1) as f64;
        let moments = sums.into_iter().map(|(sum, squares)| {
            let mean = sum as f64 / count;
            let deviation = (squares as f64 / count - mean * mean).max(0.0).sqrt();
            ((mean / 255.0) as f32, if deviation < 1e-3 { 1.0 } else { (deviation / 255.0) as f32 })
        });
        Ok(moments.unzip())
    }

    /// Continues `hash` over names, labels and pictures.
    pub(super) fn hash(&self, mut hash: u64) -> u64 {
        hash = fnv(hash, &(self.len() as u64).to_le_bytes());
        for &member in &*self.members {
            let member = member as usize;
            hash = match &self.store.names {
                // The path below the root: a data set may be moved.
                Names::Files { paths, .. } => fnv(hash, paths[member].to_string_lossy().as_bytes()),
                Names::Numbered(_) => fnv(hash, &(member as u64).to_le_bytes()),
            };
            hash = fnv(hash, &self.store.labels[member].to_le_bytes());
            hash = fnv(hash, &self.store.digests[member].to_le_bytes());
        }
        hash
    }
}

impl Store {
    /// Pictures of an array, fitted at once where memory allows it.
    pub(super) fn from_array(
        prefix: String,
        labels: Vec<u32>,
        bytes: Vec<u8>,
        native: Preprocessing,
        frame: &Preprocessing,
        OpenOptions { memory_limit, threads, .. }: &OpenOptions,
    ) -> Result<Self> {
        let same =
            (native.channels, native.height, native.width) == (frame.channels, frame.height, frame.width);
        let pixels = if same { Pixels::Fitted(bytes) } else { Pixels::Native(bytes, native) };
        let mut store = Self {
            names: Names::Numbered(prefix),
            labels,
            digests: vec![],
            pixels,
            frame: frame.clone(),
            sampled: false,
        };
        let count = store.labels.len();
        if !same && count.saturating_mul(frame.len()) <= *memory_limit {
            let mut fitted = vec![0; count * frame.len()];
            let places = fitted.chunks_exact_mut(frame.len()).enumerate();
            let done = parallel::map(places, *threads, |(item, place)| {
                place.copy_from_slice(&store.fitted(item)?);
                Ok(())
            });
            done.into_iter().collect::<Result<()>>()?;
            store.pixels = Pixels::Fitted(fitted);
        }
        let digests = parallel::map(0..count, *threads, |item| Ok(digest(&store.fitted(item)?)));
        store.digests = digests.into_iter().collect::<Result<_>>()?;
        Ok(store)
    }

    fn fitted(&self, item: usize) -> Result<Cow<'_, [u8]>> {
        match &self.pixels {
            Pixels::Fitted(bytes) => {
                let len = self.frame.len();
                Ok(Cow::Borrowed(&bytes[item * len..][..len]))
            }
            Pixels::Native(bytes, native) => {
                let Preprocessing { channels, height, width, .. } = *native;
                let data = bytes[item * native.len()..][..native.len()].to_vec();
                Ok(Cow::Owned(self.frame.fit(Picture { channels, height, width, data })?.data))
            }
            Pixels::Cached(pictures, places) => match pictures.read(places[item], self.digests[item]) {
                Some(pixels) => Ok(Cow::Owned(pixels)),
                None => self.decoded(item),
            },
            Pixels::OnDisk => self.decoded(item),
        }
    }

    fn decoded(&self, item: usize) -> Result<Cow<'_, [u8]>> {
        Ok(Cow::Owned(self.frame.fit(read_picture(&self.names.path(item))?)?.data))
    }
}

/// A hash of a picture's bytes, eight at a time, as it is taken each time a picture is read from a cache. Two pictures that differ in one
/// group of eight have different ones: each step is one to one.
pub(super) fn digest(pixels: &[u8]) -> u64 {
    let (words, rest) = pixels.as_chunks();
    let hash = words
        .iter()
        .fold(FNV_OFFSET, |hash, &word| (hash ^ u64::from_le_bytes(word)).wrapping_mul(FNV_PRIME));
    fnv(hash, rest)
}

/// Where a hash starts.
pub(crate) const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// Continues a [Fowler-Noll-Vo](http://www.isthe.com/chongo/tech/comp/fnv/) 1a hash.
pub(crate) fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}
