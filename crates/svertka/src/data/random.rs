//! Random numbers that depend on what they are for, never on which thread asks or who asked before.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What numbers are drawn for; each purpose has streams of its own.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// Which pictures of class `index` leave the training split for validation.
    Hold = 1,
    /// The order of pictures in an epoch.
    Shuffle = 2,
    /// The augmentation of picture `index`.
    Augment = 3,
    /// The mixing of batch `index`.
    Mix = 4,
}

/// The generator of one purpose: the four numbers are its 256-bit key.
pub(super) fn rng(seed: u64, purpose: Purpose, epoch: u64, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (place, word) in key.chunks_exact_mut(8).zip([seed, purpose as u64, epoch, index]) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
