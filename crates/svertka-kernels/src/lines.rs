//! A plain tensor as lines along some of its axes, for what is computed of one line at a time: norms, softmax and its kin.

use std::ops::Range;

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::threads::SharedMut;

/// A tensor `batch x outer x len x inner`: a line has the elements that share `outer` and `inner`. Most lines have `batch` 1, and those along the
/// last axes `inner` 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lines {
    /// Elements of a line that lie far apart.
    pub batch: usize,
    /// Lines that lie one after the other.
    pub outer: usize,
    /// Elements of a line that lie `inner` apart.
    pub len: usize,
    /// Lines that lie side by side.
    pub inner: usize,
}

/// Lines side by side that one job works on, and elements that it takes at a time.
pub(crate) const TILE: usize = 64;

/// Up to [`TILE`] lines side by side; of lines that are not side by side, one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    outer: usize,
    column: usize,
    pub(crate) width: usize,
}

impl Lines {
    /// `count` lines of `len` elements, one after the other.
    pub fn rows(count: usize, len: usize) -> Self {
        Self { batch: 1, outer: count, len, inner: 1 }
    }

    /// The lines of a tensor of this shape that have all elements along `axes`.
    ///
    /// # Panics
    /// Where there are fewer axes.
    pub fn along(shape: &[usize], axes: Range<usize>) -> Self {
        let product = |sizes: &[usize]| sizes.iter().product();
        Self {
            batch: 1,
            outer: product(&shape[..axes.start]),
            len: product(&shape[axes.clone()]),
            inner: product(&shape[axes.end..]),
        }
    }

    /// Number of lines.
    pub fn count(&self) -> usize {
        self.outer * self.inner
    }

    /// Elements of one line.
    pub fn terms(&self) -> usize {
        self.batch * self.len
    }

    /// Elements of the tensor.
    pub fn elements(&self) -> usize {
        self.terms() * self.count()
    }

    /// Calls `f` for each tile, small ones together in one job.
    pub(crate) fn run(&self, cpu: &Cpu, f: impl Fn(Tile) + Sync) {
        let columns = self.inner.div_ceil(TILE);
        run_ranges(cpu, self.outer * columns, self.terms() * self.inner.min(TILE), |tiles| {
            for tile in tiles {
                let column = tile % columns * TILE;
                f(Tile { outer: tile / columns, column, width: TILE.min(self.inner - column) });
            }
        });
    }

    /// The lines of a tile, by number.
    pub(crate) fn lines_of(&self, tile: Tile) -> Range<usize> {
        let first = tile.outer * self.inner + tile.column;
        first..first + tile.width
    }

    /// The line that element `at` belongs to.
    pub(crate) fn line_of(&self, at: usize) -> usize {
        at / (self.len * self.inner) % self.outer * self.inner + at % self.inner
    }

    /// Elements after which a line ends or another begins.
    pub(crate) fn contiguous(&self) -> usize {
        if self.inner == 1 { self.len } else { self.inner }
    }

    /// Where the elements of a tile stand, in order: whole lines where they are contiguous, else one element of each line at a time.
    pub(crate) fn stretches(self, tile: Tile) -> impl Iterator<Item = Range<usize>> {
        let (rows, width) = if self.inner == 1 { (1, self.len) } else { (self.len, tile.width) };
        (0..self.batch).flat_map(move |image| {
            (0..rows).map(move |row| {
                let start = ((image * self.outer + tile.outer) * self.len + row) * self.inner + tile.column;
                start..start + width
            })
        })
    }

    /// The sums over each line of a tile, where `term(at, lane)` is the term of element `at`. `lane` is the line's place in the tile where lines
    /// stand side by side; else any lane of the result has the sum. The order of additions depends on the sizes only.
    pub(crate) fn sums<const OUT: usize>(
        &self,
        tile: Tile,
        term: impl Fn(usize, usize) -> [f64; OUT],
    ) -> [[f64; TILE]; OUT] {
        let mut sums = [[0.0; TILE]; OUT];
        for piece in self.stretches(tile).flat_map(|stretch| pieces(stretch, usize::MAX)) {
            for (lane, at) in piece.enumerate() {
                for (sums, term) in sums.iter_mut().zip(term(at, lane)) {
                    sums[lane] += term;
                }
            }
        }
        self.joined(sums)
    }

    /// Sums by lane of the elements of a tile as sums by line, where a tile is one line.
    pub(crate) fn joined<const OUT: usize>(&self, sums: [[f64; TILE]; OUT]) -> [[f64; TILE]; OUT] {
        if self.inner == 1 { sums.map(|lanes| [lanes.iter().sum(); TILE]) } else { sums }
    }

    /// Fills `out` tile by tile: `values(tile)` prepares what gives each element, from its place and its lane as in [`Lines::sums`].
    pub(crate) fn fill<V: Fn(usize, usize) -> f32>(
        &self,
        cpu: &Cpu,
        out: &mut [f32],
        values: impl Fn(Tile) -> V + Sync,
    ) {
        assert_eq!(out.len(), self.elements());
        let out = SharedMut::new(out);
        self.run(cpu, |tile| {
            let value = values(tile);
            for piece in self.stretches(tile).flat_map(|stretch| pieces(stretch, usize::MAX)) {
                // SAFETY: each element belongs to one tile.
                let elements = unsafe { out.slice(piece.start, piece.len()) };
                for (lane, element) in elements.iter_mut().enumerate() {
                    *element = value(piece.start + lane, lane);
                }
            }
        });
    }
}

/// `range` in pieces of at most [`TILE`] elements that do not reach across a multiple of `boundary`.
pub(crate) fn pieces(range: Range<usize>, boundary: usize) -> impl Iterator<Item = Range<usize>> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        let start = at;
        // Nothing has no boundary: that of empty lines is zero.
        (start < range.end).then(|| {
            at = range.end.min(start + TILE).min(start + (boundary - start % boundary));
            start..at
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_hold_every_element_once_with_its_line() {
        for (batch, outer, len, inner) in [
            (1, 3, 7, 1),
            (2, 3, 70, 1),
            (1, 2, 3, 5),
            (3, 2, 4, 130),
            (0, 2, 3, 4),
            (2, 2, 0, 3),
            (1, 1, 1, 1),
        ] {
            let lines = Lines { batch, outer, len, inner };
            let mut seen = vec![0u32; lines.elements()];
            let shared = SharedMut::new(&mut seen);
            lines.run(&Cpu::new(2), |tile| {
                let numbers = lines.lines_of(tile);
                for stretch in lines.stretches(tile) {
                    for at in stretch.clone() {
                        // The definition: outer and inner index of an element in row-major order.
                        let (o, i) = (at / (len * inner) % outer, at % inner);
                        assert_eq!(lines.line_of(at), o * inner + i);
                        assert!(numbers.contains(&(o * inner + i)));
                        // SAFETY: each element belongs to one tile, which the assertion below confirms.
                        let count = unsafe { shared.slice(at, 1) };
                        count[0] += 1;
                    }
                }
            });
            assert!(seen.iter().all(|&count| count == 1), "{lines:?}");
        }
    }

    #[test]
    fn pieces_end_at_boundaries() {
        assert_eq!(pieces(5..17, 6).collect::<Vec<_>>(), [5..6, 6..12, 12..17]);
        assert_eq!(
            pieces(3..3 + TILE + 1, usize::MAX).collect::<Vec<_>>(),
            [3..3 + TILE, 3 + TILE..4 + TILE]
        );
        assert_eq!(pieces(4..4, 3).count(), 0);
    }
}
