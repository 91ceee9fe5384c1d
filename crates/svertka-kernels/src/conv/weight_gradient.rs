//! Weight gradient of dense convolution by the register tile: six rows are six of the products (input channel, tap), the two vectors are
//! sixteen output channels, and the sum runs over output cells.
//!
//! With six or more input channels, the rows of a tile share their tap, and the cells are all that reach it. With fewer, rows mix taps, and
//! the cells are a class that reaches all of these.

use std::ops::Range;

use super::direct::Side;
use super::sweep::{Chunk, Sweep, SweepPart};
use super::tile::{PANEL, ROWS, add_cells, pieces, tile, with_rows};
use super::windows::{Tap, parts_by_class, parts_by_tap};
use crate::cpu::{Cpu, WithSimd};
use crate::geometry::ConvGeometry;
use crate::layout::{BLOCK, blocked_len};
use crate::simd::Simd;
use crate::threads::SharedMut;

/// Rows that a job should have at least, so that a chunk of `dy` is used that often.
const JOB_ROWS: usize = 9 * ROWS;

#[derive(Debug)]
pub(crate) struct DirectWeightGradient {
    geometry: ConvGeometry,
    x: Side,
    taps: usize,
    sweep: Sweep,
    jobs: Vec<Job>,
    /// Sums of the largest job: `rows x PANEL`, then `PANEL` of the bias.
    sums: usize,
}

/// A block of the gradient: 16 output channels and some input channels, with all taps.
#[derive(Debug)]
struct Job {
    panel: usize,
    channels: Range<usize>,
    /// Whether this job sums the bias gradient of the panel.
    bias: bool,
}

impl DirectWeightGradient {
    /// The gradient from an `x` of `lanes` channels side by side.
    pub(crate) fn new(geometry: &ConvGeometry, lanes: usize) -> Self {
        let &ConvGeometry { in_channels, out_channels, groups, .. } = geometry;
        let taps: usize = geometry.window.kernel.iter().product();
        let (group_in, group_out) = (in_channels / groups, out_channels / groups);
        let job_channels = JOB_ROWS.div_ceil(taps).next_multiple_of(ROWS);
        let mut jobs: Vec<Job> = vec![];
        for first in (0..out_channels).step_by(PANEL) {
            let last = (first + PANEL).min(out_channels) - 1;
            let (start, end) = (first / group_out * group_in, (last / group_out + 1) * group_in);
            jobs.extend(pieces(end - start, job_channels).map(|piece| Job {
                panel: first / PANEL,
                channels: start + piece.start..start + piece.end,
                bias: piece.start == 0,
            }));
        }
        let most = jobs.iter().map(|job| job.channels.len()).max().unwrap_or(0);
        let parts = if most < ROWS { parts_by_class(geometry) } else { parts_by_tap(geometry) };
        let sweep = Sweep::new(geometry, parts, jobs.len(), lanes);
        let x = Side { channels: in_channels, cells: geometry.input.iter().product(), lanes };
        Self { geometry: *geometry, x, taps, sweep, jobs, sums: (most * taps + 1) * PANEL }
    }

    pub(crate) fn scratch_len(&self, threads: usize) -> usize {
        self.sweep.scratch_len(threads, self.jobs.len(), self.sums)
    }

    pub(crate) fn run(
        &self,
        cpu: &Cpu,
        x: &[f32],
        dy: &[f32],
        dw: &mut [f32],
        db: Option<&mut [f32]>,
        scratch: &mut [f32],
    ) {
        let g = &self.geometry;
        assert_eq!(x.len(), g.batch * self.x.image_len(), "x");
        assert_eq!(dy.len(), blocked_len(g.batch, g.out_channels, g.output.iter().product()), "dy");
        assert_eq!(dw.len(), g.weight_len(), "dw");
        assert!(db.as_ref().is_none_or(|db| db.len() == g.out_channels), "db");
        let dw = SharedMut::new(dw);
        let db = db.map(SharedMut::new);
        self.sweep.run(
            cpu,
            scratch,
            (self.jobs.len(), self.sums),
            |job, chunks, sums| {
                let job = &self.jobs[job];
                cpu.isa.dispatch(Add {
                    plan: self,
                    x,
                    dy,
                    job,
                    bias: job.bias && db.is_some(),
                    chunks,
                    sums,
                });
            },
            |job, sums| self.finish(&self.jobs[job], sums, &dw, db.as_ref()),
        );
    }

    /// Writes the sums of a job to their places in the plain gradients.
    fn finish(&self, job: &Job, sums: &[f32], dw: &SharedMut<'_>, db: Option<&SharedMut<'_>>) {
        let &ConvGeometry { in_channels, out_channels, groups, .. } = &self.geometry;
        let (group_in, group_out) = (in_channels / groups, out_channels / groups);
        let lanes = PANEL.min(out_channels - job.panel * PANEL);
        for lane in 0..lanes {
            let out_channel = job.panel * PANEL + lane;
            let group = out_channel / group_out * group_in;
            let channels = job.channels.start.max(group)..job.channels.end.min(group + group_in);
            if !channels.is_empty() {
                let start = (out_channel * group_in + channels.start - group) * self.taps;
                // SAFETY: no other job has these output and input channels.
                let dw = unsafe { dw.slice(start, channels.len() * self.taps) };
                let first = (channels.start - job.channels.start) * self.taps;
                for (dw, row) in dw.iter_mut().zip(sums[first * PANEL..].chunks_exact(PANEL)) {
                    *dw = row[lane];
                }
            }
        }
        if let (Some(db), true) = (db, job.bias) {
            // SAFETY: one job of each panel has the bias.
            let db = unsafe { db.slice(job.panel * PANEL, lanes) };
            db.copy_from_slice(&sums[self.sums - PANEL..][..lanes]);
        }
    }
}

/// Adds chunks to the sums of one job.
struct Add<'a> {
    plan: &'a DirectWeightGradient,
    x: &'a [f32],
    dy: &'a [f32],
    job: &'a Job,
    bias: bool,
    chunks: &'a mut dyn Iterator<Item = Chunk>,
    sums: &'a mut [f32],
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        if self.job.panel * PANEL + BLOCK < self.plan.geometry.out_channels {
            self.chunks::<S, 2>(s);
        } else {
            self.chunks::<S, 1>(s);
        }
    }
}

impl Add<'_> {
    /// `NV` blocks of output channels.
    #[inline(always)]
    fn chunks<S: Simd, const NV: usize>(mut self, s: S) {
        while let Some(chunk) = self.chunks.next() {
            for group in pieces(self.job.channels.len(), ROWS) {
                for part in &self.plan.sweep.parts {
                    for piece in pieces(group.len() * part.taps.len(), ROWS) {
                        let first = group.start * part.taps.len() + piece.start;
                        with_rows!(piece.len(), MR in [1 2 3 4 5 6] => {
                            // SAFETY: `run` has checked the lengths that the tables were made for.
                            unsafe { self.tile::<S, MR, NV>(s, &chunk, part, first) }
                        });
                    }
                }
            }
            if self.bias {
                self.add_bias::<S, NV>(s, &chunk);
            }
        }
    }

    /// Rows `first..first + MR` of the products (channel of the job, tap of the part).
    ///
    /// # Safety
    /// `x` and `dy` have the lengths that the plan was made for.
    #[inline(always)]
    unsafe fn tile<S: Simd, const MR: usize, const NV: usize>(
        &mut self,
        s: S,
        chunk: &Chunk,
        part: &SweepPart,
        first: usize,
    ) {
        let plan = self.plan;
        let (mut channel, mut tap) = (first / part.taps.len(), first % part.taps.len());
        // For each row, its offset in an image of `x` and in the sums.
        let rows: [(usize, usize); MR] = std::array::from_fn(|_| {
            let read = self.job.channels.start + channel;
            let Tap { index, read: beyond } = part.taps[tap];
            let row = (channel * plan.taps + index) * PANEL;
            (channel, tap) = if tap + 1 < part.taps.len() { (channel, tap + 1) } else { (channel + 1, 0) };
            (plan.x.at(read, beyond), row)
        });
        let steps = &plan.sweep.steps[part.steps[chunk.piece].clone()];
        // SAFETY: offsets of the tables stay inside an image, and sums have a row for each channel and tap.
        unsafe {
            let sums = self.sums.as_mut_ptr();
            let mut acc = [[s.splat(0.0); NV]; MR];
            for (acc, row) in acc.iter_mut().zip(&rows) {
                for (j, acc) in acc.iter_mut().enumerate() {
                    *acc = s.load(sums.add(row.1 + j * BLOCK));
                }
            }
            for image in chunk.images.clone() {
                let x = self.x.as_ptr().wrapping_add(image * plan.x.image_len());
                let a = std::array::from_fn(|i| x.wrapping_add(rows[i].0));
                let b = std::array::from_fn(|j| self.dy.as_ptr().wrapping_add(self.block(image, j)));
                tile(s, &mut acc, a, b, steps, plan.sweep.strides);
            }
            for (acc, row) in acc.iter().zip(&rows) {
                for (j, acc) in acc.iter().enumerate() {
                    s.store(sums.add(row.1 + j * BLOCK), *acc);
                }
            }
        }
    }

    /// Where block `j` of the panel of the job starts in `dy`.
    #[inline(always)]
    fn block(&self, image: usize, j: usize) -> usize {
        let g = &self.plan.geometry;
        let cells = g.output.iter().product();
        blocked_len(image, g.out_channels, cells) + (self.job.panel * PANEL + j * BLOCK) * cells
    }

    #[inline(always)]
    fn add_bias<S: Simd, const NV: usize>(&mut self, s: S, chunk: &Chunk) {
        let bias = self.sums.len() - PANEL;
        for image in chunk.images.clone() {
            for j in 0..NV {
                let block = &self.dy[self.block(image, j)..];
                let cells = &block[chunk.cells.start * BLOCK..chunk.cells.end * BLOCK];
                add_cells(s, cells, &mut self.sums[bias + j * BLOCK..]);
            }
        }
    }
}
