//! The weights of `phases.rs`: transformed and arranged in panels.

use super::phases::{PHASES, Phases, SIDE, phase};
use super::tile::PANEL;
use crate::cpu::Cpu;
use crate::threads::SharedMut;

/// What the two taps of a phase are multiplied with at each point.
const WEIGHT: [[f64; 2]; SIDE] = [[1.0, 0.0], [0.5, 0.5], [0.5, -0.5], [0.0, 1.0]];

impl Phases {
    /// Packs `weight`, in which the taps of written channel `w` and read channel `r` start at `start(w, r)`.
    pub(crate) fn pack(
        &self,
        cpu: &Cpu,
        weight: &[f32],
        packed: &mut [f32],
        start: impl Fn(usize, usize) -> usize + Sync,
    ) {
        let out = SharedMut::new(packed);
        cpu.threads.run(self.panels(), |panel, _| {
            // SAFETY: panels are disjoint, and each is written by its own job.
            let packed = unsafe { out.slice(panel * self.panel_len(), self.panel_len()) };
            packed.fill(0.0);
            let [odd_row, odd_column] = phase(panel);
            let first = panel / PHASES * PANEL;
            for lane in 0..PANEL.min(self.write.channels - first) {
                for read in 0..self.read.channels {
                    let taps = &weight[start(first + lane, read)..][..16];
                    // The earlier of the two cells meets the later tap.
                    let tap = |y: usize, x: usize| {
                        f64::from(taps[(2 - 2 * y + odd_row) * 4 + 2 - 2 * x + odd_column])
                    };
                    for (y, [up, down]) in WEIGHT.iter().enumerate() {
                        for (x, [left, right]) in WEIGHT.iter().enumerate() {
                            let value = up * (left * tap(0, 0) + right * tap(0, 1))
                                + down * (left * tap(1, 0) + right * tap(1, 1));
                            let at = ((y * SIDE + x) * self.read.channels + read) * PANEL + lane;
                            packed[at] = value as f32;
                        }
                    }
                }
            }
        });
    }
}
