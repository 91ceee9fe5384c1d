//! Poolings of plain activations against plain loops: `k`-max, fractional and unpooling.

mod blocked;

use blocked::*;
use svertka_kernels::geometry_pool::{FractionalGeometry, KMaxGeometry, UnpoolGeometry};
use svertka_kernels::pool::*;

#[test]
fn k_max_keeps_the_largest_in_their_order() {
    let shapes: [(&[usize], usize); 5] =
        [(&[2, 9, 20], 2), (&[3, 5, 7, 6], 2), (&[2, 3, 4, 11], 3), (&[0, 3, 4], 2), (&[40, 30, 33, 2], 2)];
    for (shape, axis) in shapes {
        for k in [1, 3, shape[axis]] {
            let g = KMaxGeometry::new(shape, axis, k).unwrap();
            let (lines, kept) = (g.outer * g.inner, g.outer * g.inner * k);
            // Few values, so that many are equal, and some that are no numbers.
            let mut x: Vec<f32> =
                numbers(lines * g.size, 1).into_iter().map(|x| (x * 2.0).round() / 2.0).collect();
            x.iter_mut().step_by(23).for_each(|x| *x = f32::NAN);
            let dy = numbers(kept, 2);
            let (mut y, mut dx) = (vec![0.0; kept], vec![0.0; x.len()]);
            for line in 0..lines {
                let at = |size: usize, i| (line / g.inner * size + i) * g.inner + line % g.inner;
                // Stable, so the first of equals comes first.
                let rank = |i: &usize| {
                    let value = x[at(g.size, *i)];
                    if value.is_nan() { f32::INFINITY } else { value }
                };
                let mut chosen: Vec<usize> = (0..g.size).collect();
                chosen.sort_by(|a, b| rank(b).partial_cmp(&rank(a)).unwrap());
                chosen.truncate(k);
                chosen.sort_unstable();
                for (number, &i) in chosen.iter().enumerate() {
                    y[at(k, number)] = f64::from(x[at(g.size, i)]);
                    dx[at(g.size, i)] = f64::from(dy[at(k, number)]);
                }
            }
            on_every_machine(
                |cpu| {
                    let (mut y, mut scratch) = (vec![0.5; kept], vec![0.0; 4 * g.size]);
                    k_max_forward(cpu, &g, &x, &mut y, &mut scratch);
                    y
                },
                |got| assert_close(&wide(got), &y, 0.0, "k-max"),
            );
            on_every_machine(
                |cpu| {
                    let (mut dx, mut scratch) = (vec![f32::NAN; x.len()], vec![0.0; 4 * g.size]);
                    k_max_backward(cpu, &g, &x, &dy, &mut dx, &mut scratch);
                    dx
                },
                |got| assert_close(&wide(got), &dx, 0.0, "k-max gradient"),
            );
        }
    }
}

#[test]
fn fractional_windows_stand_where_the_paper_puts_them() {
    for (batch, channels, input, output, kernel) in [
        (2, 9, [1, 13, 10], [1, 7, 6], [1, 2, 3]),
        (3, 2, [5, 8, 6], [3, 4, 5], [2, 3, 2]),
        (2, 3, [1, 1, 9], [1, 1, 1], [1, 1, 4]),
        (0, 3, [1, 4, 9], [1, 2, 5], [1, 2, 2]),
        (9, 40, [1, 24, 31], [1, 17, 22], [1, 2, 2]),
    ] {
        let g = FractionalGeometry::new(batch, channels, input, output, kernel).unwrap();
        let (planes, from, to) =
            (batch * channels, input.iter().product::<usize>(), output.iter().product::<usize>());
        let samples: Vec<f32> = numbers(planes * 3, 3).into_iter().map(|u| (u + 2.0) / 4.0).collect();
        let mut x: Vec<f32> = numbers(planes * from, 1).into_iter().map(|x| (x * 4.0).round()).collect();
        x.iter_mut().step_by(97).for_each(|x| *x = f32::NAN);
        let dy = numbers(planes * to, 2);
        let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
        for plane in 0..planes {
            // The places of all windows along an axis, the last one at the end.
            let places = |a: usize| -> Vec<usize> {
                let (u, room) = (samples[plane * 3 + a], (input[a] - kernel[a]) as f32);
                let alpha = room / (output[a] as f32 - 1.0);
                let place = |o: usize| ((o as f32 + u) * alpha).floor() - (u * alpha).floor();
                let mut places: Vec<usize> = (0..output[a]).map(|o| place(o) as usize).collect();
                *places.last_mut().unwrap() = input[a] - kernel[a];
                places
            };
            let places = [0, 1, 2].map(places);
            for out in 0..to {
                let o = [out / output[2] / output[1], out / output[2] % output[1], out % output[2]];
                let mut best: Option<(usize, f32)> = None;
                for tap in 0..kernel.iter().product() {
                    let t = [tap / kernel[2] / kernel[1], tap / kernel[2] % kernel[1], tap % kernel[2]];
                    let at = [0, 1, 2].map(|a| places[a][o[a]] + t[a]);
                    let cell = plane * from + (at[0] * input[1] + at[1]) * input[2] + at[2];
                    if best.is_none_or(|(_, max)| !max.is_nan() && (x[cell].is_nan() || x[cell] > max)) {
                        best = Some((cell, x[cell]));
                    }
                }
                let (cell, max) = best.unwrap();
                y[plane * to + out] = f64::from(max);
                dx[cell] += f64::from(dy[plane * to + out]);
            }
        }
        on_every_machine(
            |cpu| {
                let mut y = vec![0.5; dy.len()];
                fractional_forward(cpu, &g, &samples, &x, &mut y);
                y
            },
            |got| assert_close(&wide(got), &y, 0.0, "fractional"),
        );
        on_every_machine(
            |cpu| {
                let mut dx = vec![f32::NAN; x.len()];
                fractional_backward(cpu, &g, &samples, &x, &dy, &mut dx);
                dx
            },
            |got| assert_close(&wide(got), &dx, 1e-6, "fractional gradient"),
        );
    }
}

#[test]
fn unpooling_puts_values_where_their_indices_say() {
    for (batch, channels, input, indexed, output) in [
        (2, 9, [1, 3, 4], [1, 7, 9], [1, 7, 9]),
        (3, 2, [2, 3, 2], [4, 5, 3], [4, 5, 3]),
        // The result is larger along one axis and smaller along another.
        (2, 3, [1, 2, 3], [1, 4, 5], [1, 3, 8]),
        (0, 3, [1, 2, 3], [1, 4, 5], [1, 4, 5]),
        (4, 40, [1, 1, 30], [1, 1, 61], [1, 1, 61]),
    ] {
        let g = UnpoolGeometry::new(batch, channels, input, indexed, output).unwrap();
        let product = |sizes: [usize; 3]| sizes.iter().product::<usize>();
        let (planes, from, to) = (batch * channels, product(input), product(output));
        let (x, dy) = (numbers(planes * from, 1), numbers(planes * to, 2));
        // Scattered over the plane, some twice; then some that mean nothing.
        let mut indices: Vec<f32> = (0..planes * from)
            .map(|i| (i / from * product(indexed) + i * 7919 % product(indexed)) as f32)
            .collect();
        let bad = [f32::NAN, -1.0, 0.5, 1e30, f32::INFINITY, (product(indexed) * planes) as f32, -0.25];
        indices.iter_mut().skip(2).step_by(5).zip(bad.iter().cycle()).for_each(|(i, bad)| *i = *bad);
        let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
        for (i, index) in
            indices.iter().enumerate().filter(|(_, index)| !bad.contains(index) && !index.is_nan())
        {
            let cell = *index as usize % product(indexed);
            let at = [cell / indexed[2] / indexed[1], cell / indexed[2] % indexed[1], cell % indexed[2]];
            if (0..3).all(|a| at[a] < output[a]) {
                let cell = i / from * to + (at[0] * output[1] + at[1]) * output[2] + at[2];
                (y[cell], dx[i]) = (f64::from(x[i]), f64::from(dy[cell]));
            }
        }
        on_every_machine(
            |cpu| {
                let mut y = vec![f32::NAN; dy.len()];
                unpool_forward(cpu, &g, &x, &indices, &mut y);
                y
            },
            |got| assert_close(&wide(got), &y, 0.0, "unpooled"),
        );
        on_every_machine(
            |cpu| {
                let mut dx = vec![f32::NAN; x.len()];
                unpool_backward(cpu, &g, &indices, &dy, &mut dx);
                dx
            },
            |got| assert_close(&wide(got), &dx, 0.0, "unpooling gradient"),
        );
    }
}
