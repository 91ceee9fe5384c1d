//! Weight gradients sum over all output cells of the batch. A sweep cuts these into chunks that stay in the first cache levels while every
//! tile of a job passes over them, and, where there are few jobs, into slices that run beside each other and are added in order.
//! Both cuts depend on the shape only.

use std::ops::Range;

use super::tile::Step;
use super::windows::{Part, Tap};
use crate::cpu::Cpu;
use crate::geometry::ConvGeometry;
use crate::layout::BLOCK;
use crate::threads::{SharedMut, job_goal, share};

/// Output cells of a chunk, some more or less.
const CHUNK_CELLS: usize = 512;

#[derive(Debug)]
pub(crate) struct Sweep {
    batch: usize,
    units: usize,
    images: usize,
    pieces: usize,
    slices: usize,
}

/// A range of images and one piece of each of them.
pub(crate) struct Chunk {
    pub(crate) images: Range<usize>,
    pub(crate) piece: usize,
    /// What the sweep cuts an image into, cells or rows of the output: those of the piece, all of them, whatever they reach.
    pub(crate) units: Range<usize>,
}

impl Sweep {
    /// A sweep for a pass of `jobs` jobs over images that are cut into `units` of some output cells.
    pub(crate) fn new(g: &ConvGeometry, units: usize, jobs: usize) -> Self {
        let out_cells: usize = g.output.iter().product();
        let images = (CHUNK_CELLS / out_cells.max(1)).clamp(1, g.batch.max(1));
        let pieces = out_cells.div_ceil(CHUNK_CELLS).clamp(1, units.max(1));
        let chunks = g.batch.div_ceil(images) * pieces;
        let slices = job_goal(g.macs()).div_ceil(jobs.max(1)).clamp(1, chunks.max(1));
        Self { batch: g.batch, units, images, pieces, slices }
    }

    pub(crate) fn scratch_len(&self, threads: usize, jobs: usize, sums: usize) -> usize {
        sums * if self.slices == 1 { threads } else { jobs * self.slices }
    }

    /// For each job: zeroes `sums` elements, lets `add` add to them over some chunks, and gives the total over all chunks to `finish`.
    pub(crate) fn run(
        &self,
        cpu: &Cpu,
        scratch: &mut [f32],
        (jobs, sums): (usize, usize),
        add: impl Fn(usize, &mut dyn Iterator<Item = Chunk>, &mut [f32]) + Sync,
        finish: impl Fn(usize, &[f32]) + Sync,
    ) {
        assert!(scratch.len() >= self.scratch_len(cpu.threads.count(), jobs, sums), "scratch");
        let scratch = SharedMut::new(scratch);
        let slices = self.slices;
        cpu.threads.run(jobs * slices, |job, worker| {
            // SAFETY: with one slice each worker has its own sums, else each job has.
            let total = unsafe { scratch.slice(if slices == 1 { worker } else { job } * sums, sums) };
            total.fill(0.0);
            add(job / slices, &mut self.chunks(job % slices), total);
            if slices == 1 {
                finish(job, total);
            }
        });
        if slices > 1 {
            cpu.threads.run(jobs, |job, _| {
                // SAFETY: the slices of a job are used by it alone.
                let all = unsafe { scratch.slice(job * slices * sums, slices * sums) };
                let (total, others) = all.split_at_mut(sums);
                for other in others.chunks_exact(sums) {
                    total.iter_mut().zip(other).for_each(|(total, other)| *total += other);
                }
                finish(job, total);
            });
        }
    }

    fn chunks(&self, slice: usize) -> impl Iterator<Item = Chunk> {
        let count = self.batch.div_ceil(self.images) * self.pieces;
        share(count, self.slices, slice).map(|chunk| {
            let (first, piece) = (chunk / self.pieces * self.images, chunk % self.pieces);
            let images = first..(first + self.images).min(self.batch);
            Chunk { images, piece, units: share(self.units, self.pieces, piece) }
        })
    }
}

/// The steps over the output cells of a [`Sweep`] whose units these are, part by part.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) parts: Vec<SweepPart>,
    steps: Vec<Step>,
    /// Distances in `x` and `dy` from one cell of a step to the next, in elements.
    pub(crate) strides: (usize, usize),
}

/// Taps, and for each piece of an image the steps over the cells that reach them, as the start in `Parts::steps` and the count in an image. The steps
/// of the images of a chunk follow each other.
#[derive(Debug)]
pub(crate) struct SweepPart {
    pub(crate) taps: Vec<Tap>,
    steps: Vec<(usize, usize)>,
}

impl Parts {
    /// The steps of `parts`, with `lanes` channels of `x` side by side.
    pub(crate) fn new(g: &ConvGeometry, sweep: &Sweep, parts: Vec<Part>, lanes: usize) -> Self {
        let cells = |size: [usize; 3]| size.iter().product::<usize>();
        let x_len = g.in_channels.next_multiple_of(lanes) * cells(g.input);
        let dy_len = g.out_channels.next_multiple_of(BLOCK) * cells(g.output);
        let mut all = Self { parts: vec![], steps: vec![], strides: (g.window.stride[2] * lanes, BLOCK) };
        for Part { taps, runs } in parts {
            let steps = (0..sweep.pieces).map(|piece| {
                let cells = share(sweep.units, sweep.pieces, piece);
                let start = all.steps.len();
                for run in &runs {
                    let from = run.write.max(cells.start);
                    let to = (run.write + run.count).min(cells.end);
                    if from < to {
                        let a = (run.read + (from - run.write) * g.window.stride[2]) * lanes;
                        all.push(start, Step { a, b: from * BLOCK, k: to - from });
                    }
                }
                let count = all.steps.len() - start;
                for image in 1..sweep.images {
                    for step in start..start + count {
                        let Step { a, b, k } = all.steps[step];
                        all.steps.push(Step { a: a + image * x_len, b: b + image * dy_len, k });
                    }
                }
                (start, count)
            });
            let steps = steps.collect();
            all.parts.push(SweepPart { taps, steps });
        }
        all
    }

    /// The steps of a part of a chunk, from the start of its first image.
    pub(crate) fn steps(&self, chunk: &Chunk, part: &SweepPart) -> &[Step] {
        let (start, count) = part.steps[chunk.piece];
        &self.steps[start..][..count * chunk.images.len()]
    }

    /// Adds a step, or lengthens the last one if it is beyond `start` and the new one continues it.
    fn push(&mut self, start: usize, step: Step) {
        match self.steps[start..].last_mut() {
            Some(last)
                if last.a + last.k * self.strides.0 == step.a
                    && last.b + last.k * self.strides.1 == step.b =>
            {
                last.k += step.k;
            }
            _ => self.steps.push(step),
        }
    }
}
