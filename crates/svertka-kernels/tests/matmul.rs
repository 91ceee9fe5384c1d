//! The three products of a linear layer against plain `f64` loops, on every instruction set and number of threads.

use proptest::prelude::*;
use svertka_kernels::matmul::{Forward, InputGradient, WeightGradient};
use svertka_kernels::{Buffer, Cpu, Isa};

const TOLERANCE: f64 = 2e-6;

/// `m`, `k`, `n`; the last ones need several blocks of the inner size, and several jobs.
const SIZES: &[[usize; 3]] = &[
    [1, 1, 1],
    [1, 7, 33],
    [2, 8, 16],
    [7, 33, 10],
    [13, 5, 40],
    [5, 3, 24],
    [0, 3, 4],
    [2, 0, 3],
    [3, 4, 0],
    [3, 5001, 17],
    [2500, 9, 21],
    [64, 300, 130],
];

fn numbers(seed: usize, len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
}

/// `y`, `dx`, `dw`, `db` by the kernels, into memory full of rubbish.
fn run([m, k, n]: [usize; 3], cpu: &Cpu) -> [Vec<f32>; 4] {
    let (x, w, bias, dy) = (numbers(1, m * k), numbers(2, n * k), numbers(3, n), numbers(4, m * n));
    let rubbish = |len: usize| Buffer::from(&vec![3e8; len][..]);
    let (mut y, mut dx, mut dw, mut db) =
        (vec![5e8; m * n], vec![5e8; m * k], vec![5e8; n * k], vec![5e8; n]);
    let threads = cpu.threads.count();

    let plan = Forward::new(m, k, n);
    let mut packed = rubbish(plan.packed_len());
    plan.pack(cpu, &w, &mut packed);
    plan.run(cpu, &x, &packed, Some(&bias), &mut y, &mut rubbish(plan.scratch_len(threads)));

    let plan = InputGradient::new(m, k, n);
    let mut packed = rubbish(plan.packed_len());
    plan.pack(cpu, &w, &mut packed);
    plan.run(cpu, &dy, &packed, &mut dx, &mut rubbish(plan.scratch_len(threads)));

    let plan = WeightGradient::new(m, k, n);
    plan.run(cpu, &x, &dy, &mut dw, Some(&mut db), &mut rubbish(plan.scratch_len(threads)));
    [y, dx, dw, db]
}

/// The same by the definition, with the sums of absolute products.
fn reference([m, k, n]: [usize; 3]) -> [Vec<(f64, f64)>; 4] {
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
    let (x, w, bias, dy) =
        (wide(numbers(1, m * k)), wide(numbers(2, n * k)), wide(numbers(3, n)), wide(numbers(4, m * n)));
    let sum = |terms: &mut dyn Iterator<Item = f64>| terms.fold((0.0, 0.0), |(s, a), t| (s + t, a + t.abs()));
    let table = |rows: usize, cols: usize, cell: &dyn Fn(usize, usize) -> (f64, f64)| {
        (0..rows).flat_map(|r| (0..cols).map(move |c| (r, c))).map(|(r, c)| cell(r, c)).collect::<Vec<_>>()
    };
    [
        table(m, n, &|r, c| sum(&mut (0..k).map(|i| x[r * k + i] * w[c * k + i]).chain([bias[c]]))),
        table(m, k, &|r, c| sum(&mut (0..n).map(|i| dy[r * n + i] * w[i * k + c]))),
        table(n, k, &|r, c| sum(&mut (0..m).map(|i| dy[i * n + r] * x[i * k + c]))),
        table(1, n, &|_, c| sum(&mut (0..m).map(|i| dy[i * n + c]))),
    ]
}

fn check(sizes: [usize; 3], cpu: &Cpu) {
    for (name, (got, expected)) in
        ["y", "dx", "dw", "db"].iter().zip(run(sizes, cpu).into_iter().zip(reference(sizes)))
    {
        assert_eq!(got.len(), expected.len());
        for (i, (got, (expected, absolute))) in got.into_iter().zip(expected).enumerate() {
            let error = (f64::from(got) - expected).abs();
            assert!(
                error <= TOLERANCE * absolute,
                "{name} of {sizes:?}: {i} expected {expected}, received {got}"
            );
        }
    }
}

#[test]
fn listed_sizes_agree_with_the_definition() {
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(isa, 2);
        SIZES.iter().for_each(|&sizes| check(sizes, &cpu));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_size_agrees_with_the_definition(m in 1usize..20, k in 1usize..70, n in 1usize..70) {
        Isa::available().into_iter().for_each(|isa| check([m, k, n], &Cpu::with_isa(isa, 1)));
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    for &sizes in SIZES {
        let one = run(sizes, &Cpu::new(1));
        (2..=4).for_each(|threads| assert_eq!(run(sizes, &Cpu::new(threads)), one, "{sizes:?}"));
    }
}

#[test]
fn a_row_gives_the_same_bits_alone_and_among_others() {
    let [m, k, n] = [13, 4500, 21];
    let (x, w) = (numbers(1, m * k), numbers(2, n * k));
    let cpu = Cpu::new(1);
    let product = |x: &[f32]| {
        let plan = Forward::new(x.len() / k, k, n);
        let mut packed = Buffer::zeroed(plan.packed_len());
        plan.pack(&cpu, &w, &mut packed);
        let mut y = vec![0.0; x.len() / k * n];
        plan.run(&cpu, x, &packed, None, &mut y, &mut []);
        y
    };
    let all = product(&x);
    for (row, y) in x.chunks(k).zip(all.chunks(n)) {
        assert_eq!(product(row), y);
    }
}
