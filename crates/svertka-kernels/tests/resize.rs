//! Resizing, cropping and padding by tables, against matrices written from the definitions, and the transposed maps against them.

mod blocked;

use blocked::{assert_close, numbers, on_every_machine, wide};
use svertka_kernels::pad::{self, PadMode};
use svertka_kernels::resample::{Resampling, Table};
use svertka_kernels::resize::{Aspect, Coordinates, Interpolation, ResizedAxis, Rounding, Target};

/// A map along one axis: a row of weights over the input for each output cell, and what is added to the sum.
type Matrix = Vec<(Vec<f64>, f64)>;

/// Applies `matrix` along `axis`.
fn apply(matrix: &Matrix, shape: &mut [usize], axis: usize, x: &[f64]) -> Vec<f64> {
    let (outer, inner) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product::<usize>());
    let (size, mut y) = (shape[axis], vec![]);
    for o in 0..outer {
        for (row, added) in matrix {
            let sum = |i: usize| -> f64 {
                row.iter()
                    .enumerate()
                    .map(|(c, w)| if *w == 0.0 { 0.0 } else { w * x[(o * size + c) * inner + i] })
                    .sum()
            };
            y.extend((0..inner).map(|i| sum(i) + added));
        }
    }
    shape[axis] = matrix.len();
    y
}

/// Compares the resampling with the matrices, and its gradient with their transposes.
fn check(
    shape: &[usize],
    tables: Vec<(usize, Table)>,
    matrices: &[(usize, Matrix)],
    constant: f32,
    what: &str,
) {
    let resampling = Resampling::new(shape, tables, constant);
    let x = numbers(shape.iter().product(), 1);
    let mut size = shape.to_vec();
    let expected = matrices.iter().fold(wide(&x), |x, (axis, matrix)| apply(matrix, &mut size, *axis, &x));
    let run = |resampling: &Resampling, cpu: &_, x: &[f32], len| {
        let (mut y, mut scratch) = (vec![f32::NAN; len], vec![f32::NAN; resampling.scratch_len()]);
        resampling.run(cpu, x, &mut y, &mut scratch);
        y
    };
    on_every_machine(
        |cpu| run(&resampling, cpu, &x, expected.len()),
        |y| assert_close(&wide(y), &expected, 1e-5, what),
    );
    let dy = numbers(expected.len(), 2);
    let mut expected_dx = wide(&dy);
    for (axis, matrix) in matrices.iter().rev() {
        let transposed =
            (0..shape[*axis]).map(|c| (matrix.iter().map(|row| row.0[c]).collect(), 0.0)).collect();
        expected_dx = apply(&transposed, &mut size, *axis, &expected_dx);
    }
    let gradient = resampling.gradient();
    on_every_machine(
        |cpu| run(&gradient, cpu, &dy, x.len()),
        |dx| assert_close(&wide(dx), &expected_dx, 1e-5, &format!("gradient of {what}")),
    );
}

/// The matrix of a resizing of `input` cells to `output`, `scale` output cells for an input cell.
fn matrix(
    (input, output, scale): (usize, usize, f64),
    interpolation: Interpolation,
    coordinates: &Coordinates,
    axis: usize,
    antialias: bool,
    exclude: bool,
) -> Matrix {
    let (n, exact) = (input as f64, input as f64 * scale);
    let row = |o: usize| {
        let o = o as f64;
        let place = match coordinates {
            Coordinates::HalfPixel => (o + 0.5) / scale - 0.5,
            Coordinates::HalfPixelSymmetric => {
                n / 2.0 * (1.0 - output as f64 / exact) + (o + 0.5) / scale - 0.5
            }
            Coordinates::PytorchHalfPixel => {
                if output > 1 {
                    (o + 0.5) / scale - 0.5
                } else {
                    0.0
                }
            }
            Coordinates::AlignCorners => {
                if output > 1 {
                    o * (n - 1.0) / (exact - 1.0)
                } else {
                    0.0
                }
            }
            Coordinates::Asymmetric => o / scale,
            Coordinates::CropAndResize { roi, extrapolation_value } => {
                let (start, end) = (f64::from(roi[axis].0), f64::from(roi[axis].1));
                let place = if output > 1 {
                    start * (n - 1.0) + o * (end - start) * (n - 1.0) / (exact - 1.0)
                } else {
                    0.5 * (start + end) * (n - 1.0)
                };
                if place < 0.0 || place > n - 1.0 {
                    return (vec![0.0; input], f64::from(*extrapolation_value));
                }
                place
            }
        };
        let mut row = vec![0.0; input];
        let shrink = if antialias { scale.min(1.0) } else { 1.0 };
        let filter = |t: f64| match interpolation {
            Interpolation::Linear if t < 1.0 => 1.0 - t,
            Interpolation::Cubic(a) if t <= 1.0 => {
                (f64::from(a) + 2.0) * t.powi(3) - (f64::from(a) + 3.0) * t.powi(2) + 1.0
            }
            Interpolation::Cubic(a) if t < 2.0 => {
                f64::from(a) * (t.powi(3) - 5.0 * t.powi(2) + 8.0 * t - 4.0)
            }
            _ => 0.0,
        };
        if let Interpolation::Nearest(rounding) = interpolation {
            let (floor, half) = (place.floor(), place - place.floor());
            let up = match rounding {
                Rounding::PreferFloor => half > 0.5,
                Rounding::PreferCeil => half >= 0.5,
                Rounding::Floor => false,
                Rounding::Ceil => half > 0.0,
            };
            row[(floor + f64::from(u8::from(up))).clamp(0.0, n - 1.0) as usize] = 1.0;
            return (row, 0.0);
        }
        for cell in -50..input as i64 + 50 {
            let inside = (0..input as i64).contains(&cell);
            if inside || !exclude {
                row[cell.clamp(0, input as i64 - 1) as usize] +=
                    filter(((cell as f64 - place) * shrink).abs());
            }
        }
        let sum: f64 = row.iter().sum();
        (row.iter().map(|weight| weight / sum).collect(), 0.0)
    };
    (0..output).map(row).collect()
}

#[test]
fn resizing_is_the_sum_of_the_cells_around_each_place() {
    let roi = vec![(0.11, 0.83), (-0.2, 1.15)];
    let places = [
        Coordinates::HalfPixel,
        Coordinates::HalfPixelSymmetric,
        Coordinates::PytorchHalfPixel,
        Coordinates::AlignCorners,
        Coordinates::Asymmetric,
        Coordinates::CropAndResize { roi, extrapolation_value: -1.5 },
    ];
    let roundings = [Rounding::PreferFloor, Rounding::PreferCeil, Rounding::Floor, Rounding::Ceil];
    let smooth = [Interpolation::Linear, Interpolation::Cubic(-0.75), Interpolation::Cubic(-0.5)];
    let modes: Vec<_> = roundings.map(Interpolation::Nearest).into_iter().chain(smooth).collect();
    let targets = [
        Target::Sizes(vec![7, 9], Aspect::Stretch),
        Target::Sizes(vec![11, 3], Aspect::Stretch),
        Target::Sizes(vec![1, 16], Aspect::Stretch),
        Target::Scales(vec![2.5, 0.75]),
        Target::Scales(vec![0.5, 1.625]),
    ];
    // Blocked and plain: eight or one element beside each other.
    for shape in [vec![3, 6, 8, 8], vec![2, 6, 8], vec![1, 6, 8, 43]] {
        for target in &targets {
            let axes = ResizedAxis::all(&[6, 8], target).unwrap();
            for coordinates in &places {
                for &mode in &modes {
                    for (antialias, exclude) in [(false, false), (false, true), (true, false), (true, true)] {
                        let tables =
                            [0, 1].map(|i| (i + 1, axes[i].table(i, mode, coordinates, antialias, exclude)));
                        let matrices = [0, 1].map(|i| {
                            let scale = match target {
                                Target::Scales(scales) => f64::from(scales[i]),
                                Target::Sizes(sizes, _) => sizes[i] as f64 / axes[i].input as f64,
                            };
                            let sizes = (axes[i].input, axes[i].output, scale);
                            (i + 1, matrix(sizes, mode, coordinates, i, antialias, exclude))
                        });
                        let constant = match coordinates {
                            Coordinates::CropAndResize { extrapolation_value, .. } => *extrapolation_value,
                            _ => 0.0,
                        };
                        let what = format!("{mode:?} {coordinates:?} {target:?} {antialias} {exclude}");
                        check(&shape, tables.into(), &matrices, constant, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn sizes_follow_the_scale_and_the_aspect_ratio() {
    let outputs = |input: &[usize], target| -> Vec<usize> {
        ResizedAxis::all(input, &target).unwrap().iter().map(|axis| axis.output).collect()
    };
    // In f32 0.7 * 10 is 7, although 0.7 as f32 is less than 0.7.
    assert_eq!(outputs(&[10, 5], Target::Scales(vec![0.7, 0.99])), [7, 4]);
    // The smaller scale is 4 / 6, the larger 9 / 4: of 6 and 4 cells.
    assert_eq!(outputs(&[6, 4], Target::Sizes(vec![4, 9], Aspect::NotLarger)), [4, 3]);
    assert_eq!(outputs(&[6, 4], Target::Sizes(vec![4, 9], Aspect::NotSmaller)), [14, 9]);
    let error = |input: &[usize], target| ResizedAxis::all(input, &target).unwrap_err().to_string();
    assert_eq!(
        error(&[10], Target::Scales(vec![0.09])),
        "output: expected at least 1 along every axis, received [0]"
    );
    assert!(error(&[0], Target::Scales(vec![2.0])).starts_with("input: expected at least 1"));
    assert!(error(&[3], Target::Sizes(vec![1 << 41], Aspect::Stretch)).contains("below 2^40"));
}

#[test]
fn thousands_of_taps_add_up_exactly_enough() {
    // One cell shown 100000 times: its gradient is the sum of all.
    let table = Table::new(1, (0..100_000).map(|_| [(0, 1.0)])).transposed();
    let resampling = Resampling::new(&[100_000], vec![(0, table)], 0.0);
    let dy: Vec<f32> = numbers(100_000, 5).iter().map(|x| x + 3.0).collect();
    let expected = wide(&dy).iter().sum::<f64>();
    on_every_machine(
        |cpu| {
            let mut dx = vec![0.0];
            resampling.run(cpu, &dy, &mut dx, &mut []);
            dx
        },
        |dx| assert!((f64::from(dx[0]) / expected - 1.0).abs() < 1e-6, "{} {expected}", dx[0]),
    );
}

#[test]
fn cropping_comes_before_padding_and_what_is_not_a_number_stays() {
    let shown = |mode, pads| -> Vec<Option<usize>> {
        let table = pad::table(mode, 5, pads);
        (0..table.output()).map(|cell| table.taps(cell).first().map(|tap| tap.0)).collect()
    };
    assert_eq!(shown(PadMode::Constant(0.0), (-1, 1)), [Some(1), Some(2), Some(3), Some(4), None]);
    assert_eq!(shown(PadMode::Reflect, (2, -1)), [2, 1, 0, 1, 2, 3].map(Some));
    assert_eq!(shown(PadMode::Circular, (-2, 2)), [2, 3, 4, 2, 3].map(Some));
    assert_eq!(shown(PadMode::Replicate, (1, -3)), [0, 0, 1].map(Some));
    assert_eq!(shown(PadMode::Constant(0.0), (-2, -3)), []);
    assert_eq!(
        (pad::kept(5, (-2, -4)), pad::kept(5, (i64::MIN, 0)), pad::kept(5, (3, -4))),
        (None, None, Some(1))
    );

    let tables = vec![
        (0, pad::table(PadMode::Replicate, 2, (1, 0))),
        (1, pad::table(PadMode::Constant(9.0), 2, (0, 1))),
    ];
    let resampling = Resampling::new(&[2, 2], tables, 9.0);
    let (mut y, mut scratch) = (vec![0.0; 9], vec![0.0; resampling.scratch_len()]);
    resampling.run(
        &svertka_kernels::Cpu::new(1),
        &[f32::NAN, 1.0, f32::INFINITY, -0.0],
        &mut y,
        &mut scratch,
    );
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let inf = f32::INFINITY;
    assert_eq!(bits(&y), bits(&[f32::NAN, 1.0, 9.0, f32::NAN, 1.0, 9.0, inf, -0.0, 9.0]));
}

#[test]
fn empty_tensors_are_resampled_to_empty_ones() {
    for shape in [[0, 3, 4], [2, 3, 0]] {
        let table = Table::new(3, (0..5).map(|cell| [(cell % 3, 0.5)]));
        let resampling = Resampling::new(&shape, vec![(1, table)], 1.0);
        resampling.run(&svertka_kernels::Cpu::new(2), &[], &mut [], &mut []);
    }
}
