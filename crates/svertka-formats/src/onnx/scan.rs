//! A bound on the memory that an ONNX file asks for, before it is decoded.
//!
//! Two bytes of a file may say "one more empty node", which takes 200 bytes of memory. So the fields are counted
//! first, which needs no memory.

use super::FORMAT;
use crate::limits::at_most;
use crate::{Limits, Result};

/// Messages that contain messages. Those that hold only scalars and text need no look inside.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    Function,
}

/// The message in field `tag` of `parent`, if it is one.
fn child(parent: Kind, tag: usize) -> Option<Kind> {
    Some(match (parent, tag) {
        (Kind::Model, 7) => Kind::Graph,
        (Kind::Model, 25) => Kind::Function,
        (Kind::Graph, 1) | (Kind::Function, 7) => Kind::Node,
        (Kind::Graph, 5) | (Kind::Attribute, 5 | 10) | (Kind::SparseTensor, 1 | 2) => Kind::Tensor,
        (Kind::Graph, 11..=13) | (Kind::Function, 12) => Kind::ValueInfo,
        (Kind::Graph, 15) => Kind::SparseTensor,
        (Kind::Node, 5) | (Kind::Function, 11) => Kind::Attribute,
        (Kind::Attribute, 6 | 11) => Kind::Graph,
        (Kind::ValueInfo, 2) => Kind::Type,
        (Kind::Type, 1) => Kind::TensorType,
        (Kind::TensorType, 2) => Kind::Shape,
        _ => return None,
    })
}

/// Refuses a file with more than [`Limits::onnx_messages`] fields that are messages, text or bytes.
pub(super) fn check_messages(bytes: &[u8], limits: &Limits) -> Result<()> {
    let mut count = 0;
    count_fields(bytes, Kind::Model, 0, &mut count);
    at_most(FORMAT, "messages and strings", limits.onnx_messages, count)
}

/// Adds the length-delimited fields of a message and of those inside it. Stops at the first byte that is not
/// protobuf, as decoding will. The fields of a group, which decoding skips, are counted as the parent's: never
/// too few.
fn count_fields(mut bytes: &[u8], kind: Kind, depth: usize, count: &mut u64) {
    // Deeper than prost decodes.
    if depth > 100 {
        return;
    }
    while !bytes.is_empty() {
        let Ok(key) = prost::decode_length_delimiter(&mut bytes) else { return };
        let skipped = match key & 7 {
            0 => bytes.iter().position(|&byte| byte < 0x80).map_or(bytes.len(), |last| last + 1),
            1 => 8,
            2 => {
                let Ok(length) = prost::decode_length_delimiter(&mut bytes) else { return };
                *count += 1;
                if let (Some(kind), Some(inside)) = (child(kind, key >> 3), bytes.get(..length)) {
                    count_fields(inside, kind, depth + 1, count);
                }
                length
            }
            5 => 4,
            _ => 0,
        };
        let Some(rest) = bytes.get(skipped..) else { return };
        bytes = rest;
    }
}
