//! ONNX model files ([description](https://github.com/onnx/onnx/blob/main/docs/IR.md)).
//!
//! [`proto`] holds the messages with the field numbers of `onnx.proto3`, as far as a network needs them; fields
//! it does not name (training information, quantization annotations) are skipped when a file is read.
//! What a file says is checked only as far as protobuf goes: names, types and shapes are the caller's to check.
//! Tensors are converted by [`TensorProto::floats`] and [`TensorProto::ints`], attributes are read by
//! [`NodeProto::attr_int`] and its like.
//!
//! ```
//! use svertka_formats::Limits;
//! use svertka_formats::onnx::{self, GraphProto, ModelProto, TensorProto};
//!
//! let weight = TensorProto::float("weight", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
//! let graph = GraphProto { name: "net".to_owned(), initializer: vec![weight], ..Default::default() };
//! let model = ModelProto { ir_version: 8, graph: Some(graph), ..Default::default() };
//!
//! let read = onnx::decode(&onnx::encode(&model), &Limits::default())?;
//! assert_eq!(read, model);
//! let weight = &read.graph.unwrap().initializer[0];
//! assert_eq!((weight.shape()?, weight.floats()?[5]), (vec![2, 3], 6.0));
//! # Ok::<(), svertka_formats::Error>(())
//! ```

mod attribute;
mod outline;
pub mod proto;
mod scan;
mod tensor;

use prost::Message;

pub use outline::{outline, read_floats, read_tensor};
pub use proto::*;

use crate::detect::describe;
use crate::limits::at_most;
use crate::{Error, Limits, Result};

const FORMAT: &str = "ONNX";

/// Reads a model file.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<ModelProto> {
    at_most(FORMAT, "bytes of a file", limits.onnx_bytes, bytes.len() as u64)?;
    scan::check_messages(bytes, limits)?;
    let malformed = |reason: &str| {
        let expected = "an ONNX protobuf with ir_version and graph";
        Error::malformed(FORMAT, "file", expected, format!("{} ({reason})", describe(bytes)))
    };
    let model = ModelProto::decode(bytes).map_err(|error| malformed(&error.to_string()))?;
    if model.ir_version <= 0 {
        return Err(malformed("no ir_version"));
    }
    if model.graph.is_none() {
        return Err(malformed("no graph"));
    }
    Ok(model)
}

/// Reads a tensor that stands alone in a file.
pub fn decode_tensor(bytes: &[u8], limits: &Limits) -> Result<TensorProto> {
    at_most(FORMAT, "bytes of a file", limits.onnx_bytes, bytes.len() as u64)?;
    TensorProto::decode(bytes)
        .map_err(|error| Error::malformed(FORMAT, "file", "a protobuf of a tensor", error.to_string()))
}

/// Writes a model file. Other readers accept at most 2 GiB.
pub fn encode(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}
