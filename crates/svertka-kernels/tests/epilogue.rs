//! An epilogue gives, bit for bit, what the passes over memory give that it saves.

use svertka_kernels::activation::{self, Activation};
use svertka_kernels::conv::{Algorithm, Forward, InputGradient};
use svertka_kernels::epilogue::{Epilogue, Residual};
use svertka_kernels::geometry::{ConvGeometry, Window};
use svertka_kernels::layout::blocked_len;
use svertka_kernels::{Buffer, Cpu, Isa, binary};

const ACTIVATIONS: [Option<Activation>; 9] = [
    None,
    Some(Activation::Relu),
    Some(Activation::Clip { min: -0.25, max: 0.5 }),
    Some(Activation::LeakyRelu { alpha: 0.1 }),
    Some(Activation::HardSwish),
    Some(Activation::Silu),
    Some(Activation::Sigmoid),
    Some(Activation::Gelu),
    Some(Activation::Tanh),
];

fn noise(len: usize, seed: usize) -> Buffer {
    let mut buffer = Buffer::zeroed(len);
    for (i, x) in buffer.iter_mut().enumerate() {
        *x = (((i + seed) * 7919) % 1009) as f32 / 504.5 - 1.0;
    }
    buffer
}

fn geometries() -> Vec<ConvGeometry> {
    let same = Window { kernel: [1, 3, 3], padding: [(0, 0), (1, 1), (1, 1)], ..Window::default() };
    let strided = Window { stride: [1, 2, 2], ..same };
    [
        (2, 19, 21, 1, same),
        (1, 8, 40, 1, Window { kernel: [1; 3], ..Window::default() }),
        (2, 12, 6, 2, strided),
        (2, 12, 12, 12, same),
        (1, 20, 20, 20, strided),
        (3, 3, 5, 1, strided),
        (2, 19, 12, 1, Window { kernel: [1, 4, 4], ..strided }),
    ]
    .into_iter()
    .map(|(batch, input, output, groups, window)| {
        ConvGeometry::new(batch, input, output, groups, [1, 9, 13], window).unwrap()
    })
    .collect()
}

/// Runs a pass with an epilogue on a given output.
type Run<'a> = dyn Fn(&Epilogue<'_>, &mut [f32]) + 'a;

/// `run` with all epilogues, beside the same in passes of their own.
fn check(cpu: &Cpu, len: usize, channels: usize, run: &Run<'_>, what: &str) {
    let (bias, residual) = (noise(channels, 3), noise(len, 5));
    let mut sums = noise(len, 1);
    run(&Epilogue::bias(&bias), &mut sums);
    for activation in ACTIVATIONS {
        for with_residual in [false, true] {
            let mut expected = sums.clone();
            if with_residual {
                binary::add(cpu, None, &residual, &mut expected);
            }
            if let Some(activation) = activation {
                activation::forward(cpu, activation, None, &mut expected);
            }
            let epilogue = Epilogue { activation, ..Epilogue::bias(&bias) };
            let mut y = residual.clone();
            if with_residual {
                run(&Epilogue { residual: Some(Residual::InOutput), ..epilogue }, &mut y);
                assert_eq!(y, expected, "{what}, in place, {activation:?}");
                y.fill(f32::NAN);
                run(&Epilogue { residual: Some(Residual::Apart(&residual)), ..epilogue }, &mut y);
            } else {
                run(&epilogue, &mut y);
            }
            assert_eq!(y, expected, "{what}, {activation:?}");
        }
    }
}

#[test]
fn convolutions_end_as_if_each_step_were_a_pass() {
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(isa, 2);
        for g in geometries() {
            let x = noise(blocked_len(g.batch, g.in_channels, g.input.iter().product()), 0);
            let y = noise(blocked_len(g.batch, g.out_channels, g.output.iter().product()), 2);
            let weight = noise(g.weight_len(), 7);
            for algorithm in Algorithm::ALL {
                let what = format!("{g:?}, {algorithm:?}, {isa:?}");
                if let Some(plan) = Forward::with_algorithm(&g, algorithm) {
                    let plain = g.batch * g.in_channels * g.input.iter().product::<usize>();
                    let x = if algorithm.reads_plain() { &x[..plain] } else { &x[..] };
                    let mut packed = Buffer::zeroed(plan.packed_len());
                    plan.pack(&cpu, &weight, &mut packed);
                    let run = |epilogue: &Epilogue<'_>, out: &mut [f32]| {
                        let mut scratch = Buffer::zeroed(plan.scratch_len(2));
                        plan.run(&cpu, x, &packed, epilogue, out, &mut scratch);
                    };
                    check(&cpu, y.len(), g.out_channels, &run, &what);
                }
                if let Some(plan) = InputGradient::with_algorithm(&g, algorithm) {
                    let mut packed = Buffer::zeroed(plan.packed_len());
                    plan.pack(&cpu, &weight, &mut packed);
                    let run = |epilogue: &Epilogue<'_>, out: &mut [f32]| {
                        let mut scratch = Buffer::zeroed(plan.scratch_len(2));
                        plan.run_with_epilogue(&cpu, &y, &packed, epilogue, out, &mut scratch);
                    };
                    check(&cpu, x.len(), g.in_channels, &run, &what);
                }
            }
        }
    }
}
