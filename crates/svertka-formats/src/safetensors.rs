//! safetensors: named arrays and a map of text
//! ([description](https://huggingface.co/docs/safetensors/index#format)).

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors};

use crate::array::array_bytes;
use crate::element::Element;
use crate::{Array, ArrayData, Error, Limits, NamedArrays, Result};

const FORMAT: &str = "safetensors";
const METADATA: &str = "__metadata__";
/// Digits of the largest number accepted in a header: a size below 10^15 bytes.
const MAX_DIGITS: usize = 15;

/// Reads all arrays, sorted by name, and the metadata (empty if the file has none).
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<(NamedArrays, BTreeMap<String, String>)> {
    check_numbers(bytes)?;
    let malformed = |error: safetensors::SafeTensorError| {
        Error::malformed(FORMAT, "file", "a valid header and the data it describes", error.to_string())
    };
    let file = SafeTensors::deserialize(bytes).map_err(malformed)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
    let mut views = file.tensors();
    views.sort_by(|a, b| a.0.cmp(&b.0));
    let mut arrays = Vec::with_capacity(views.len());
    for (name, view) in views {
        let element = element(view.dtype()).ok_or_else(|| {
            Error::unsupported(FORMAT, format!("element type {:?} of {name:?}", view.dtype()))
        })?;
        array_bytes(FORMAT, view.shape(), element.widened_size(), limits)?;
        let data = element.decode(view.data()).ok_or_else(|| {
            Error::unsupported(FORMAT, format!("an unsigned value above 9223372036854775807 in {name:?}"))
        })?;
        arrays.push((name, Array { shape: view.shape().to_vec(), data }));
    }
    Ok((
        arrays,
        header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect(),
    ))
}

/// Writes arrays and metadata. Equal content gives equal bytes, whatever the order of `arrays`.
///
/// The header is written here because the `safetensors` crate takes the metadata as a hash map and writes it
/// in random order.
pub fn encode<'a>(
    arrays: impl IntoIterator<Item = (&'a str, &'a Array)>,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>> {
    let mut arrays: Vec<_> = arrays.into_iter().collect();
    // Widest elements first: each array then starts at a multiple of its element's size.
    arrays.sort_by_key(|&(name, array)| (std::cmp::Reverse(dtype(&array.data).bitsize()), name));

    let mut names: Vec<_> = arrays.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    if names.contains(&METADATA) || names.windows(2).any(|pair| pair[0] == pair[1]) {
        let expected = format!("each once, and none {METADATA:?}");
        return Err(Error::malformed(FORMAT, "names", expected, format!("{names:?}")));
    }

    let mut fields = Vec::new();
    if !metadata.is_empty() {
        let pairs: Vec<_> =
            metadata.iter().map(|(key, value)| format!("{}:{}", json(key), json(value))).collect();
        fields.push(format!("{}:{{{}}}", json(METADATA), pairs.join(",")));
    }
    let mut data = Vec::new();
    for (name, array) in arrays {
        array.check()?;
        let start = data.len();
        data.extend_from_slice(&array.data.to_le_bytes());
        // The Debug forms of a list of integers and of the type's name are JSON.
        fields.push(format!(
            "{}:{{\"dtype\":\"{:?}\",\"shape\":{:?},\"data_offsets\":[{start},{}]}}",
            json(name),
            dtype(&array.data),
            array.shape,
            data.len()
        ));
    }
    let mut header = format!("{{{}}}", fields.join(","));
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    Ok([&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat())
}

/// Refuses a header with a number of more than [`MAX_DIGITS`] digits: sums of such numbers may overflow in the
/// `safetensors` crate, which is a panic where overflow is checked.
fn check_numbers(bytes: &[u8]) -> Result<()> {
    let (mut digits, mut in_string, mut escaped) = (0, false, false);
    let length = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    let header = bytes.iter().skip(8).take(usize::try_from(length).unwrap_or(usize::MAX));
    for &byte in header {
        digits = if byte.is_ascii_digit() && !in_string { digits + 1 } else { 0 };
        if digits > MAX_DIGITS {
            let expected = format!("at most {MAX_DIGITS} digits");
            return Err(Error::malformed(FORMAT, "number in the header", expected, "more"));
        }
        in_string ^= byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
    }
    Ok(())
}

/// A JSON string.
fn json(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\0'..='\x1f' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

fn dtype(data: &ArrayData) -> Dtype {
    match data {
        ArrayData::U8(_) => Dtype::U8,
        ArrayData::I64(_) => Dtype::I64,
        ArrayData::F32(_) => Dtype::F32,
        ArrayData::F64(_) => Dtype::F64,
    }
}

fn element(dtype: Dtype) -> Option<Element> {
    Some(match dtype {
        Dtype::BOOL => Element::Bool,
        Dtype::U8 => Element::U8,
        Dtype::I8 => Element::I8,
        Dtype::U16 => Element::U16,
        Dtype::I16 => Element::I16,
        Dtype::U32 => Element::U32,
        Dtype::I32 => Element::I32,
        Dtype::U64 => Element::U64,
        Dtype::I64 => Element::I64,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::BF16,
        Dtype::F32 => Element::F32,
        Dtype::F64 => Element::F64,
        _ => return None,
    })
}
