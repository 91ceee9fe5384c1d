//! Weight gradient of depthwise convolution: vectors of eight channels multiply lane by lane, the sums of several taps in registers.

use super::sweep::{Chunk, Sweep, SweepPart};
use super::tile::{LANE_ROWS, add_cells, lane_tile, pieces, with_rows};
use super::windows::parts_by_class;
use crate::cpu::{Cpu, WithSimd};
use crate::geometry::ConvGeometry;
use crate::layout::{BLOCK, blocked_len, blocks};
use crate::simd::Simd;
use crate::threads::SharedMut;

/// Weight gradient: a job is a block of channels.
#[derive(Debug)]
pub(crate) struct DepthwiseWeightGradient {
    geometry: ConvGeometry,
    taps: usize,
    sweep: Sweep,
}

impl DepthwiseWeightGradient {
    pub(crate) fn new(geometry: &ConvGeometry) -> Self {
        let sweep = Sweep::new(geometry, parts_by_class(geometry), blocks(geometry.in_channels), BLOCK);
        Self { geometry: *geometry, taps: geometry.window.kernel.iter().product(), sweep }
    }

    /// Jobs, and sums of one: a vector for each tap and one for the bias.
    fn sizes(&self) -> (usize, usize) {
        (blocks(self.geometry.in_channels), (self.taps + 1) * BLOCK)
    }

    pub(crate) fn scratch_len(&self, threads: usize) -> usize {
        let (jobs, sums) = self.sizes();
        self.sweep.scratch_len(threads, jobs, sums)
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
        assert_eq!(x.len(), blocked_len(g.batch, g.in_channels, g.input.iter().product()), "x");
        assert_eq!(dy.len(), blocked_len(g.batch, g.in_channels, g.output.iter().product()), "dy");
        assert_eq!(dw.len(), g.weight_len(), "dw");
        assert!(db.as_ref().is_none_or(|db| db.len() == g.out_channels), "db");
        let dw = SharedMut::new(dw);
        let db = db.map(SharedMut::new);
        self.sweep.run(
            cpu,
            scratch,
            self.sizes(),
            |block, chunks, sums| cpu.isa.dispatch(Add { plan: self, x, dy, block, chunks, sums }),
            |block, sums| {
                let lanes = BLOCK.min(g.in_channels - block * BLOCK);
                // SAFETY: job `block` alone has the channels of its block.
                let dw = unsafe { dw.slice(block * BLOCK * self.taps, lanes * self.taps) };
                for (lane, dw) in dw.chunks_exact_mut(self.taps).enumerate() {
                    dw.iter_mut().zip(sums.chunks_exact(BLOCK)).for_each(|(dw, sums)| *dw = sums[lane]);
                }
                if let Some(db) = &db {
                    // SAFETY: as above.
                    let db = unsafe { db.slice(block * BLOCK, lanes) };
                    db.copy_from_slice(&sums[self.taps * BLOCK..][..lanes]);
                }
            },
        );
    }
}

/// Adds chunks to the sums of one block.
struct Add<'a> {
    plan: &'a DepthwiseWeightGradient,
    x: &'a [f32],
    dy: &'a [f32],
    block: usize,
    chunks: &'a mut dyn Iterator<Item = Chunk>,
    sums: &'a mut [f32],
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        while let Some(chunk) = self.chunks.next() {
            for part in &self.plan.sweep.parts {
                for taps in pieces(part.taps.len(), LANE_ROWS) {
                    with_rows!(taps.len(), MR in [1 2 3 4 5 6 7 8 9] => {
                        // SAFETY: `run` has checked the lengths that the tables were made for.
                        unsafe { self.tile::<S, MR>(s, &chunk, part, taps.start) }
                    });
                }
            }
            for image in chunk.images.clone() {
                let dy = &self.dy[self.starts(image).1..][chunk.cells.start * BLOCK..chunk.cells.end * BLOCK];
                add_cells(s, dy, &mut self.sums[self.plan.taps * BLOCK..]);
            }
        }
    }
}

impl Add<'_> {
    /// Where the block of `image` starts in `x` and `dy`.
    #[inline(always)]
    fn starts(&self, image: usize) -> (usize, usize) {
        let g = &self.plan.geometry;
        let at = |cells: [usize; 3]| {
            (image * blocks(g.in_channels) + self.block) * cells.iter().product::<usize>() * BLOCK
        };
        (at(g.input), at(g.output))
    }

    /// `MR` taps of a part, from `first`.
    ///
    /// # Safety
    /// `x` and `dy` have the lengths that the plan was made for.
    #[inline(always)]
    unsafe fn tile<S: Simd, const MR: usize>(&mut self, s: S, chunk: &Chunk, part: &SweepPart, first: usize) {
        let sweep = &self.plan.sweep;
        let taps = &part.taps[first..first + MR];
        let mut acc = [s.splat(0.0); MR];
        for (acc, tap) in acc.iter_mut().zip(taps) {
            *acc = s.from_slice(&self.sums[tap.index * BLOCK..]);
        }
        let (x, dy) = self.starts(chunk.images.start);
        let (x, dy) = (self.x.as_ptr().wrapping_add(x), self.dy.as_ptr().wrapping_add(dy));
        let a = std::array::from_fn(|i| x.wrapping_add(taps[i].read * BLOCK));
        // SAFETY: offsets of the tables stay inside this block of the images of the chunk.
        unsafe { lane_tile(s, &mut acc, a, dy, sweep.steps(chunk, part), sweep.strides) };
        for (acc, tap) in acc.iter().zip(taps) {
            s.write(&mut self.sums[tap.index * BLOCK..], *acc);
        }
    }
}
