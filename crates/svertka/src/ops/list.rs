//! The list of operators: a line for each file of this folder.

use super::{
    Example, activation, affine_grid, arithmetic, batch_norm, concat, conv, cross_entropy, depth_to_space,
    dropout, fold, global_pool, grid_sample, linear, pad, pad_axes, pool, reshape, resize, roi_align,
    softmax, upsample,
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
            ("Cast", reshape::import_identity),
        ],
        examples: reshape::examples,
    },
    Entry { onnx: &[("Dropout", dropout::import)], examples: dropout::examples },
    Entry { onnx: &[("Softmax", softmax::import)], examples: softmax::examples },
    Entry { onnx: &[("Pad", pad::import), ("Gather", pad::import_gather)], examples: pad::examples },
    Entry { onnx: &[("CenterCropPad", pad_axes::import_center_crop_pad)], examples: pad_axes::examples },
    Entry { onnx: &[("Resize", resize::import), ("Upsample", upsample::import)], examples: resize::examples },
    Entry { onnx: &[("GridSample", grid_sample::import)], examples: grid_sample::examples },
    Entry { onnx: &[("AffineGrid", affine_grid::import)], examples: affine_grid::examples },
    Entry {
        onnx: &[
            ("DepthToSpace", depth_to_space::import_depth_to_space),
            ("SpaceToDepth", depth_to_space::import_space_to_depth),
        ],
        examples: depth_to_space::examples,
    },
    Entry {
        onnx: &[("Unfold", fold::import_unfold), ("Col2Im", fold::import_col2im)],
        examples: fold::examples,
    },
    Entry { onnx: &[("RoiAlign", roi_align::import)], examples: roi_align::examples },
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
