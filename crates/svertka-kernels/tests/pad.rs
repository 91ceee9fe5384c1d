//! Padding and its gradient against a lookup from the definition, and the lecture's example.

mod blocked;

use blocked::*;
use svertka_kernels::Cpu;
use svertka_kernels::pad::{PadGeometry, PadMode, backward, check, forward, output, source};

const MODES: [PadMode; 6] = [
    PadMode::Constant(0.0),
    PadMode::Constant(-1.5),
    PadMode::Replicate,
    PadMode::Reflect,
    PadMode::Symmetric,
    PadMode::Circular,
];

fn geometries() -> Vec<PadGeometry> {
    let list = [
        (1, 1, [1, 1, 5], [(0, 0), (0, 0), (2, 2)]),
        (2, 3, [1, 4, 6], [(0, 0), (3, 0), (1, 5)]),
        (1, 9, [3, 2, 4], [(2, 1), (0, 1), (3, 3)]),
        (3, 17, [1, 1, 1], [(0, 0), (1, 1), (0, 1)]),
        (2, 8, [1, 7, 1], [(0, 0), (2, 6), (0, 0)]),
        (0, 7, [1, 2, 3], [(0, 0), (1, 1), (1, 1)]),
        (2, 7, [1, 2, 0], [(0, 0), (0, 1), (2, 1)]),
        (2, 17, [1, 23, 31], [(0, 0), (4, 2), (5, 6)]),
    ];
    list.map(|(batch, channels, input, pads)| PadGeometry { batch, channels, input, pads }).to_vec()
}

/// What padded position `index` shows, by walking from cell to cell outwards.
fn shown(mode: PadMode, size: usize, before: usize, index: usize) -> Option<usize> {
    let position = index as i64 - before as i64;
    let size = size as i64;
    let bounce = |period: i64, cell: i64| if cell < size { cell } else { period - 1 - cell };
    let cell = match mode {
        PadMode::Constant(_) => Some(position).filter(|p| (0..size).contains(p)),
        PadMode::Replicate => Some(position.clamp(0, size - 1)),
        PadMode::Circular => Some(position.rem_euclid(size)),
        PadMode::Symmetric => Some(bounce(2 * size, position.rem_euclid(2 * size))),
        PadMode::Reflect if size == 1 => Some(0),
        PadMode::Reflect => Some(bounce(2 * size - 1, position.rem_euclid(2 * size - 2))),
    };
    cell.map(|c| c as usize)
}

#[test]
fn forward_shows_what_the_mode_says_and_backward_adds_it_up() {
    let mut tested = 0;
    for g in geometries() {
        for mode in MODES.into_iter().filter(|&mode| check(mode, g.input, g.pads).is_ok()) {
            let out = output(g.input, g.pads);
            let small = planes(g.batch, g.channels, g.input.iter().product());
            let large = planes(g.batch, g.channels, out.iter().product());
            let (x, dy) = (activation(small, 1, 0.0), activation(large, 2, 0.0));
            let (plain_x, plain_dy) = (plain(small, &x), plain(large, &dy));

            let (mut expected, mut expected_dx) = (vec![0.0; plain_dy.len()], vec![0.0; plain_x.len()]);
            each(large, |n, c, p, i| {
                let cell = [p / out[2] / out[1], p / out[2] % out[1], p % out[2]];
                let from: Option<Vec<_>> =
                    (0..3).map(|a| shown(mode, g.input[a], g.pads[a].0, cell[a])).collect();
                let from = from.map(|f| {
                    (n * g.channels + c) * small.pixels + (f[0] * g.input[1] + f[1]) * g.input[2] + f[2]
                });
                let constant = if let PadMode::Constant(value) = mode { f64::from(value) } else { 0.0 };
                expected[i] = from.map_or(constant, |from| plain_x[from]);
                if let Some(from) = from {
                    expected_dx[from] += plain_dy[i];
                }
            });
            let padded = |cpu: &Cpu| {
                let mut y = vec![f32::NAN; dy.len()];
                forward(cpu, mode, &g, &x, &mut y);
                y
            };
            on_every_machine(padded, |y| assert_blocked(large, y, &expected, 0.0, mode.name()));
            let gradient = |cpu: &Cpu| {
                let mut dx = vec![f32::NAN; x.len()];
                backward(cpu, mode, &g, &dy, &mut dx);
                dx
            };
            on_every_machine(gradient, |dx| assert_blocked(small, dx, &expected_dx, 1e-5, mode.name()));
            tested += 1;
        }
    }
    // Width 0 leaves the constants only, and height 1 cannot be reflected.
    assert_eq!(tested, 8 * 6 - 4 - 1);
}

#[test]
fn the_lectures_kernel_over_five_cells_padded_by_two() {
    // -1 0 2 0 -1 over 1 2 3 4 5, by the padded rows as the lecture prints them.
    let table = [
        (PadMode::Constant(0.0), [0, 0, 1, 2, 3, 4, 5, 0, 0]),
        (PadMode::Replicate, [1, 1, 1, 2, 3, 4, 5, 5, 5]),
        (PadMode::Symmetric, [2, 1, 1, 2, 3, 4, 5, 5, 4]),
        (PadMode::Circular, [4, 5, 1, 2, 3, 4, 5, 1, 2]),
        (PadMode::Reflect, [3, 2, 1, 2, 3, 4, 5, 4, 3]),
    ];
    let results =
        [[-1, 0, 0, 6, 7], [-2, -1, 0, 1, 2], [-3, -1, 0, 1, 3], [-5, -5, 0, 5, 5], [-4, -2, 0, 2, 4]];
    let g = PadGeometry { batch: 1, channels: 1, input: [1, 1, 5], pads: [(0, 0), (0, 0), (2, 2)] };
    let x = block(planes(1, 1, 5), &[1., 2., 3., 4., 5.], 0.0);
    for ((mode, row), result) in table.into_iter().zip(results) {
        let mut y = vec![0.0; 9 * 8];
        forward(&Cpu::new(1), mode, &g, &x, &mut y);
        let y: Vec<i32> = y.chunks(8).map(|pixel| pixel[0] as i32).collect();
        assert_eq!(y, row, "{}", mode.name());
        let filtered: Vec<i32> = y.windows(5).map(|w| 2 * w[2] - w[0] - w[4]).collect();
        assert_eq!(filtered, result, "{}", mode.name());
    }
}

#[test]
fn errors_say_what_a_mode_needs() {
    let error = |mode, size, pad| check(mode, [1, size, 1], [(0, 0), pad, (0, 0)]).unwrap_err().to_string();
    assert_eq!(
        error(PadMode::Reflect, 3, (1, 3)),
        "padding (reflect): expected at most 2 on either side of the height of size 3, as a reflection shows each cell once, \
         but not the one at the edge, received (1, 3)"
    );
    assert!(error(PadMode::Symmetric, 3, (4, 0)).contains("expected at most 3"));
    assert!(error(PadMode::Circular, 3, (0, 4)).contains("expected at most 3"));
    assert!(error(PadMode::Replicate, 0, (1, 0)).contains("expected at most 0"));
    assert_eq!(check(PadMode::Constant(1.0), [0, 1, 1], [(9, 9); 3]), Ok(()));
    assert_eq!(check(PadMode::Replicate, [0, 1, 1], [(0, 0), (9, 9), (9, 9)]), Ok(()));
    // Beyond what `check` allows, the map says so instead of failing.
    for mode in MODES {
        for (size, before, index) in [(0, 2, 0), (0, 0, 0), (0, 1, 3), (2, 9, 0), (2, 0, 40), (1, 1, 0)] {
            assert!(source(mode, size, before, index).is_none_or(|cell| cell < size));
        }
    }
}
