//! The list of operators: a line for each file of this folder.

use super::{
    Example, activation, adaptive_pool, arithmetic, batch_norm, concat, conv, cross_entropy, dropout,
    fractional_max_pool, global_pool, k_max_pool, linear, lp_pool, max_pool_with_indices, max_unpool, pad,
    pool, reshape, softmax, stochastic_pool,
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
    Entry {
        onnx: &[("Gemm", linear::import_gemm), ("MatMul", linear::import_mat_mul)],
        examples: linear::examples,
    },
    Entry {
        onnx: &[
            ("MaxPool", pool::import_max),
            ("MinPool", pool::import_min),
            ("AveragePool", pool::import_average),
            ("SumPool", pool::import_sum),
        ],
        examples: pool::examples,
    },
    Entry { onnx: &[], examples: max_pool_with_indices::examples },
    Entry { onnx: &[("MaxUnpool", max_unpool::import)], examples: max_unpool::examples },
    Entry { onnx: &[("LpPool", lp_pool::import)], examples: lp_pool::examples },
    Entry {
        onnx: &[
            ("AdaptiveMaxPool", adaptive_pool::import_max),
            ("AdaptiveAveragePool", adaptive_pool::import_average),
        ],
        examples: adaptive_pool::examples,
    },
    Entry { onnx: &[("KMaxPool", k_max_pool::import)], examples: k_max_pool::examples },
    Entry { onnx: &[("StochasticPool", stochastic_pool::import)], examples: stochastic_pool::examples },
    Entry {
        onnx: &[("FractionalMaxPool", fractional_max_pool::import)],
        examples: fractional_max_pool::examples,
    },
    Entry {
        onnx: &[
            ("GlobalAveragePool", global_pool::import),
            ("GlobalSumPool", global_pool::import),
            ("GlobalMaxPool", global_pool::import),
            ("GlobalMinPool", global_pool::import),
            ("GlobalLpPool", global_pool::import),
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
            // Every value is an `f32`; whole numbers stay what they are.
            ("Cast", reshape::import_identity),
            ("Constant", reshape::import_constant),
        ],
        examples: reshape::examples,
    },
    Entry { onnx: &[("Dropout", dropout::import)], examples: dropout::examples },
    Entry { onnx: &[("Softmax", softmax::import)], examples: softmax::examples },
    Entry { onnx: &[("Pad", pad::import), ("Gather", pad::import_gather)], examples: pad::examples },
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
