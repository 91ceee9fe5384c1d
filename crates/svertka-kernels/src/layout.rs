//! The two layouts of an activation, and the way between them.
//!
//! *Plain* is `N x C x spatial`, row-major, as PyTorch and ONNX have it. *Blocked* is `N x ceil(C / 8) x spatial x 8`: the eight channels of a
//! block stand side by side, so that a vector holds one pixel of a block. The lanes beyond the last channel exist and hold zero after a
//! convolution; kernels may leave any finite value there and must never read them into a real channel.

use crate::cpu::Cpu;
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
        for (c, row) in to.chunks_exact_mut(pixels.max(1)).enumerate() {
            for (value, lanes) in row.iter_mut().zip(from.chunks_exact(BLOCK)) {
                *value = lanes[c];
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_the_same_and_spare_lanes_are_zero() {
        let cpu = Cpu::new(2);
        for (batch, channels, pixels) in [(1, 1, 1), (2, 11, 6), (3, 8, 5), (1, 17, 1), (0, 3, 4), (2, 3, 0)]
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
