//! The input gradient of strided layers that read a picture: the cells of a square as large as the stride are channels of one cell.
//!
//! A written panel has 16 lanes, of which three or four channels leave most without work. Cell `r` of square `q` reads output cells `q + e` with taps
//! `r + padding - stride * e`: the squares are a convolution without stride over `dy`, with four lanes for each of their cells, in which taps that some cell
//! of a square has not are zeros. It goes to scratch memory by the tile, and from there each cell to its place. For 7 x 7 of stride 2 and three channels
//! 49 of 64 taps and 12 of 16 lanes are real, where the tile alone has three lanes of eight. As groups in a panel do, a zero meets what its lane does not reach:
//! what is not finite in `dy` is so in all cells of the squares that read it.

use super::Plan;
use super::direct::Direct;
use crate::cpu::{Cpu, WithSimd};
use crate::epilogue::{Epilogue, Finish};
use crate::geometry::{ConvGeometry, Window};
use crate::layout::{BLOCK, blocked_len, blocks};
use crate::simd::Simd;
use crate::threads::SharedMut;

/// Lanes of a cell of a square.
const LANES: usize = 4;

#[derive(Debug)]
pub(crate) struct Picture {
    geometry: ConvGeometry,
    /// The convolution of squares.
    squares: ConvGeometry,
    /// For each axis, the output cell that the first tap of square zero reads; not above zero.
    first: [isize; 3],
    plan: Direct,
}

impl Picture {
    /// The plan for `geometry` by squares, or by the tile alone.
    pub(crate) fn or_tile(geometry: &ConvGeometry) -> Plan {
        match Self::new(geometry) {
            Some(plan) => Plan::Picture(Box::new(plan)),
            None => Plan::Direct(Direct::input_gradient(geometry)),
        }
    }

    /// The plan for `geometry`, if squares of up to four cells can compute it.
    fn new(geometry: &ConvGeometry) -> Option<Self> {
        let Window { kernel, stride, dilation, padding } = geometry.window;
        let cells: usize = stride.iter().product();
        // With windows smaller than the stride most of a square is not read at all.
        let dense = (0..3).all(|axis| kernel[axis] >= stride[axis]);
        if !dense
            || geometry.groups != 1
            || geometry.in_channels > LANES
            || !(2..=4).contains(&cells)
            || dilation != [1; 3]
        {
            return None;
        }
        let mut window = Window::default();
        let mut first = [0; 3];
        for axis in 0..3 {
            // Output cells that the cells of square zero read.
            let reads = (0..stride[axis]).flat_map(|cell| {
                (0..kernel[axis]).filter_map(move |tap| {
                    let start = (cell + padding[axis].0) as isize - tap as isize;
                    let stride = stride[axis] as isize;
                    (start % stride == 0).then_some(start / stride)
                })
            });
            let (low, high) = reads.fold((0, 0), |(low, high), read| (read.min(low), read.max(high)));
            let before = usize::try_from(-low).ok()?;
            window.kernel[axis] = usize::try_from(high - low + 1).ok()?;
            let squares = geometry.input[axis].div_ceil(stride[axis]);
            let after = (squares + window.kernel[axis] - 1).checked_sub(geometry.output[axis] + before)?;
            window.padding[axis] = (before, after);
            first[axis] = low;
        }
        let squares = ConvGeometry::new(
            geometry.batch,
            geometry.out_channels,
            cells * LANES,
            1,
            geometry.output,
            window,
        )
        .ok()?;
        Some(Self { geometry: *geometry, squares, first, plan: Direct::forward(&squares, BLOCK) })
    }

    /// The weights of the tile, then the plain ones of the squares.
    pub(crate) fn packed_len(&self) -> usize {
        self.plan.packed_len() + self.squares.weight_len()
    }

    pub(crate) fn scratch_len(&self) -> usize {
        blocked_len(self.squares.batch, self.squares.out_channels, self.squares.output.iter().product())
    }

    /// Packs `weight`, in which the taps of written channel `c` and read channel `o` start at `start(c, o)`.
    pub(crate) fn pack(
        &self,
        cpu: &Cpu,
        weight: &[f32],
        packed: &mut [f32],
        start: impl Fn(usize, usize) -> usize,
    ) {
        let (g, squares) = (&self.geometry, &self.squares);
        let Window { kernel, stride, padding, .. } = g.window;
        let (packed, plain) = packed.split_at_mut(self.plan.packed_len());
        let taps: usize = squares.window.kernel.iter().product();
        for (row, plain) in plain.chunks_exact_mut(taps).enumerate() {
            let (lane, read) = (row / g.out_channels, row % g.out_channels);
            let (cell, channel) = (places(stride, lane / LANES), lane % LANES);
            for (number, plain) in plain.iter_mut().enumerate() {
                let at = places(squares.window.kernel, number);
                let tap = |axis: usize| {
                    let read = (at[axis] as isize + self.first[axis]) * stride[axis] as isize;
                    let tap = usize::try_from((cell[axis] + padding[axis].0) as isize - read).ok()?;
                    (tap < kernel[axis]).then_some(tap)
                };
                *plain = match (tap(0), tap(1), tap(2)) {
                    (Some(d), Some(h), Some(w)) if channel < g.in_channels => {
                        weight[start(channel, read) + (d * kernel[1] + h) * kernel[2] + w]
                    }
                    _ => 0.0,
                };
            }
        }
        self.plan.pack(cpu, plain, packed, |lane, read| (lane * g.out_channels + read) * taps);
    }

    pub(crate) fn run(
        &self,
        cpu: &Cpu,
        dy: &[f32],
        packed: &[f32],
        epilogue: &Epilogue<'_>,
        dx: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = &self.geometry;
        assert_eq!(packed.len(), self.packed_len(), "packed weight");
        assert_eq!(dx.len(), blocked_len(g.batch, g.in_channels, g.input.iter().product()), "dx");
        let squares = &mut scratch[..self.scratch_len()];
        self.plan.run(cpu, dy, &packed[..self.plan.packed_len()], &Epilogue::NONE, squares);
        let finish = epilogue.finish(cpu.isa, g.in_channels, SharedMut::new(dx));
        let squares = &*squares;
        cpu.threads.run(g.batch * g.input[0] * g.input[1], |row, _| {
            cpu.isa.dispatch(Spread { plan: self, squares, finish, row });
        });
    }
}

/// Row-major place `number` of a volume.
fn places(size: [usize; 3], number: usize) -> [usize; 3] {
    [number / (size[1] * size[2]), number / size[2] % size[1], number % size[2]]
}

/// Brings the cells of one row, counted over all images, from their squares to their places.
struct Spread<'a> {
    plan: &'a Picture,
    squares: &'a [f32],
    finish: Finish<'a>,
    row: usize,
}

impl WithSimd for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (g, squares) = (&self.plan.geometry, &self.plan.squares);
        let (stride, [_, height, width]) = (g.window.stride, squares.output);
        let [image, depth, row] = places([g.batch, g.input[0], g.input[1]], self.row);
        let cells: usize = squares.output.iter().product();
        let first = (depth / stride[0] * height + row / stride[1]) * width;
        let of_row = (depth % stride[0] * stride[1] + row % stride[1]) * stride[2];
        let start = self.finish.start(s, 0);
        let place = |x: usize| (self.row * g.input[2] + x) * BLOCK;
        for x in 0..g.input[2] {
            let lane = (of_row + x % stride[2]) * LANES;
            let block = image * blocks(squares.out_channels) + lane / BLOCK;
            let at = (block * cells + first + x / stride[2]) * BLOCK + lane % BLOCK;
            let mut lanes = [0.0; BLOCK];
            lanes[..LANES].copy_from_slice(&self.squares[at..at + LANES]);
            // SAFETY: a picture has one block of channels, so the rows of all images follow each other; each is written by its own job.
            unsafe { self.finish.store(s, place(x), s.add(s.from_slice(&lanes), start)) };
        }
        // SAFETY: the cells that have just been written.
        unsafe { self.finish.settle((0..g.input[2]).map(place)) };
    }
}
