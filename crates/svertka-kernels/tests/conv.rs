//! Every algorithm on every instruction set against the loops of the definition, over a table and over generated geometries.

use std::hash::{DefaultHasher, Hash, Hasher};

use proptest::prelude::*;
use svertka_kernels::conv::{Accuracy, Algorithm, Forward, InputGradient, WeightGradient};
use svertka_kernels::epilogue::Epilogue;
use svertka_kernels::geometry::{ConvGeometry, Window};
use svertka_kernels::layout::{BLOCK, blocked_len, blocks, to_blocked, to_plain};
use svertka_kernels::{Buffer, Cpu, Isa, reference};

/// Error allowed, relative to the sum of absolute products: at most a few thousand roundings of 6e-8 that mostly cancel.
const TOLERANCE: f64 = 2e-6;

/// That of an algorithm: the large squares may err ten times as much.
fn tolerance(algorithm: Algorithm) -> f64 {
    if algorithm == Algorithm::WinogradSix { 10.0 * TOLERANCE } else { TOLERANCE }
}

type Three = [usize; 3];

fn geometry(
    [batch, in_channels, out_channels, groups]: [usize; 4],
    input: Three,
    kernel: Three,
    stride: Three,
    dilation: Three,
    padding: [(usize, usize); 3],
) -> ConvGeometry {
    let window = Window { kernel, stride, dilation, padding };
    ConvGeometry::new(batch, in_channels, out_channels, groups, input, window).unwrap()
}

/// Geometries by name; nothing is square.
fn named() -> Vec<(&'static str, ConvGeometry)> {
    let one = [1, 1, 1];
    let none = [(0, 0); 3];
    let same = [(0, 0), (1, 1), (1, 1)];
    vec![
        ("first layer, one channel", geometry([3, 1, 32, 1], [1, 11, 9], [1, 3, 3], one, one, same)),
        (
            "first layer, three channels",
            geometry([2, 3, 17, 1], [1, 13, 10], [1, 7, 5], [1, 2, 2], one, [(0, 0), (3, 3), (2, 2)]),
        ),
        (
            "first layer, one channel, long rows",
            geometry([2, 1, 9, 1], [1, 6, 147], [1, 3, 3], one, one, same),
        ),
        (
            "first layer, three channels, rows in bands",
            geometry([1, 3, 70, 1], [1, 43, 61], [1, 7, 7], [1, 2, 2], one, [(0, 0), (3, 3), (3, 3)]),
        ),
        (
            "few channels from many, rows apart",
            geometry([2, 19, 3, 1], [1, 13, 37], [1, 3, 5], [1, 2, 1], [1, 2, 1], [(0, 0), (1, 2), (4, 0)]),
        ),
        ("few channels from many, pointwise", geometry([2, 21, 4, 1], [1, 5, 9], one, one, one, none)),
        ("few channels from many, one axis", geometry([2, 9, 2, 1], [1, 1, 83], [1, 1, 5], one, one, none)),
        ("3 x 3", geometry([2, 16, 24, 1], [1, 7, 9], [1, 3, 3], one, one, same)),
        ("pointwise", geometry([2, 33, 40, 1], [1, 5, 6], one, one, one, none)),
        // Tiles ask for what comes next.
        ("pointwise, a large picture", geometry([1, 64, 40, 1], [1, 100, 84], one, one, one, none)),
        ("pointwise, stride", geometry([2, 9, 8, 1], [1, 7, 6], one, [1, 2, 3], one, none)),
        ("many images of few cells", geometry([13, 8, 9, 1], [1, 2, 3], [1, 3, 3], one, one, same)),
        ("one cell", geometry([3, 17, 33, 1], one, one, one, one, none)),
        (
            "first layer, four channels, rows as wide as the kernel",
            geometry([2, 4, 20, 2], [1, 9, 3], [1, 2, 3], one, one, none),
        ),
        (
            "first layer, dilation",
            geometry([2, 2, 9, 1], [1, 12, 17], [1, 3, 4], [1, 1, 2], [1, 2, 3], [(0, 0), (1, 2), (5, 4)]),
        ),
        (
            "kernel larger than the input",
            geometry([2, 3, 8, 1], [1, 2, 3], [1, 5, 7], one, one, [(0, 0), (2, 2), (3, 3)]),
        ),
        (
            "padding only",
            geometry([1, 2, 3, 1], [1, 1, 2], [1, 1, 1], [1, 1, 3], one, [(0, 0), (0, 2), (3, 3)]),
        ),
        ("stride above kernel", geometry([2, 7, 15, 1], [1, 9, 11], [1, 2, 1], [1, 3, 4], one, none)),
        (
            "stride and dilation share a factor",
            geometry([1, 8, 16, 1], [1, 15, 17], [1, 3, 3], [1, 4, 2], [1, 2, 4], [(0, 0), (2, 1), (4, 3)]),
        ),
        (
            "one axis",
            geometry([2, 9, 17, 1], [1, 1, 700], [1, 1, 5], [1, 1, 2], [1, 1, 3], [(0, 0), (0, 0), (6, 1)]),
        ),
        (
            "three axes",
            geometry([2, 3, 10, 1], [4, 5, 6], [3, 2, 3], [1, 2, 1], [1, 2, 1], [(1, 0), (0, 1), (1, 1)]),
        ),
        ("groups of a block", geometry([2, 32, 16, 2], [1, 5, 7], [1, 3, 2], one, one, same)),
        ("groups of four", geometry([2, 24, 24, 6], [1, 5, 7], [1, 3, 3], one, one, same)),
        (
            "groups of four, wide",
            geometry([1, 12, 12, 3], [1, 5, 43], [1, 3, 4], [1, 1, 2], one, [(0, 0), (0, 1), (2, 1)]),
        ),
        ("groups of two", geometry([2, 22, 22, 11], [1, 5, 17], [1, 2, 3], one, [1, 1, 2], same)),
        ("groups of two blocks", geometry([1, 32, 32, 2], [1, 4, 6], [1, 3, 3], one, one, none)),
        ("groups of three blocks", geometry([1, 16, 48, 2], [1, 4, 9], [1, 3, 3], one, one, same)),
        ("groups of three to five", geometry([2, 9, 15, 3], [1, 5, 7], [1, 3, 3], one, one, same)),
        ("depthwise", geometry([2, 24, 24, 24], [1, 9, 8], [1, 3, 3], one, one, same)),
        (
            "depthwise, stride",
            geometry([2, 17, 17, 17], [1, 9, 12], [1, 5, 3], [1, 2, 2], one, [(0, 0), (2, 2), (1, 0)]),
        ),
        (
            "depthwise, three axes",
            geometry([1, 11, 11, 11], [4, 3, 6], [3, 2, 3], one, [1, 1, 2], [(1, 1), (0, 0), (2, 2)]),
        ),
        (
            "depthwise, wide",
            geometry([2, 9, 9, 9], [1, 6, 45], [1, 3, 7], [1, 1, 2], [1, 2, 1], [(0, 0), (2, 0), (3, 5)]),
        ),
        (
            "depthwise, stride and dilation",
            geometry([1, 10, 10, 10], [1, 9, 61], [1, 2, 4], [1, 3, 4], [1, 2, 6], [(0, 0), (1, 1), (9, 7)]),
        ),
        (
            "depthwise, taps in two pieces",
            geometry([2, 9, 9, 9], [1, 3, 29], [1, 2, 12], one, one, [(0, 0), (1, 0), (5, 9)]),
        ),
        (
            "depthwise, kernel wider than the row",
            geometry([3, 10, 10, 10], [1, 4, 3], [1, 3, 7], one, one, [(0, 0), (1, 1), (3, 4)]),
        ),
        (
            "depthwise, five taps",
            geometry([2, 10, 10, 10], [1, 6, 37], [1, 5, 5], one, one, [(0, 0), (2, 2), (2, 2)]),
        ),
        (
            "depthwise, five taps, odd padding",
            geometry([1, 9, 9, 9], [1, 4, 5], [1, 2, 5], one, one, [(0, 0), (1, 0), (3, 0)]),
        ),
        ("depthwise, rows of odd length", geometry([2, 8, 8, 8], [1, 5, 33], [1, 3, 3], one, one, same)),
        ("depthwise, multiplier", geometry([2, 5, 10, 5], [1, 6, 7], [1, 3, 3], one, one, same)),
        (
            "large enough for slices and chunks",
            geometry([3, 4, 20, 1], [1, 47, 53], [1, 3, 3], one, one, same),
        ),
        (
            "slices with mixed taps and groups of images",
            geometry([16, 1, 32, 1], [1, 20, 19], [1, 5, 5], one, one, none),
        ),
        (
            "squares in a few chunks",
            geometry([2, 41, 24, 1], [1, 13, 19], [1, 3, 3], one, one, [(0, 0), (2, 1), (0, 2)]),
        ),
        (
            "squares cut to three rows and two columns, groups",
            geometry([3, 32, 48, 2], [1, 15, 10], [1, 3, 3], one, one, same),
        ),
        (
            "squares cut in both axes only",
            geometry([5, 40, 16, 1], [1, 3, 6], [1, 3, 3], one, one, [(0, 0), (0, 1), (1, 2)]),
        ),
        ("squares of many groups", geometry([3, 9 * 24, 9 * 16, 9], [1, 7, 8], [1, 3, 3], one, one, same)),
        ("squares in many chunks", geometry([3, 24, 17, 1], [1, 57, 50], [1, 3, 3], one, one, same)),
        (
            "phases in one chunk",
            geometry([2, 19, 25, 1], [1, 17, 22], [1, 4, 4], [1, 2, 2], one, [(0, 0), (1, 1), (2, 0)]),
        ),
        (
            "phases in many chunks",
            geometry([3, 16, 33, 1], [1, 76, 94], [1, 4, 4], [1, 2, 2], one, [(0, 0), (0, 3), (1, 2)]),
        ),
        (
            "pointwise, many panels, images that do not fill a chunk",
            geometry([11, 20, 150, 1], [1, 6, 9], one, one, one, none),
        ),
        ("empty batch", geometry([0, 3, 5, 1], [1, 4, 5], [1, 3, 3], one, one, same)),
    ]
}

fn any_geometry() -> impl Strategy<Value = ConvGeometry> {
    let axis = || (1usize..12, 1usize..5, 1usize..5, 1usize..4, 0usize..4, 0usize..4);
    let channels = prop::sample::select(vec![1usize, 2, 3, 7, 8, 9, 15, 16, 17, 24, 33]);
    // Groups, and how channels follow from them: none, depthwise, multiplier, small groups.
    let grouping = (0usize..5, channels.clone(), channels, 1usize..5, 1usize..5);
    (0usize..4, 1usize..4, [axis(), axis(), axis()], grouping).prop_filter_map(
        "the window fits",
        |(batch, axes, sizes, (kind, in_c, out_c, a, b))| {
            let (in_channels, out_channels, groups) = match kind {
                0 | 1 => (in_c, out_c, 1),
                2 => (in_c, in_c, in_c),
                3 => (in_c, in_c * a, in_c),
                _ => (a * in_c.min(9), b * in_c.min(9), in_c.min(9)),
            };
            let mut window = Window::default();
            let mut input = [1; 3];
            for axis in 3 - axes..3 {
                let (size, kernel, stride, dilation, before, after) = sizes[axis];
                input[axis] = size;
                window.kernel[axis] = kernel;
                window.stride[axis] = stride;
                window.dilation[axis] = dilation;
                window.padding[axis] = (before, after);
            }
            ConvGeometry::new(batch, in_channels, out_channels, groups, input, window).ok()
        },
    )
}

/// Numbers that look random, the same for the same seed, in -1..1.
fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

fn absolute(values: &[f64]) -> Vec<f64> {
    values.iter().map(|x| x.abs()).collect()
}

/// Operands of all passes, plain.
struct Case {
    g: ConvGeometry,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    dy: Vec<f32>,
}

/// Results of all passes; activations blocked.
#[derive(Debug, PartialEq)]
struct Results {
    y: Buffer,
    dx: Buffer,
    dw: Vec<f32>,
    db: Vec<f32>,
}

impl Results {
    /// A number that differs where a bit does.
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        [&self.y[..], &self.dx, &self.dw, &self.db]
            .iter()
            .flat_map(|part| part.iter())
            .for_each(|x| x.to_bits().hash(&mut hasher));
        hasher.finish()
    }
}

impl Case {
    fn new(g: ConvGeometry) -> Self {
        let (in_cells, out_cells) = (cells(g.input), cells(g.output));
        Self {
            x: numbers(1, g.batch * g.in_channels * in_cells),
            weight: numbers(2, g.weight_len()),
            bias: numbers(3, g.out_channels),
            dy: numbers(4, g.batch * g.out_channels * out_cells),
            g,
        }
    }

    /// Runs all passes, `spare` in the unused lanes of operands and rubbish in all memory to be written.
    fn run(&self, algorithm: Algorithm, cpu: &Cpu, spare: f32) -> Results {
        let g = &self.g;
        let rubbish = |len: usize| {
            let mut buffer = Buffer::zeroed(len);
            buffer.fill(7.5e8);
            buffer
        };
        let blocked_x = blocked(g.batch, g.in_channels, cells(g.input), &self.x, spare, cpu);
        let x_of = |algorithm: Algorithm| if algorithm.reads_plain() { &self.x[..] } else { &blocked_x[..] };
        let dy = blocked(g.batch, g.out_channels, cells(g.output), &self.dy, spare, cpu);
        let threads = cpu.threads.count();

        let forward = Forward::with_algorithm(g, algorithm).unwrap();
        let mut packed = rubbish(forward.packed_len());
        forward.pack(cpu, &self.weight, &mut packed);
        let mut y = rubbish(dy.len());
        forward.run(
            cpu,
            x_of(algorithm),
            &packed,
            &Epilogue::bias(&self.bias),
            &mut y,
            &mut rubbish(forward.scratch_len(threads)),
        );

        let input = InputGradient::with_algorithm(g, algorithm).unwrap();
        let mut packed = rubbish(input.packed_len());
        input.pack(cpu, &self.weight, &mut packed);
        let mut dx = rubbish(blocked_x.len());
        input.run(cpu, &dy, &packed, &mut dx, &mut rubbish(input.scratch_len(threads)));

        let (weight, x) = match WeightGradient::with_algorithm(g, algorithm) {
            Some(plan) => (plan, x_of(algorithm)),
            None => (WeightGradient::new(g), x_of(Algorithm::choose(g, Accuracy::Default))),
        };
        let mut dw = rubbish(g.weight_len()).to_vec();
        let mut db = rubbish(g.out_channels).to_vec();
        weight.run(cpu, x, &dy, &mut dw, Some(&mut db), &mut rubbish(weight.scratch_len(threads)));
        Results { y, dx, dw, db }
    }

    /// What the definition gives for all passes: a slow answer, so one for all algorithms and instruction sets.
    fn expected(&self) -> Expected {
        let g = &self.g;
        let (x, weight, bias, dy) = (wide(&self.x), wide(&self.weight), wide(&self.bias), wide(&self.dy));
        let (ax, aweight, abias, ady) = (absolute(&x), absolute(&weight), absolute(&bias), absolute(&dy));
        let ((dw, db), (adw, adb)) =
            (reference::conv_weight_gradient(g, &x, &dy), reference::conv_weight_gradient(g, &ax, &ady));
        let y = reference::conv_forward(g, &x, &weight, Some(&bias));
        let ay = reference::conv_forward(g, &ax, &aweight, Some(&abias));
        let dx = reference::conv_input_gradient(g, &dy, &weight);
        let adx = reference::conv_input_gradient(g, &ady, &aweight);
        Expected { y: [y, ay], dx: [dx, adx], dw: [dw, adw], db: [db, adb] }
    }

    /// Compares results with the definition's.
    fn check(&self, results: &Results, expected: &Expected, algorithm: Algorithm, what: &str) {
        let (g, tolerance) = (&self.g, tolerance(algorithm));
        // The cells of a square share the rounding of its points: one at a corner, with few products of its own, that of its neighbours.
        let shared = algorithm.name().starts_with("winograd");
        let close = |got: &[f32], [expected, absolute]: &[Vec<f64>; 2], of: &str| {
            let largest = vec![absolute.iter().copied().fold(0.0, f64::max); absolute.len()];
            let absolute = if shared { &largest } else { absolute };
            close(got, expected, absolute, tolerance, &format!("{what}, {algorithm:?} {of} {g:?}"));
        };
        close(&plain(g.batch, g.out_channels, cells(g.output), &results.y), &expected.y, "y");
        close(&plain(g.batch, g.in_channels, cells(g.input), &results.dx), &expected.dx, "dx");
        close(&results.dw, &expected.dw, "dw");
        close(&results.db, &expected.db, "db");
    }
}

/// The results of the definition, plain, each beside the sums of its products' absolute values.
struct Expected {
    y: [Vec<f64>; 2],
    dx: [Vec<f64>; 2],
    dw: [Vec<f64>; 2],
    db: [Vec<f64>; 2],
}

fn cells(size: Three) -> usize {
    size.iter().product()
}

fn close(got: &[f32], expected: &[f64], absolute: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, ((&got, &expected), &absolute)) in got.iter().zip(expected).zip(absolute).enumerate() {
        let error = (f64::from(got) - expected).abs();
        assert!(error <= tolerance * absolute, "{what}: element {i} expected {expected}, received {got}");
    }
}

fn blocked(batch: usize, channels: usize, cells: usize, plain: &[f32], spare: f32, cpu: &Cpu) -> Buffer {
    let mut out = Buffer::zeroed(blocked_len(batch, channels, cells));
    to_blocked(batch, channels, cells, plain, &mut out, cpu);
    spare_lanes(batch, channels, cells).for_each(|i| out[i] = spare);
    out
}

fn plain(batch: usize, channels: usize, cells: usize, blocked: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; batch * channels * cells];
    to_plain(batch, channels, cells, blocked, &mut out, &Cpu::new(1));
    out
}

/// Indices of the unused lanes of a blocked activation.
fn spare_lanes(batch: usize, channels: usize, cells: usize) -> impl Iterator<Item = usize> {
    let channel = move |i: usize| i / (cells * BLOCK) % blocks(channels) * BLOCK + i % BLOCK;
    (0..blocked_len(batch, channels, cells)).filter(move |&i| channel(i) >= channels)
}

fn algorithms(g: &ConvGeometry) -> impl Iterator<Item = Algorithm> {
    Algorithm::ALL.into_iter().filter(|algorithm| algorithm.supports(g))
}

#[test]
fn named_geometries_agree_with_the_definition() {
    for (name, g) in named() {
        let case = Case::new(g);
        let expected = case.expected();
        for isa in Isa::available() {
            let cpu = Cpu::with_isa(isa, 1);
            for algorithm in algorithms(&g) {
                let results = case.run(algorithm, &cpu, 0.0);
                case.check(&results, &expected, algorithm, &format!("{name}, {isa:?}"));
            }
        }
    }
}

/// Instruction sets of another architecture are compared by what this prints: `.ci/aarch64` does.
#[test]
#[expect(clippy::print_stdout, reason = "the bits, to be compared with those of another architecture")]
fn fused_instruction_sets_give_the_same_bits() {
    let fused: Vec<Isa> = Isa::available().into_iter().filter(|isa| *isa != Isa::Portable).collect();
    for (name, g) in named() {
        let case = Case::new(g);
        for algorithm in algorithms(&g) {
            let results = fused.iter().map(|&isa| case.run(algorithm, &Cpu::with_isa(isa, 1), 0.0).digest());
            let digests: Vec<u64> = results.collect();
            assert!(digests.windows(2).all(|two| two[0] == two[1]), "{name}, {algorithm:?}: {fused:?}");
            println!("bits of {name}, {algorithm:?}: {:x?}", digests.first());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_geometry_agrees_with_the_definition(g in any_geometry()) {
        prop_assume!(g.macs() < 2_000_000);
        let case = Case::new(g);
        let expected = case.expected();
        for isa in Isa::available() {
            for algorithm in algorithms(&g) {
                let results = case.run(algorithm, &Cpu::with_isa(isa, 2), -3.0);
                case.check(&results, &expected, algorithm, &format!("{isa:?}"));
            }
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    for (name, g) in named() {
        let case = Case::new(g);
        for algorithm in algorithms(&g) {
            let one = case.run(algorithm, &Cpu::new(1), 0.0);
            for threads in 2..=4 {
                assert_eq!(case.run(algorithm, &Cpu::new(threads), 0.0), one, "{name}, {threads} threads");
            }
        }
    }
}

#[test]
fn an_image_gives_the_same_bits_alone_and_in_a_batch() {
    for (name, g) in named() {
        let case = Case::new(g);
        let (x, dy) = (g.in_channels * cells(g.input), g.out_channels * cells(g.output));
        for algorithm in algorithms(&g) {
            let all = case.run(algorithm, &Cpu::new(1), 0.0);
            for image in 0..g.batch {
                let alone = Case {
                    g: ConvGeometry { batch: 1, ..g },
                    x: case.x[image * x..][..x].to_vec(),
                    dy: case.dy[image * dy..][..dy].to_vec(),
                    weight: case.weight.clone(),
                    bias: case.bias.clone(),
                };
                let alone = alone.run(algorithm, &Cpu::new(1), 0.0);
                assert_eq!(all.y[image * alone.y.len()..][..alone.y.len()], alone.y[..], "{name} y {image}");
                assert_eq!(
                    all.dx[image * alone.dx.len()..][..alone.dx.len()],
                    alone.dx[..],
                    "{name} dx {image}"
                );
            }
        }
    }
}

#[test]
fn unused_lanes_have_no_influence_and_come_out_zero() {
    for (name, g) in named() {
        let case = Case::new(g);
        for algorithm in algorithms(&g) {
            let clean = case.run(algorithm, &Cpu::new(1), 0.0);
            assert_eq!(case.run(algorithm, &Cpu::new(1), 1e30), clean, "{name}, {algorithm:?}");
            let zero = |buffer: &Buffer, channels, cells| {
                spare_lanes(g.batch, channels, cells).all(|i| buffer[i].to_bits() == 0)
            };
            assert!(zero(&clean.y, g.out_channels, cells(g.output)), "{name}, {algorithm:?}");
            assert!(zero(&clean.dx, g.in_channels, cells(g.input)), "{name}, {algorithm:?}");
        }
    }
}

#[test]
fn gradients_are_the_adjoints_of_the_forward_pass() {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum() };
    for (name, g) in named() {
        let mut case = Case::new(g);
        case.bias.fill(0.0);
        for algorithm in algorithms(&g) {
            let results = case.run(algorithm, &Cpu::new(2), 0.0);
            let forward = dot(&case.dy, &plain(g.batch, g.out_channels, cells(g.output), &results.y));
            let input = dot(&case.x, &plain(g.batch, g.in_channels, cells(g.input), &results.dx));
            let weight = dot(&case.weight, &results.dw);
            let scale = 1e-5 * (g.macs() as f64).sqrt().max(1.0);
            assert!((forward - input).abs() <= scale, "{name}: {forward} {input}");
            assert!((forward - weight).abs() <= scale, "{name}: {forward} {weight}");
        }
    }
}

#[test]
fn each_algorithm_is_chosen_where_it_pays_and_direct_elsewhere() {
    for (name, g) in named() {
        let depthwise = name.starts_with("depthwise") && !name.contains("multiplier");
        let expected = match name {
            _ if depthwise => Algorithm::Depthwise,
            "groups of two blocks" | "groups of three to five" => Algorithm::Direct,
            _ if name.starts_with("groups") => Algorithm::Grouped,
            _ if name.starts_with("squares") || name == "3 x 3" => Algorithm::WinogradFour,
            _ if name.starts_with("phases") => Algorithm::WinogradPhases,
            _ if g.in_channels <= 4 => Algorithm::Plain,
            _ if name.starts_with("few channels") => Algorithm::FewChannels,
            _ => Algorithm::Direct,
        };
        assert_eq!(Algorithm::choose(&g, Accuracy::Default), expected, "{name}");
        let strict = Algorithm::choose(&g, Accuracy::Strict);
        match expected {
            Algorithm::WinogradFour | Algorithm::WinogradPhases => {
                assert!(matches!(strict, Algorithm::Direct | Algorithm::Grouped), "{name}: {strict:?}");
            }
            other => assert_eq!(strict, other, "{name}"),
        }
        let fast = if name == "squares in many chunks" { Algorithm::WinogradSix } else { expected };
        assert_eq!(Forward::with_accuracy(&g, Accuracy::Fast).algorithm(), fast, "{name}");
        assert_eq!(Forward::new(&g).algorithm(), expected);
        assert_eq!(Forward::with_algorithm(&g, Algorithm::Depthwise).is_some(), depthwise);
    }
}
