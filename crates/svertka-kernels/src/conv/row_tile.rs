//! The hot loop of `rows.rs`: the sums of neighbouring written cells, and how a row of taps is cut into its steps.
//!
//! A step is some neighbouring taps, in registers, over a line of read cells: each read vector is loaded once and multiplied with every tap that meets it.
//! Of two cells to a vector, taps at odd distances meet vectors that begin between two loaded ones: an instruction makes them of these. Only vectors at the ends of a
//! step can be padding; there a mask says which of their cells are.

use super::windows::Line;
use crate::layout::BLOCK;
use crate::simd::Lanes;

/// Sums of the largest tile: as many as the FMA units have in flight. They, three taps and a read vector are 12 of 16 registers.
pub(super) const VECTORS: usize = 8;

/// A kernel row and a read channel: where they read, their weights, and for [`Group`] the lane of its half that each lane is multiplied with.
#[derive(Clone, Copy, Debug)]
pub(super) struct KernelRow {
    pub(super) x: usize,
    pub(super) weight: usize,
    pub(super) from: [i32; BLOCK],
}

/// What the lanes of a written block are multiplied with.
pub(super) trait Read {
    /// Whether a vector may be two cells.
    const PAIRS: bool = true;
    /// The factors of the lanes for the cells at `p`, zeros where a `mask` leaves out a cell; see [`Lanes::load_cells`].
    ///
    /// # Safety
    /// At each cell that is read there are eight readable floats, for [`All`] one.
    unsafe fn read<L: Lanes>(l: L, p: *const f32, mask: Option<u8>, from: &[i32; BLOCK]) -> L::V;
}

/// Each lane with its own channel.
pub(super) struct Own;
/// The lanes of a group of 2 or 4 with one of its channels.
pub(super) struct Group;
/// All lanes with one channel, where a vector is one cell.
pub(super) struct All;

impl Read for Own {
    #[inline(always)]
    unsafe fn read<L: Lanes>(l: L, p: *const f32, mask: Option<u8>, _: &[i32; BLOCK]) -> L::V {
        // SAFETY: the caller's promise.
        unsafe {
            match mask {
                Some(mask) => l.load_cells(p, mask),
                None => l.load(p),
            }
        }
    }
}

impl Read for Group {
    #[inline(always)]
    unsafe fn read<L: Lanes>(l: L, p: *const f32, mask: Option<u8>, from: &[i32; BLOCK]) -> L::V {
        // SAFETY: the caller's promise.
        l.permute_halves(unsafe { Own::read(l, p, mask, from) }, from)
    }
}

impl Read for All {
    const PAIRS: bool = false;

    #[inline(always)]
    unsafe fn read<L: Lanes>(l: L, p: *const f32, mask: Option<u8>, _: &[i32; BLOCK]) -> L::V {
        // SAFETY: the caller's promise.
        l.splat(if mask == Some(0) { 0.0 } else { unsafe { *p } })
    }
}

/// For [`Group`], the lane of its half that each lane is multiplied with: that of channel `channel` of its group of `group` channels.
pub(super) fn lanes_of(group: usize, channel: usize) -> [i32; BLOCK] {
    std::array::from_fn(|lane| (lane / group * group + channel) as i32 % 4)
}

/// Neighbouring taps of a row, for one tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    kind: Kind,
    /// From where the first cell of the tile meets the first tap of the row to where the tap in the middle meets the first vector of cells; and how much further on a
    /// single tap meets the next.
    x: usize,
    apart: usize,
    weight: usize,
    /// For each vector that may be padding, four bits for each of its cells that is not.
    masks: [u8; VECTORS],
}

/// How many taps a step has, and how far apart cells read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One tap at any distance, and any vector may be padding.
    Part,
    /// One tap at any distance.
    Apart,
    Two,
    Three,
    /// All taps of a row, so that it is the only step.
    Five,
    Seven,
    ThreeByTwo,
}

impl Kind {
    fn taps(self) -> usize {
        match self {
            Self::Part | Self::Apart => 1,
            Self::Two => 2,
            Self::Three | Self::ThreeByTwo => 3,
            Self::Five => 5,
            Self::Seven => 7,
        }
    }
}

/// The steps of one kernel row for `cells` cells of `line` from number `first` on, `width` to a vector, where the weights of the line's taps are those from
/// number `first_tap` on.
pub(super) fn steps_of_row(
    line: &Line,
    first: usize,
    cells: usize,
    width: usize,
    first_tap: usize,
) -> Vec<Step> {
    let kinds: &[Kind] = match (line.read_step, line.stride) {
        (1, 1) if line.taps.len() == 5 => &[Kind::Five, Kind::Three, Kind::Two, Kind::Apart, Kind::Part],
        (1, 1) if line.taps.len() == 7 => &[Kind::Seven, Kind::Three, Kind::Two, Kind::Apart, Kind::Part],
        (1, 1) => &[Kind::Three, Kind::Two, Kind::Apart, Kind::Part],
        (1, 2) => &[Kind::ThreeByTwo, Kind::Apart, Kind::Part],
        _ => &[Kind::Apart, Kind::Part],
    };
    let inside = |position: isize| usize::try_from(position).is_ok_and(|at| line.inside.contains(&at));
    let last = cells.div_ceil(width) - 1;
    let (mut steps, mut tap) = (vec![], 0);
    while tap < line.taps.len() {
        let fits = kinds.iter().filter(|kind| kind.taps() <= line.taps.len() - tap).find_map(|&kind| {
            let middle = first * line.stride + tap + kind.taps() / 2;
            let single = matches!(kind, Kind::Part | Kind::Apart);
            let (Ends { left, right, vectors }, apart) = if single {
                (Ends { left: 0, right: last + 1, vectors: last + 1 }, line.stride * width)
            } else {
                (Ends::new(width, kind.taps(), last * line.stride), width)
            };
            let mask = |vector: usize| {
                let cell = |cell| (middle + vector * apart + cell) as isize - (left * apart) as isize;
                (0..width).filter(|&at| inside(cell(at))).fold(0, |mask, cell| mask | 15 << (4 * cell))
            };
            let full = if width == 1 { 15 } else { 255 };
            let whole = kind == Kind::Part || (left..right).all(|vector| mask(vector) == full);
            whole.then(|| {
                let mut masks = [0; VECTORS];
                let ends = (0..left).chain(right..vectors);
                let of_part = if kind == Kind::Part { 0..vectors } else { 0..0 };
                masks.iter_mut().zip(ends.chain(of_part)).for_each(|(bits, vector)| *bits = mask(vector));
                Step {
                    kind,
                    x: (middle - first * line.stride) * line.read_step * BLOCK,
                    apart: apart * line.read_step * BLOCK,
                    weight: (first_tap + tap) * BLOCK,
                    masks,
                }
            })
        });
        let step = fits.expect("the last kind fits everywhere");
        tap += step.kind.taps();
        if step.kind != Kind::Part || step.masks != [0; VECTORS] {
            steps.push(step);
        }
    }
    steps
}

/// The vectors that a step reads, counted from the first: those before `left` and from `right` on may be padding.
struct Ends {
    left: usize,
    right: usize,
    vectors: usize,
}

impl Ends {
    /// For vectors of `width` cells and `taps` taps, where the tap in the middle meets the last vector of cells at vector `last`.
    const fn new(width: usize, taps: usize, last: usize) -> Self {
        let left = (taps / 2).div_ceil(width);
        // The last vector of cells may have one less.
        let right = left + last + 2 - width;
        Self { left, right, vectors: left + last + 1 + (taps - 1 - taps / 2).div_ceil(width) }
    }
}

/// The sums of `VECTORS` vectors of cells.
///
/// # Safety
/// What the steps read of `x` for each of the kernel rows, and of `weight`, is readable.
#[inline(always)]
pub(super) unsafe fn sums<L: Lanes, R: Read, const VECTORS: usize>(
    l: L,
    start: L::V,
    x: *const f32,
    weight: *const f32,
    rows: &[KernelRow],
    steps: &[Step],
) -> [L::V; VECTORS] {
    let mut sums = [start; VECTORS];
    let at = |row: &KernelRow, step: &Step| {
        (x.wrapping_add(row.x + step.x), weight.wrapping_add(row.weight + step.weight))
    };
    macro_rules! walk {
        ($row:expr, $step:expr, $taps:literal by $stride:literal) => {{
            let (x, weight) = at($row, $step);
            // SAFETY: the caller's promise.
            unsafe { walk::<L, R, VECTORS, $taps, $stride>(l, &mut sums, x, weight, $step, &$row.from) }
        }};
    }
    let one_cell = const { L::WIDTH == BLOCK };
    match steps {
        // What nearly all layers are: nothing but this in the loop.
        [step] if step.kind == Kind::Three => rows.iter().for_each(|row| walk!(row, step, 3 by 1)),
        [step] if step.kind == Kind::Five => rows.iter().for_each(|row| walk!(row, step, 5 by 1)),
        [step] if step.kind == Kind::Seven => rows.iter().for_each(|row| walk!(row, step, 7 by 1)),
        [step] if one_cell && step.kind == Kind::ThreeByTwo => {
            rows.iter().for_each(|row| walk!(row, step, 3 by 2));
        }
        _ => {
            for row in rows {
                for step in steps {
                    match step.kind {
                        Kind::Two => walk!(row, step, 2 by 1),
                        Kind::Three => walk!(row, step, 3 by 1),
                        Kind::ThreeByTwo if one_cell => walk!(row, step, 3 by 2),
                        _ => {
                            let (x, weight) = at(row, step);
                            // SAFETY: the caller's promise.
                            unsafe { single::<L, R, VECTORS>(l, &mut sums, x, weight, step, &row.from) };
                        }
                    }
                }
            }
        }
    }
    sums
}

/// Adds the products of a step of one tap at any distance.
///
/// # Safety
/// As for [`sums`].
#[inline(always)]
unsafe fn single<L: Lanes, R: Read, const VECTORS: usize>(
    l: L,
    sums: &mut [L::V; VECTORS],
    x: *const f32,
    weight: *const f32,
    step: &Step,
    from: &[i32; BLOCK],
) {
    let mut x = x;
    // SAFETY: the caller's promise.
    unsafe {
        let weight = l.repeat(weight);
        if step.kind == Kind::Apart {
            for sum in sums {
                *sum = l.fma(R::read(l, x, None, from), weight, *sum);
                x = x.wrapping_add(step.apart);
            }
        } else {
            for (sum, &mask) in sums.iter_mut().zip(&step.masks) {
                *sum = l.fma(R::read(l, x, Some(mask), from), weight, *sum);
                x = x.wrapping_add(step.apart);
            }
        }
    }
}

/// Adds the products of a step with `TAPS` taps; neighbouring cells are `STRIDE` read cells apart.
///
/// # Safety
/// As for [`sums`].
#[inline(always)]
unsafe fn walk<L: Lanes, R: Read, const VECTORS: usize, const TAPS: usize, const STRIDE: usize>(
    l: L,
    sums: &mut [L::V; VECTORS],
    x: *const f32,
    weight: *const f32,
    step: &Step,
    from: &[i32; BLOCK],
) {
    // SAFETY: the caller's promise.
    let taps: [L::V; TAPS] = unsafe { load_taps(l, weight) };
    let mut before = l.splat(0.0);
    // LLVM does not unroll so long a loop, and sums under a variable index are not in registers.
    macro_rules! meet {
        ($($vector:literal)*) => {
            // SAFETY: the caller's promise.
            $(unsafe { meet::<L, R, VECTORS, TAPS, STRIDE>(l, sums, &taps, &mut before, x, step, from, $vector) };)*
        };
    }
    meet!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
}

/// The weights of taps side by side.
///
/// # Safety
/// They are readable.
#[inline(always)]
unsafe fn load_taps<L: Lanes, const TAPS: usize>(l: L, first: *const f32) -> [L::V; TAPS] {
    // SAFETY: the caller's promise.
    std::array::from_fn(|tap| unsafe { l.repeat(first.wrapping_add(tap * BLOCK)) })
}

/// Multiplies read vector `vector`, if there are so many, with the taps that meet it, and what lies between the one `before` and it.
///
/// # Safety
/// As for [`sums`]; `x` is where the tap in the middle meets the first vector of cells.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "sums, their factors, and what is read")]
unsafe fn meet<L: Lanes, R: Read, const VECTORS: usize, const TAPS: usize, const STRIDE: usize>(
    l: L,
    sums: &mut [L::V; VECTORS],
    taps: &[L::V; TAPS],
    before: &mut L::V,
    x: *const f32,
    step: &Step,
    from: &[i32; BLOCK],
    vector: usize,
) {
    let width = const { L::WIDTH / BLOCK };
    let last = const { (VECTORS - 1) * STRIDE };
    let Ends { left, right, vectors } = const { Ends::new(L::WIDTH / BLOCK, TAPS, (VECTORS - 1) * STRIDE) };
    if vector >= vectors {
        return;
    }
    let x = x.wrapping_add(vector * L::WIDTH).wrapping_sub(left * L::WIDTH);
    // SAFETY: the caller's promise; a mask leaves out what is padding.
    let read = unsafe {
        let mask = if vector < left {
            Some(step.masks[vector])
        } else if vector >= right {
            Some(step.masks[vector - right + left])
        } else {
            None
        };
        R::read(l, x, mask, from)
    };
    let between = l.after_first_cell(*before, read);
    for (tap, &weight) in taps.iter().enumerate() {
        // How many cells this tap reads behind the first, rounded up to whole vectors.
        let behind = tap + left * width - TAPS / 2;
        let beyond = vector.wrapping_sub(behind.div_ceil(width));
        if beyond <= last && beyond.is_multiple_of(STRIDE) {
            let factors = if behind.is_multiple_of(width) { read } else { between };
            sums[beyond / STRIDE] = l.fma(factors, weight, sums[beyond / STRIDE]);
        }
    }
    *before = read;
}
