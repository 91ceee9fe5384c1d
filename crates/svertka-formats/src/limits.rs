//! How much a reader may allocate on behalf of its input.

use crate::{Error, Result};

/// Upper bounds that every reader checks before it allocates.
///
/// ```
/// use svertka_formats::Limits;
///
/// let careful = Limits { picture_bytes: 1 << 20, ..Limits::default() };
/// assert_eq!(careful.picture_width, 32_768);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest width of a picture, in pixels. Default: 32,768.
    pub picture_width: u32,
    /// Largest height of a picture, in pixels. Default: 32,768.
    pub picture_height: u32,
    /// Largest decoded picture, in bytes as stored in the file (2 per 16-bit sample); the decoder's own
    /// memory has the same bound again. Default: 512 MiB.
    pub picture_bytes: u64,
    /// Largest array in memory, in bytes. Default: 4 GiB.
    pub array_bytes: u64,
    /// Largest sum of bytes that one compressed file (gzip, npz) may expand to. Default: 2 GiB.
    pub inflated_bytes: u64,
    /// Largest ONNX file, in bytes. Default: 2 GiB, the bound of protobuf itself.
    pub onnx_bytes: u64,
    /// Largest number of protobuf messages (nodes, attributes, tensors, dimensions, ...) and strings in an
    /// ONNX file. An empty one takes 2 bytes of the file and some 200 of memory. Default: 2,097,152.
    pub onnx_messages: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            picture_width: 32_768,
            picture_height: 32_768,
            picture_bytes: 512 << 20,
            array_bytes: 4 << 30,
            inflated_bytes: 2 << 30,
            onnx_bytes: 2 << 30,
            onnx_messages: 2 << 20,
        }
    }
}

/// Refuses `received` above `limit`.
pub(crate) fn at_most(format: &'static str, what: &str, limit: u64, received: u64) -> Result<()> {
    if received <= limit {
        return Ok(());
    }
    Err(Error::Limit { format, what: what.to_owned(), limit, received })
}
