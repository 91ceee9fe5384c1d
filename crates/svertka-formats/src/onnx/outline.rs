//! A model without the elements of its large tensors, which stay in the file until they are asked for: so that a network can be made
//! ready without its weights being in memory twice.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::{DataLocation, DataType, FORMAT, ModelProto, StringStringEntryProto, TensorProto, decode};
use crate::limits::at_most;
use crate::{Error, Limits, Result};

/// Tensors with fewer bytes are read at once: among them are sizes and axes, which decide what a network is.
const LARGE: u64 = 4096;

/// Reads a model file but for the elements of its large tensors. Those become external data without a location: [`read_floats`] reads them from
/// the same file.
///
/// # Errors
/// As [`decode`], and where the file can't be read.
pub fn outline(file: &mut (impl Read + Seek), limits: &Limits) -> Result<ModelProto> {
    let end = file.seek(SeekFrom::End(0)).map_err(unreadable)?;
    at_most(FORMAT, "bytes of a file", limits.onnx_bytes, end)?;
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut walk = Walk { file: BufReader::new(file), at: 0 };
    let bytes = walk.message(Kind::Model, end).map_err(unreadable)?;
    decode(&bytes, limits)
}

/// Reads the elements of a tensor that [`outline`] left in the file, `f32` all of them.
///
/// # Errors
/// Where the tensor is not such a one, has another number of elements than `floats`, or the file can't be read.
pub fn read_floats(file: &mut (impl Read + Seek), tensor: &TensorProto, floats: &mut [f32]) -> Result<()> {
    let expected = format!("{} floats of this file", floats.len());
    let place = tensor.place_in_file().filter(|&(_, length)| length == size_of_val(floats) as u64);
    let Some((offset, _)) = place.filter(|_| tensor.data_type == DataType::Float as i32) else {
        let received = format!("dims {:?}, {:?}", tensor.dims, tensor.external_data);
        return Err(Error::malformed(FORMAT, format!("tensor {:?}", tensor.name), expected, received));
    };
    file.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
    let mut bytes = [0; 1 << 14];
    for floats in floats.chunks_mut(bytes.len() / 4) {
        let bytes = &mut bytes[..4 * floats.len()];
        file.read_exact(bytes).map_err(unreadable)?;
        floats.iter_mut().zip(bytes.as_chunks().0).for_each(|(x, bytes)| *x = f32::from_le_bytes(*bytes));
    }
    Ok(())
}

/// A tensor that [`outline`] left in the file, with its elements, whatever their type.
///
/// # Errors
/// Where the tensor is not such a one, or the file can't be read.
pub fn read_tensor(file: &mut (impl Read + Seek), tensor: &TensorProto) -> Result<TensorProto> {
    let what = || format!("tensor {:?}", tensor.name);
    let missing =
        || Error::malformed(FORMAT, what(), "elements in this file", format!("{:?}", tensor.external_data));
    let (offset, length) = tensor.place_in_file().ok_or_else(missing)?;
    file.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
    let mut raw_data = vec![];
    file.take(length).read_to_end(&mut raw_data).map_err(unreadable)?;
    Ok(TensorProto {
        raw_data,
        external_data: vec![],
        data_location: DataLocation::Default as i32,
        name: tensor.name.clone(),
        dims: tensor.dims.clone(),
        data_type: tensor.data_type,
        ..Default::default()
    })
}

impl TensorProto {
    /// Where [`outline`] left the elements: offset and length in bytes. `None` where they are in the tensor or in another file.
    pub fn place_in_file(&self) -> Option<(u64, u64)> {
        let entry = |key: &str| self.external_data.iter().find(|entry| entry.key == key);
        let here = entry("location").is_some_and(|location| location.value.is_empty());
        let number = |key| entry(key)?.value.parse().ok();
        here.then(|| Some((number("offset")?, number("length")?))).flatten()
    }
}

fn unreadable(error: io::Error) -> Error {
    Error::malformed(FORMAT, "file", "a whole ONNX protobuf", error.to_string())
}

/// Messages on the way to the tensors.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Model,
    Graph,
    Tensor,
}

/// A walk through the fields of a file.
struct Walk<R: Read> {
    file: BufReader<R>,
    at: u64,
}

impl<R: Read + Seek> Walk<R> {
    /// The fields up to `end`, copied but for large elements.
    fn message(&mut self, kind: Kind, end: u64) -> io::Result<Vec<u8>> {
        let mut out = vec![];
        while self.at < end {
            let key = self.varint()?;
            let (tag, wire) = (u32::try_from(key >> 3).unwrap_or(0), key & 7);
            if wire != 2 {
                encode_varint(key, &mut out);
                match wire {
                    0 => encode_varint(self.varint()?, &mut out),
                    1 => self.copy(8, end, &mut out)?,
                    5 => self.copy(4, end, &mut out)?,
                    // A group: its fields follow, each with its own key.
                    _ => {}
                }
                continue;
            }
            let length = self.varint()?;
            let inside = match (kind, tag) {
                (Kind::Model, 7) => Some(Kind::Graph),
                (Kind::Graph, 5) if length >= LARGE => Some(Kind::Tensor),
                _ => None,
            };
            if kind == Kind::Tensor && tag == 9 && length >= LARGE {
                self.elements(length, end, &mut out)?;
                continue;
            }
            encode_varint(key, &mut out);
            match inside {
                Some(inside) => {
                    let stop =
                        self.at.checked_add(length).filter(|&stop| stop <= end).ok_or_else(truncated)?;
                    let message = self.message(inside, stop)?;
                    encode_varint(message.len() as u64, &mut out);
                    out.extend(message);
                }
                None => {
                    encode_varint(length, &mut out);
                    self.copy(length, end, &mut out)?;
                }
            }
        }
        Ok(out)
    }

    /// Skips the elements of a tensor and says where they are.
    fn elements(&mut self, length: u64, end: u64, out: &mut Vec<u8>) -> io::Result<()> {
        let entries =
            [("location", String::new()), ("offset", self.at.to_string()), ("length", length.to_string())];
        for (key, value) in entries {
            let entry = StringStringEntryProto { key: key.to_owned(), value };
            encode_key(13, WireType::LengthDelimited, out);
            entry.encode_length_delimited(out).map_err(io::Error::other)?;
        }
        encode_key(14, WireType::Varint, out);
        encode_varint(DataLocation::External as u64, out);
        self.at = self.at.checked_add(length).filter(|&at| at <= end).ok_or_else(truncated)?;
        self.file.seek_relative(i64::try_from(length).map_err(io::Error::other)?)
    }

    fn copy(&mut self, length: u64, end: u64, out: &mut Vec<u8>) -> io::Result<()> {
        self.at = self.at.checked_add(length).filter(|&at| at <= end).ok_or_else(truncated)?;
        let copied = (&mut self.file).take(length).read_to_end(out)?;
        if copied as u64 == length { Ok(()) } else { Err(truncated()) }
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.file.fill_buf()?.first().ok_or_else(truncated)?;
            self.file.consume(1);
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(io::Error::other("a number of more than ten bytes"))
    }
}

fn truncated() -> io::Error {
    io::Error::other("a field that reaches beyond its message")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::onnx::{GraphProto, encode};

    fn model(sizes: &[usize]) -> ModelProto {
        let tensor = |(i, &size): (usize, &usize)| {
            let data: Vec<f32> = (0..size).map(|x| x as f32 + i as f32).collect();
            TensorProto::float(&format!("t{i}"), &[size], &data)
        };
        let initializer = sizes.iter().enumerate().map(tensor).collect();
        let graph = GraphProto { name: "net".into(), initializer, ..Default::default() };
        ModelProto { ir_version: 8, producer_name: "x".into(), graph: Some(graph), ..Default::default() }
    }

    #[test]
    fn large_tensors_stay_in_the_file_and_come_when_asked() {
        let whole = model(&[3, 5000, 1023, 1024, 70_000]);
        let mut file = Cursor::new(encode(&whole));
        let read = outline(&mut file, &Limits::default()).unwrap();
        assert!(read.encoded_len() < 10_000);
        assert_eq!(read.producer_name, "x");
        for (read, whole) in read.graph.unwrap().initializer.iter().zip(whole.graph.unwrap().initializer) {
            assert_eq!((&read.name, &read.dims), (&whole.name, &whole.dims));
            let mut floats = vec![0.0; whole.dims[0] as usize];
            if floats.len() < 1024 {
                assert_eq!(read, &whole);
                assert!(read_floats(&mut file, read, &mut floats).is_err());
                continue;
            }
            read_floats(&mut file, read, &mut floats).unwrap();
            assert_eq!(floats, whole.floats().unwrap());
            assert_eq!(read_tensor(&mut file, read).unwrap(), whole);
            let wrong = read_floats(&mut file, read, &mut floats[1..]).unwrap_err().to_string();
            assert!(wrong.contains("floats of this file"), "{wrong}");
        }
    }

    #[test]
    fn no_prefix_of_a_file_and_no_changed_byte_is_a_panic() {
        let bytes = encode(&model(&[2, 1500]));
        for end in 0..bytes.len() {
            let read = outline(&mut Cursor::new(&bytes[..end]), &Limits::default());
            assert!(read.is_err() || end == 0 || read.is_ok_and(|model| model.graph.is_some()));
        }
        for at in 0..200 {
            for change in [0x80, 0x01, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= change;
                let _ = outline(&mut Cursor::new(bytes), &Limits::default());
            }
        }
    }
}
