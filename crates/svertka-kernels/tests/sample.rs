//! Sampling at places of a grid, affine grids and regions, against loops in `f64` from their definitions; gradients against differences of these.

mod blocked;

use blocked::{
    activation, assert_blocked, assert_close, block, each, numbers, on_every_machine, plain, planes, wide,
};
use svertka_kernels::affine_grid::{self, AffineGrid};
use svertka_kernels::grid_sample::{
    SampleGeometry, SampleMode, SamplePadding, backward_grid, backward_input, forward,
};
use svertka_kernels::planes::Planes;
use svertka_kernels::roi_align::{self, RoiGeometry, RoiMode};

fn split(i: usize, [_, h, w]: [usize; 3]) -> [usize; 3] {
    [i / w / h, i / w % h, i % w]
}

/// Brings a place or a cell into the picture, by walking.
fn bring_in(g: &SampleGeometry, mut place: f64, cells: f64) -> f64 {
    let (low, high) = if g.align_corners { (0.0, cells - 1.0) } else { (-0.5, cells - 0.5) };
    match g.padding {
        SamplePadding::Zeros => return place,
        SamplePadding::Border => {}
        SamplePadding::Reflection if low == high => place = 0.0,
        SamplePadding::Reflection => {
            while place < low || place > high {
                place = if place < low { 2.0 * low - place } else { 2.0 * high - place };
            }
        }
    }
    place.clamp(0.0, cells - 1.0)
}

/// Cells and weights along one axis.
fn taps(g: &SampleGeometry, size: usize, number: f64) -> Vec<(usize, f64)> {
    let cells = size as f64;
    let place = if g.align_corners {
        (number + 1.0) / 2.0 * (cells - 1.0)
    } else {
        ((number + 1.0) * cells - 1.0) / 2.0
    };
    let keys = |t: f64| match t.abs() {
        t if t <= 1.0 => 1.25 * t.powi(3) - 2.25 * t.powi(2) + 1.0,
        t if t < 2.0 => -0.75 * (t.powi(3) - 5.0 * t.powi(2) + 8.0 * t - 4.0),
        _ => 0.0,
    };
    let inside =
        |(cell, weight): (f64, f64)| (cell >= 0.0 && cell < cells).then_some((cell as usize, weight));
    let taps: Vec<(f64, f64)> = match g.mode {
        SampleMode::Nearest => vec![(bring_in(g, place, cells).round_ties_even(), 1.0)],
        SampleMode::Linear => {
            let place = bring_in(g, place, cells);
            let weight = |cell: f64| 1.0 - (place - cell).abs();
            [place.floor(), place.floor() + 1.0].map(|cell| (cell, weight(cell))).into()
        }
        SampleMode::Cubic => (-1..3)
            .map(|i| place.floor() + f64::from(i))
            .map(|cell| (bring_in(g, cell, cells), keys(place - cell)))
            .collect(),
    };
    taps.into_iter().filter_map(inside).collect()
}

/// Plain output, and the plain gradient of the input for the gradient `dy` of the output.
fn sample(g: &SampleGeometry, x: &[f64], grid: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (pixels, places): (usize, usize) = (g.input.iter().product(), g.output.iter().product());
    let (mut y, mut dx) = (vec![0.0; g.batch * g.channels * places], vec![0.0; x.len()]);
    for plane in 0..g.batch * g.channels {
        for p in 0..places {
            let place = &grid[(plane / g.channels * places + p) * g.dims..][..g.dims];
            let axis = |axis: usize| match place.get(2 - axis) {
                Some(number) => taps(g, g.input[axis], *number),
                None => vec![(0, 1.0)],
            };
            for (d, weight_d) in axis(0) {
                for &(h, weight_h) in &axis(1) {
                    for &(w, weight_w) in &axis(2) {
                        let cell = plane * pixels + (d * g.input[1] + h) * g.input[2] + w;
                        let weight = weight_d * weight_h * weight_w;
                        y[plane * places + p] += weight * x[cell];
                        dx[cell] += weight * dy[plane * places + p];
                    }
                }
            }
        }
    }
    (y, dx)
}

fn geometries() -> Vec<SampleGeometry> {
    let sizes = [
        (2, 9, 2, [1, 5, 4], [1, 3, 7]),
        (1, 3, 2, [1, 1, 6], [1, 4, 5]),
        (2, 2, 1, [1, 1, 7], [1, 1, 9]),
        (1, 8, 3, [3, 4, 2], [2, 3, 4]),
        (0, 3, 2, [1, 5, 4], [1, 3, 7]),
        (2, 3, 2, [1, 5, 4], [1, 0, 7]),
        (2, 17, 2, [1, 23, 31], [1, 20, 30]),
    ];
    let mut list = vec![];
    for (batch, channels, dims, input, output) in sizes {
        for mode in [SampleMode::Linear, SampleMode::Nearest, SampleMode::Cubic] {
            for padding in [SamplePadding::Zeros, SamplePadding::Border, SamplePadding::Reflection] {
                for align_corners in [true, false] {
                    list.push(SampleGeometry {
                        batch,
                        channels,
                        dims,
                        input,
                        output,
                        mode,
                        padding,
                        align_corners,
                    });
                }
            }
        }
    }
    list
}

#[test]
fn sampling_and_its_gradients_follow_the_definition() {
    for g in geometries() {
        let planes = |spatial: [usize; 3]| planes(g.batch, g.channels, spatial.iter().product());
        let (small, large) = (planes(g.input), planes(g.output));
        let (x, dy) = (activation(small, 1, 5.0), activation(large, 2, 5.0));
        let grid = numbers(g.batch * large.pixels * g.dims, 3);
        let (plain_x, plain_dy, wide_grid) = (plain(small, &x), plain(large, &dy), wide(&grid));
        let (expected, expected_dx) = sample(&g, &plain_x, &wide_grid, &plain_dy);
        let what = format!("{g:?}");
        // The spare lanes hold what the spare lanes of the input give.
        let real = |size: Planes, values: &[f32], expected: &[f64], tolerance| {
            assert_close(&plain(size, values), expected, tolerance, &what);
            assert!(values.iter().all(|value| value.is_finite()));
        };
        let y = |cpu: &_| {
            let mut y = vec![f32::NAN; dy.len()];
            forward(cpu, &g, &x, &grid, &mut y);
            y
        };
        on_every_machine(y, |y| real(large, y, &expected, 2e-5));
        let dx = |cpu: &_| {
            let mut dx = vec![f32::NAN; x.len()];
            backward_input(cpu, &g, &grid, &dy, &mut dx);
            dx
        };
        on_every_machine(dx, |dx| real(small, dx, &expected_dx, 5e-5));
        if g.output.iter().product::<usize>() > 100 {
            continue;
        }
        // Differences of the definition in f64, but for places on a kink.
        let value = |grid: &[f64]| -> f64 {
            sample(&g, &plain_x, grid, &plain_dy).0.iter().zip(&plain_dy).map(|(y, dy)| y * dy).sum()
        };
        let mut d_grid = vec![f32::NAN; grid.len()];
        backward_grid(&svertka_kernels::Cpu::new(2), &g, &x, &grid, &dy, &mut d_grid);
        let h = 1e-5;
        for i in 0..grid.len() {
            let moved = |by: f64| {
                let mut grid = wide_grid.clone();
                grid[i] += by;
                value(&grid)
            };
            let (left, middle, right) = (moved(-h), moved(0.0), moved(h));
            let (before, behind) = ((middle - left) / h, (right - middle) / h);
            if (before - behind).abs() < 1e-2 * before.abs().max(1.0) {
                let difference = (right - left) / (2.0 * h);
                let close = (f64::from(d_grid[i]) - difference).abs() < 1e-3 * difference.abs().max(1.0);
                assert!(close, "{what}: grid {i}: {}, difference {difference}", d_grid[i]);
            }
        }
    }
}

#[test]
fn places_that_are_no_numbers_give_none_and_far_ones_do_no_harm() {
    for g in
        geometries().into_iter().filter(|g| g.input == [1, 5, 4] && g.output == [1, 3, 7] && g.batch == 2)
    {
        let size = planes(2, 9, 20);
        let x = activation(size, 1, 0.0);
        let mut grid = vec![0.1; 2 * 21 * 2];
        (grid[0], grid[2], grid[5]) = (f32::NAN, f32::INFINITY, -f32::MAX);
        let mut y = vec![0.0; 2 * 2 * 21 * 8];
        forward(&svertka_kernels::Cpu::new(1), &g, &x, &grid, &mut y);
        assert!(y[..8].iter().all(|y| y.is_nan()), "{g:?}");
        assert!(y[8..24].iter().all(|y| y.is_finite()), "{g:?}");
    }
}

#[test]
fn affine_grids_are_products_and_their_gradient_is_the_transpose() {
    for (batch, dims, output) in
        [(2, 2, [1, 4, 5]), (3, 3, [2, 1, 3]), (0, 2, [1, 4, 5]), (1, 2, [1, 90, 110])]
    {
        for align_corners in [true, false] {
            let g = AffineGrid { batch, dims, output, align_corners };
            let places: usize = output.iter().product();
            let (theta, d_grid) = (numbers(batch * dims * (dims + 1), 1), numbers(batch * places * dims, 2));
            let (mut expected, mut expected_d) = (vec![0.0; d_grid.len()], vec![0.0; theta.len()]);
            for (i, value) in expected.iter_mut().enumerate() {
                let (place, row) = (i / dims, i / dims / places * dims + i % dims);
                let cell = split(place % places, output);
                for j in 0..=dims {
                    let size = output[2usize.saturating_sub(j)] as f64;
                    let base = match j {
                        j if j == dims => 1.0,
                        j if align_corners && size > 1.0 => -1.0 + 2.0 * cell[2 - j] as f64 / (size - 1.0),
                        _ if align_corners => 0.0,
                        j => -1.0 + (2.0 * cell[2 - j] as f64 + 1.0) / size,
                    };
                    *value += f64::from(theta[row * (dims + 1) + j]) * base;
                    expected_d[row * (dims + 1) + j] += f64::from(d_grid[i]) * base;
                }
            }
            let run = |len: usize, kernel: &dyn Fn(&mut [f32])| {
                let mut y = vec![f32::NAN; len];
                kernel(&mut y);
                y
            };
            on_every_machine(
                |cpu| run(expected.len(), &|y| affine_grid::forward(cpu, &g, &theta, y)),
                |y| assert_close(&wide(y), &expected, 1e-6, &format!("{g:?}")),
            );
            on_every_machine(
                |cpu| run(theta.len(), &|y| affine_grid::backward(cpu, &g, &d_grid, y)),
                |y| assert_close(&wide(y), &expected_d, 1e-5, &format!("gradient of {g:?}")),
            );
        }
    }
}

/// The products of weight and cell in one bin of region `r` with the index of the cell in its plane, and the number of points.
fn products(g: &RoiGeometry, roi: &[f32], bin: usize) -> (Vec<(usize, f64)>, f64, bool) {
    let offset = if g.half_pixel { 0.5 } else { 0.0 };
    let at = |i: usize| f64::from(roi[i]) * f64::from(g.spatial_scale) - offset;
    let least = if g.half_pixel { f64::NEG_INFINITY } else { 1.0 };
    let size = [(at(3) - at(1)).max(least), (at(2) - at(0)).max(least)];
    let bins = [0, 1].map(|a| size[a] / g.output[a] as f64);
    let grid = bins.map(|bin| if g.sampling_ratio > 0 { g.sampling_ratio as f64 } else { bin.ceil() });
    let (mut list, mut outside) = (vec![], false);
    let along = |a: usize, bin: usize, point: usize| {
        let place = at(1 - a) + bins[a] * (bin as f64 + (point as f64 + 0.5) / grid[a]);
        let last = g.input[a] as f64 - 1.0;
        (place >= -1.0 && place <= last + 1.0).then(|| {
            let place = place.clamp(0.0, last);
            let (first, next) = (place.floor(), (place.floor() + 1.0).min(last));
            [(first as usize, 1.0 - (place - first)), (next as usize, place - first)]
        })
    };
    for py in 0..grid[0].max(0.0) as usize {
        for px in 0..grid[1].max(0.0) as usize {
            let (Some(ys), Some(xs)) = (along(0, bin / g.output[1], py), along(1, bin % g.output[1], px))
            else {
                outside = true;
                continue;
            };
            for (y, weight_y) in ys {
                list.extend(xs.map(|(x, weight_x)| (y * g.input[1] + x, weight_y * weight_x)));
            }
        }
    }
    (list, (grid[0] * grid[1]).max(1.0), outside)
}

#[test]
fn regions_and_their_gradient_follow_the_definition() {
    // Inside, over the edge, tiny, outside, turned round, and a picture that there is not.
    let rois = [
        [1.0, 2.0, 9.3, 8.1],
        [-5.0, -3.0, 30.0, 22.0],
        [4.0, 4.0, 4.4, 4.2],
        [90.0, 70.0, 95.0, 80.0],
        [8.0, 8.0, 3.0, 2.0],
        [0.0, 0.0, 5.0, 5.0],
    ]
    .concat();
    let indices = [0.0, 2.0, 1.0, 0.0, 2.0, 3.0];
    for mode in [RoiMode::Average, RoiMode::Max] {
        for (half_pixel, sampling_ratio) in [(true, 0), (true, 2), (false, 0), (false, 3)] {
            let g = RoiGeometry {
                batch: 3,
                channels: 11,
                input: [9, 13],
                regions: 6,
                output: [3, 2],
                mode,
                sampling_ratio,
                spatial_scale: 0.7,
                half_pixel,
            };
            let (pictures, bins) = (planes(3, 11, 9 * 13), planes(6, 11, 6));
            let (x, dy) = (activation(pictures, 1, 0.0), activation(bins, 2, 0.0));
            let (plain_x, plain_dy) = (plain(pictures, &x), plain(bins, &dy));
            let (mut expected, mut expected_dx) = (vec![f64::NAN; plain_dy.len()], vec![0.0; plain_x.len()]);
            each(bins, |r, c, bin, i| {
                if indices[r] >= 3.0 {
                    return;
                }
                let plane = (indices[r] as usize * 11 + c) * 117;
                let (list, points, outside) = products(&g, &rois[4 * r..][..4], bin);
                let value = |&(cell, weight): &(usize, f64)| weight * plain_x[plane + cell];
                if mode == RoiMode::Average {
                    expected[i] = list.iter().map(value).sum::<f64>() / points;
                    list.iter().for_each(|(cell, weight)| {
                        expected_dx[plane + cell] += weight * plain_dy[i] / points
                    });
                } else {
                    let none = outside || list.is_empty();
                    let best = list.iter().filter(|tap| !none || value(tap) > 0.0);
                    let best = best.reduce(|best, tap| if value(tap) > value(best) { tap } else { best });
                    expected[i] = best.map_or(0.0, value);
                    best.inspect(|(cell, weight)| expected_dx[plane + cell] += weight * plain_dy[i]);
                }
            });
            let what = format!("{g:?}");
            let y = |cpu: &_| {
                let mut y = vec![0.5; dy.len()];
                roi_align::forward(cpu, &g, &x, &rois, &indices, &mut y);
                y
            };
            on_every_machine(y, |y| assert_blocked(bins, y, &expected, 2e-5, &what));
            let dx = |cpu: &_| {
                let mut dx = vec![f32::NAN; x.len()];
                roi_align::backward(cpu, &g, &x, &rois, &indices, &dy, &mut dx);
                dx
            };
            on_every_machine(dx, |dx| assert_blocked(pictures, dx, &expected_dx, 5e-5, &what));
        }
    }
}

#[test]
fn wild_regions_end_in_no_time() {
    let g = RoiGeometry {
        batch: 1,
        channels: 1,
        input: [4, 5],
        regions: 4,
        output: [2, 2],
        mode: RoiMode::Average,
        sampling_ratio: 0,
        spatial_scale: 1.0,
        half_pixel: true,
    };
    let size = planes(1, 1, 20);
    let x = block(size, &numbers(20, 1), 0.0);
    let rois = [
        -1e30,
        -1e30,
        1e30,
        1e30,
        0.0,
        0.0,
        1e17,
        1e12,
        0.0,
        f32::NAN,
        3.0,
        3.0,
        0.0,
        0.0,
        f32::INFINITY,
        3.0,
    ];
    let mut y = vec![0.0; 4 * 4 * 8];
    roi_align::forward(&svertka_kernels::Cpu::new(1), &g, &x, &rois, &[0.0; 4], &mut y);
    assert!(y[..64].iter().all(|y| y.is_finite()));
    assert!(y[64..].chunks(8).all(|bin| bin[0].is_nan() && bin[1..] == [0.0; 7]));
}
