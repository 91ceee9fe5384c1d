//! Weight gradient of depthwise convolution and of groups of 2 or 4: vectors of eight channels multiply lane by lane, the sums of several taps in registers. Of
//! groups, the channels are gone through one after the other, each brought to all lanes of its group by a permutation.
//!
//! The taps are some neighbours of some kernel rows, and their sums stay in registers over all rows of a chunk that reach these kernel rows. Without
//! stride a row is walked by what is read: a vector of `x` of each kernel row meets the last few vectors of `dy`, which are zero beyond the ends of the row. With
//! strides it is walked by what is written: cells that reach all of the taps are one loop, and the few at its ends are told which they reach.

use std::marker::PhantomData;

use super::depthwise_pieces::{Piece, Run, Walk};
use super::row_tile::{Group, Own, Read, lanes_of};
use super::sweep::{Chunk, Sweep};
use super::tile::{add_cells, pieces};
use super::windows::{self, Class};
use crate::cpu::{Cpu, WithSimd};
use crate::geometry::ConvGeometry;
use crate::layout::{BLOCK, blocked_len, blocks};
use crate::simd::Simd;
use crate::threads::SharedMut;

/// Sums of the largest tile: more than the FMA units have in flight, and a 3 x 3 kernel in one piece. They, five vectors of `dy` and one of `x` are the
/// 16 registers of AVX2.
const SUMS: usize = 10;

/// Taps up to which their vectors of `dy` have registers beside the sums.
const REACHED_TAPS: usize = 7;

/// Most neighbouring taps, and most kernel rows, of a tile.
const TAPS: usize = 9;
const ROWS: usize = 4;

/// Weight gradient: a job is a block of channels.
#[derive(Debug)]
pub(crate) struct DepthwiseWeightGradient {
    geometry: ConvGeometry,
    taps: usize,
    /// Channels of a group.
    group: usize,
    sweep: Sweep,
    /// Output rows by the kernel rows that they reach.
    classes: Vec<Class>,
    /// The taps of a kernel row.
    pieces: Vec<Piece>,
    /// Elements from one cell of a run to the next in `x` and in `dy`, and from one tap to the next in `x`.
    steps: [usize; 3],
}

impl DepthwiseWeightGradient {
    pub(crate) fn new(geometry: &ConvGeometry) -> Self {
        let [depth, height, _] = geometry.output;
        let lines = windows::forward_lines(geometry);
        // All lines of a row have the same steps.
        let steps = lines.first().map_or([0; 3], |line| {
            [line.stride * line.read_step, line.write_step, line.read_step].map(|cells| cells * BLOCK)
        });
        Self {
            geometry: *geometry,
            taps: geometry.window.kernel.iter().product(),
            group: geometry.in_channels / geometry.groups,
            sweep: Sweep::new(geometry, depth * height, blocks(geometry.in_channels)),
            classes: windows::forward(&windows::of_rows(geometry)),
            pieces: pieces(geometry.window.kernel[2], TAPS).map(|taps| Piece::new(taps, &lines)).collect(),
            steps,
        }
    }

    /// Jobs, and sums of one: a vector for each channel of a group and tap, and one for the bias.
    fn sizes(&self) -> (usize, usize) {
        (blocks(self.geometry.in_channels), (self.group * self.taps + 1) * BLOCK)
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
            |block, chunks, sums| {
                let add = Add { plan: self, x, dy, block, chunks, sums };
                match self.group {
                    1 => cpu.isa.dispatch(By::<Own>(add, PhantomData)),
                    _ => cpu.isa.dispatch(By::<Group>(add, PhantomData)),
                }
            },
            |block, sums| {
                let (lanes, taps) = (BLOCK.min(g.in_channels - block * BLOCK), self.group * self.taps);
                // SAFETY: job `block` alone has the channels of its block.
                let dw = unsafe { dw.slice(block * BLOCK * taps, lanes * taps) };
                for (lane, dw) in dw.chunks_exact_mut(taps).enumerate() {
                    dw.iter_mut().zip(sums.chunks_exact(BLOCK)).for_each(|(dw, sums)| *dw = sums[lane]);
                }
                if let Some(db) = &db {
                    // SAFETY: as above.
                    let db = unsafe { db.slice(block * BLOCK, lanes) };
                    db.copy_from_slice(&sums[taps * BLOCK..][..lanes]);
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

/// Additions whose lanes meet their channels of `x` as `R` says, so that each way is compiled by itself.
struct By<'a, R>(Add<'a>, PhantomData<R>);

/// Calls a tile of so many kernel rows and taps.
macro_rules! with_size {
    ($self:ident, $s:ident, $rows:expr, $taps:expr, $arguments:tt; $($n_taps:literal: $($n_rows:literal)*;)*) => {
        match ($rows, $taps) {
            // SAFETY: `run` has checked the lengths that the tables were made for.
            $($(($n_rows, $n_taps) => unsafe { with_size!(@ $self, $n_rows, $n_taps, $s, $arguments) },)*)*
            _ => unreachable!("tiles are cut to these sizes"),
        }
    };
    (@ $self:ident, $rows:literal, $taps:literal, $s:ident, ($($argument:expr),*)) => {
        $self.tile::<S, R, $rows, $taps>($s, $($argument),*)
    };
}

impl<R: Read> WithSimd for By<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        self.0.chunks::<S, R>(s);
    }
}

impl Add<'_> {
    #[inline(always)]
    fn chunks<S: Simd, R: Read>(&mut self, s: S) {
        let plan = self.plan;
        while let Some(chunk) = self.chunks.next() {
            for class in &plan.classes {
                for piece in &plan.pieces {
                    let most = (SUMS / piece.taps.len()).min(ROWS);
                    for rows in pieces(class.taps.len(), most) {
                        for channel in 0..plan.group {
                            with_size!(self, s, rows.len(), piece.taps.len(), (&chunk, class, rows.start, piece, channel);
                                1: 1 2 3 4; 2: 1 2 3 4; 3: 1 2 3; 4: 1 2; 5: 1 2; 6: 1; 7: 1; 8: 1; 9: 1;
                            );
                        }
                    }
                }
            }
            let width = plan.geometry.output[2] * BLOCK;
            for image in chunk.images.clone() {
                let dy = &self.dy[self.starts(image).1..][chunk.units.start * width..chunk.units.end * width];
                add_cells(s, dy, &mut self.sums[plan.group * plan.taps * BLOCK..]);
            }
        }
    }

    /// Where the block of `image` starts in `x` and `dy`.
    #[inline(always)]
    fn starts(&self, image: usize) -> (usize, usize) {
        let g = &self.plan.geometry;
        let at = |cells: [usize; 3]| {
            (image * blocks(g.in_channels) + self.block) * cells.iter().product::<usize>() * BLOCK
        };
        (at(g.input), at(g.output))
    }

    /// The taps of `piece` in `ROWS` kernel rows of `class`, from number `first`.
    ///
    /// # Safety
    /// `x` and `dy` have the lengths that the plan was made for.
    #[inline(always)]
    unsafe fn tile<S: Simd, R: Read, const ROWS: usize, const TAPS: usize>(
        &mut self,
        s: S,
        chunk: &Chunk,
        class: &Class,
        first: usize,
        piece: &Piece,
        channel: usize,
    ) {
        let plan = self.plan;
        let (in_row, out_row) = (plan.geometry.input[2] * BLOCK, plan.geometry.output[2] * BLOCK);
        let [x_step, dy_step, tap_step] = plan.steps;
        let kernel_rows = &class.taps[first..first + ROWS];
        let width = plan.geometry.window.kernel[2];
        let tap = |row: usize| channel * plan.taps + kernel_rows[row].index * width + piece.taps.start;
        let from = lanes_of(plan.group, channel);
        // The rows of a class are in order.
        let number = |unit| class.cells.partition_point(|row| row.write < unit);
        let rows = &class.cells[number(chunk.units.start)..number(chunk.units.end)];

        let mut acc = [[s.splat(0.0); TAPS]; ROWS];
        for (row, acc) in acc.iter_mut().enumerate() {
            for (acc, sums) in acc.iter_mut().zip(self.sums[tap(row) * BLOCK..].chunks_exact(BLOCK)) {
                *acc = s.from_slice(sums);
            }
        }
        for image in chunk.images.clone() {
            let (x, dy) = self.starts(image);
            let (x, dy) = (self.x.as_ptr().wrapping_add(x), self.dy.as_ptr().wrapping_add(dy));
            for row in rows {
                let x: [*const f32; ROWS] =
                    std::array::from_fn(|i| x.wrapping_add((row.read + kernel_rows[i].read) * in_row));
                let dy = dy.wrapping_add(row.write * out_row);
                // SAFETY: the tables name cells of this block of the image.
                unsafe {
                    if x_step == tap_step && TAPS <= REACHED_TAPS {
                        for walk in &piece.walks {
                            by_read::<S, R, ROWS, TAPS>(s, &mut acc, x, dy, walk, [x_step, dy_step], &from);
                        }
                    } else {
                        for run in &piece.runs {
                            by_written::<S, R, ROWS, TAPS>(s, &mut acc, x, dy, run, plan.steps, &from);
                        }
                    }
                }
            }
        }
        for (row, acc) in acc.iter().enumerate() {
            for (acc, sums) in acc.iter().zip(self.sums[tap(row) * BLOCK..].chunks_exact_mut(BLOCK)) {
                s.write(sums, *acc);
            }
        }
    }
}

/// Adds the products of a line.
///
/// # Safety
/// What the line reads from `x`, the starts of a row for each kernel row, and from `dy`, the start of a row, is readable.
#[inline(always)]
unsafe fn by_read<S: Simd, R: Read, const ROWS: usize, const TAPS: usize>(
    s: S,
    acc: &mut [[S::V; TAPS]; ROWS],
    x: [*const f32; ROWS],
    dy: *const f32,
    walk: &Walk,
    [x_step, dy_step]: [usize; 2],
    from: &[i32; BLOCK],
) {
    // The cells that a vector of `x` meets with its taps.
    let mut met = [s.splat(0.0); TAPS];
    let mut x = x;
    let mut dy = dy.wrapping_add(walk.dy);
    for x in &mut x {
        *x = x.wrapping_offset(walk.x);
    }
    for before in 1..TAPS {
        if walk.before >> before & 1 != 0 {
            // SAFETY: the caller's promise.
            met[before - 1] = unsafe { s.load(dy.wrapping_sub(before * dy_step)) };
        }
    }
    // One loop for both, or sums would leave their registers between two.
    for cell in 0..walk.inside + walk.beyond {
        // Not shifted in place: LLVM moves that over the stack.
        let mut next = [s.splat(0.0); TAPS];
        next[1..].copy_from_slice(&met[..TAPS - 1]);
        // SAFETY: the caller's promise.
        unsafe {
            if cell < walk.inside {
                next[0] = s.load(dy);
            }
            met = next;
            for (acc, x) in acc.iter_mut().zip(&mut x) {
                let vector = R::read(s, *x, None, from);
                for (acc, met) in acc.iter_mut().zip(&met) {
                    *acc = s.fma(vector, *met, *acc);
                }
                *x = x.wrapping_add(x_step);
            }
        }
        dy = dy.wrapping_add(dy_step);
    }
}

/// Adds the products of a run.
///
/// # Safety
/// As for [`by_read`].
#[inline(always)]
unsafe fn by_written<S: Simd, R: Read, const ROWS: usize, const TAPS: usize>(
    s: S,
    acc: &mut [[S::V; TAPS]; ROWS],
    x: [*const f32; ROWS],
    dy: *const f32,
    run: &Run,
    [x_step, dy_step, tap_step]: [usize; 3],
    from: &[i32; BLOCK],
) {
    let mut x = x;
    let mut dy = dy.wrapping_add(run.dy);
    for x in &mut x {
        *x = x.wrapping_offset(run.x);
    }
    // SAFETY: the caller's promise; a cell reads what it reaches.
    unsafe {
        if run.reach.len() == TAPS {
            for _ in 0..run.count {
                let vector = s.load(dy);
                for (acc, x) in acc.iter_mut().zip(&mut x) {
                    for (tap, acc) in acc.iter_mut().enumerate() {
                        *acc = s.fma(R::read(s, x.add(tap * tap_step), None, from), vector, *acc);
                    }
                    *x = x.wrapping_add(x_step);
                }
                dy = dy.wrapping_add(dy_step);
            }
        } else {
            let vector = s.load(dy);
            for tap in 0..TAPS {
                if run.reach.contains(&tap) {
                    for (acc, x) in acc.iter_mut().zip(&x) {
                        let read = R::read(s, x.wrapping_add(tap * tap_step), None, from);
                        acc[tap] = s.fma(read, vector, acc[tap]);
                    }
                }
            }
        }
    }
}
