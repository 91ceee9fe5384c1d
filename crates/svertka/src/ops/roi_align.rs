//! Regions of pictures brought to one size (ONNX `RoiAlign`; He et al., "Mask R-CNN", 2017).

use std::ops::RangeInclusive;

use svertka_kernels::geometry::checked_product;
use svertka_kernels::roi_align::{self, RoiGeometry, RoiMode};

use super::{Domain, Example, Field, Layouts, Lowered, Operator, Shapes, expect_shape};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// Inputs: activation `N x C x H x W`, regions `R x 4` (x and y of the first corner, then of the last), and for each the number of its picture, `R`. Output:
/// `R x C x output`. Only the activation has a gradient, as in PyTorch. A region that is not finite, or of a picture there is not, gives not-a-number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoiAlign {
    /// Average or maximum.
    pub mode: RoiMode,
    /// Height and width of the output.
    pub output: [usize; 2],
    /// Points of a bin along either axis; 0 for as many as it has cells.
    pub sampling_ratio: usize,
    /// Cells of the picture for one unit of the regions' coordinates.
    pub spatial_scale: f32,
    /// Whether whole coordinates are edges of cells (ONNX `half_pixel`), or their middles.
    pub half_pixel: bool,
}

impl RoiAlign {
    fn geometry(&self, inputs: &[&[usize]]) -> Result<RoiGeometry> {
        let wrong = |argument: &str, expected: &str, received: String| {
            Err(Error::argument("RoiAlign", argument, expected, received))
        };
        let &[batch, channels, height, width] = inputs[0] else {
            return wrong("input", "N x C x H x W", format!("shape {:?}", inputs[0]));
        };
        // Places are f32.
        if ![height, width].iter().all(|size| (1..=1 << 24).contains(size)) {
            return wrong("input", "height and width from 1 to 2^24", format!("shape {:?}", inputs[0]));
        }
        let &[regions, 4] = inputs[1] else {
            return wrong("rois", "R x 4", format!("shape {:?}", inputs[1]));
        };
        expect_shape(self, "batch_indices", &[regions], inputs[2])?;
        if self.output.contains(&0) {
            return wrong("output", "at least 1 along either axis", format!("{:?}", self.output));
        }
        let [out_h, out_w] = self.output;
        checked_product("output", &[regions, channels.saturating_add(7), out_h, out_w])
            .map_err(Error::geometry("RoiAlign"))?;
        let RoiAlign { mode, output, sampling_ratio, spatial_scale, half_pixel } = *self;
        let input = [height, width];
        Ok(RoiGeometry {
            batch,
            channels,
            input,
            regions,
            output,
            mode,
            sampling_ratio,
            spatial_scale,
            half_pixel,
        })
    }
}

impl Operator for RoiAlign {
    fn name(&self) -> &'static str {
        "RoiAlign"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        3..=3
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let g = self.geometry(inputs)?;
        Ok(vec![vec![g.regions, g.channels, g.output[0], g.output[1]]])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let geometry = self.geometry(shapes.inputs)?;
        Ok(Lowered::new(move |cpu, io| {
            let [x, rois, indices] = [0, 1, 2].map(|i| io.inputs.get(i));
            roi_align::forward(cpu, &geometry, x, rois, indices, &mut io.outputs[0]);
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        if !context.needs(0) {
            return Ok(());
        }
        let inputs = [context.input(0), context.input(1), context.input(2), dy];
        let dx = context.push(RoiAlignGradient(*self), &inputs)?;
        context.add(0, dx[0])
    }

    fn field(&self) -> Field {
        Field::All
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let attributes = Attributes::new()
            .string("mode", if self.mode == RoiMode::Max { "max" } else { "avg" })
            .int("output_height", self.output[0] as i64)
            .int("output_width", self.output[1] as i64)
            .int("sampling_ratio", self.sampling_ratio as i64)
            .float("spatial_scale", self.spatial_scale)
            .string(
                "coordinate_transformation_mode",
                if self.half_pixel { "half_pixel" } else { "output_half_pixel" },
            );
        // 7 is int64.
        let indices = export.inner("Cast", &[export.input(2)], Attributes::new().int("to", 7));
        export.node_with("RoiAlign", &[export.input(0), export.input(1), indices], attributes);
        Ok(())
    }
}

/// Inputs: those of the forward operator, gradient of the output.
#[derive(Clone, Copy, Debug)]
struct RoiAlignGradient(RoiAlign);

impl Operator for RoiAlignGradient {
    fn name(&self) -> &'static str {
        "RoiAlignGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0, 3], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let geometry = self.0.geometry(&shapes.inputs[..3])?;
        Ok(Lowered::new(move |cpu, io| {
            let [x, rois, indices, dy] = [0, 1, 2, 3].map(|i| io.inputs.get(i));
            roi_align::backward(cpu, &geometry, x, rois, indices, dy, &mut io.outputs[0]);
        }))
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let inputs = import.all_inputs()?;
    // Beyond 2^24 an f32 would name another picture.
    if let Ok(indices) = import.constant_ints(2)
        && let Some(index) = indices.iter().find(|index| index.unsigned_abs() > 1 << 24)
    {
        return Err(Error::argument("RoiAlign", "batch_indices", "at most 2^24", index));
    }
    let mode = match import.string("mode", "avg")?.as_str() {
        "avg" => RoiMode::Average,
        "max" => RoiMode::Max,
        other => return Err(Error::unsupported("RoiAlign", format!("mode = {other:?}"))),
    };
    let default = if import.opset() < 16 { "output_half_pixel" } else { "half_pixel" };
    let half_pixel = match import.string("coordinate_transformation_mode", default)?.as_str() {
        "half_pixel" => true,
        "output_half_pixel" => false,
        other => {
            return Err(Error::unsupported(
                "RoiAlign",
                format!("coordinate_transformation_mode = {other:?}"),
            ));
        }
    };
    let size = |name| import.int_at_least(name, 1, 1);
    let op = RoiAlign {
        mode,
        output: [size("output_height")?, size("output_width")?],
        sampling_ratio: import.int_at_least("sampling_ratio", 0, 0)?,
        spatial_scale: import.float("spatial_scale", 1.0)?,
        half_pixel,
    };
    import.push(op, &inputs)
}

pub(super) fn examples() -> Vec<Example> {
    let mut examples = vec![];
    for mode in [RoiMode::Average, RoiMode::Max] {
        for (half_pixel, sampling_ratio) in [(true, 2), (false, 0)] {
            let op = RoiAlign { mode, output: [3, 2], sampling_ratio, spatial_scale: 0.9, half_pixel };
            let example = Example::new(op, [&[2, 9, 6, 7], &[5, 4], &[5]]);
            examples.push(example.domain(1, Domain::Any).domain(2, Domain::Indices(2)));
        }
    }
    examples
}
