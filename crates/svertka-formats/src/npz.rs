//! npz: a zip archive of [`npy`] files, one per name.

use std::io::{Cursor, Read, Write};

use zip::result::ZipError;
use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, ZipArchive};

use crate::limits::at_most;
use crate::{Array, Error, Limits, NamedArrays, Result, npy};

const FORMAT: &str = "npz";
const SUFFIX: &str = ".npy";

/// Reads all arrays in the order of the file, stored or deflated. Names are without ".npy". All members
/// together may expand to [`Limits::inflated_bytes`]; sizes that the archive declares are not trusted.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<NamedArrays> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| malformed("archive", &error))?;
    if archive.has_duplicate_names() {
        return Err(Error::malformed(FORMAT, "member names", "each once", "a duplicate"));
    }
    let mut inflated: u64 = 0;
    let mut arrays = NamedArrays::new();
    for index in 0..archive.len() {
        let member =
            archive.by_index(index).map_err(|error| malformed(&format!("member {index}"), &error))?;
        let file_name = member.name().map_err(|error| malformed("member name", &error))?.into_owned();
        let name = file_name.strip_suffix(SUFFIX).ok_or_else(|| {
            Error::malformed(FORMAT, "member name", "an ending in .npy", format!("{file_name:?}"))
        })?;
        let part = format!("member {file_name:?}");
        let mut data = Vec::new();
        member
            .take((limits.inflated_bytes - inflated).saturating_add(1))
            .read_to_end(&mut data)
            .map_err(|error| malformed(&part, &error))?;
        inflated += data.len() as u64;
        at_most(FORMAT, "inflated bytes", limits.inflated_bytes, inflated)?;
        arrays.push((name.to_owned(), npy::decode(&data, limits).map_err(|error| error.within(&part))?));
    }
    Ok(arrays)
}

/// Writes arrays in the given order, stored without compression, as `numpy.savez` does. Equal arrays give
/// equal bytes: no time of day is recorded.
pub fn encode<'a>(arrays: impl IntoIterator<Item = (&'a str, &'a Array)>) -> Result<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new())).set_auto_large_file();
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default());
    for (name, array) in arrays {
        let data = npy::encode(array)?;
        writer
            .start_file(format!("{name}{SUFFIX}"), options)
            .and_then(|()| writer.write_all(&data).map_err(ZipError::from))
            .map_err(|error| malformed(&format!("member {name:?}"), &error))?;
    }
    Ok(writer.finish().map_err(|error| malformed("archive", &error))?.into_inner())
}

fn malformed(what: &str, error: &dyn std::error::Error) -> Error {
    Error::malformed(FORMAT, what, "a valid zip archive", error.to_string())
}
