//! The weights of Winograd's filtering at its points, calculated in `f64` and rounded once.

use super::squares::MOST;
use super::tile::{PANEL, pieces};
use super::winograd::Winograd;
use crate::cpu::WithSimd;
use crate::layout::BLOCK;
use crate::simd::Simd;
use crate::threads::SharedMut;

/// Packs one panel of one group at all points. Nobody else writes this panel.
pub(super) struct Weights<'a, F> {
    pub(super) plan: &'a Winograd,
    pub(super) weight: &'a [f32],
    /// Where the nine taps of a written and a read channel start.
    pub(super) start: &'a F,
    pub(super) packed: SharedMut<'a>,
    pub(super) group: usize,
    pub(super) panel: usize,
}

impl<F: Fn(usize, usize) -> usize> WithSimd for Weights<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let plan = self.plan;
        let [read, write] = plan.channels;
        let (first_read, first) = (self.group * read, self.group * write + self.panel * PANEL);
        let lanes = PANEL.min(write - self.panel * PANEL);
        let transform = plan.whole.weight();
        // All points of some channels, before they go to their places, which lie far apart.
        let mut values = [[[0.0f32; PANEL]; BLOCK]; MOST * MOST];
        for channels in pieces(read, BLOCK) {
            for (k, channel) in channels.clone().enumerate() {
                // Lanes last, so that the compiler makes vectors of them.
                let mut taps = [[0.0; PANEL]; 9];
                for lane in 0..lanes {
                    let from = &self.weight[(self.start)(first + lane, first_read + channel)..][..9];
                    for (i, taps) in taps.iter_mut().enumerate() {
                        taps[lane] = f64::from(from[if plan.mirrored { 8 - i } else { i }]);
                    }
                }
                for (y, rows) in transform.iter().enumerate() {
                    let columns: [[f64; PANEL]; 3] =
                        std::array::from_fn(|x| combine(rows, [&taps[x], &taps[3 + x], &taps[6 + x]]));
                    for (x, factors) in transform.iter().enumerate() {
                        let sums = combine(factors, [&columns[0], &columns[1], &columns[2]]);
                        let to = &mut values[y * plan.side() + x][k];
                        to.iter_mut().zip(sums).for_each(|(to, sum)| *to = sum as f32);
                    }
                }
            }
            for (point, values) in values.iter().enumerate().take(plan.points()) {
                let start = plan.panel_start(self.group, point, self.panel) + channels.start * PANEL;
                // SAFETY: nobody else writes this panel.
                let to = unsafe { self.packed.slice(start, channels.len() * PANEL) };
                to.copy_from_slice(&values.as_flattened()[..to.len()]);
            }
        }
    }
}

#[inline(always)]
fn combine(factors: &[f64; 3], taps: [&[f64; PANEL]; 3]) -> [f64; PANEL] {
    std::array::from_fn(|lane| {
        factors[0] * taps[0][lane] + factors[1] * taps[1][lane] + factors[2] * taps[2][lane]
    })
}
