//! Capped inflation of gzip streams.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::MultiGzDecoder;

use crate::limits::at_most;
use crate::{Error, Format, Limits, Result};

/// `bytes` inflated if they are gzip, else as they are. A stream that expands to more than
/// [`Limits::inflated_bytes`] is abandoned at that size.
pub(crate) fn inflate<'a>(format: &'static str, bytes: &'a [u8], limits: &Limits) -> Result<Cow<'a, [u8]>> {
    if Format::detect(bytes) != Some(Format::Gzip) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut inflated = Vec::new();
    MultiGzDecoder::new(bytes)
        .take(limits.inflated_bytes.saturating_add(1))
        .read_to_end(&mut inflated)
        .map_err(|error| {
            Error::malformed(format, "gzip stream", "a whole valid stream", error.to_string())
        })?;
    at_most(format, "inflated bytes", limits.inflated_bytes, inflated.len() as u64)?;
    Ok(Cow::Owned(inflated))
}
