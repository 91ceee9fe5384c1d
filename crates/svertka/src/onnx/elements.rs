//! The numbers of a tensor, which may still be in the file.

use std::fs::File;

use svertka_formats::onnx::{self, DataType, TensorProto};
use svertka_kernels::Buffer;
use svertka_kernels::geometry::checked_product;

use super::import::format_error;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Whether a model left a tensor of floats in its file, as many as its shape says.
pub(super) fn is_floats_in_file(proto: &TensorProto) -> bool {
    let floats = proto.shape().ok().and_then(|shape| checked_product("dims", &shape).ok());
    let bytes = floats.map(|floats| size_of::<f32>() as u64 * floats as u64);
    let place = proto.place_in_file().map(|(_, length)| length);
    proto.data_type == DataType::Float as i32 && place.is_some() && place == bytes
}

/// The tensor with its elements, which may be in `file`.
pub(super) fn tensor_of(proto: &TensorProto, file: Option<&File>) -> Result<Tensor> {
    let shape = proto.shape().map_err(format_error)?;
    let Some(mut file) = file.filter(|_| proto.place_in_file().is_some()) else {
        return Tensor::new(shape, &proto.floats().map_err(format_error)?);
    };
    if is_floats_in_file(proto) {
        return read_floats(proto, file, Buffer::default());
    }
    tensor_of(&onnx::read_tensor(&mut file, proto).map_err(format_error)?, None)
}

/// The tensor of which [`is_floats_in_file`] says yes, its elements in `memory`.
pub(super) fn read_floats(proto: &TensorProto, mut file: &File, mut memory: Buffer) -> Result<Tensor> {
    let shape = proto.shape().map_err(format_error)?;
    let len = checked_product("dims", &shape).map_err(Error::geometry("ONNX"))?;
    if memory.capacity() < len {
        // The old memory goes first.
        drop(std::mem::take(&mut memory));
        memory = Buffer::zeroed(len);
    }
    memory.resize(len);
    onnx::read_floats(&mut file, proto, &mut memory).map_err(format_error)?;
    Tensor::from_buffer(shape, memory)
}
