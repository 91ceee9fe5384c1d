//! The list of operators: a line for each file of this folder.

use super::{
    Example, activation, arithmetic, batch_norm, concat, conv, conv_transpose, cross_entropy, dropout,
    global_pool, linear, pad, pool, reshape, softmax, unshared,
};
use crate::error::Result;
use crate::onnx::Import;

/// Reads a node of an ONNX file.
type ImportFn = fn(&mut Import<'_>) -> Result<()>;

/// A file of this folder in the list of operators.
pub struct Entry {
    /// The ONNX operators (and those of this library's own domain) that it reads.
    pub onnx: &'static [(&'static str, ImportFn)],
    /// Its operators, and the shapes of inputs to check them with.
    pub examples: fn() -> Vec<Example>,
}

/// Every operator.
pub const OPERATORS: &[Entry] = &[
    Entry { onnx: &[("Conv", conv::import)], examples: conv::examples },
    Entry { onnx: &[("ConvTranspose", conv_transpose::import)], examples: conv_transpose::examples },
    Entry {
        onnx: &[("Gemm", linear::import_gemm), ("MatMul", linear::import_mat_mul)],
        examples: linear::examples,
    },
    Entry {
        onnx: &[("MaxPool", pool::import_max), ("AveragePool", pool::import_average)],
        examples: pool::examples,
    },
    Entry {
        onnx: &[
            ("GlobalAveragePool", global_pool::import_average),
            ("GlobalMaxPool", global_pool::import_max),
        ],
        examples: global_pool::examples,
    },
    Entry { onnx: &[("BatchNormalization", batch_norm::import)], examples: batch_norm::examples },
    Entry {
        onnx: &[
            ("Relu", activation::import),
            ("Clip", activation::import_clip),
            ("LeakyRelu", activation::import),
            ("Sigmoid", activation::import),
            ("Tanh", activation::import),
            ("HardSwish", activation::import),
            ("HardSigmoid", activation::import),
            ("Gelu", activation::import),
        ],
        examples: activation::examples,
    },
    Entry {
        onnx: &[("Add", arithmetic::import_add), ("Mul", arithmetic::import_mul)],
        examples: arithmetic::examples,
    },
    Entry { onnx: &[("Concat", concat::import)], examples: concat::examples },
    Entry {
        onnx: &[
            ("Flatten", reshape::import_flatten),
            ("Reshape", reshape::import_reshape),
            ("Identity", reshape::import_identity),
            ("Constant", reshape::import_constant),
        ],
        examples: reshape::examples,
    },
    Entry { onnx: &[("Dropout", dropout::import)], examples: dropout::examples },
    Entry { onnx: &[("Softmax", softmax::import)], examples: softmax::examples },
    Entry { onnx: &[("Pad", pad::import), ("Gather", pad::import_gather)], examples: pad::examples },
    Entry { onnx: &[("Unshared", unshared::import)], examples: unshared::examples },
    Entry { onnx: &[], examples: cross_entropy::examples },
];

/// The examples of every operator.
pub fn examples() -> Vec<Example> {
    OPERATORS.iter().flat_map(|entry| (entry.examples)()).collect()
}

/// What reads the ONNX operator `op_type`, if anything does.
pub(crate) fn importer(op_type: &str) -> Option<ImportFn> {
    let known = OPERATORS.iter().flat_map(|entry| entry.onnx);
    known.into_iter().find(|(name, _)| *name == op_type).map(|(_, import)| *import)
}
