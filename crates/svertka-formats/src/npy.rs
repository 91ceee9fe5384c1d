//! npy: one NumPy array
//! ([description](https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html)).
//!
//! Read: versions 1 to 3, either byte order, C or Fortran order, `bool`, integers, `f2`, `f4`, `f8`. Refused:
//! complex numbers, dates, text, records and pickled objects (which would run code).

use std::borrow::Cow;

use crate::array::array_bytes;
use crate::detect::describe;
use crate::element::Element;
use crate::{Array, ArrayData, Error, Limits, Result};

const FORMAT: &str = "npy";
const MAGIC: &[u8] = b"\x93NUMPY";
/// NumPy's own bound.
const MAX_RANK: usize = 64;

/// Reads an array into row-major order. Fortran-ordered data is transposed.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Array> {
    let Some([major, _minor, rest @ ..]) = bytes.strip_prefix(MAGIC) else {
        return Err(Error::malformed(FORMAT, "magic number", "\"\\x93NUMPY\"", describe(bytes)));
    };
    let header_and_data = match (*major, rest) {
        (1, [a, b, rest @ ..]) => rest.split_at_checked(u16::from_le_bytes([*a, *b]).into()),
        (2 | 3, [a, b, c, d, rest @ ..]) => {
            rest.split_at_checked(u32::from_le_bytes([*a, *b, *c, *d]) as usize)
        }
        (1..=3, _) => None,
        _ => return Err(Error::unsupported(FORMAT, format!("version {major}"))),
    };
    let (header, data) = header_and_data.ok_or_else(|| {
        Error::malformed(
            FORMAT,
            "header",
            "the length it declares",
            format!("a file of {} bytes", bytes.len()),
        )
    })?;
    let header = Header::parse(header)?;

    let size = header.element.size();
    let expected = array_bytes(FORMAT, &header.shape, size, limits)?;
    array_bytes(FORMAT, &header.shape, header.element.widened_size(), limits)?;
    if data.len() != expected {
        let expected = format!("{expected} bytes for shape {:?}", header.shape);
        return Err(Error::malformed(FORMAT, "data", expected, format!("{} bytes", data.len())));
    }
    let mut data = Cow::Borrowed(data);
    if header.big_endian {
        data.to_mut().chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    // Without elements there is nothing to move, and the strides may overflow.
    if header.fortran_order && !data.is_empty() {
        data = from_fortran(&data, &header.shape, size).into();
    }
    let data = header
        .element
        .decode(&data)
        .ok_or_else(|| Error::unsupported(FORMAT, "an unsigned value above 9223372036854775807"))?;
    Ok(Array { shape: header.shape, data })
}

/// Writes version 1, little-endian, row-major; the data starts at a multiple of 64 bytes, as NumPy has it.
pub fn encode(array: &Array) -> Result<Vec<u8>> {
    array.check()?;
    let descr = match array.data {
        ArrayData::U8(_) => "|u1",
        ArrayData::I64(_) => "<i8",
        ArrayData::F32(_) => "<f4",
        ArrayData::F64(_) => "<f8",
    };
    let extents: String = array.shape.iter().map(|extent| format!("{extent}, ")).collect();
    // A tuple of one is written "(3,)", of more "(3, 4)".
    let extents = extents.strip_suffix(if array.shape.len() == 1 { " " } else { ", " }).unwrap_or_default();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({extents}), }}");
    let before_header = MAGIC.len() + 2 + 2;
    let padding = 64 - (before_header + header.len() + 1) % 64;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let header_bytes = u16::try_from(header.len())
        .map_err(|_| Error::malformed(FORMAT, "rank", "at most 64", array.shape.len().to_string()))?;
    Ok([MAGIC, &[1, 0], &header_bytes.to_le_bytes(), header.as_bytes(), &array.data.to_le_bytes()].concat())
}

/// Row-major copy of column-major elements of `size` bytes. No extent is zero.
fn from_fortran(bytes: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let mut strides = Vec::with_capacity(shape.len());
    shape.iter().fold(size, |stride, extent| {
        strides.push(stride);
        stride * extent
    });
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    let mut out = Vec::with_capacity(bytes.len());
    for _ in 0..bytes.len() / size {
        out.extend(&bytes[at..at + size]);
        // The next index in row-major order, like an odometer; `at` follows it.
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    out
}

struct Header {
    element: Element,
    big_endian: bool,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Reads the Python dictionary `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
    fn parse(bytes: &[u8]) -> Result<Self> {
        let malformed = || {
            let expected = "a dictionary of descr, fortran_order and shape";
            Error::malformed(FORMAT, "header", expected, describe(bytes))
        };
        let text = std::str::from_utf8(bytes).map_err(|_| malformed())?.trim();
        let mut rest =
            text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).ok_or_else(malformed)?.trim();
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, after) = quoted(rest).ok_or_else(malformed)?;
            let value = after.trim_start().strip_prefix(':').ok_or_else(malformed)?.trim_start();
            let after = match key {
                "descr" if value.starts_with('[') => return Err(Error::unsupported(FORMAT, "a record type")),
                "descr" => {
                    let (value, after) = quoted(value).ok_or_else(malformed)?;
                    descr = Some(value);
                    after
                }
                "fortran_order" => {
                    let word = value.find(',').unwrap_or(value.len());
                    fortran_order = Some(match value[..word].trim() {
                        "True" => true,
                        "False" => false,
                        _ => return Err(malformed()),
                    });
                    &value[word..]
                }
                "shape" => {
                    let (tuple, after) = value
                        .strip_prefix('(')
                        .and_then(|value| value.split_once(')'))
                        .ok_or_else(malformed)?;
                    shape = Some(extents(tuple).ok_or_else(malformed)?);
                    after
                }
                _ => return Err(malformed()),
            };
            let after = after.trim_start();
            rest = match after.strip_prefix(',') {
                Some(after) => after.trim_start(),
                None if after.is_empty() => after,
                None => return Err(malformed()),
            };
        }
        let (element, big_endian) = element(descr.ok_or_else(malformed)?)?;
        let shape = shape.ok_or_else(malformed)?;
        if shape.len() > MAX_RANK {
            return Err(Error::malformed(
                FORMAT,
                "rank",
                format!("at most {MAX_RANK}"),
                shape.len().to_string(),
            ));
        }
        Ok(Self { element, big_endian, fortran_order: fortran_order.ok_or_else(malformed)?, shape })
    }
}

/// A Python string without escapes at the start of `text`, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// The inside of a Python tuple of integers: "", "3," or "3, 4".
fn extents(tuple: &str) -> Option<Vec<usize>> {
    let tuple = tuple.trim();
    if tuple.is_empty() {
        return Some(Vec::new());
    }
    tuple.strip_suffix(',').unwrap_or(tuple).split(',').map(|extent| extent.trim().parse().ok()).collect()
}

/// Element type and whether it is big-endian, from a NumPy type string such as "<f4".
fn element(descr: &str) -> Result<(Element, bool)> {
    let unsupported = || Error::unsupported(FORMAT, format!("element type {descr:?}"));
    let kind = descr.strip_prefix(['<', '>', '|', '=']).ok_or_else(unsupported)?;
    let element = match kind {
        "b1" => Element::Bool,
        "u1" => Element::U8,
        "i1" => Element::I8,
        "u2" => Element::U16,
        "i2" => Element::I16,
        "u4" => Element::U32,
        "i4" => Element::I32,
        "u8" => Element::U64,
        "i8" => Element::I64,
        "f2" => Element::F16,
        "f4" => Element::F32,
        "f8" => Element::F64,
        _ => return Err(unsupported()),
    };
    Ok((element, descr.starts_with('>')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let length = (header.len() as u32).to_le_bytes();
        [b"\x93NUMPY\x02\x00", &length[..], header.as_bytes(), data].concat()
    }

    #[test]
    fn element_types_and_byte_orders() {
        let cases: [(&str, &[u8], ArrayData); 9] = [
            ("|b1", &[0, 2], ArrayData::U8(vec![0, 1])),
            ("|u1", &[0, 255], ArrayData::U8(vec![0, 255])),
            ("|i1", &[1, 255], ArrayData::I64(vec![1, -1])),
            (">i2", &[1, 0, 255, 254], ArrayData::I64(vec![256, -2])),
            ("<u4", &[1, 0, 0, 0, 0, 0, 0, 255], ArrayData::I64(vec![1, 0xff00_0000])),
            ("<f2", &[0, 0x3c, 0, 0xc0], ArrayData::F32(vec![1.0, -2.0])),
            (">f4", &[0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0], ArrayData::F32(vec![1.0, -2.0])),
            (">u8", &[0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 1, 0], ArrayData::I64(vec![5, 256])),
            ("<f8", &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0], ArrayData::F64(vec![1.0, 0.0])),
        ];
        for (descr, bytes, data) in cases {
            let array = decode(&file(descr, "False", "(2,)", bytes), &Limits::default()).unwrap();
            assert_eq!(array, Array { shape: vec![2], data }, "{descr}");
        }
    }

    #[test]
    fn fortran_order_is_transposed() {
        // The rows 0 1 2 and 3 4 5, stored by columns.
        let array = decode(&file("|u1", "True", "(2, 3)", &[0, 3, 1, 4, 2, 5]), &Limits::default()).unwrap();
        assert_eq!(array, Array { shape: vec![2, 3], data: ArrayData::U8(vec![0, 1, 2, 3, 4, 5]) });
        // Elements wider than a byte stay whole.
        let words = [0, 0, 3, 0, 1, 0, 4, 0, 2, 0, 5, 0];
        let array = decode(&file("<u2", "True", "(2, 3)", &words), &Limits::default()).unwrap();
        assert_eq!(array.data, ArrayData::I64(vec![0, 1, 2, 3, 4, 5]));
        // No elements, though the stride of the second axis passes 2^64.
        let array =
            decode(&file("<u2", "True", "(9223372036854775808, 0)", &[]), &Limits::default()).unwrap();
        assert_eq!(array.data, ArrayData::I64(vec![]));
    }

    #[test]
    fn the_header_is_the_one_numpy_writes() {
        let array = Array::new(vec![3], ArrayData::F32(vec![1.0, 2.0, 3.0])).unwrap();
        let bytes = encode(&array).unwrap();
        assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00");
        let header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }            ";
        assert_eq!(&bytes[10..10 + header.len()], header);
        assert_eq!(bytes[127], b'\n');
        assert_eq!(bytes.len(), 128 + 12);
    }
}
