//! Passes that write a picture: forward passes to a few channels, and the input gradient of layers that read them, which is also the transposed layer.
//!
//! With channels in its lanes a vector would hold three or four of them and work for eight. Here it holds eight cells of a row of one channel. The rows
//! that a band of written rows reads are transposed for that into scratch memory, each once, with zeros where windows reach beyond them; then each sum of
//! the tile, some vectors of cells of all channels, walks over rows of taps, read channels, and taps of a row. With strides the cells of a row that meet the
//! same taps, a [`Line`], are a row of their own.

use std::ops::Range;

use super::Plan;
use super::direct::Direct;
use super::windows::{self, Class, Line, Tap};
use crate::cpu::{Cpu, WithSimd};
use crate::epilogue::{Epilogue, Finish};
use crate::geometry::ConvGeometry;
use crate::layout::{BLOCK, blocked_len, blocks};
use crate::simd::{LANES, Simd};
use crate::threads::SharedMut;

/// Written channels up to which cells in lanes are better than channels.
const MOST_CHANNELS: usize = 4;

/// Cells of a line from which on that is so.
const LEAST_CELLS: usize = LANES / 2;

/// Floats of transposed rows up to which a band goes on: half of a second-level cache.
const BAND_LEN: usize = 64 * 1024;

/// Written rows of a band, so that there are enough bands for the threads.
const BAND_ROWS: usize = 16;

#[derive(Debug)]
pub(crate) struct Picture {
    batch: usize,
    read: Side,
    write: Side,
    /// Taps of a window along a column and along a row.
    kernel: [usize; 2],
    /// What each written row reads.
    rows: Vec<Vec<RowTap>>,
    bands: Vec<Band>,
    lines: Vec<Line>,
    /// Zeros before a transposed row.
    before: usize,
    /// Floats of a transposed row with the zeros around it.
    row_len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Side {
    channels: usize,
    height: usize,
    width: usize,
}

impl Side {
    fn new(channels: usize, [_, height, width]: [usize; 3]) -> Self {
        Self { channels, height, width }
    }

    /// Elements of an image.
    fn len(self) -> usize {
        blocked_len(1, self.channels, self.height * self.width)
    }
}

/// Whether a pass that writes `channels` channels from windows of `geometry` may have cells in its lanes.
fn suits(geometry: &ConvGeometry, channels: usize) -> bool {
    let flat = geometry.input[0] == 1 && geometry.output[0] == 1 && geometry.window.kernel[0] == 1;
    flat && geometry.groups == 1 && (1..=MOST_CHANNELS).contains(&channels)
}

/// Whether [`Picture::forward`] can compute `geometry`.
pub(super) fn supports(geometry: &ConvGeometry) -> bool {
    let window = &geometry.window;
    suits(geometry, geometry.out_channels)
        && window.stride[2] == 1
        && (window.dilation[2] == 1 || window.kernel[2] == 1)
}

/// Whether [`Picture::forward`] saves time: rows are long enough that most cells of a vector are there.
pub(super) fn pays(geometry: &ConvGeometry) -> bool {
    geometry.output[2] >= LEAST_CELLS
}

/// A row of taps and the row that it reads.
#[derive(Clone, Copy, Debug)]
struct RowTap {
    tap: usize,
    read: usize,
}

/// Written rows that are done together, and the rows that they read.
#[derive(Clone, Debug)]
struct Band {
    written: Range<usize>,
    read: Range<usize>,
}

impl Picture {
    /// The input gradient by cells in lanes, or by the tile.
    pub(crate) fn or_tile(geometry: &ConvGeometry) -> Plan {
        let lines = windows::input_gradient_lines(geometry);
        let fits = |line: &Line| line.read_step == 1 && line.count >= LEAST_CELLS;
        if !suits(geometry, geometry.in_channels) || !lines.iter().all(fits) {
            return Plan::Direct(Direct::input_gradient(geometry));
        }
        let read = Side::new(geometry.out_channels, geometry.output);
        let write = Side::new(geometry.in_channels, geometry.input);
        let classes = windows::input_gradient(&windows::of_rows(geometry));
        Plan::Picture(Box::new(Self::new(geometry, read, write, lines, classes)))
    }

    /// The forward pass of what this file [`supports`].
    pub(crate) fn forward(geometry: &ConvGeometry) -> Self {
        let read = Side::new(geometry.in_channels, geometry.input);
        let write = Side::new(geometry.out_channels, geometry.output);
        let classes = windows::forward(&windows::of_rows(geometry));
        Self::new(geometry, read, write, windows::forward_lines(geometry), classes)
    }

    fn new(geometry: &ConvGeometry, read: Side, write: Side, lines: Vec<Line>, classes: Vec<Class>) -> Self {
        let mut rows = vec![vec![]; write.height];
        for Class { taps, cells } in classes {
            for cell in cells {
                let read = |tap: &Tap| RowTap { tap: tap.index, read: cell.read + tap.read };
                rows[cell.write] = taps.iter().map(read).collect();
            }
        }
        let before = lines.iter().map(|line| line.read.min(0).unsigned_abs()).max().unwrap_or(0);
        // Vectors of cells are whole, those beyond the last one too.
        let end = |line: &Line| {
            line.read.saturating_add_unsigned(line.count.next_multiple_of(LANES) + line.taps.len())
        };
        let last = lines.iter().map(end).max().unwrap_or(0).max(0).unsigned_abs();
        let row_len = before + last.max(read.width);
        let bands = bands(&rows, read.channels * row_len);
        let [_, height, width] = geometry.window.kernel;
        Self {
            batch: geometry.batch,
            read,
            write,
            kernel: [height, width],
            rows,
            bands,
            lines,
            before,
            row_len,
        }
    }

    /// Row of taps, read channel, tap of the row, written channel.
    pub(crate) fn packed_len(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.read.channels * self.write.channels
    }

    /// Transposed rows of one band.
    fn band_len(&self) -> usize {
        let rows = self.bands.iter().map(|band| band.read.len()).max().unwrap_or(0);
        rows * self.read.channels * self.row_len
    }

    pub(crate) fn scratch_len(&self, threads: usize) -> usize {
        threads * self.band_len()
    }

    /// Packs `weight`, in which the taps of written channel `w` and read channel `r` start at `start(w, r)`.
    pub(crate) fn pack(&self, weight: &[f32], packed: &mut [f32], start: impl Fn(usize, usize) -> usize) {
        let [height, width] = self.kernel;
        let mut packed = packed.iter_mut();
        for row in 0..height {
            for read in 0..self.read.channels {
                for tap in row * width..(row + 1) * width {
                    let values = (0..self.write.channels).map(|written| weight[start(written, read) + tap]);
                    packed.by_ref().zip(values).for_each(|(packed, value)| *packed = value);
                }
            }
        }
    }

    pub(crate) fn run(
        &self,
        cpu: &Cpu,
        x: &[f32],
        packed: &[f32],
        epilogue: &Epilogue<'_>,
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        assert_eq!(packed.len(), self.packed_len(), "packed weight");
        assert_eq!(x.len(), self.batch * self.read.len(), "elements that the pass reads");
        assert_eq!(y.len(), self.batch * self.write.len(), "elements that the pass writes");
        let scratch = SharedMut::new(&mut scratch[..self.scratch_len(cpu.threads.count())]);
        let finish = epilogue.finish(cpu.isa, self.write.channels, SharedMut::new(y));
        cpu.threads.run(self.batch * self.bands.len(), |job, worker| {
            // SAFETY: each worker has its own scratch memory.
            let rows = unsafe { scratch.slice(worker * self.band_len(), self.band_len()) };
            let (image, band) = (job / self.bands.len(), &self.bands[job % self.bands.len()]);
            cpu.isa.dispatch(Job { plan: self, x, packed, finish, rows, image, band });
        });
    }
}

/// The written rows in bands whose read rows take `BAND_LEN` floats at most, where one row alone does not take more.
fn bands(rows: &[Vec<RowTap>], read_row_len: usize) -> Vec<Band> {
    let mut bands: Vec<Band> = vec![];
    for (row, taps) in rows.iter().enumerate() {
        let (first, last) = taps
            .iter()
            .fold((usize::MAX, 0), |(first, last), tap| (first.min(tap.read), last.max(tap.read + 1)));
        if let Some(band) = bands.last_mut() {
            let read = band.read.start.min(first)..band.read.end.max(last);
            if read.len() * read_row_len <= BAND_LEN && band.written.len() < BAND_ROWS {
                *band = Band { written: band.written.start..row + 1, read };
                continue;
            }
        }
        bands.push(Band { written: row..row + 1, read: first..last });
    }
    bands
}

/// A band of one image.
struct Job<'a> {
    plan: &'a Picture,
    x: &'a [f32],
    packed: &'a [f32],
    finish: Finish<'a>,
    /// Transposed: row, read channel, cell.
    rows: &'a mut [f32],
    image: usize,
    band: &'a Band,
}

impl WithSimd for Job<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        for row in self.band.read.clone() {
            self.transpose(s, row);
        }
        // As many sums as registers hold beside the operands.
        match self.plan.write.channels {
            1 => self.band::<S, 1, 8>(s),
            2 => self.band::<S, 2, 4>(s),
            3 => self.band::<S, 3, 4>(s),
            _ => self.band::<S, MOST_CHANNELS, 3>(s),
        }
    }
}

impl Job<'_> {
    /// Row `row` of `x` with its cells side by side, zeros around them.
    #[inline(always)]
    fn transpose<S: Simd>(&mut self, s: S, row: usize) {
        let Picture { read: Side { channels, height, width }, before, row_len, .. } = self.plan;
        let start = (row - self.band.read.start) * channels * row_len;
        let to = &mut self.rows[start..][..channels * row_len];
        for (block, to) in to.chunks_mut(BLOCK * row_len).enumerate() {
            let first = ((self.image * blocks(*channels) + block) * height + row) * width;
            let from = &self.x[first * BLOCK..][..width * BLOCK];
            for to in to.chunks_exact_mut(*row_len) {
                to[..*before].fill(0.0);
                to[before + width..].fill(0.0);
            }
            for (eight, from) in from.chunks(BLOCK * LANES).enumerate() {
                let square = std::array::from_fn(|i| {
                    s.from_slice(&from[(i * BLOCK).min(from.len())..((i + 1) * BLOCK).min(from.len())])
                });
                let at = before + eight * LANES;
                let count = from.len() / BLOCK;
                for (to, cells) in to.chunks_exact_mut(*row_len).zip(s.transpose(square)) {
                    s.write(&mut to[at..at + count], cells);
                }
            }
        }
    }

    #[inline(always)]
    fn band<S: Simd, const C: usize, const V: usize>(&self, s: S) {
        for row in self.band.written.clone() {
            for line in &self.plan.lines {
                let vectors = line.count.div_ceil(LANES);
                let mut done = 0;
                while done + V <= vectors {
                    self.tile::<S, C, V>(s, row, line, done * LANES);
                    done += V;
                }
                while done + 2 <= vectors {
                    self.tile::<S, C, 2>(s, row, line, done * LANES);
                    done += 2;
                }
                if done < vectors {
                    self.tile::<S, C, 1>(s, row, line, done * LANES);
                }
            }
        }
    }

    /// `V` vectors of a line from its cell `first` on, of all `C` channels.
    #[inline(always)]
    fn tile<S: Simd, const C: usize, const V: usize>(&self, s: S, row: usize, line: &Line, first: usize) {
        let Picture { read: Side { channels, .. }, write, rows, before, row_len, .. } = self.plan;
        let width = self.plan.kernel[1];
        let bias = s.to_array(self.finish.start(s, 0));
        let mut sums = [std::array::from_fn::<S::V, C, _>(|c| s.splat(bias[c])); V];
        let cells = before.wrapping_add_signed(line.read) + first;
        for &RowTap { tap, read } in &rows[row] {
            let read = (read - self.band.read.start) * channels * row_len + cells;
            for channel in 0..*channels {
                let weights = &self.packed[(tap * channels + channel) * width * C..][..width * C];
                let read = read + channel * row_len;
                debug_assert!(read + line.taps.len() + V * LANES <= self.rows.len() + 1);
                for (place, &tap) in line.taps.iter().enumerate() {
                    let weights: [S::V; C] = std::array::from_fn(|c| s.splat(weights[tap * C + c]));
                    for (vector, sums) in sums.iter_mut().enumerate() {
                        // SAFETY: `row_len` has room for the last vector of each line at its last tap.
                        let x = unsafe { s.load(self.rows.as_ptr().add(read + place + vector * LANES)) };
                        for (sum, weight) in sums.iter_mut().zip(weights) {
                            *sum = s.fma(weight, x, *sum);
                        }
                    }
                }
            }
        }
        let at = (self.image * write.height + row) * write.width + line.write;
        let place = |cell: usize| (at + cell * line.write_step) * BLOCK;
        let last = line.count.min(first + V * LANES);
        for (vector, sums) in sums.iter().enumerate() {
            let square = std::array::from_fn(|c| if c < C { sums[c] } else { s.splat(0.0) });
            for (cell, v) in (first + vector * LANES..last).zip(s.transpose(square)) {
                // SAFETY: a picture has one block of channels, so the rows of all images follow each other; each row is written by one job.
                unsafe { self.finish.store(s, place(cell), v) };
            }
        }
        // SAFETY: the cells that have just been written.
        unsafe { self.finish.settle((first..last).map(place)) };
    }
}
