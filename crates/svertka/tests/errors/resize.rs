use svertka::kernels::resize::{Aspect, Coordinates, Interpolation, Target};
use svertka::ops::Resize;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let linear = |axes: &[usize], target| {
        Resize::new(axes.to_vec(), target, Interpolation::Linear, Coordinates::HalfPixel)
    };
    let sizes = |sizes: &[usize]| Target::Sizes(sizes.to_vec(), Aspect::Stretch);
    let crop = |roi: &[(f32, f32)], extrapolation_value| Resize {
        coordinates: Coordinates::CropAndResize { roi: roi.to_vec(), extrapolation_value },
        ..linear(&[2], sizes(&[4]))
    };
    let cubic = Resize { interpolation: Interpolation::Cubic(f32::NAN), ..linear(&[2], sizes(&[4])) };
    vec![
        case(
            linear(&[1, 3], sizes(&[4, 4])),
            [&[2, 3, 5]],
            "Resize: axes: expected each of the 3 axes at most once, received [1, 3]",
        ),
        case(
            linear(&[2, 2], sizes(&[4, 4])),
            [&[2, 3, 5]],
            "Resize: axes: expected each of the 3 axes at most once, received [2, 2]",
        ),
        case(
            linear(&[1, 2], sizes(&[4])),
            [&[2, 3, 5]],
            "Resize: sizes: expected one for each of 2 axes, received 1",
        ),
        case(
            linear(&[2], Target::Scales(vec![1.0, 2.0])),
            [&[2, 3, 5]],
            "Resize: scales: expected one for each of 1 axes, received 2",
        ),
        case(
            linear(&[2], Target::Scales(vec![-1.0])),
            [&[2, 3, 5]],
            "Resize: scales: expected finite numbers above 0, received [-1.0]",
        ),
        case(
            linear(&[2], Target::Scales(vec![f32::NAN])),
            [&[2, 3, 5]],
            "Resize: scales: expected finite numbers above 0, received [NaN]",
        ),
        case(
            linear(&[2], Target::Scales(vec![0.1])),
            [&[2, 3, 5]],
            "Resize: output: expected at least 1 along every axis, received [0]",
        ),
        case(
            linear(&[2], sizes(&[4])),
            [&[2, 3, 0]],
            "Resize: input: expected at least 1 along every axis, received [0]",
        ),
        case(
            linear(&[2], Target::Scales(vec![1e30])),
            [&[2, 3, 5]],
            "Resize: output: expected a size below 2^40 elements, received 18446744073709551615",
        ),
        case(
            crop(&[(0.0, f32::INFINITY)], 0.0),
            [&[2, 3, 5]],
            "Resize: roi: expected two finite numbers for each of 1 axes, received [(0.0, inf)]",
        ),
        case(
            crop(&[(0.0, 1.0)], f32::NAN),
            [&[2, 3, 5]],
            "Resize: extrapolation_value: expected a finite number, received NaN",
        ),
        case(cubic, [&[2, 3, 5]], "Resize: cubic_coeff_a: expected a finite number, received NaN"),
    ]
}
