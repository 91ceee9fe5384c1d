//! Products of plain row-major matrices for linear layers, by the register tile of convolution: `y = x * w^T + bias` and its gradients, with
//! `x` of `m x k`, `w` of `n x k`, `y` of `m x n`.
//!
//! Each is one `Product` whose right side is packed into panels of 16 columns. Sums run over the inner size in order, so a row of the
//! result does not depend on the other rows.
//!
//! ```
//! use svertka_kernels::{Buffer, Cpu, matmul::Forward};
//! let cpu = Cpu::new(1);
//! let plan = Forward::new(2, 3, 1);
//! let mut packed = Buffer::zeroed(plan.packed_len());
//! plan.pack(&cpu, &[1.0, 10.0, 100.0], &mut packed);
//! let mut y = [0.0; 2];
//! plan.run(&cpu, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &packed, Some(&[0.5]), &mut y, &mut []);
//! assert_eq!(y, [321.5, 654.5]);
//! ```

use crate::conv::ahead::Resting;
use crate::conv::tile::{
    Keep, PANEL, ROWS, Step, pack_columns, pack_rows, panel_vectors, pieces, side_by_side, tile,
    tile_of_blocks, with_rows, with_tile_rows,
};
use crate::cpu::{Cpu, WithSimd};
use crate::simd::{LANES, Simd};
use crate::threads::{SharedMut, job_goal, share};

/// Inner size that is worked through for all rows before the next: a panel of it is 128 KiB and stays in the second-level cache.
const INNER_BLOCK: usize = 2048;

/// `y = x * w^T + bias`.
#[derive(Clone, Copy, Debug)]
pub struct Forward(Product);

/// `dx = dy * w`.
#[derive(Clone, Copy, Debug)]
pub struct InputGradient(Product);

/// `dw = dy^T * x` and `db`, the sums of the columns of `dy`.
#[derive(Clone, Copy, Debug)]
pub struct WeightGradient(Product);

impl Forward {
    /// A plan for `x` of `m x k` and `w` of `n x k`.
    pub fn new(m: usize, k: usize, n: usize) -> Self {
        Self(Product { rows: m, inner: k, cols: n, row_stride: k, inner_stride: 1 })
    }

    /// Elements of the packed weight.
    pub fn packed_len(&self) -> usize {
        self.0.packed_len()
    }

    /// Arranges `w` for [`Forward::run`].
    ///
    /// # Panics
    /// Where a slice has not its length.
    pub fn pack(&self, cpu: &Cpu, w: &[f32], packed: &mut [f32]) {
        self.0.pack_columns(cpu, w, packed);
    }

    /// Elements of scratch memory on `threads` threads: none.
    pub fn scratch_len(&self, _threads: usize) -> usize {
        0
    }

    /// Computes `y`; `bias` has `n` values.
    ///
    /// # Panics
    /// Where a slice has not its length.
    pub fn run(
        &self,
        cpu: &Cpu,
        x: &[f32],
        packed: &[f32],
        bias: Option<&[f32]>,
        y: &mut [f32],
        _scratch: &mut [f32],
    ) {
        self.0.run(cpu, x, packed, bias, y);
    }
}

impl InputGradient {
    /// A plan for `dy` of `m x n` and `w` of `n x k`.
    pub fn new(m: usize, k: usize, n: usize) -> Self {
        Self(Product { rows: m, inner: n, cols: k, row_stride: n, inner_stride: 1 })
    }

    /// Elements of the packed weight.
    pub fn packed_len(&self) -> usize {
        self.0.packed_len()
    }

    /// Arranges `w` for [`InputGradient::run`].
    ///
    /// # Panics
    /// Where a slice has not its length.
    pub fn pack(&self, cpu: &Cpu, w: &[f32], packed: &mut [f32]) {
        self.0.pack_rows(cpu, w, packed);
    }

    /// Elements of scratch memory on `threads` threads: none.
    pub fn scratch_len(&self, _threads: usize) -> usize {
        0
    }

    /// Computes `dx`.
    ///
    /// # Panics
    /// Where a slice has not its length.
    pub fn run(&self, cpu: &Cpu, dy: &[f32], packed: &[f32], dx: &mut [f32], _scratch: &mut [f32]) {
        self.0.run(cpu, dy, packed, None, dx);
    }
}

impl WeightGradient {
    /// A plan for `x` of `m x k` and `dy` of `m x n`.
    pub fn new(m: usize, k: usize, n: usize) -> Self {
        Self(Product { rows: n, inner: m, cols: k, row_stride: 1, inner_stride: n })
    }

    /// Elements of scratch memory on `threads` threads: `x` in panels.
    pub fn scratch_len(&self, _threads: usize) -> usize {
        self.0.packed_len()
    }

    /// Computes `dw` of `n x k` and `db` of `n`.
    ///
    /// # Panics
    /// Where a slice has not its length, or `scratch` less than [`WeightGradient::scratch_len`].
    pub fn run(
        &self,
        cpu: &Cpu,
        x: &[f32],
        dy: &[f32],
        dw: &mut [f32],
        db: Option<&mut [f32]>,
        scratch: &mut [f32],
    ) {
        let packed = &mut scratch[..self.0.packed_len()];
        self.0.pack_rows(cpu, x, packed);
        self.0.run(cpu, dy, packed, None, dw);
        if let Some(db) = db {
            assert_eq!(db.len(), self.0.rows, "db");
            db.fill(0.0);
            for row in dy.chunks_exact(self.0.rows.max(1)) {
                db.iter_mut().zip(row).for_each(|(db, dy)| *db += dy);
            }
        }
    }
}

/// `out = a * b + bias` with `a` of `rows x inner`, at any strides, `b` of `inner x cols`, packed, and `out` row-major.
#[derive(Clone, Copy, Debug)]
struct Product {
    rows: usize,
    inner: usize,
    cols: usize,
    /// Distance in `a` between rows.
    row_stride: usize,
    /// Distance in `a` along the inner size.
    inner_stride: usize,
}

impl Product {
    fn panels(&self) -> usize {
        self.cols.div_ceil(PANEL)
    }

    fn packed_len(&self) -> usize {
        self.panels() * self.inner * PANEL
    }

    /// Packs `b` whose columns stand side by side in memory: row-major `inner x cols`.
    fn pack_rows(&self, cpu: &Cpu, b: &[f32], packed: &mut [f32]) {
        assert_eq!((b.len(), packed.len()), (self.inner * self.cols, self.packed_len()), "operand, packed");
        let out = SharedMut::new(packed);
        let sets = self.inner.div_ceil(PANEL);
        cpu.threads.run(sets, |set, _| {
            let rows = share(self.inner, sets, set);
            for panel in 0..self.panels() {
                // SAFETY: each job writes its own rows of each panel.
                let packed =
                    unsafe { out.slice((panel * self.inner + rows.start) * PANEL, rows.len() * PANEL) };
                let width = PANEL.min(self.cols - panel * PANEL);
                pack_rows(packed, width, |row| &b[(rows.start + row) * self.cols + panel * PANEL..]);
            }
        });
    }

    /// Packs `b` whose columns are rows in memory: row-major `cols x inner`.
    fn pack_columns(&self, cpu: &Cpu, b: &[f32], packed: &mut [f32]) {
        assert_eq!((b.len(), packed.len()), (self.inner * self.cols, self.packed_len()), "operand, packed");
        let out = SharedMut::new(packed);
        cpu.threads.run(self.panels(), |panel, _| {
            // SAFETY: each job writes its own panel.
            let packed = unsafe { out.slice(panel * self.inner * PANEL, self.inner * PANEL) };
            let width = PANEL.min(self.cols - panel * PANEL);
            pack_columns(packed, width, |lane| &b[(panel * PANEL + lane) * self.inner..][..self.inner]);
        });
    }

    fn run(&self, cpu: &Cpu, a: &[f32], packed: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
        assert_eq!(a.len(), self.rows * self.inner, "left operand");
        assert_eq!(packed.len(), self.packed_len(), "packed operand");
        assert_eq!(out.len(), self.rows * self.cols, "result");
        assert!(bias.is_none_or(|bias| bias.len() == self.cols), "bias");
        let goal = job_goal((self.rows * self.inner) as u64 * self.cols as u64);
        // Pairs of panels stay together.
        let pairs = self.panels().div_ceil(2);
        let panel_sets = goal.min(pairs);
        let row_sets = goal.div_ceil(panel_sets.max(1)).min(self.rows.div_ceil(ROWS));
        let out = SharedMut::new(out);
        cpu.threads.run(panel_sets * row_sets, |job, _| {
            let pairs = share(pairs, panel_sets, job % panel_sets);
            let panels = pairs.start * 2..(pairs.end * 2).min(self.panels());
            let rows = share(self.rows, row_sets, job / panel_sets);
            cpu.isa.dispatch(Job { product: self, a, packed, bias, out, panels, rows });
        });
    }
}

struct Job<'a> {
    product: &'a Product,
    a: &'a [f32],
    packed: &'a [f32],
    bias: Option<&'a [f32]>,
    out: SharedMut<'a>,
    panels: std::ops::Range<usize>,
    rows: std::ops::Range<usize>,
}

impl WithSimd for Job<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let inner = self.product.inner;
        // Without an inner size there still is the bias to write.
        let blocks = inner.div_ceil(INNER_BLOCK).max(1);
        for block in 0..blocks {
            let inner = share(inner, blocks, block);
            for panel in self.panels.clone().step_by(S::PANELS) {
                for rows in pieces(self.rows.len(), ROWS * S::PANELS) {
                    let row = self.rows.start + rows.start;
                    with_tile_rows!(S, rows.len(), MR => {
                        // SAFETY: `run` has checked the lengths; rows, inner range and panels are inside.
                        unsafe {
                            if const { S::PANELS == 2 } && panel + 1 < self.panels.end {
                                self.tile::<S, MR, 4>(s, row, panel, inner.clone());
                            } else {
                                self.tile::<S, MR, 2>(s, row, panel, inner.clone());
                            }
                        }
                    });
                }
            }
        }
    }
}

impl Job<'_> {
    /// Adds a range of the inner size to `MR` rows of a panel, or of two with `NV` of four; the first range starts from the bias.
    ///
    /// # Safety
    /// The slices have the lengths of the product, and rows, panel and `inner` are inside it.
    #[inline(always)]
    unsafe fn tile<S: Simd, const MR: usize, const NV: usize>(
        &self,
        s: S,
        row: usize,
        panel: usize,
        inner: std::ops::Range<usize>,
    ) {
        let p = self.product;
        let column = panel * PANEL;
        let width = (NV * LANES).min(p.cols - column);
        // SAFETY: no other job has these rows and columns.
        let out = |i: usize| unsafe { self.out.slice((row + i) * p.cols + column, width) };
        let mut acc = [[s.splat(0.0); NV]; MR];
        for (i, acc) in acc.iter_mut().enumerate() {
            let start = match self.bias {
                _ if inner.start > 0 => &*out(i),
                Some(bias) => &bias[column..column + width],
                None => &[],
            };
            for (acc, start) in acc.iter_mut().zip(start.chunks(LANES)) {
                *acc = s.from_slice(start);
            }
        }
        let steps = [Step { a: 0, b: 0, k: inner.len() }];
        let a = self.a.as_ptr().wrapping_add(row * p.row_stride + inner.start * p.inner_stride);
        let b = self.packed.as_ptr().wrapping_add((panel * p.inner + inner.start) * PANEL);
        let (a, b) = (side_by_side::<MR>(a, p.row_stride), panel_vectors::<NV>(b, p.inner * PANEL));
        // SAFETY: the caller's promise.
        unsafe {
            if p.inner_stride == 1 {
                tile_of_blocks(s, acc, a, b, &steps, Resting, Keep(&mut acc));
            } else {
                tile(s, &mut acc, a, b, &steps, (p.inner_stride, PANEL));
            }
        }
        for (i, acc) in acc.iter().enumerate() {
            for (out, acc) in out(i).chunks_mut(LANES).zip(acc) {
                s.write(out, *acc);
            }
        }
    }
}
