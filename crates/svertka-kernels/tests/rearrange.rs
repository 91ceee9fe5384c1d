//! Blocks of pixels as channels, and windows as columns, against loops from their definitions.

mod blocked;

use blocked::{assert_close, numbers, on_every_machine, wide};
use svertka_kernels::Cpu;
use svertka_kernels::depth_to_space::{BlockGeometry, BlockOrder, depth_to_space, space_to_depth};
use svertka_kernels::fold::{fold, unfold};
use svertka_kernels::geometry::{PoolGeometry, Window};

#[test]
fn blocks_of_pixels_go_to_channels_and_back() {
    for order in [BlockOrder::DepthFirst, BlockOrder::DepthLast] {
        for (batch, channels, height, width, block) in [
            (2, 3, 4, 5, 2),
            (1, 2, 1, 3, 3),
            (3, 1, 2, 2, 1),
            (0, 2, 3, 1, 2),
            (2, 1, 3, 0, 2),
            (1, 9, 70, 61, 4),
        ] {
            let g = BlockGeometry { batch, channels, height, width, block, order };
            let x = numbers(batch * channels * block * block * height * width, 3);
            let mut expected = vec![0.0; x.len()];
            for n in 0..batch {
                for c in 0..channels {
                    for (row, column) in
                        (0..block).flat_map(|row| (0..block).map(move |column| (row, column)))
                    {
                        let deep = match order {
                            BlockOrder::DepthFirst => (row * block + column) * channels + c,
                            BlockOrder::DepthLast => (c * block + row) * block + column,
                        };
                        for (h, w) in (0..height).flat_map(|h| (0..width).map(move |w| (h, w))) {
                            let line = (n * channels + c) * height * block + h * block + row;
                            expected[line * width * block + w * block + column] =
                                x[((n * channels * block * block + deep) * height + h) * width + w];
                        }
                    }
                }
            }
            let run = |kernel: fn(&Cpu, &BlockGeometry, &[f32], &mut [f32]), from: &[f32], cpu: &Cpu| {
                let mut y = vec![f32::NAN; from.len()];
                kernel(cpu, &g, from, &mut y);
                y
            };
            on_every_machine(|cpu| run(depth_to_space, &x, cpu), |y| assert_eq!(y, expected, "{g:?}"));
            on_every_machine(|cpu| run(space_to_depth, &expected, cpu), |y| assert_eq!(y, x, "{g:?}"));
        }
    }
}

#[test]
fn windows_become_columns_and_columns_add_up() {
    let cases = [
        (2, 3, [1, 9, 7], [1, 3, 2], [1, 2, 1], [1, 1, 2], [(0, 0), (1, 2), (0, 1)]),
        (1, 2, [4, 3, 6], [2, 2, 3], [1, 1, 2], [2, 1, 1], [(1, 0), (0, 0), (2, 2)]),
        (3, 1, [1, 1, 8], [1, 1, 4], [1, 1, 3], [1, 1, 2], [(0, 0), (0, 0), (3, 5)]),
        // Taps that read padding only.
        (1, 2, [1, 2, 1], [1, 1, 3], [1; 3], [1, 1, 3], [(0, 0), (0, 0), (3, 3)]),
        (0, 2, [1, 3, 3], [1, 2, 2], [1; 3], [1; 3], [(0, 0); 3]),
        (2, 4, [1, 40, 50], [1, 3, 3], [1; 3], [1; 3], [(0, 0), (1, 1), (1, 1)]),
    ];
    for (batch, channels, input, kernel, stride, dilation, padding) in cases {
        let window = Window { kernel, stride, dilation, padding };
        let g = PoolGeometry::new(batch, channels, input, window, false).unwrap();
        let (taps, windows): (usize, usize) = (kernel.iter().product(), g.output.iter().product());
        let pixels: usize = input.iter().product();
        let x = numbers(batch * channels * pixels, 1);
        let columns = numbers(batch * channels * taps * windows, 2);
        let (mut unfolded, mut folded) = (vec![0.0; columns.len()], vec![0.0; x.len()]);
        let split = |i: usize, [_, h, w]: [usize; 3]| [i / w / h, i / w % h, i % w];
        for row in 0..batch * channels * taps {
            let tap = split(row % taps, kernel);
            for o in 0..windows {
                let start = split(o, g.output);
                let cell: Option<Vec<usize>> = (0..3)
                    .map(|a| {
                        (start[a] * stride[a] + tap[a] * dilation[a])
                            .checked_sub(padding[a].0)
                            .filter(|c| *c < input[a])
                    })
                    .collect();
                if let Some(cell) = cell {
                    let at = row / taps * pixels + (cell[0] * input[1] + cell[1]) * input[2] + cell[2];
                    unfolded[row * windows + o] = f64::from(x[at]);
                    folded[at] += f64::from(columns[row * windows + o]);
                }
            }
        }
        let run = |kernel: fn(&Cpu, &PoolGeometry, &[f32], &mut [f32]), from: &[f32], len, cpu: &Cpu| {
            let mut y = vec![f32::NAN; len];
            kernel(cpu, &g, from, &mut y);
            y
        };
        on_every_machine(
            |cpu| run(unfold, &x, columns.len(), cpu),
            |y| assert_close(&wide(y), &unfolded, 0.0, &format!("unfold {g:?}")),
        );
        on_every_machine(
            |cpu| run(fold, &columns, x.len(), cpu),
            |y| assert_close(&wide(y), &folded, 1e-6, &format!("fold {g:?}")),
        );
    }
}
