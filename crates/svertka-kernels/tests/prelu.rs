//! The ReLU with learned slopes against its definition, for every way a shape broadcasts.

mod blocked;

use blocked::*;
use svertka_kernels::Cpu;
use svertka_kernels::prelu::*;

/// The slope of an element, by the rule of broadcasting: index by index from the last axis.
fn slope_of(x: &[usize], slopes: &[usize], mut at: usize) -> usize {
    let (mut slope, mut step) = (0, 1);
    for axis in (0..x.len()).rev() {
        let index = at % x[axis];
        at /= x[axis];
        if let Some(own) = (axis + slopes.len()).checked_sub(x.len()).map(|axis| slopes[axis]) {
            slope += if own == 1 { 0 } else { index * step };
            step *= own;
        }
    }
    slope
}

#[test]
fn slopes_broadcast() {
    for (x, slopes) in [
        (&[2, 3, 5, 4][..], &[3, 1, 1][..]),
        (&[2, 3, 5, 4], &[1]),
        (&[2, 3, 5, 4], &[]),
        (&[2, 3, 5, 4], &[4]),
        (&[2, 3, 5, 4], &[5, 1]),
        (&[2, 3, 5, 4], &[3, 1, 4]),
        (&[2, 3, 5, 4], &[2, 1, 5, 1]),
        (&[2, 3, 5, 4], &[2, 3, 5, 4]),
        (&[2, 9, 1, 70], &[9, 1, 1]),
        (&[3, 17, 1333], &[17, 1]),
        (&[7], &[7]),
        (&[], &[]),
        (&[0, 3, 2], &[3, 1]),
        (&[2, 3, 0], &[3, 1]),
    ] {
        let len = x.iter().product();
        let (values, dy) = (numbers(len, 1), numbers(len, 2));
        let slope = numbers(slopes.iter().product(), 3);
        let [wide_x, wide_dy, wide_slope] = [&values, &dy, &slope].map(|v| wide(v));
        let (mut y, mut dx, mut dslope) = (vec![], vec![], vec![0.0; slope.len()]);
        for at in 0..len {
            let own = slope_of(x, slopes, at);
            let positive = wide_x[at] > 0.0;
            y.push(if positive { wide_x[at] } else { wide_slope[own] * wide_x[at] });
            dx.push(if positive { wide_dy[at] } else { wide_slope[own] * wide_dy[at] });
            dslope[own] += if positive { 0.0 } else { wide_x[at] * wide_dy[at] };
        }
        let spread = Slopes::new(x, slopes).unwrap();
        let run = |cpu: &Cpu| {
            let (mut y, mut dx) = (vec![f32::NAN; len], vec![f32::NAN; len]);
            let mut dslope = vec![f32::NAN; slope.len()];
            prelu(cpu, &spread, &values, &slope, &mut y);
            prelu_backward(cpu, &spread, &values, &slope, &dy, &mut dx);
            prelu_slope_gradient(cpu, &spread, &values, &dy, &mut dslope);
            [y, dx, dslope].concat()
        };
        let expected = [y, dx, dslope].concat();
        on_every_machine(run, |got| assert_close(&wide(got), &expected, 1e-6, &format!("{x:?} {slopes:?}")));
    }
}

#[test]
fn what_does_not_broadcast_is_refused() {
    for slopes in [&[2][..], &[3], &[1, 2, 3, 5, 4], &[3, 5, 1, 1]] {
        assert_eq!(Slopes::new(&[2, 3, 5, 4], slopes), None, "{slopes:?}");
    }
}

#[test]
fn not_a_number_is_not_swallowed() {
    let (cpu, slopes) = (Cpu::new(1), Slopes::new(&[1], &[1]).unwrap());
    let mut out = [0.0];
    prelu(&cpu, &slopes, &[f32::NAN], &[0.5], &mut out);
    assert!(out[0].is_nan());
    prelu_slope_gradient(&cpu, &slopes, &[f32::NAN], &[1.0], &mut out);
    assert!(out[0].is_nan());
}
