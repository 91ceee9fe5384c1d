//! Elements of a [`TensorProto`]: reading from whichever field holds them, and building.

use super::{DataLocation, DataType, FORMAT, TensorProto};
use crate::array::volume;
use crate::element::{Element, bf16_to_f32, f16_to_f32};
use crate::{ArrayData, Error, Result};

impl TensorProto {
    /// A tensor of `f32`.
    pub fn float(name: &str, dims: &[usize], data: &[f32]) -> Self {
        let raw_data = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        Self { raw_data, ..Self::described(name, dims, DataType::Float) }
    }

    /// A tensor of `i64`.
    pub fn int64(name: &str, dims: &[usize], data: &[i64]) -> Self {
        let raw_data = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        Self { raw_data, ..Self::described(name, dims, DataType::Int64) }
    }

    fn described(name: &str, dims: &[usize], data_type: DataType) -> Self {
        let dims = dims.iter().map(|&extent| extent as i64).collect();
        Self { name: name.to_owned(), dims, data_type: data_type as i32, ..Default::default() }
    }

    /// The extents, outermost first.
    pub fn shape(&self) -> Result<Vec<usize>> {
        let extents = self.dims.iter().map(|&extent| usize::try_from(extent).ok());
        extents.collect::<Option<_>>().ok_or_else(|| {
            Error::malformed(FORMAT, self.what("dims"), "extents of 0 or more", format!("{:?}", self.dims))
        })
    }

    /// All elements as `f32`, each rounded to nearest, in row-major order. As many as `dims` says.
    pub fn floats(&self) -> Result<Vec<f32>> {
        Ok(self.data()?.into_f32())
    }

    /// All elements of an integer or bool tensor, in row-major order. As many as `dims` says.
    pub fn ints(&self) -> Result<Vec<i64>> {
        match self.data()? {
            ArrayData::I64(data) => Ok(data),
            ArrayData::U8(data) => Ok(data.into_iter().map(i64::from).collect()),
            ArrayData::F32(_) | ArrayData::F64(_) => {
                Err(Error::malformed(FORMAT, self.what("element type"), "integers", self.type_name()))
            }
        }
    }

    /// All elements; their number is checked against `dims`.
    fn data(&self) -> Result<ArrayData> {
        if self.data_location == DataLocation::External as i32 || !self.external_data.is_empty() {
            let location = self.external_data.iter().find(|entry| entry.key == "location");
            let location = location.map_or("", |entry| &entry.value);
            return Err(Error::unsupported(
                FORMAT,
                self.what(&format!("external data in file {location:?}")),
            ));
        }
        let element = self.element()?;
        let shape = self.shape()?;
        let overflow = || {
            let expected = "a product that can be addressed";
            Error::malformed(FORMAT, self.what("dims"), expected, format!("{:?}", self.dims))
        };
        let count = volume(&shape).ok_or_else(overflow)?;
        let beyond_i64 =
            || Error::unsupported(FORMAT, self.what("an unsigned value above 9223372036854775807"));
        if !self.raw_data.is_empty() {
            let bytes = count.checked_mul(element.size()).ok_or_else(overflow)?;
            self.check_length("raw_data", "bytes", bytes, self.raw_data.len())?;
            return element.decode(&self.raw_data).ok_or_else(beyond_i64);
        }
        let (field, length) = match element {
            Element::F32 => ("float_data", self.float_data.len()),
            Element::F64 => ("double_data", self.double_data.len()),
            Element::I64 => ("int64_data", self.int64_data.len()),
            Element::U32 | Element::U64 => ("uint64_data", self.uint64_data.len()),
            _ => ("int32_data", self.int32_data.len()),
        };
        self.check_length(field, "elements", count, length)?;
        let words = self.int32_data.iter();
        Ok(match element {
            Element::F32 => ArrayData::F32(self.float_data.clone()),
            Element::F64 => ArrayData::F64(self.double_data.clone()),
            Element::I64 => ArrayData::I64(self.int64_data.clone()),
            Element::U32 | Element::U64 => {
                let signed = self.uint64_data.iter().map(|&x| i64::try_from(x).map_err(|_| beyond_i64()));
                ArrayData::I64(signed.collect::<Result<_>>()?)
            }
            // The bits are in the lower half.
            Element::F16 => ArrayData::F32(words.map(|&x| f16_to_f32(x as u16)).collect()),
            Element::BF16 => ArrayData::F32(words.map(|&x| bf16_to_f32(x as u16)).collect()),
            Element::Bool => ArrayData::U8(words.map(|&x| u8::from(x != 0)).collect()),
            Element::U8 | Element::I8 | Element::U16 | Element::I16 | Element::I32 => {
                ArrayData::I64(words.map(|&x| x.into()).collect())
            }
        })
    }

    fn check_length(&self, field: &str, unit: &str, expected: usize, received: usize) -> Result<()> {
        if expected == received {
            return Ok(());
        }
        let expected = format!("{expected} {unit} for dims {:?}", self.dims);
        Err(Error::malformed(FORMAT, self.what(field), expected, format!("{received} {unit}")))
    }

    fn element(&self) -> Result<Element> {
        Ok(match DataType::try_from(self.data_type) {
            Ok(DataType::Float) => Element::F32,
            Ok(DataType::Double) => Element::F64,
            Ok(DataType::Float16) => Element::F16,
            Ok(DataType::Bfloat16) => Element::BF16,
            Ok(DataType::Bool) => Element::Bool,
            Ok(DataType::Uint8) => Element::U8,
            Ok(DataType::Int8) => Element::I8,
            Ok(DataType::Uint16) => Element::U16,
            Ok(DataType::Int16) => Element::I16,
            Ok(DataType::Uint32) => Element::U32,
            Ok(DataType::Int32) => Element::I32,
            Ok(DataType::Uint64) => Element::U64,
            Ok(DataType::Int64) => Element::I64,
            _ => {
                let what = self.what(&format!("element type {}", self.type_name()));
                return Err(Error::unsupported(FORMAT, what));
            }
        })
    }

    fn type_name(&self) -> String {
        match DataType::try_from(self.data_type) {
            Ok(data_type) => format!("{data_type:?}"),
            Err(_) => self.data_type.to_string(),
        }
    }

    fn what(&self, part: &str) -> String {
        format!("tensor {:?}: {part}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(data_type: DataType) -> TensorProto {
        TensorProto::described("t", &[2], data_type)
    }

    #[test]
    fn elements_come_from_the_field_of_their_type() {
        let int32_data = vec![1, 0x4000];
        let cases = [
            (TensorProto { float_data: vec![1.5, 2.0], ..tensor(DataType::Float) }, [1.5, 2.0]),
            (TensorProto { double_data: vec![1.5, 2.0], ..tensor(DataType::Double) }, [1.5, 2.0]),
            (TensorProto { int64_data: vec![-1, 2], ..tensor(DataType::Int64) }, [-1.0, 2.0]),
            (TensorProto { uint64_data: vec![1, 2], ..tensor(DataType::Uint32) }, [1.0, 2.0]),
            (TensorProto { uint64_data: vec![1, 2], ..tensor(DataType::Uint64) }, [1.0, 2.0]),
            (TensorProto { int32_data: int32_data.clone(), ..tensor(DataType::Int32) }, [1.0, 16384.0]),
            (TensorProto { int32_data: int32_data.clone(), ..tensor(DataType::Bool) }, [1.0, 1.0]),
            (
                TensorProto { int32_data: int32_data.clone(), ..tensor(DataType::Float16) },
                [5.960_464_5e-8, 2.0],
            ),
            (TensorProto { int32_data, ..tensor(DataType::Bfloat16) }, [f32::from_bits(1 << 16), 2.0]),
            (TensorProto { raw_data: vec![0, 0x40, 0x80, 0x3f], ..tensor(DataType::Bfloat16) }, [2.0, 1.0]),
            (TensorProto { raw_data: vec![3, 255], ..tensor(DataType::Int8) }, [3.0, -1.0]),
        ];
        for (tensor, floats) in cases {
            assert_eq!(tensor.floats().unwrap(), floats, "{}", tensor.type_name());
        }
    }

    #[test]
    fn integers_do_not_come_from_floats() {
        assert_eq!(TensorProto::int64("t", &[3, 0], &[]).ints(), Ok(vec![]));
        assert_eq!(TensorProto::int64("t", &[], &[-5]).ints(), Ok(vec![-5]));
        assert_eq!(
            TensorProto::float("t", &[1], &[1.0]).ints().unwrap_err().to_string(),
            "ONNX: tensor \"t\": element type: expected integers, received Float"
        );
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let entry =
            super::super::StringStringEntryProto { key: "location".into(), value: "weights.bin".into() };
        let cases = [
            (
                TensorProto { external_data: vec![entry], data_location: 1, ..tensor(DataType::Float) },
                "ONNX: tensor \"t\": external data in file \"weights.bin\" is not supported",
            ),
            (tensor(DataType::String), "ONNX: tensor \"t\": element type String is not supported"),
            (
                TensorProto { data_type: 17, ..tensor(DataType::Float) },
                "ONNX: tensor \"t\": element type 17 is not supported",
            ),
            (
                TensorProto { dims: vec![2, -3], ..tensor(DataType::Float) },
                "ONNX: tensor \"t\": dims: expected extents of 0 or more, received [2, -3]",
            ),
            (
                TensorProto { dims: vec![1 << 40, 1 << 40], ..tensor(DataType::Float) },
                "ONNX: tensor \"t\": dims: expected a product that can be addressed, \
                 received [1099511627776, 1099511627776]",
            ),
            (
                TensorProto { raw_data: vec![0; 7], ..tensor(DataType::Float) },
                "ONNX: tensor \"t\": raw_data: expected 8 bytes for dims [2], received 7 bytes",
            ),
            (
                TensorProto { float_data: vec![0.0; 3], ..tensor(DataType::Float) },
                "ONNX: tensor \"t\": float_data: expected 2 elements for dims [2], received 3 elements",
            ),
        ];
        for (tensor, message) in cases {
            assert_eq!(tensor.floats().unwrap_err().to_string(), message);
        }
    }
}
