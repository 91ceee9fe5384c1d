//! Division of each line of a plain tensor by its length, the sum of magnitudes or the root of the sum of squares.

use crate::cpu::Cpu;
use crate::lines::{Lines, TILE, Tile};

/// Which length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// The sum of magnitudes.
    One,
    /// The root of the sum of squares.
    Two,
}

impl Power {
    fn lengths(self, lines: &Lines, tile: Tile, x: &[f32]) -> [f64; TILE] {
        let term = |x: f64| if self == Self::One { x.abs() } else { x * x };
        let [sums] = lines.sums(tile, |at, _| [term(f64::from(x[at]))]);
        if self == Self::One { sums } else { sums.map(f64::sqrt) }
    }
}

/// `y = x / length`; a line of length zero stays zero.
///
/// # Panics
/// Where a slice has not its length.
pub fn lp_norm(cpu: &Cpu, lines: Lines, power: Power, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), lines.elements());
    lines.fill(cpu, y, |tile| {
        let inverse = power.lengths(&lines, tile, x).map(inverse);
        move |at, lane| (f64::from(x[at]) * inverse[lane]) as f32
    });
}

/// Gradient of [`lp_norm`]: `dx = (dy - t sum(dy y)) / length` with `t` the sign of `x` for [`Power::One`] and `y` for [`Power::Two`]; zero in a line
/// of length zero.
///
/// # Panics
/// Where a slice has not its length.
pub fn lp_norm_backward(cpu: &Cpu, lines: Lines, power: Power, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert!(x.len() == lines.elements() && dy.len() == x.len());
    lines.fill(cpu, dx, |tile| {
        let inverse = power.lengths(&lines, tile, x).map(inverse);
        let [dots] = lines.sums(tile, |at, _| [f64::from(x[at]) * f64::from(dy[at])]);
        move |at, lane| {
            let (x, length) = (f64::from(x[at]), inverse[lane]);
            let direction = match power {
                Power::One if x == 0.0 => 0.0,
                Power::One => x.signum(),
                Power::Two => x * length,
            };
            (length * (f64::from(dy[at]) - direction * dots[lane] * length)) as f32
        }
    });
}

fn inverse(length: f64) -> f64 {
    if length == 0.0 { 0.0 } else { length.recip() }
}
