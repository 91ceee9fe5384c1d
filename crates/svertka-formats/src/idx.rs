//! IDX: the format of the MNIST family, plain or gzip.
//!
//! A file is `00 00 type rank`, `rank` extents as big-endian `u32`, then the elements in row-major order
//! ([description](https://yann.lecun.org/exdb/mnist/)). Only type 0x08, unsigned bytes, is read: no published
//! data set of pictures uses another.

use crate::array::{array_bytes, volume};
use crate::detect::describe;
use crate::gzip::inflate;
use crate::{Error, Limits, Result};

const FORMAT: &str = "IDX";
const U8: u8 = 0x08;

/// Bytes with a shape: labels have shape (count), pictures (count, height, width).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idx {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Elements in row-major order.
    pub data: Vec<u8>,
}

/// Reads a plain or gzip IDX file of unsigned bytes.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Idx> {
    let bytes = inflate(FORMAT, bytes, limits)?;
    let [0, 0, element, rank, rest @ ..] = &*bytes else {
        return Err(Error::malformed(FORMAT, "magic number", "00 00 08 and a rank", describe(&bytes)));
    };
    if *element != U8 {
        let name = match *element {
            0x09 => "signed byte",
            0x0b => "16-bit integer",
            0x0c => "32-bit integer",
            0x0d => "32-bit float",
            0x0e => "64-bit float",
            _ => "unknown",
        };
        return Err(Error::unsupported(FORMAT, format!("element type {element:#04x} ({name})")));
    }
    let rank = usize::from(*rank);
    let Some((extents, data)) = rest.split_at_checked(rank * 4) else {
        let expected = format!("{} bytes for rank {rank}", 4 + rank * 4);
        return Err(Error::malformed(FORMAT, "header", expected, format!("{} bytes", bytes.len())));
    };
    let extents = extents.as_chunks().0.iter();
    let shape: Vec<usize> = extents.map(|&extent| u32::from_be_bytes(extent) as usize).collect();
    let expected = array_bytes(FORMAT, &shape, 1, limits)?;
    if data.len() != expected {
        let expected = format!("{expected} bytes for shape {shape:?}");
        return Err(Error::malformed(FORMAT, "data", expected, format!("{} bytes", data.len())));
    }
    Ok(Idx { shape, data: data.to_vec() })
}

/// Writes a plain IDX file.
pub fn encode(idx: &Idx) -> Result<Vec<u8>> {
    if volume(&idx.shape) != Some(idx.data.len()) {
        let expected = format!("as many bytes as shape {:?} says", idx.shape);
        return Err(Error::malformed(FORMAT, "data", expected, format!("{} bytes", idx.data.len())));
    }
    let rank = u8::try_from(idx.shape.len())
        .map_err(|_| Error::malformed(FORMAT, "rank", "at most 255", idx.shape.len().to_string()))?;
    let mut bytes = vec![0, 0, U8, rank];
    for &extent in &idx.shape {
        let extent = u32::try_from(extent)
            .map_err(|_| Error::malformed(FORMAT, "extent", "at most 4294967295", extent.to_string()))?;
        bytes.extend(extent.to_be_bytes());
    }
    bytes.extend(&idx.data);
    Ok(bytes)
}
