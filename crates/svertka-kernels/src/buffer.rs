//! Memory for tensors, packed weights and scratch: `f32`, 64-byte aligned, so that no vector load crosses a cache line.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// One cache line; the alignment of every [`Buffer`].
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

const LINE: usize = 16;

/// A vector of `f32` aligned to 64 bytes, zeroed when made. Dereferences to a slice of its length.
///
/// ```
/// let mut buffer = svertka_kernels::Buffer::zeroed(5);
/// buffer[3] = 2.0;
/// assert_eq!(&buffer[..], [0.0, 0.0, 0.0, 2.0, 0.0]);
/// assert_eq!(buffer.as_ptr() as usize % 64, 0);
/// ```
#[derive(Clone, Default)]
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        Self { lines: vec![Line([0.0; LINE]); len.div_ceil(LINE)], len }
    }

    /// Changes the length; new elements are zero, and shrinking keeps the memory for later growth.
    pub fn resize(&mut self, len: usize) {
        let old = self.len.min(len);
        self.lines.resize(len.div_ceil(LINE), Line([0.0; LINE]));
        self.len = len;
        self[old..].fill(0.0);
    }

    /// How many elements fit without another allocation.
    pub fn capacity(&self) -> usize {
        self.lines.capacity() * LINE
    }
}

impl From<&[f32]> for Buffer {
    fn from(values: &[f32]) -> Self {
        let mut buffer = Self::zeroed(values.len());
        buffer.copy_from_slice(values);
        buffer
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `lines` holds at least `len` initialised floats in a row: `Line` is `repr(C)` without padding.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resize_zeroes_what_it_uncovers() {
        let mut buffer = Buffer::from(&[1.0; 20][..]);
        buffer.resize(3);
        buffer.resize(20);
        assert_eq!(&buffer[..3], [1.0; 3]);
        assert!(buffer[3..].iter().all(|&x| x == 0.0));
    }
}
