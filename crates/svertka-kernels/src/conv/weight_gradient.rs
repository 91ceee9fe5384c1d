//! Weight gradient of dense convolution by the register tile: six rows are six of the products (input channel, tap), the two vectors are
//! sixteen output channels, and the sum runs over output cells.
//!
//! With six or more input channels, the rows of a tile share their tap, and the cells are all that reach it. With fewer, rows mix taps, and
//! the cells are a class that reaches all of these.
//!
//! A strided window of one cell reads few cells of `x`, and each again for every panel. They are copied beside each other first.

use std::ops::Range;

use super::side::Side;
use super::sweep::{Chunk, Parts, Sweep, SweepPart};
use super::tile::{PANEL, ROWS, add_cells, block_vectors, pieces, tile, with_blocks, with_rows};
use super::windows::{Tap, forward, parts_by_class, parts_by_tap};
use crate::cpu::{Cpu, WithSimd};
use crate::geometry::{ConvGeometry, Window};
use crate::layout::{BLOCK, blocked_len};
use crate::simd::Simd;
use crate::threads::SharedMut;

/// Rows and panels of a job: a chunk of `dy` is used by each row tile, a chunk of `x` by each panel, and all sums lie in the second-level cache beside
/// the two. Fewer, and a large `x` would come from memory for every panel.
const JOB_ROWS: usize = 16 * ROWS;
const JOB_PANELS: usize = 8;

#[derive(Debug)]
pub(crate) struct DirectWeightGradient {
    /// That of the caller, but where cells are picked that of the picked ones.
    geometry: ConvGeometry,
    /// Where cells are picked, those of the caller's `x`, and for each output cell the one that it reads.
    picked: Option<(usize, Vec<usize>)>,
    x: Side,
    taps: usize,
    sweep: Sweep,
    parts: Parts,
    jobs: Vec<Job>,
    /// Sums of the largest job: for each panel `PANEL` of the bias, then `rows x PANEL`.
    sums: usize,
}

/// A block of the gradient: some panels of 16 output channels and some input channels, with all taps.
#[derive(Clone, Debug)]
struct Job {
    panels: Range<usize>,
    channels: Range<usize>,
    /// Whether this job sums the bias gradient of the panels.
    bias: bool,
}

impl Job {
    /// Sums of one panel.
    fn panel_sums(&self, taps: usize) -> usize {
        (1 + self.channels.len() * taps) * PANEL
    }
}

impl DirectWeightGradient {
    /// The gradient from an `x` of `lanes` channels side by side.
    pub(crate) fn new(geometry: &ConvGeometry, lanes: usize) -> Self {
        let window = &geometry.window;
        if lanes == BLOCK
            && window.kernel == [1; 3]
            && window.padding == [(0, 0); 3]
            && window.stride != [1; 3]
        {
            // Without padding each output cell reads one cell of the input.
            let cells = forward(geometry).into_iter().flat_map(|class| class.cells).map(|cell| cell.read);
            let picked = (geometry.input.iter().product(), cells.collect());
            let dense = ConvGeometry { input: geometry.output, window: Window::default(), ..*geometry };
            return Self { picked: Some(picked), ..Self::new(&dense, lanes) };
        }
        let &ConvGeometry { in_channels, out_channels, groups, .. } = geometry;
        let taps: usize = geometry.window.kernel.iter().product();
        let (group_in, group_out) = (in_channels / groups, out_channels / groups);
        let job_channels = JOB_ROWS.div_ceil(taps).next_multiple_of(ROWS);
        // Panels side by side that cover the same groups.
        let mut sets: Vec<(Range<usize>, Range<usize>)> = vec![];
        for panel in 0..out_channels.div_ceil(PANEL) {
            let last = ((panel + 1) * PANEL).min(out_channels) - 1;
            let covered = panel * PANEL / group_out * group_in..(last / group_out + 1) * group_in;
            match sets.last_mut() {
                Some((panels, channels)) if *channels == covered => panels.end += 1,
                _ => sets.push((panel..panel + 1, covered)),
            }
        }
        let mut jobs: Vec<Job> = vec![];
        for (panels, channels) in sets {
            for set in pieces(panels.len(), JOB_PANELS) {
                jobs.extend(pieces(channels.len(), job_channels).map(|piece| Job {
                    panels: panels.start + set.start..panels.start + set.end,
                    channels: channels.start + piece.start..channels.start + piece.end,
                    bias: piece.start == 0,
                }));
            }
        }
        let most = jobs.iter().map(|job| job.channels.len()).max().unwrap_or(0);
        let parts = if most < ROWS { parts_by_class(geometry) } else { parts_by_tap(geometry) };
        let sums = jobs.iter().map(|job| job.panels.len() * job.panel_sums(taps)).max().unwrap_or(0);
        let sweep = Sweep::new(geometry, geometry.output.iter().product(), jobs.len());
        let parts = Parts::new(geometry, &sweep, parts, lanes);
        let x = Side { channels: in_channels, cells: geometry.input.iter().product(), lanes };
        Self { geometry: *geometry, picked: None, x, taps, sweep, parts, jobs, sums }
    }

    pub(crate) fn scratch_len(&self, threads: usize) -> usize {
        self.picked_len() + self.sweep.scratch_len(threads, self.jobs.len(), self.sums)
    }

    fn picked_len(&self) -> usize {
        self.picked.as_ref().map_or(0, |_| self.geometry.batch * self.x.image_len())
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
        let (dense, scratch) = scratch.split_at_mut(self.picked_len());
        let x = match &self.picked {
            Some((in_cells, cells)) => {
                assert_eq!(x.len(), blocked_len(g.batch, g.in_channels, *in_cells), "x");
                let out = SharedMut::new(dense);
                cpu.threads.run(g.batch * self.x.blocks(), |block, _| {
                    let (x, len) = (&x[block * in_cells * BLOCK..], cells.len() * BLOCK);
                    // SAFETY: each job has its own block.
                    let out = unsafe { out.slice(block * len, len) };
                    for (out, cell) in out.chunks_exact_mut(BLOCK).zip(cells) {
                        out.copy_from_slice(&x[cell * BLOCK..][..BLOCK]);
                    }
                });
                &*dense
            }
            None => x,
        };
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
        for (panel, sums) in job.panels.clone().zip(sums.chunks_exact(job.panel_sums(self.taps))) {
            let (bias, sums) = sums.split_at(PANEL);
            let lanes = PANEL.min(out_channels - panel * PANEL);
            for lane in 0..lanes {
                let out_channel = panel * PANEL + lane;
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
                let db = unsafe { db.slice(panel * PANEL, lanes) };
                db.copy_from_slice(&bias[..lanes]);
            }
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
    fn with_simd<S: Simd>(mut self, s: S) {
        while let Some(chunk) = self.chunks.next() {
            for panel in self.job.panels.clone().step_by(S::PANELS) {
                let blocks = self.plan.geometry.out_channels.div_ceil(BLOCK).min(self.job.panels.end * 2);
                with_blocks!(S, blocks - panel * 2, (NV, BLOCKS) => {
                    self.panels::<S, NV, BLOCKS>(s, &chunk, panel);
                });
            }
        }
    }
}

impl Add<'_> {
    /// One chunk of the panels from `panel` on. `NV` blocks are computed, of which there are `BLOCKS`.
    #[inline(always)]
    fn panels<S: Simd, const NV: usize, const BLOCKS: usize>(&mut self, s: S, chunk: &Chunk, panel: usize) {
        let g = &self.plan.geometry;
        let cells = g.output.iter().product::<usize>();
        let dy = blocked_len(chunk.images.start, g.out_channels, cells) + panel * PANEL * cells;
        let b = block_vectors::<NV, BLOCKS>(self.dy.as_ptr().wrapping_add(dy), cells * BLOCK);
        let panel_sums = self.job.panel_sums(self.plan.taps);
        let sums = (panel - self.job.panels.start) * panel_sums;
        for group in pieces(self.job.channels.len(), ROWS) {
            for part in &self.plan.parts.parts {
                for piece in pieces(group.len() * part.taps.len(), ROWS) {
                    let first = group.start * part.taps.len() + piece.start;
                    with_rows!(piece.len(), MR in [1 2 3 4 5 6] => {
                        // SAFETY: `run` has checked the lengths that the tables were made for.
                        unsafe { self.tile::<S, MR, NV, BLOCKS>(s, chunk, part, first, b, sums + PANEL) }
                    });
                }
            }
        }
        if self.bias {
            let image_len = blocked_len(1, g.out_channels, cells);
            for image in 0..chunk.images.len() {
                for j in 0..BLOCKS {
                    let block = &self.dy[dy + image * image_len + j * cells * BLOCK..];
                    let cells = &block[chunk.units.start * BLOCK..chunk.units.end * BLOCK];
                    add_cells(s, cells, &mut self.sums[sums + j / 2 * panel_sums + j % 2 * BLOCK..]);
                }
            }
        }
    }

    /// Rows `first..first + MR` of the products (channel of the job, tap of the part) for panels whose blocks start at `b`, in the first image of
    /// the chunk, and whose products are summed from `sums` on, those of the second `panel_sums` behind those of the first.
    ///
    /// # Safety
    /// `x` and what `b` points into have the lengths that the plan was made for.
    #[inline(always)]
    unsafe fn tile<S: Simd, const MR: usize, const NV: usize, const BLOCKS: usize>(
        &mut self,
        s: S,
        chunk: &Chunk,
        part: &SweepPart,
        first: usize,
        b: [*const f32; NV],
        sums: usize,
    ) {
        let plan = self.plan;
        let (mut channel, mut tap) = (first / part.taps.len(), first % part.taps.len());
        // For each row, its offset in an image of `x` and in the sums.
        let rows: [(usize, usize); MR] = std::array::from_fn(|_| {
            let read = self.job.channels.start + channel;
            let Tap { index, read: beyond } = part.taps[tap];
            let row = sums + (channel * plan.taps + index) * PANEL;
            (channel, tap) = if tap + 1 < part.taps.len() { (channel, tap + 1) } else { (channel + 1, 0) };
            (plan.x.at(read, beyond), row)
        });
        // SAFETY: offsets of the tables stay inside the images, and sums have a row for each channel and tap.
        unsafe {
            let (sums, panel_sums) = (self.sums.as_mut_ptr(), self.job.panel_sums(plan.taps));
            let sum_at = |row: usize, j: usize| sums.wrapping_add(row + j / 2 * panel_sums + j % 2 * BLOCK);
            let mut acc = [[s.splat(0.0); NV]; MR];
            for (acc, row) in acc.iter_mut().zip(&rows) {
                for (j, acc) in acc.iter_mut().enumerate().take(BLOCKS) {
                    *acc = s.load(sum_at(row.1, j));
                }
            }
            let x = self.x.as_ptr().wrapping_add(chunk.images.start * plan.x.image_len());
            let a = std::array::from_fn(|i| x.wrapping_add(rows[i].0));
            tile(s, &mut acc, a, b, plan.parts.steps(chunk, part), plan.parts.strides);
            for (acc, row) in acc.iter().zip(&rows) {
                for (j, acc) in acc.iter().enumerate().take(BLOCKS) {
                    s.store(sum_at(row.1, j), *acc);
                }
            }
        }
    }
}
