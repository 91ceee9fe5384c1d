//! Local response normalization of a plain activation (Krizhevsky et al., 2012): each value divided by a power of the squares of neighbouring
//! channels at its place.

use std::ops::Range;

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::lines::{TILE, pieces};
use crate::planes::Planes;
use crate::threads::SharedMut;

/// `y = x s^-beta` with `s = bias + alpha / size * (sum of x^2 over the window of channels)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocalResponse {
    /// Channels of a window: `(size - 1) / 2`, rounded down, before its own, and as many, rounded up, after it.
    pub size: usize,
    /// Factor of the mean square.
    pub alpha: f32,
    /// Exponent.
    pub beta: f32,
    /// Added to the mean square.
    pub bias: f32,
}

/// Normalizes `x`, plain.
///
/// # Panics
/// Where a slice has not its length, or `size` is zero.
pub fn local_response_norm(cpu: &Cpu, norm: LocalResponse, planes: Planes, x: &[f32], y: &mut [f32]) {
    norm.run(cpu, planes, x, y, |channels, piece, y| {
        let s = norm.scales(&channels, &piece, x, channels.own);
        let x = &x[piece.of(channels.own)];
        y.iter_mut().zip(x).zip(s).for_each(|((y, x), s)| *y = x * power(s, norm.beta));
    });
}

/// Gradient of [`local_response_norm`], overwritten: `dx = dy s^-beta - 2 alpha beta / size x (sum of dy x s^(-beta - 1) over the channels in whose
/// windows it is)`.
///
/// # Panics
/// As [`local_response_norm`].
pub fn local_response_norm_backward(
    cpu: &Cpu,
    norm: LocalResponse,
    planes: Planes,
    x: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) {
    assert_eq!(dy.len(), x.len());
    let factor = 2.0 * norm.alpha * norm.beta / norm.size as f32;
    norm.run(cpu, planes, x, dx, |channels, piece, dx| {
        let mut sums = [0.0; TILE];
        // The windows that reach this channel.
        let readers = norm.window(channels.own, channels.count, true);
        for reader in readers {
            let s = norm.scales(&channels, &piece, x, reader);
            let range = piece.of(reader);
            for (lane, (x, dy)) in x[range.clone()].iter().zip(&dy[range]).enumerate() {
                let power = power(s[lane], norm.beta);
                sums[lane] += dy * x * power / s[lane];
                if reader == channels.own {
                    dx[lane] = dy * power;
                }
            }
        }
        let x = &x[piece.of(channels.own)];
        dx.iter_mut().zip(x).zip(sums).for_each(|((dx, x), sum)| *dx -= factor * x * sum);
    });
}

/// A channel among those of its image.
struct Channels {
    own: usize,
    count: usize,
}

/// The same pixels of every channel.
struct Piece {
    /// Start of the image.
    image: usize,
    pixels: usize,
    range: Range<usize>,
}

impl Piece {
    fn of(&self, channel: usize) -> Range<usize> {
        let start = self.image + channel * self.pixels;
        start + self.range.start..start + self.range.end
    }
}

impl LocalResponse {
    /// The channels in the window of `channel`; `transposed`, those in whose windows it is.
    fn window(&self, channel: usize, channels: usize, transposed: bool) -> Range<usize> {
        let (before, after) = ((self.size - 1) / 2, self.size / 2);
        let (before, after) = if transposed { (after, before) } else { (before, after) };
        channel.saturating_sub(before)..channels.min(channel.saturating_add(after).saturating_add(1))
    }

    /// `s` of a channel at the places of a piece.
    fn scales(&self, channels: &Channels, piece: &Piece, x: &[f32], channel: usize) -> [f32; TILE] {
        let mut sums = [0.0; TILE];
        for neighbour in self.window(channel, channels.count, false) {
            sums.iter_mut().zip(&x[piece.of(neighbour)]).for_each(|(sum, x)| *sum += x * x);
        }
        sums.map(|sum| self.bias + self.alpha / self.size as f32 * sum)
    }

    fn run(
        &self,
        cpu: &Cpu,
        planes: Planes,
        x: &[f32],
        out: &mut [f32],
        f: impl Fn(Channels, Piece, &mut [f32]) + Sync,
    ) {
        let Planes { batch, channels, pixels } = planes;
        assert!(self.size > 0, "a window of at least one channel");
        assert!(x.len() == batch * channels * pixels && out.len() == x.len());
        let out = SharedMut::new(out);
        run_ranges(cpu, batch * channels, pixels * self.size.min(channels), |planes| {
            for plane in planes {
                let own = plane % channels;
                for range in pieces(0..pixels, usize::MAX) {
                    let piece = Piece { image: (plane - own) * pixels, pixels, range };
                    let at = piece.of(own);
                    // SAFETY: each job writes its own planes.
                    f(Channels { own, count: channels }, piece, unsafe { out.slice(at.start, at.len()) });
                }
            }
        });
    }
}

/// `s^-beta`; the exponent of the paper by roots, which are many times faster.
fn power(s: f32, beta: f32) -> f32 {
    if beta == 0.75 { (s.sqrt() * s.sqrt().sqrt()).recip() } else { s.powf(-beta) }
}
