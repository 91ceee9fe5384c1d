//! What happens to each sum of a convolution before it is stored: bias, residual and activation, so that none of them is a pass over memory
//! of its own.
//!
//! The bias is where a sum starts. The residual and whatever bounds can say (ReLU, ReLU6, any clip) happen in registers; other activations
//! right after the store of some tiles, while they lie in the first-level cache.

use crate::activation::{self, Activation};
use crate::conv::tile::each_row;
use crate::cpu::Isa;
use crate::layout::BLOCK;
use crate::simd::{Lanes, Row, Simd};
use crate::threads::SharedMut;

/// `activation(sum + bias + residual)`.
///
/// ```
/// use svertka_kernels::{activation::Activation, epilogue::Epilogue};
/// let epilogue = Epilogue { activation: Some(Activation::Relu), ..Epilogue::bias(&[0.5]) };
/// assert!(epilogue.residual.is_none());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// One value for each channel that is written.
    pub bias: Option<&'a [f32]>,
    /// Something of the output's shape and layout.
    pub residual: Option<Residual<'a>>,
    /// Applied last; the bits are those of [`activation::forward`].
    pub activation: Option<Activation>,
}

/// Where a residual is.
#[derive(Clone, Copy, Debug)]
pub enum Residual<'a> {
    /// In memory of its own.
    Apart(&'a [f32]),
    /// In the output, which it is replaced by.
    InOutput,
}

impl<'a> Epilogue<'a> {
    /// Nothing.
    pub const NONE: Self = Self { bias: None, residual: None, activation: None };

    /// A bias only.
    pub fn bias(bias: &'a [f32]) -> Self {
        Self { bias: Some(bias), ..Self::NONE }
    }

    /// The epilogue ready for kernels that write `channels` channels to `y`.
    ///
    /// # Panics
    /// Where bias or residual have another length.
    pub(crate) fn finish(&self, isa: Isa, channels: usize, y: SharedMut<'a>) -> Finish<'a> {
        assert!(self.bias.is_none_or(|bias| bias.len() == channels), "bias");
        let residual = self.residual.map(|residual| match residual {
            Residual::Apart(values) => {
                assert_eq!(values.len(), y.len(), "residual");
                values.as_ptr()
            }
            Residual::InOutput => y.as_ptr().cast_const(),
        });
        let bounds = self.activation.and_then(Activation::bounds);
        let (low, high) = bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let rest = self.activation.filter(|_| bounds.is_none());
        Finish { isa, bias: self.bias, residual, low, high, rest, y }
    }
}

/// An [`Epilogue`] and the output that it is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finish<'a> {
    isa: Isa,
    bias: Option<&'a [f32]>,
    /// As long as `y`.
    residual: Option<*const f32>,
    low: f32,
    high: f32,
    rest: Option<Activation>,
    pub(crate) y: SharedMut<'a>,
}

// SAFETY: the residual is either a shared slice or the output, whose parts are written by one job each.
unsafe impl Send for Finish<'_> {}
// SAFETY: as above.
unsafe impl Sync for Finish<'_> {}

impl Finish<'_> {
    /// Where the sums of a block of channels start.
    #[inline(always)]
    pub(crate) fn start<S: Simd>(&self, s: S, block: usize) -> S::V {
        self.bias.map_or(s.splat(0.0), |bias| s.from_slice(&bias[block * BLOCK..]))
    }

    /// Stores the cell at `at` of the output whose sum is `v`, or the cells. Where [`Finish::settle`] has work, it must follow.
    ///
    /// # Safety
    /// The output has a vector of values at `at`, and no other job touches them.
    #[inline(always)]
    pub(crate) unsafe fn store<L: Lanes>(&self, l: L, at: usize, v: L::V) {
        // SAFETY: the caller's promise; a residual is as long as the output.
        unsafe {
            let v = match self.residual {
                Some(residual) => l.add(v, l.load(residual.add(at))),
                None => v,
            };
            l.store(self.y.as_ptr().add(at), l.min(l.splat(self.high), l.max(l.splat(self.low), v)));
        }
    }

    /// [`Finish::store`] for the sums of a tile: those of `row` at the `BLOCKS` cells that begin `cell(row)` elements behind `start` and lie `pitch` apart. There
    /// may be fewer blocks than a row has vectors.
    ///
    /// # Safety
    /// As for [`Finish::store`].
    #[inline(always)]
    pub(crate) unsafe fn store_rows<S: Simd, R: Row<S>, const MR: usize, const BLOCKS: usize>(
        &self,
        s: S,
        mut sums: [R; MR],
        cell: impl Fn(usize) -> usize,
        start: usize,
        pitch: usize,
    ) {
        let (low, high) = (self.low, self.high);
        // SAFETY: the caller's promise; a residual is as long as the output.
        unsafe {
            if let Some(residual) = self.residual {
                let residual = residual.wrapping_add(start);
                each_row!(MR, ROW => {
                    sums[ROW] = sums[ROW].add(s, residual.wrapping_add(cell(ROW)), pitch, BLOCKS);
                });
            }
            let y = self.y.as_ptr().wrapping_add(start);
            each_row!(MR, ROW => {
                sums[ROW].clamp(s, low, high).store(s, y.wrapping_add(cell(ROW)), pitch, BLOCKS);
            });
        }
    }

    /// Applies what bounds can't say to cells that have been stored, best some dozens of them: constants are loaded once for [`CELLS`].
    ///
    /// # Safety
    /// The output has eight values at each place, and no other job touches them.
    #[inline(always)]
    pub(crate) unsafe fn settle(&self, places: impl Iterator<Item = usize>) {
        if let Some(function) = self.rest {
            // Not inlined into every kernel: all functions would be.
            // SAFETY: the caller's promise.
            let apply = |list: &[usize]| unsafe {
                activation::apply_to_cells(self.isa, function, self.y.as_ptr(), list);
            };
            let (mut list, mut count) = ([0; CELLS], 0);
            for place in places {
                if count == CELLS {
                    apply(&list);
                    count = 0;
                }
                list[count] = place;
                count += 1;
            }
            apply(&list[..count]);
        }
    }
}

/// Cells that are settled together.
const CELLS: usize = 64;
