//! Resizing, sampling, and cells in another order.

use svertka::Value;
use svertka::kernels::depth_to_space::BlockOrder;
use svertka::kernels::grid_sample::{SampleMode, SamplePadding};
use svertka::kernels::resize::{Aspect, Coordinates, Interpolation, Rounding, Target};
use svertka::ops::{AffineGrid, DepthToSpace, Fold, GridSample, Resize, SpaceToDepth, Unfold};

use crate::Build;
use crate::convolution::window;

pub(crate) fn build(kind: &str, build: &mut Build<'_>, inputs: &[Value]) -> Option<Value> {
    let dims = build.shape(inputs[0]).len().saturating_sub(2);
    let align_corners = build.flag("align");
    let order = BlockOrder::DepthLast;
    Some(match kind {
        "interpolate" => {
            let antialias = build.flag("antialias");
            let (interpolation, coordinates) = match build.text("mode") {
                "nearest" => (Interpolation::Nearest(Rounding::Floor), Coordinates::Asymmetric),
                "nearest-exact" => (Interpolation::Nearest(Rounding::PreferCeil), Coordinates::HalfPixel),
                // PyTorch takes Catmull and Rom's spline where it stretches the filter, and a sharper one elsewhere.
                "bicubic" if antialias => (Interpolation::Cubic(-0.5), Coordinates::HalfPixel),
                "bicubic" => (Interpolation::Cubic(-0.75), Coordinates::HalfPixel),
                _ => (Interpolation::Linear, Coordinates::HalfPixel),
            };
            let coordinates = if align_corners { Coordinates::AlignCorners } else { coordinates };
            let target = Target::Sizes(build.sizes("size", dims), Aspect::Stretch);
            let axes = (2..2 + dims).collect();
            let op =
                Resize { axes, target, interpolation, coordinates, antialias, exclude_outside: antialias };
            build.push(op, inputs)
        }
        "grid_sample" => {
            let mode = match build.text("mode") {
                "bilinear" => SampleMode::Linear,
                "nearest" => SampleMode::Nearest,
                "bicubic" => SampleMode::Cubic,
                other => panic!("{other}"),
            };
            let padding = match build.text("padding") {
                "zeros" => SamplePadding::Zeros,
                "border" => SamplePadding::Border,
                "reflection" => SamplePadding::Reflection,
                other => panic!("{other}"),
            };
            build.push(GridSample { mode, padding, align_corners }, inputs)
        }
        "affine_grid" => {
            let size = build.sizes("size", 0)[2..].to_vec();
            build.push(AffineGrid { size, align_corners }, inputs)
        }
        "pixel_shuffle" => {
            let block_size = build.int("factor");
            build.push(DepthToSpace { block_size, order }, inputs)
        }
        "pixel_unshuffle" => {
            let block_size = build.int("factor");
            build.push(SpaceToDepth { block_size, order }, inputs)
        }
        "unfold" => build.push(Unfold { window: window(build, 2) }, inputs),
        "fold" => {
            let output_size = build.sizes("output", 2);
            build.push(Fold { window: window(build, 2), output_size }, inputs)
        }
        _ => return None,
    })
}
