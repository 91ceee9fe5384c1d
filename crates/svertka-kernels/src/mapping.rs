//! A file as memory that the system may take back: its pages are read when they are looked at, and let go when memory is short.
//!
//! It stands in this crate because it needs `unsafe`.

use std::fs::File;
use std::io;

use memmap2::{MmapOptions, MmapRaw};

/// A whole file, mapped to be read. Bytes are only ever copied out: no slice lies over a file that others might change.
#[derive(Debug)]
pub struct Mapping {
    pages: MmapRaw,
}

impl Mapping {
    /// Maps what `file` holds now. It may be closed, renamed and (but on Windows) removed afterwards.
    ///
    /// # Errors
    /// Where the system refuses, as it does for what is no file.
    pub fn new(file: &File) -> io::Result<Self> {
        Ok(Self { pages: MmapOptions::new().map_raw_read_only(file)? })
    }

    /// Bytes of the file when it was mapped.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Copies the bytes from `offset` on. Where another program has written into the file they are any bytes: who needs
    /// to know checks the copy.
    ///
    /// # Panics
    /// Where the file is not so long.
    pub fn read(&self, offset: usize, out: &mut [u8]) {
        let end = offset.checked_add(out.len());
        assert!(
            end.is_some_and(|end| end <= self.len()),
            "{} bytes at {offset} of {}",
            out.len(),
            self.len()
        );
        // SAFETY: `offset..end` lies in the mapping by the line above, the mapping lives as long as `self`, and `out` is memory of our
        // own. No reference to the mapped bytes exists, and every bit pattern is a `u8`, so a program that writes into the file meanwhile
        // changes what is copied and nothing else. One that cuts the file short makes the system end this process (SIGBUS); nothing here
        // can prevent that. Our caches are private to their owner, written under another name and never again after they are renamed.
        unsafe { self.pages.as_ptr().add(offset).copy_to_nonoverlapping(out.as_mut_ptr(), out.len()) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn bytes_are_copied_from_their_place_and_not_beyond_the_end() {
        let path = std::env::temp_dir().join(format!("svertka-mapping-{}", std::process::id()));
        let bytes: Vec<u8> = (0..10_000_u32).map(|i| (i * 7 % 251) as u8).collect();
        File::create(&path).unwrap().write_all(&bytes).unwrap();
        let mapping = Mapping::new(&File::open(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(mapping.len(), bytes.len());
        for (offset, len) in [(0, 10_000), (4_095, 2), (9_999, 1), (10_000, 0), (77, 5_000)] {
            let mut out = vec![0; len];
            mapping.read(offset, &mut out);
            assert_eq!(out, bytes[offset..][..len], "{len} at {offset}");
        }
        for (offset, len) in [(10_000, 1), (9_000, 1_001), (usize::MAX, 2)] {
            assert!(std::panic::catch_unwind(|| mapping.read(offset, &mut vec![0; len])).is_err());
        }
        File::create(&path).unwrap();
        let empty = Mapping::new(&File::open(&path).unwrap()).unwrap();
        assert_eq!(empty.len(), 0);
        empty.read(0, &mut []);
        std::fs::remove_file(&path).unwrap();
        assert!(Mapping::new(&File::open(std::env::temp_dir()).unwrap()).is_err(), "a folder");
    }
}
