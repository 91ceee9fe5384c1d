//! Little-endian elements of any numeric type to [`ArrayData`]: the one place that converts them.

use crate::ArrayData;

/// A numeric element type of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    BF16,
    F32,
    F64,
}

impl Element {
    /// Bytes of one element in the file.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Bytes of one element in [`ArrayData`].
    pub(crate) fn widened_size(self) -> usize {
        match self {
            Self::Bool | Self::U8 => 1,
            Self::F16 | Self::BF16 | Self::F32 => 4,
            Self::I8 | Self::U16 | Self::I16 | Self::U32 | Self::I32 | Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Reads whole elements; a remainder of `bytes` shorter than one is ignored, so callers check the length.
    /// `None` if a `u64` exceeds `i64`.
    pub(crate) fn decode(self, bytes: &[u8]) -> Option<ArrayData> {
        Some(match self {
            Self::Bool => ArrayData::U8(read(bytes, |[x]| u8::from(x != 0))),
            Self::U8 => ArrayData::U8(bytes.to_vec()),
            Self::I8 => ArrayData::I64(read(bytes, |x| i8::from_le_bytes(x).into())),
            Self::U16 => ArrayData::I64(read(bytes, |x| u16::from_le_bytes(x).into())),
            Self::I16 => ArrayData::I64(read(bytes, |x| i16::from_le_bytes(x).into())),
            Self::U32 => ArrayData::I64(read(bytes, |x| u32::from_le_bytes(x).into())),
            Self::I32 => ArrayData::I64(read(bytes, |x| i32::from_le_bytes(x).into())),
            Self::U64 => {
                let words = bytes.as_chunks().0;
                let signed: Result<_, _> = words.iter().map(|x| u64::from_le_bytes(*x).try_into()).collect();
                ArrayData::I64(signed.ok()?)
            }
            Self::I64 => ArrayData::I64(read(bytes, i64::from_le_bytes)),
            Self::F16 => ArrayData::F32(read(bytes, |x| f16_to_f32(u16::from_le_bytes(x)))),
            Self::BF16 => ArrayData::F32(read(bytes, |x| bf16_to_f32(u16::from_le_bytes(x)))),
            Self::F32 => ArrayData::F32(read(bytes, f32::from_le_bytes)),
            Self::F64 => ArrayData::F64(read(bytes, f64::from_le_bytes)),
        })
    }
}

fn read<const N: usize, T>(bytes: &[u8], element: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|chunk| element(*chunk)).collect()
}

/// The value of an IEEE 754 half-precision number.
pub(crate) fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff);
    let value = match magnitude >> 10 {
        // Subnormal: a multiple of 2^-24, exact in f32.
        0 => (magnitude as f32 * (-24_f32).exp2()).to_bits(),
        // Infinity and NaN keep their payload under f32's all-ones exponent.
        31 => 0x7f80_0000 | magnitude << 13,
        // The exponent's bias goes from 15 to 127.
        _ => (magnitude << 13) + ((127 - 15) << 23),
    };
    f32::from_bits(sign | value)
}

/// The value of a `bfloat16`: the upper half of an `f32`.
pub(crate) fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_values_of_the_standard() {
        let cases = [
            (0x0000, 0.0),
            (0x8000, -0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65504.0),
            (0x0400, 6.103_515_6e-5),
            (0x0001, 5.960_464_5e-8),
            (0x83ff, -6.097_555e-5),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ];
        for (bits, value) in cases {
            assert_eq!(f16_to_f32(bits).to_bits(), f32::to_bits(value), "{bits:#06x}");
        }
        assert!(f16_to_f32(0x7e00).is_nan());
        assert_eq!(bf16_to_f32(0xbfc0), -1.5);
    }

    #[test]
    fn an_unsigned_word_beyond_i64_is_refused() {
        let top = i64::MAX as u64;
        assert_eq!(Element::U64.decode(&top.to_le_bytes()), Some(ArrayData::I64(vec![i64::MAX])));
        assert_eq!(Element::U64.decode(&(top + 1).to_le_bytes()), None);
    }
}
