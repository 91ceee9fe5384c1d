//! What the weight gradient of `depthwise.rs` walks over in a row.

use std::ops::Range;

use super::windows::Line;
use crate::layout::BLOCK;

/// Neighbouring taps, and the cells of a row that reach some of them.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) taps: Range<usize>,
    pub(super) runs: Vec<Run>,
    /// Where there is no stride.
    pub(super) walks: Vec<Walk>,
}

/// A line by what is read.
#[derive(Debug)]
pub(super) struct Walk {
    /// Where the first vector of `x` stands, and the cell that it is the first tap of, in elements from the start of a row.
    pub(super) x: isize,
    pub(super) dy: usize,
    /// Cells before that one that have not met all their taps: number `i` before it is in the row if bit `i` is set.
    pub(super) before: u32,
    /// Vectors of `x` whose first-tap cell is in the row, and those beyond.
    pub(super) inside: usize,
    pub(super) beyond: usize,
}

/// Cells that reach the same taps of a piece: all of them, or it is one cell.
#[derive(Debug)]
pub(super) struct Run {
    /// Where the first cell would read for the first tap of the piece, and where it stands, in elements from the start of a row.
    pub(super) x: isize,
    pub(super) dy: usize,
    pub(super) count: usize,
    /// The taps, counted from the first of the piece.
    pub(super) reach: Range<usize>,
}

impl Piece {
    pub(super) fn new(taps: Range<usize>, lines: &[Line]) -> Self {
        let mut runs: Vec<Run> = vec![];
        for line in lines {
            let first = runs.len();
            for cell in 0..line.count {
                let position = cell * line.stride + taps.start;
                let reach = line.inside.start.saturating_sub(position).min(taps.len())
                    ..line.inside.end.saturating_sub(position).min(taps.len());
                match runs[first..].last_mut() {
                    _ if reach.is_empty() => {}
                    Some(run) if reach.len() == taps.len() && run.reach == reach => run.count += 1,
                    _ => runs.push(Run {
                        x: (line.read + (position * line.read_step) as isize) * BLOCK as isize,
                        dy: (line.write + cell * line.write_step) * BLOCK,
                        count: 1,
                        reach,
                    }),
                }
            }
        }
        let walks = lines.iter().filter(|line| line.stride == 1).map(|line| {
            // A position is met by cells `position - taps.end + 1..=position - taps.start`.
            let start = line.inside.start.max(taps.start);
            let end = line.inside.end.min(line.count + taps.end - 1).max(start);
            let cell = start - taps.start;
            let inside = line.count.saturating_sub(cell).min(end - start);
            Walk {
                x: (line.read + (start * line.read_step) as isize) * BLOCK as isize,
                dy: (line.write + cell * line.write_step) * BLOCK,
                before: (1..taps.len())
                    .filter(|&i| i <= cell && cell - i < line.count)
                    .fold(0, |bits, i| bits | 1 << i),
                inside,
                beyond: end - start - inside,
            }
        });
        let walks = walks.collect();
        Self { taps, runs, walks }
    }
}
