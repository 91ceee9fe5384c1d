//! Unshared convolution against the loops of its definition.

mod blocked;

use blocked::*;
use svertka_kernels::Cpu;
use svertka_kernels::geometry::{ConvGeometry, Window};
use svertka_kernels::unshared::Unshared;

fn geometries() -> Vec<ConvGeometry> {
    let window = |kernel, stride, dilation, padding| Window { kernel, stride, dilation, padding };
    let (one, none) = ([1, 1, 1], [(0, 0); 3]);
    [
        ([2, 3, 5, 1], [1, 5, 4], window([1, 3, 2], one, one, [(0, 0), (1, 1), (0, 1)])),
        ([3, 4, 6, 2], [1, 7, 8], window([1, 2, 3], [1, 2, 3], [1, 2, 1], [(0, 0), (0, 2), (1, 0)])),
        ([1, 9, 11, 1], [1, 1, 9], window([1, 1, 4], [1, 1, 2], one, [(0, 0), (0, 0), (2, 1)])),
        ([5, 2, 3, 1], [2, 3, 5], window([2, 2, 3], one, [1, 1, 2], [(1, 0), (0, 1), (2, 2)])),
        ([4, 12, 12, 12], [1, 6, 5], window([1, 3, 3], one, one, [(0, 0), (1, 1), (1, 1)])),
        // More images than are held at once, several jobs, whole and partial vectors.
        ([37, 17, 9, 1], [1, 6, 7], window([1, 3, 3], one, one, [(0, 0), (1, 0), (0, 1)])),
        ([1, 8, 64, 1], [1, 9, 8], window([1, 2, 2], one, one, none)),
        // Windows that see nothing but padding; the first one of the axis.
        ([2, 1, 2, 1], [1, 1, 3], window([1, 1, 2], [1, 1, 2], one, [(0, 0), (0, 0), (3, 2)])),
        ([2, 3, 4, 1], [1, 1, 1], window(one, one, one, none)),
        ([0, 3, 4, 1], [1, 3, 4], window([1, 2, 2], one, one, none)),
    ]
    .map(|([batch, in_c, out_c, groups], input, window)| {
        ConvGeometry::new(batch, in_c, out_c, groups, input, window).unwrap()
    })
    .into()
}

/// Calls `visit(x, weight, y)` for each product, with flat indices.
fn products(g: &ConvGeometry, mut visit: impl FnMut(usize, usize, usize)) {
    let (in_cells, out_cells, taps) = (cells(g.input), cells(g.output), cells(g.window.kernel));
    let (group_in, group_out) = (g.in_channels / g.groups, g.out_channels / g.groups);
    for (n, o, p) in (0..g.batch)
        .flat_map(|n| (0..g.out_channels).flat_map(move |o| (0..out_cells).map(move |p| (n, o, p))))
    {
        for (i, t) in (0..group_in).flat_map(|i| (0..taps).map(move |t| (i, t))) {
            let (cell, tap) = (place(g.output, p), place(g.window.kernel, t));
            let at: [i64; 3] = std::array::from_fn(|a| {
                (cell[a] * g.window.stride[a] + tap[a] * g.window.dilation[a]) as i64
                    - g.window.padding[a].0 as i64
            });
            if (0..3).all(|a| (0..g.input[a] as i64).contains(&at[a])) {
                let [d, h, w] = at.map(|at| at as usize);
                let channel = n * g.in_channels + o / group_out * group_in + i;
                visit(
                    channel * in_cells + (d * g.input[1] + h) * g.input[2] + w,
                    ((p * g.out_channels + o) * group_in + i) * taps + t,
                    (n * g.out_channels + o) * out_cells + p,
                );
            }
        }
    }
}

fn cells(size: [usize; 3]) -> usize {
    size.iter().product()
}

fn place(size: [usize; 3], i: usize) -> [usize; 3] {
    [i / size[2] / size[1], i / size[2] % size[1], i % size[2]]
}

/// Writes a result, with scratch memory.
type Pass<'a> = &'a dyn Fn(&Cpu, &mut [f32], &mut [f32]);

#[test]
fn all_passes_agree_with_the_definition() {
    for g in geometries() {
        let plan = Unshared::new(&g);
        let (in_len, cells) = (g.batch * g.in_channels * cells(g.input), cells(g.output));
        let out_len = g.batch * g.out_channels * cells;
        assert_eq!(plan.weight_len(), cells * g.weight_len());
        let (x, weight) = (numbers(in_len, 1), numbers(plan.weight_len(), 2));
        let (bias, dy) = (numbers(g.out_channels * cells, 3), numbers(out_len, 4));
        let (wx, ww, wb, wdy) = (wide(&x), wide(&weight), wide(&bias), wide(&dy));
        let mut y: Vec<f64> = (0..out_len).map(|i| wb[i % wb.len()]).collect();
        let (mut dx, mut dw, mut db) = (vec![0.0; in_len], vec![0.0; weight.len()], vec![0.0; bias.len()]);
        products(&g, |i, w, o| {
            y[o] += wx[i] * ww[w];
            dx[i] += wdy[o] * ww[w];
            dw[w] += wdy[o] * wx[i];
        });
        wdy.iter().enumerate().for_each(|(i, dy)| db[i % wb.len()] += dy);

        let pass = |len: usize, expected: &[f64], what: &str, run: Pass<'_>| {
            let kernel = |cpu: &Cpu| {
                let mut out = vec![f32::NAN; len];
                run(cpu, &mut out, &mut vec![f32::NAN; plan.scratch_len(cpu.threads.count())]);
                out
            };
            on_every_machine(kernel, |out| {
                assert_close(&wide(out), expected, 1e-5, &format!("{what} {g:?}"))
            });
        };
        pass(out_len, &y, "y", &|cpu, out, scratch| {
            plan.forward(cpu, &x, &weight, Some(&bias), out, scratch)
        });
        pass(in_len, &dx, "dx", &|cpu, out, scratch| plan.input_gradient(cpu, &dy, &weight, out, scratch));
        pass(dw.len(), &dw, "dw", &|cpu, out, scratch| plan.weight_gradient(cpu, &x, &dy, out, scratch));
        pass(db.len(), &db, "db", &|cpu, out, _| plan.bias_gradient(cpu, &dy, out));
    }
}
