//! The list of operators: a line for each file of this folder.

use super::{
    Example, activation, adaptive_pool, affine_grid, arithmetic, batch_norm, broadcast, concat, conv,
    conv_transpose, cross_entropy, deform_conv, depth_to_space, dropout, flip, fold, fractional_max_pool,
    gather, global_pool, grid_sample, group_norm, hardmax, instance_norm, k_max_pool, layer_norm,
    likelihood_loss, linear, local_response_norm, lp_norm, lp_pool, mat_mul, max_pool_with_indices,
    max_unpool, mean_variance_norm, optimizer_step, pad, pad_axes, pool, prelu, quantize, reduce, reshape,
    resize, rms_norm, roi_align, slice, softmax, stochastic_pool, tile, transpose, unary, unshared, upsample,
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
    Entry {
        onnx: &[("BatchNormalization", batch_norm::import), ("MovingAverage", batch_norm::import_average)],
        examples: batch_norm::examples,
    },
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
            ("Swish", activation::import),
            ("Elu", activation::import),
            ("Selu", activation::import),
            ("Celu", activation::import),
            ("Softplus", activation::import),
            ("LogSigmoid", activation::import),
            ("Softsign", activation::import),
            ("Mish", activation::import),
            ("ThresholdedRelu", activation::import),
            ("Shrink", activation::import),
        ],
        examples: activation::examples,
    },
    Entry {
        onnx: &[("Add", arithmetic::import_add), ("Mul", arithmetic::import_mul)],
        examples: arithmetic::examples,
    },
    Entry {
        onnx: &[
            ("Sub", broadcast::import),
            ("Div", broadcast::import),
            ("Pow", broadcast::import),
            ("Max", broadcast::import),
            ("Min", broadcast::import),
            ("Sum", broadcast::import),
        ],
        examples: broadcast::examples,
    },
    Entry {
        onnx: &[
            ("Exp", unary::import),
            ("Log", unary::import),
            ("Sqrt", unary::import),
            ("Abs", unary::import),
            ("Neg", unary::import),
            ("Reciprocal", unary::import),
            ("Floor", unary::import),
            ("Ceil", unary::import),
            ("Round", unary::import),
            ("Sign", unary::import),
            ("Sin", unary::import),
            ("Cos", unary::import),
            ("Cast", unary::import_cast),
        ],
        examples: unary::examples,
    },
    Entry { onnx: &[], examples: mat_mul::examples },
    Entry {
        onnx: &[
            ("ReduceSum", reduce::import),
            ("ReduceMean", reduce::import),
            ("ReduceMax", reduce::import),
            ("ReduceMin", reduce::import),
        ],
        examples: reduce::examples,
    },
    Entry { onnx: &[("Transpose", transpose::import)], examples: transpose::examples },
    Entry {
        onnx: &[("Slice", slice::import_slice), ("Split", slice::import_split)],
        examples: slice::examples,
    },
    Entry { onnx: &[("Tile", tile::import)], examples: tile::examples },
    Entry { onnx: &[("Gather", gather::import)], examples: gather::examples },
    Entry { onnx: &[("Concat", concat::import)], examples: concat::examples },
    Entry {
        onnx: &[
            ("Flatten", reshape::import_flatten),
            ("Reshape", reshape::import_reshape),
            ("Squeeze", reshape::import_squeeze),
            ("Unsqueeze", reshape::import_unsqueeze),
            ("Identity", reshape::import_identity),
            ("Constant", reshape::import_constant),
        ],
        examples: reshape::examples,
    },
    Entry { onnx: &[("Dropout", dropout::import)], examples: dropout::examples },
    Entry {
        onnx: &[("Softmax", softmax::import), ("LogSoftmax", softmax::import)],
        examples: softmax::examples,
    },
    Entry { onnx: &[("Hardmax", hardmax::import)], examples: hardmax::examples },
    Entry { onnx: &[("InstanceNormalization", instance_norm::import)], examples: instance_norm::examples },
    Entry { onnx: &[("GroupNormalization", group_norm::import)], examples: group_norm::examples },
    Entry {
        onnx: &[
            ("LayerNormalization", layer_norm::import),
            ("ChannelLayerNormalization", layer_norm::import_channels),
        ],
        examples: layer_norm::examples,
    },
    Entry { onnx: &[("RMSNormalization", rms_norm::import)], examples: rms_norm::examples },
    Entry {
        onnx: &[("MeanVarianceNormalization", mean_variance_norm::import)],
        examples: mean_variance_norm::examples,
    },
    Entry { onnx: &[("LpNormalization", lp_norm::import)], examples: lp_norm::examples },
    Entry { onnx: &[("LRN", local_response_norm::import)], examples: local_response_norm::examples },
    Entry { onnx: &[("PRelu", prelu::import)], examples: prelu::examples },
    Entry {
        onnx: &[
            ("NegativeLogLikelihoodLoss", likelihood_loss::import),
            ("SoftmaxCrossEntropyLoss", likelihood_loss::import_softmax),
        ],
        examples: likelihood_loss::examples,
    },
    Entry { onnx: &[("Pad", pad::import)], examples: pad::examples },
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
    Entry { onnx: &[("DeformConv", deform_conv::import)], examples: deform_conv::examples },
    Entry { onnx: &[], examples: flip::examples },
    Entry { onnx: &[("Unshared", unshared::import)], examples: unshared::examples },
    Entry { onnx: &[], examples: cross_entropy::examples },
    // Without examples: these become others.
    Entry {
        onnx: &[
            ("QuantizeLinear", quantize::import_quantize),
            ("DequantizeLinear", quantize::import_dequantize),
            ("ConvInteger", quantize::import_conv_integer),
            ("QLinearConv", quantize::import_q_linear_conv),
        ],
        examples: Vec::new,
    },
    // Without examples: a step has no gradient.
    Entry {
        onnx: &[
            ("Adam", optimizer_step::import_adam),
            ("Adagrad", optimizer_step::import_adagrad),
            ("Momentum", optimizer_step::import_momentum),
        ],
        examples: Vec::new,
    },
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
