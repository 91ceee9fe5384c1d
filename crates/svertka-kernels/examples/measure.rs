//! Rates of the convolution kernels by layer, pass and number of threads, beside the rate of a loop that only multiplies and adds in registers.
//!
//! `cargo run --release -p svertka-kernels --example measure -- [part of a name] [milliseconds per figure]`

#![expect(clippy::print_stdout, reason = "a measuring program prints its table")]

use std::time::{Duration, Instant};

use svertka_kernels::conv::{Accuracy, Algorithm, Forward, InputGradient, WeightGradient};
use svertka_kernels::epilogue::Epilogue;
use svertka_kernels::geometry::{ConvGeometry, Window};
use svertka_kernels::layout::blocked_len;
use svertka_kernels::{Buffer, Cpu, matmul, peak};

/// Name, then batch, input and output channels, groups, then input, kernel and stride along depth, height and width; padding is half the kernel, rounded down.
type Layer = (&'static str, [usize; 4], [usize; 3], [usize; 3], [usize; 3]);

const LAYERS: &[Layer] = &[
    ("1>32 3x3 @28 b64", [64, 1, 32, 1], [1, 28, 28], [1, 3, 3], [1, 1, 1]),
    ("3>32 3x3 @32 b64", [64, 3, 32, 1], [1, 32, 32], [1, 3, 3], [1, 1, 1]),
    ("32>32 3x3 @28 b64", [64, 32, 32, 1], [1, 28, 28], [1, 3, 3], [1, 1, 1]),
    ("32>64 3x3 @14 b64", [64, 32, 64, 1], [1, 14, 14], [1, 3, 3], [1, 1, 1]),
    ("64>64 3x3 @14 b64", [64, 64, 64, 1], [1, 14, 14], [1, 3, 3], [1, 1, 1]),
    ("64>128 3x3 @7 b64", [64, 64, 128, 1], [1, 7, 7], [1, 3, 3], [1, 1, 1]),
    ("128>128 3x3 @8 b64", [64, 128, 128, 1], [1, 8, 8], [1, 3, 3], [1, 1, 1]),
    ("64>64 3x3 @56 b16", [16, 64, 64, 1], [1, 56, 56], [1, 3, 3], [1, 1, 1]),
    ("128>128 3x3 @28 b1", [1, 128, 128, 1], [1, 28, 28], [1, 3, 3], [1, 1, 1]),
    ("128>128 3x3 @28 b16", [16, 128, 128, 1], [1, 28, 28], [1, 3, 3], [1, 1, 1]),
    ("256>256 3x3 @14 b16", [16, 256, 256, 1], [1, 14, 14], [1, 3, 3], [1, 1, 1]),
    ("512>512 3x3 @7 b16", [16, 512, 512, 1], [1, 7, 7], [1, 3, 3], [1, 1, 1]),
    ("64>64 3x3 @224 b1", [1, 64, 64, 1], [1, 224, 224], [1, 3, 3], [1, 1, 1]),
    ("64>64 3x3 @224 b16", [16, 64, 64, 1], [1, 224, 224], [1, 3, 3], [1, 1, 1]),
    ("256>256 3x3 @56 b1", [1, 256, 256, 1], [1, 56, 56], [1, 3, 3], [1, 1, 1]),
    ("256>256 3x3 @56 b16", [16, 256, 256, 1], [1, 56, 56], [1, 3, 3], [1, 1, 1]),
    ("4 groups of 32 3x3 @28 b1", [1, 128, 128, 4], [1, 28, 28], [1, 3, 3], [1, 1, 1]),
    ("64>64 3x3 @56 b1", [1, 64, 64, 1], [1, 56, 56], [1, 3, 3], [1, 1, 1]),
    ("256>256 3x3 @14 b1", [1, 256, 256, 1], [1, 14, 14], [1, 3, 3], [1, 1, 1]),
    ("512>512 3x3 @7 b1", [1, 512, 512, 1], [1, 7, 7], [1, 3, 3], [1, 1, 1]),
    ("512>512 3x3 @7 b8", [8, 512, 512, 1], [1, 7, 7], [1, 3, 3], [1, 1, 1]),
    ("64>256 1x1 @56 b1", [1, 64, 256, 1], [1, 56, 56], [1, 1, 1], [1, 1, 1]),
    ("1024>256 1x1 @14 b1", [1, 1024, 256, 1], [1, 14, 14], [1, 1, 1], [1, 1, 1]),
    ("1024>256 1x1 @14 b16", [16, 1024, 256, 1], [1, 14, 14], [1, 1, 1], [1, 1, 1]),
    ("512>2048 1x1 @7 b16", [16, 512, 2048, 1], [1, 7, 7], [1, 1, 1], [1, 1, 1]),
    ("512>1024 1x1 s2 @28 b16", [16, 512, 1024, 1], [1, 28, 28], [1, 1, 1], [1, 2, 2]),
    ("3>64 3x3 @224 b1", [1, 3, 64, 1], [1, 224, 224], [1, 3, 3], [1, 1, 1]),
    ("3>32 3x3 s2 @224 b1", [1, 3, 32, 1], [1, 224, 224], [1, 3, 3], [1, 2, 2]),
    ("1>6 5x5 @32 b64", [64, 1, 6, 1], [1, 32, 32], [1, 5, 5], [1, 1, 1]),
    ("3>64 7x7 s2 @224 b16", [16, 3, 64, 1], [1, 224, 224], [1, 7, 7], [1, 2, 2]),
    ("3>64 7x7 s2 @224 b1", [1, 3, 64, 1], [1, 224, 224], [1, 7, 7], [1, 2, 2]),
    ("128<256 4x4 s2 @32 b1", [1, 128, 256, 1], [1, 32, 32], [1, 4, 4], [1, 2, 2]),
    ("32<64 4x4 s2 @128 b1", [1, 32, 64, 1], [1, 128, 128], [1, 4, 4], [1, 2, 2]),
    ("128>128 3x3 s2 @56 b1", [1, 128, 128, 1], [1, 56, 56], [1, 3, 3], [1, 2, 2]),
    ("128>128 3x3 s2 @56 b16", [16, 128, 128, 1], [1, 56, 56], [1, 3, 3], [1, 2, 2]),
    ("depthwise 96 3x3 s2 @112 b1", [1, 96, 96, 96], [1, 112, 112], [1, 3, 3], [1, 2, 2]),
    ("depthwise 144 3x3 @56 b1", [1, 144, 144, 144], [1, 56, 56], [1, 3, 3], [1, 1, 1]),
    ("depthwise 32 3x3 @28 b1", [1, 32, 32, 32], [1, 28, 28], [1, 3, 3], [1, 1, 1]),
    ("depthwise 64 3x3 @14 b64", [64, 64, 64, 64], [1, 14, 14], [1, 3, 3], [1, 1, 1]),
    ("depthwise 576 3x3 @14 b1", [1, 576, 576, 576], [1, 14, 14], [1, 3, 3], [1, 1, 1]),
    ("depthwise 960 3x3 @7 b1", [1, 960, 960, 960], [1, 7, 7], [1, 3, 3], [1, 1, 1]),
    ("depthwise 96 3x3 s2 @112 b16", [16, 96, 96, 96], [1, 112, 112], [1, 3, 3], [1, 2, 2]),
    ("depthwise 144 3x3 @56 b16", [16, 144, 144, 144], [1, 56, 56], [1, 3, 3], [1, 1, 1]),
    ("depthwise 576 3x3 @14 b16", [16, 576, 576, 576], [1, 14, 14], [1, 3, 3], [1, 1, 1]),
    ("depthwise 960 3x3 @7 b16", [16, 960, 960, 960], [1, 7, 7], [1, 3, 3], [1, 1, 1]),
    ("depthwise 240 5x5 @28 b1", [1, 240, 240, 240], [1, 28, 28], [1, 5, 5], [1, 1, 1]),
    ("depthwise 144 5x5 s2 @56 b1", [1, 144, 144, 144], [1, 56, 56], [1, 5, 5], [1, 2, 2]),
    ("depthwise 192 7x7 @28 b1", [1, 192, 192, 192], [1, 28, 28], [1, 7, 7], [1, 1, 1]),
    ("depthwise 256 9 @1000 b1", [1, 256, 256, 256], [1, 1, 1000], [1, 1, 9], [1, 1, 1]),
    ("depthwise 64 3x3x3 @16 b1", [1, 64, 64, 64], [16, 16, 16], [3, 3, 3], [1, 1, 1]),
    ("grouped 32 x 4 3x3 @56 b1", [1, 128, 128, 32], [1, 56, 56], [1, 3, 3], [1, 1, 1]),
    ("grouped 32 x 4 3x3 @56 b16", [16, 128, 128, 32], [1, 56, 56], [1, 3, 3], [1, 1, 1]),
    ("grouped 32 x 8 3x3 @28 b1", [1, 256, 256, 32], [1, 28, 28], [1, 3, 3], [1, 1, 1]),
    ("grouped 32 x 4 3x3 @28 b1", [1, 128, 128, 32], [1, 28, 28], [1, 3, 3], [1, 1, 1]),
    ("24>40 1x1 @28 b8", [8, 24, 40, 1], [1, 28, 28], [1, 1, 1], [1, 1, 1]),
    ("32>64 9 @4000 b8", [8, 32, 64, 1], [1, 1, 4000], [1, 1, 9], [1, 1, 1]),
    ("64>128 9 @4096 b1", [1, 64, 128, 1], [1, 1, 4096], [1, 1, 9], [1, 1, 1]),
    ("16>32 3x3x3 @16x56x56 b1", [1, 16, 32, 1], [16, 56, 56], [3, 3, 3], [1, 1, 1]),
    ("16>32 3x3x3 @16 b4", [4, 16, 32, 1], [16, 16, 16], [3, 3, 3], [1, 1, 1]),
];

/// `m`, `k`, `n` of linear layers.
const PRODUCTS: &[[usize; 3]] = &[[64, 3136, 128], [64, 9216, 512], [128, 512, 10], [1, 9216, 4096]];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let wanted = arguments.next().unwrap_or_default();
    let time = Duration::from_millis(arguments.next().map_or(Ok(100), |text| text.parse())?);
    println!(
        "GFLOP/s of the fastest run (of the median run), share of the register loop beside the layer; {:?}",
        svertka_kernels::Isa::active()
    );
    println!(
        "{:28} {:>7}  {:>26}  {:>26}  {:>26}",
        "layer", "threads", "forward", "input gradient", "weight gradient"
    );
    for &(name, [batch, in_channels, out_channels, groups], input, kernel, stride) in LAYERS {
        if !name.contains(&wanted) {
            continue;
        }
        let padding = kernel.map(|k| ((k - 1) / 2, (k - 1) / 2));
        let window = Window { kernel, stride, dilation: [1; 3], padding };
        let g = ConvGeometry::new(batch, in_channels, out_channels, groups, input, window)?;
        for threads in [1, 2] {
            let figures = measure(&g, &Cpu::new(threads), time);
            println!("{name:28} {threads:>7}  {}", figures.join("  "));
        }
    }
    for &[m, k, n] in PRODUCTS {
        let name = format!("linear {k}>{n} b{m}");
        if name.contains(&wanted) {
            for threads in [1, 2] {
                let figures = measure_product([m, k, n], &Cpu::new(threads), time);
                println!("{name:28} {threads:>7}  {}", figures.join("  "));
            }
        }
    }
    Ok(())
}

/// The three products of one linear layer.
fn measure_product([m, k, n]: [usize; 3], cpu: &Cpu, time: Duration) -> Vec<String> {
    let threads = cpu.threads.count();
    let (mut x, mut w, mut y) = (numbers(m * k), numbers(n * k), numbers(m * n));
    let mut bias = numbers(n);
    let macs = (m * k * n) as u64;

    let plan = matmul::Forward::new(m, k, n);
    let mut packed = Buffer::zeroed(plan.packed_len());
    plan.pack(cpu, &w, &mut packed);
    let forward = rate(macs, cpu, time, || plan.run(cpu, &x, &packed, Some(&bias), &mut y, &mut []));

    let plan = matmul::InputGradient::new(m, k, n);
    let mut packed = Buffer::zeroed(plan.packed_len());
    plan.pack(cpu, &w, &mut packed);
    let input = rate(macs, cpu, time, || plan.run(cpu, &y, &packed, &mut x, &mut []));

    let plan = matmul::WeightGradient::new(m, k, n);
    let mut scratch = Buffer::zeroed(plan.scratch_len(threads));
    let weight = rate(macs, cpu, time, || plan.run(cpu, &x, &y, &mut w, Some(&mut bias), &mut scratch));
    vec![forward, input, weight]
}

fn numbers(len: usize) -> Buffer {
    let mut buffer = Buffer::zeroed(len);
    buffer.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 13) as f32 * 0.1 - 0.6);
    buffer
}

/// The three passes of one layer.
fn measure(g: &ConvGeometry, cpu: &Cpu, time: Duration) -> Vec<String> {
    let threads = cpu.threads.count();
    let in_cells: usize = g.input.iter().product();
    let blocked = blocked_len(g.batch, g.in_channels, in_cells);
    let plain = Algorithm::choose(g, Accuracy::Default).reads_plain();
    let x = numbers(if plain { g.batch * g.in_channels * in_cells } else { blocked });
    let mut dx = numbers(blocked);
    let mut y = numbers(blocked_len(g.batch, g.out_channels, g.output.iter().product()));
    let mut weight = numbers(g.weight_len());
    let mut bias = numbers(g.out_channels);

    let plan = Forward::new(g);
    let (mut packed, mut scratch) =
        (Buffer::zeroed(plan.packed_len()), Buffer::zeroed(plan.scratch_len(threads)));
    plan.pack(cpu, &weight, &mut packed);
    let forward = rate(g.macs(), cpu, time, || {
        plan.run(cpu, &x, &packed, &Epilogue::bias(&bias), &mut y, &mut scratch)
    });

    let plan = InputGradient::new(g);
    let (mut packed, mut scratch) =
        (Buffer::zeroed(plan.packed_len()), Buffer::zeroed(plan.scratch_len(threads)));
    plan.pack(cpu, &weight, &mut packed);
    let input = rate(g.macs(), cpu, time, || plan.run(cpu, &y, &packed, &mut dx, &mut scratch));

    let plan = WeightGradient::new(g);
    let mut scratch = Buffer::zeroed(plan.scratch_len(threads));
    let weight =
        rate(g.macs(), cpu, time, || plan.run(cpu, &x, &y, &mut weight, Some(&mut bias), &mut scratch));
    vec![forward, input, weight]
}

/// Runs `f` for some time, in turns with the register loop, and words its rate.
fn rate(macs: u64, cpu: &Cpu, time: Duration, mut f: impl FnMut()) -> String {
    f();
    let (start, mut times, mut most) = (Instant::now(), vec![], 0.0f64);
    while start.elapsed() < time || times.len() < 5 {
        let begin = Instant::now();
        f();
        times.push(begin.elapsed().as_secs_f64());
        if times.len() % 4 == 1 {
            most = most.max(peak::core_gflops(cpu.isa));
        }
    }
    times.sort_by(f64::total_cmp);
    let gflops = |seconds: f64| 2e-9 * macs as f64 / seconds;
    let (best, median) = (gflops(times[0]), gflops(times[times.len() / 2]));
    format!("{best:7.1} ({median:6.1}) {:5.0} %", 100.0 * best / most / cpu.threads.count() as f64)
}
