//! The hot loop of `rows.rs`: the sums of up to eight written cells of a block side by side, and how a row of taps is cut into its steps.
//!
//! A step is up to three neighbouring taps, in registers, over a line of read cells: each read vector is loaded once and multiplied with every
//! tap that meets it. That is 13 loads for 24 products in a 3 x 3 kernel, where two of each go in a cycle. Read vectors that are padding are
//! neither read nor multiplied: where that can be so, a bit for each says it.

use std::ops::Range;

use super::windows::Line;
use crate::layout::BLOCK;
use crate::simd::Simd;

/// The sums of neighbouring cells. Where all steps are [`Step::beside`], the distances are constants, which saves an addition for each read vector.
///
/// # Safety
/// What the steps read of `x` and `weight` is readable.
#[inline(always)]
pub(crate) unsafe fn sums<S: Simd, R: Read, const CELLS: usize, const BESIDE: bool>(
    s: S,
    start: S::V,
    x: *const f32,
    weight: *const f32,
    steps: &[Step],
) -> [S::V; CELLS] {
    let mut sums = [start; CELLS];
    for step in steps {
        let (x, weight) = (x.wrapping_add(step.a), weight.wrapping_add(step.b));
        // SAFETY: the caller's promise.
        unsafe {
            match step.kind {
                Kind::Part => walk::<S, R, CELLS, 1, 1, BESIDE, true>(s, &mut sums, x, weight, step),
                Kind::One => walk::<S, R, CELLS, 1, 1, BESIDE, false>(s, &mut sums, x, weight, step),
                Kind::Two => walk::<S, R, CELLS, 2, 1, BESIDE, false>(s, &mut sums, x, weight, step),
                Kind::Three => walk::<S, R, CELLS, 3, 1, BESIDE, false>(s, &mut sums, x, weight, step),
                Kind::ThreeByTwo => walk::<S, R, CELLS, 3, 2, BESIDE, false>(s, &mut sums, x, weight, step),
            }
        }
    }
    sums
}

/// Some taps of a row for one read channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) kind: Kind,
    /// From the start of a piece to the first read vector, and from one to the next.
    pub(crate) a: usize,
    pub(crate) a_step: usize,
    /// Weights of the first tap, and from one tap to the next.
    pub(crate) b: usize,
    pub(crate) b_step: isize,
    /// A bit for each read vector that is not padding. Those that all taps meet are not, except in [`Kind::Part`].
    pub(crate) inside: u32,
    /// For [`Factors::Group`], the lane of its half that each lane is multiplied with.
    pub(crate) from: [i32; BLOCK],
}

impl Step {
    /// Whether read vectors lie side by side, and weights of taps.
    pub(crate) fn beside(&self) -> bool {
        self.a_step == BLOCK && (self.b_step == BLOCK as isize || self.kind.taps() == 1)
    }
}

/// Neighbouring taps of a step, and how many read vectors lie between neighbouring cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One tap, and any read vector may be padding.
    Part,
    One,
    Two,
    Three,
    ThreeByTwo,
}

impl Kind {
    fn taps(self) -> usize {
        match self {
            Self::Part | Self::One => 1,
            Self::Two => 2,
            Self::Three | Self::ThreeByTwo => 3,
        }
    }
}

/// What the lanes of a written block are multiplied with.
pub(crate) trait Read {
    /// The factors of the lanes for the cell at `p`.
    ///
    /// # Safety
    /// `p` points to eight readable floats, for [`All`] to one.
    unsafe fn read<S: Simd>(s: S, p: *const f32, from: &[i32; BLOCK]) -> S::V;
}

/// The lanes of a group of 2 or 4 with one of its channels.
pub(crate) struct Group;
/// All lanes with one channel.
pub(crate) struct All;

impl Read for Group {
    #[inline(always)]
    unsafe fn read<S: Simd>(s: S, p: *const f32, from: &[i32; BLOCK]) -> S::V {
        // SAFETY: the caller's promise.
        s.permute_halves(unsafe { s.load(p) }, from)
    }
}

impl Read for All {
    #[inline(always)]
    unsafe fn read<S: Simd>(s: S, p: *const f32, _: &[i32; BLOCK]) -> S::V {
        // SAFETY: the caller's promise.
        s.splat(unsafe { *p })
    }
}

/// The steps of one kernel row of one channel for some `cells` of `line`.
pub(crate) fn steps_of_row(line: &Line, cells: &Range<usize>) -> Vec<Step> {
    let kinds: &[Kind] = match line.stride {
        1 => &[Kind::Three, Kind::Two, Kind::One, Kind::Part],
        2 => &[Kind::ThreeByTwo, Kind::One, Kind::Part],
        _ => &[Kind::One, Kind::Part],
    };
    let (mut steps, mut tap) = (vec![], 0);
    while tap < line.taps.len() {
        let fits = kinds.iter().find_map(|&kind| {
            let taps = kind.taps();
            // Vectors between cells are read only where several taps share them.
            let (stride, apart) = if taps == 1 { (1, line.stride) } else { (line.stride, 1) };
            let first = cells.start * line.stride + tap;
            let reads = |vector| line.inside.contains(&(first + vector * apart));
            let last_cell = (cells.len() - 1) * stride;
            let whole = kind == Kind::Part || (taps - 1..=last_cell).all(reads);
            (taps <= line.taps.len() - tap && whole).then(|| {
                let second = line.taps.get(tap + 1).filter(|_| taps > 1);
                let inside = (0..last_cell + taps).filter(|&vector| reads(vector));
                Step {
                    kind,
                    a: tap * line.read_step * BLOCK,
                    a_step: apart * line.read_step * BLOCK,
                    b: line.taps[tap] * BLOCK,
                    b_step: second.map_or(0, |&second| second as isize - line.taps[tap] as isize)
                        * BLOCK as isize,
                    inside: inside.fold(0, |bits, vector| bits | 1 << vector),
                    from: [0; BLOCK],
                }
            })
        });
        let step = fits.expect("the last kind fits everywhere");
        tap += step.kind.taps();
        if step.inside != 0 {
            steps.push(step);
        }
    }
    steps
}

/// Adds the products of a step with `TAPS` taps; neighbouring cells are `STRIDE` read vectors apart. `BESIDE` as in [`sums`]; of a `PART`, any vector may
/// be padding.
///
/// # Safety
/// As for [`sums`].
#[inline(always)]
unsafe fn walk<
    S: Simd,
    R: Read,
    const CELLS: usize,
    const TAPS: usize,
    const STRIDE: usize,
    const BESIDE: bool,
    const PART: bool,
>(
    s: S,
    sums: &mut [S::V; CELLS],
    x: *const f32,
    weight: *const f32,
    step: &Step,
) {
    let mut x = x;
    // SAFETY: the caller's promise.
    let taps: [S::V; TAPS] =
        unsafe { load_taps(s, weight, if BESIDE { BLOCK as isize } else { step.b_step }) };
    // LLVM does not unroll so long a loop, and sums under a variable index are not in registers.
    macro_rules! meet {
        ($($vector:literal)*) => {
            // SAFETY: the caller's promise.
            unsafe { $(meet::<S, R, CELLS, TAPS, STRIDE, BESIDE, PART>(s, sums, &taps, &mut x, step, $vector);)* }
        };
    }
    meet!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
}

/// The weights of taps that are `apart`. A function of its own, or its closure would be compiled for each kind of cells.
///
/// # Safety
/// They are readable.
#[inline(always)]
unsafe fn load_taps<S: Simd, const TAPS: usize>(s: S, first: *const f32, apart: isize) -> [S::V; TAPS] {
    // SAFETY: the caller's promise.
    std::array::from_fn(|tap| unsafe { s.load(first.wrapping_offset(tap as isize * apart)) })
}

/// Multiplies one read vector, if there are so many, with the taps that meet it, and goes to the next.
///
/// # Safety
/// As for [`sums`]; `x` is the read vector.
#[inline(always)]
unsafe fn meet<
    S: Simd,
    R: Read,
    const CELLS: usize,
    const TAPS: usize,
    const STRIDE: usize,
    const BESIDE: bool,
    const PART: bool,
>(
    s: S,
    sums: &mut [S::V; CELLS],
    taps: &[S::V; TAPS],
    x: &mut *const f32,
    step: &Step,
    vector: usize,
) {
    let last = (CELLS - 1) * STRIDE;
    if vector >= last + TAPS {
        return;
    }
    let edge = PART || vector + 1 < TAPS || vector > last;
    if !edge || step.inside >> vector & 1 != 0 {
        // SAFETY: the caller's promise.
        let factors = unsafe { R::read(s, *x, &step.from) };
        for (tap, &weight) in taps.iter().enumerate() {
            // The cell whose tap meets this vector, if there is one.
            let beyond = vector.wrapping_sub(tap);
            if beyond <= last && beyond.is_multiple_of(STRIDE) {
                sums[beyond / STRIDE] = s.fma(factors, weight, sums[beyond / STRIDE]);
            }
        }
    }
    *x = x.wrapping_add(if BESIDE { BLOCK } else { step.a_step });
}
