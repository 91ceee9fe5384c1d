//! CIFAR-10 and CIFAR-100 in their [binary version](https://www.cs.toronto.edu/~kriz/cifar.html).
//!
//! A file is a row of records without a header: one label byte (CIFAR-100: coarse, then fine), then 3 planes
//! of 32 x 32 bytes, red, green, blue.

use crate::limits::at_most;
use crate::{Error, Limits, Result};

const FORMAT: &str = "CIFAR";

/// Height and width of every picture.
pub const SIDE: usize = 32;

const PLANE: usize = SIDE * SIDE;

/// Which of the two data sets a file belongs to: the bytes do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// One label byte, 0 to 9.
    Cifar10,
    /// A coarse label byte, which is ignored, and a fine one, 0 to 99.
    Cifar100,
}

/// Labelled pictures of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cifar {
    /// One per picture.
    pub labels: Vec<u8>,
    /// Shape (labels, 32, 32, 3): height, width, then red, green, blue.
    pub pixels: Vec<u8>,
}

impl Variant {
    fn label_bytes(self) -> usize {
        match self {
            Self::Cifar10 => 1,
            Self::Cifar100 => 2,
        }
    }

    fn classes(self) -> u8 {
        match self {
            Self::Cifar10 => 10,
            Self::Cifar100 => 100,
        }
    }
}

/// Reads a whole file such as `data_batch_1.bin` or `train.bin`.
pub fn decode(bytes: &[u8], variant: Variant, limits: &Limits) -> Result<Cifar> {
    at_most(FORMAT, "bytes of a file", limits.array_bytes, bytes.len() as u64)?;
    let record_bytes = variant.label_bytes() + 3 * PLANE;
    if bytes.is_empty() || !bytes.len().is_multiple_of(record_bytes) {
        let expected = format!("a positive multiple of {record_bytes} bytes");
        return Err(Error::malformed(FORMAT, "file size", expected, format!("{} bytes", bytes.len())));
    }
    let count = bytes.len() / record_bytes;
    let mut cifar =
        Cifar { labels: Vec::with_capacity(count), pixels: Vec::with_capacity(count * 3 * PLANE) };
    for (index, record) in bytes.chunks_exact(record_bytes).enumerate() {
        let (labels, planes) = record.split_at(variant.label_bytes());
        let label = labels[labels.len() - 1];
        if label >= variant.classes() {
            let expected = format!("at most {}", variant.classes() - 1);
            return Err(Error::malformed(
                FORMAT,
                format!("label of record {index}"),
                expected,
                label.to_string(),
            ));
        }
        cifar.labels.push(label);
        cifar
            .pixels
            .extend((0..PLANE).flat_map(|at| [planes[at], planes[PLANE + at], planes[2 * PLANE + at]]));
    }
    Ok(cifar)
}

/// Reads class names, one a line, from `batches.meta.txt` or `fine_label_names.txt`. Blank lines are skipped.
pub fn class_names(bytes: &[u8]) -> Result<Vec<String>> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Error::malformed(FORMAT, "class names", "UTF-8 text", error.to_string()))?;
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if names.is_empty() {
        return Err(Error::malformed(FORMAT, "class names", "at least one line", "none"));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record whose three planes hold their own constant plus the column in the last row.
    fn record(labels: &[u8]) -> Vec<u8> {
        let plane = |base: usize| (0..PLANE).map(move |at| (base + at.saturating_sub(PLANE - SIDE)) as u8);
        labels.iter().copied().chain([10, 100, 200].into_iter().flat_map(plane)).collect()
    }

    #[test]
    fn planes_become_interleaved() {
        let cifar =
            decode(&[record(&[7]), record(&[0])].concat(), Variant::Cifar10, &Limits::default()).unwrap();
        assert_eq!(cifar.labels, [7, 0]);
        assert_eq!(cifar.pixels.len(), 2 * SIDE * SIDE * 3);
        assert_eq!(cifar.pixels[..6], [10, 100, 200, 10, 100, 200]);
        assert_eq!(cifar.pixels[cifar.pixels.len() - 3..], [41, 131, 231]);
    }

    #[test]
    fn the_fine_label_of_cifar_100_counts() {
        let cifar = decode(&record(&[19, 99]), Variant::Cifar100, &Limits::default()).unwrap();
        assert_eq!(cifar.labels, [99]);
    }

    #[test]
    fn class_names_are_trimmed_lines() {
        assert_eq!(class_names(b"airplane\r\nautomobile\n\n").unwrap(), ["airplane", "automobile"]);
        assert!(class_names(b"\n\n").is_err());
        assert!(class_names(b"\xff").is_err());
    }
}
