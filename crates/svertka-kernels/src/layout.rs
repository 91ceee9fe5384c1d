//! The two layouts of an activation, and the way between them.
//!
//! *Plain* is `N x C x spatial`, row-major, as PyTorch and ONNX have it. *Blocked* is `N x ceil(C / 8) x spatial x 8`: the eight channels of a
//! block stand side by side, so that a vector holds one pixel of a block. The lanes beyond the last channel exist and hold zero after a
//! convolution; kernels may leave any finite value there and must never read them into a real channel.

use crate::cpu::{Cpu, WithSimd};
use crate::simd::{LANES, Simd};
use crate::threads::SharedMut;

/// Channels of one block.
pub const BLOCK: usize = 8;

/// Blocks that hold `channels`.
pub fn blocks(channels: usize) -> usize {
    channels.div_ceil(BLOCK)
}

/// Elements of a blocked activation with `pixels` spatial cells.
pub fn blocked_len(batch: usize, channels: usize, pixels: usize) -> usize {
    batch * blocks(channels) * BLOCK * pixels
}

/// Copies `plain` (`batch x channels x pixels`) into `blocked`, zeroing the unused lanes.
///
/// # Panics
/// Where a slice has not the length that its layout needs.
pub fn to_blocked(
    batch: usize,
    channels: usize,
    pixels: usize,
    plain: &[f32],
    blocked: &mut [f32],
    cpu: &Cpu,
) {
    assert_eq!(plain.len(), batch * channels * pixels);
    assert_eq!(blocked.len(), blocked_len(batch, channels, pixels));
    let out = SharedMut::new(blocked);
    cpu.threads.run(batch * blocks(channels), |job, _| {
        let (image, block) = (job / blocks(channels), job % blocks(channels));
        let count = (channels - block * BLOCK).min(BLOCK);
        let from = &plain[(image * channels + block * BLOCK) * pixels..][..count * pixels];
        // SAFETY: job `job` alone writes block `job`.
        let to = unsafe { out.slice(job * BLOCK * pixels, BLOCK * pixels) };
        if count == BLOCK {
            cpu.isa.dispatch(Transpose { from, to, rows: BLOCK, columns: pixels });
            return;
        }
        for (pixel, lanes) in to.chunks_exact_mut(BLOCK).enumerate() {
            for (c, lane) in lanes.iter_mut().enumerate() {
                *lane = if c < count { from[c * pixels + pixel] } else { 0.0 };
            }
        }
    });
}

/// Copies `blocked` into `plain` (`batch x channels x pixels`).
///
/// # Panics
/// Where a slice has not the length that its layout needs.
pub fn to_plain(batch: usize, channels: usize, pixels: usize, blocked: &[f32], plain: &mut [f32], cpu: &Cpu) {
    assert_eq!(plain.len(), batch * channels * pixels);
    assert_eq!(blocked.len(), blocked_len(batch, channels, pixels));
    let out = SharedMut::new(plain);
    cpu.threads.run(batch * blocks(channels), |job, _| {
        let (image, block) = (job / blocks(channels), job % blocks(channels));
        let count = (channels - block * BLOCK).min(BLOCK);
        let from = &blocked[job * BLOCK * pixels..][..BLOCK * pixels];
        // SAFETY: job `job` alone writes the channels of its block.
        let to = unsafe { out.slice((image * channels + block * BLOCK) * pixels, count * pixels) };
        if count == BLOCK {
            cpu.isa.dispatch(Transpose { from, to, rows: pixels, columns: BLOCK });
            return;
        }
        for (c, row) in to.chunks_exact_mut(pixels.max(1)).enumerate() {
            for (value, lanes) in row.iter_mut().zip(from.chunks_exact(BLOCK)) {
                *value = lanes[c];
            }
        }
    });
}

/// Writes the columns of a row-major matrix as rows, eight by eight.
struct Transpose<'a> {
    from: &'a [f32],
    to: &'a mut [f32],
    rows: usize,
    columns: usize,
}

impl WithSimd for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { from, to, rows, columns } = self;
        let (rows_whole, columns_whole) = (rows - rows % LANES, columns - columns % LANES);
        for row in (0..rows_whole).step_by(LANES) {
            for column in (0..columns_whole).step_by(LANES) {
                let square =
                    std::array::from_fn(|i| s.from_slice(&from[(row + i) * columns + column..][..LANES]));
                for (i, vector) in s.transpose(square).into_iter().enumerate() {
                    s.write(&mut to[(column + i) * rows + row..][..LANES], vector);
                }
            }
        }
        // One of the sizes is eight, so what is left is a strip along the other.
        for row in 0..rows {
            let first = if row < rows_whole { columns_whole } else { 0 };
            for column in first..columns {
                to[column * rows + row] = from[row * columns + column];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_the_same_and_spare_lanes_are_zero() {
        let cpu = Cpu::new(2);
        for (batch, channels, pixels) in
            [(1, 1, 1), (2, 11, 6), (3, 8, 5), (1, 17, 1), (2, 27, 19), (0, 3, 4), (2, 3, 0), (2, 8, 0)]
        {
            let plain: Vec<f32> = (1..=batch * channels * pixels).map(|i| i as f32).collect();
            let mut blocked = vec![f32::NAN; blocked_len(batch, channels, pixels)];
            to_blocked(batch, channels, pixels, &plain, &mut blocked, &cpu);
            assert_eq!(blocked.iter().filter(|x| **x == 0.0).count(), blocked.len() - plain.len());
            let mut back = vec![0.0; plain.len()];
            to_plain(batch, channels, pixels, &blocked, &mut back, &cpu);
            assert_eq!(back, plain);
        }
    }
}
