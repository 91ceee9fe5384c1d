//! Labelled pictures: where they come from, how they are prepared, varied and batched.
//!
//! ```text
//! digits, IDX, CIFAR, npz, class folders -> Dataset -> Split -> Loader -> Batch (N x C x H x W, targets)
//!                                              \-> Preprocessing (into the model file)
//! ```
//!
//! ```
//! use svertka::data::{Augment, Dataset, Loader, LoaderOptions, OpenOptions};
//!
//! let digits = Dataset::open("digits", &OpenOptions::default())?;
//! let input = digits.preprocessing()?;
//! let augment = Augment::default_for(input.height, input.width, input.channels);
//! let options = LoaderOptions { shuffle: true, drop_last: true, augment, ..LoaderOptions::default() };
//! let mut loader = Loader::new(&digits.train, &input, options)?;
//! let batch = loader.next_batch()?.expect("an epoch has at least one batch");
//! assert_eq!(batch.pictures.shape(), [64, 1, 28, 28]);
//! assert_eq!(batch.targets.shape(), [64, 10]);
//! # Ok::<(), svertka::Error>(())
//! ```

mod affine;
mod arrays;
mod augment;
mod cache;
mod dataset;
mod folder;
mod loader;
mod parallel;
mod preprocessing;
mod random;
mod split;

pub use affine::Affine;
pub use augment::Augment;
pub use cache::CacheUse;
pub use dataset::{Dataset, OpenOptions, Skipped};
pub use folder::read_picture;
pub use loader::{Batch, Loader, LoaderOptions};
pub use preprocessing::{Preprocessing, Resize};
pub use split::Split;
pub(crate) use split::{FNV_OFFSET, fnv};
