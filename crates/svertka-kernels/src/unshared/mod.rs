//! Unshared (locally connected) convolution over plain activations: each output position has weights of its own.
//!
//! The weight is `out spatial x O x C / groups x kernel`: a matrix for each position, a row of it for each output channel, in the order of the
//! *patch* that the position sees, `C / groups x kernel`. So a position is a product of its matrix with its patches, one for each image; the
//! weight, far larger than the activations, is walked in order, and each row meets up to sixteen images while it is in the cache.
//! Cells of padding are zeros in the patch.

mod products;

use std::ops::Range;

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::geometry::{ConvGeometry, PoolGeometry};
use crate::threads::{SharedMut, job_goal, share};
use products::{Combine, Dots};

/// Images whose patches are held at once.
const IMAGES: usize = 16;

/// Elements of a row of weights that an input gradient takes at least: what it owns are channels, and a short piece of a row does not pay.
const PIECE: usize = 64;

/// The three passes for one geometry. Nothing is allocated in a run.
#[derive(Clone, Debug)]
pub struct Unshared {
    geometry: ConvGeometry,
    /// Of a window inside the input, if one fits: how far each element of its patch lies from the first, in the input.
    offsets: Vec<usize>,
}

impl Unshared {
    /// For this geometry.
    pub fn new(geometry: &ConvGeometry) -> Self {
        let &ConvGeometry { in_channels, input, window, .. } = geometry;
        let [_, in_h, in_w] = input;
        let [k_d, k_h, k_w] = window.kernel;
        let fits = (0..3).all(|axis| window.extent()[axis] <= input[axis]);
        let elements = if fits { in_channels * k_d * k_h * k_w } else { 0 };
        let offsets = (0..elements).map(|i| {
            let (channel, [d, h, w]) =
                (i / (k_d * k_h * k_w), [i / (k_h * k_w) % k_d, i / k_w % k_h, i % k_w]);
            let [z, y, x] = [d * window.dilation[0], h * window.dilation[1], w * window.dilation[2]];
            channel * input.iter().product::<usize>() + (z * in_h + y) * in_w + x
        });
        Self { geometry: *geometry, offsets: offsets.collect() }
    }

    /// Elements of the weight.
    pub fn weight_len(&self) -> usize {
        self.cells() * self.geometry.weight_len()
    }

    /// Elements of scratch memory that each pass needs on `threads` threads.
    pub fn scratch_len(&self, threads: usize) -> usize {
        threads * IMAGES * (self.in_channels() * self.taps() + self.geometry.out_channels)
    }

    /// `y[n, o, p] = bias[o, p] + sum over i, t of weight[p, o, i, t] * x[n, g(o) + i, p * stride + t * dilation - padding]`.
    ///
    /// # Panics
    /// Where a slice has not the length that the geometry says, or `scratch` less than [`Unshared::scratch_len`].
    pub fn forward(
        &self,
        cpu: &Cpu,
        x: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = &self.geometry;
        self.check(x.len(), weight.len(), y.len());
        assert!(bias.is_none_or(|bias| bias.len() == g.out_channels * self.cells()), "bias");
        let y = SharedMut::new(y);
        self.each_position(cpu, scratch, |position, patches, sums| {
            let weight = &weight[position * g.weight_len()..][..g.weight_len()];
            for images in blocks_of(g.batch) {
                self.gather(x, images.clone(), position, patches);
                for group in 0..g.groups {
                    let (rows, patch) = (self.group_out(), self.patch_len());
                    cpu.isa.dispatch(Dots {
                        rows: &weight[group * rows * patch..][..rows * patch],
                        patches: &patches[group * patch..],
                        stride: g.in_channels * self.taps(),
                        patch,
                        images: images.len(),
                        out: &mut sums[group * rows..],
                        out_stride: g.out_channels,
                    });
                }
                for (image, sums) in images.zip(sums.chunks_exact(g.out_channels)) {
                    for (channel, &sum) in sums.iter().enumerate() {
                        let bias = bias.map_or(0.0, |bias| bias[channel * self.cells() + position]);
                        let at = (image * g.out_channels + channel) * self.cells() + position;
                        // SAFETY: each position is written by one job.
                        let to = unsafe { y.slice(at, 1) };
                        to[0] = sum + bias;
                    }
                }
            }
        });
    }

    /// The gradient for the input.
    ///
    /// # Panics
    /// As [`Unshared::forward`].
    pub fn input_gradient(&self, cpu: &Cpu, dy: &[f32], weight: &[f32], dx: &mut [f32], scratch: &mut [f32]) {
        let g = &self.geometry;
        self.check(dx.len(), weight.len(), dy.len());
        assert!(scratch.len() >= self.scratch_len(cpu.threads.count()), "scratch");
        // A job owns channels of some images, so that positions whose windows overlap add to them in order.
        let (group_in, taps) = (g.in_channels / g.groups, self.taps());
        let pieces = group_in.div_ceil(PIECE.div_ceil(taps));
        let goal = job_goal(g.macs()).div_ceil(g.groups * pieces);
        let image_sets = goal.max(g.batch.div_ceil(IMAGES)).min(g.batch);
        let (dx, scratch) = (SharedMut::new(dx), SharedMut::new(scratch));
        cpu.threads.run(g.groups * pieces * image_sets, |job, worker| {
            let (piece, images) = (job / image_sets, share(g.batch, image_sets, job % image_sets));
            let (group, channels) = (piece / pieces, share(group_in, pieces, piece % pieces));
            let (row, len) = (channels.start * taps, channels.len() * taps);
            // SAFETY: each worker has its own scratch.
            let (patches, dys) = unsafe { self.scratch_of(scratch, worker) };
            let planes = |image: usize| {
                let first = image * g.in_channels + group * group_in + channels.start;
                // SAFETY: each job has its own channels and images.
                unsafe { dx.slice(first * self.in_cells(), channels.len() * self.in_cells()) }
            };
            images.clone().for_each(|image| planes(image).fill(0.0));
            for position in 0..self.cells() {
                let rows = self.group_out();
                for (image, dys) in images.clone().zip(dys.chunks_exact_mut(rows)) {
                    let first = image * g.out_channels + group * rows;
                    dys.iter_mut()
                        .zip(dy[first * self.cells() + position..].iter().step_by(self.cells()))
                        .for_each(|(to, from)| *to = *from);
                }
                cpu.isa.dispatch(Combine {
                    factors: dys,
                    rows: images.len(),
                    terms: rows,
                    values: &weight[(position * g.out_channels + group * rows) * self.patch_len() + row..],
                    stride: self.patch_len(),
                    out: patches,
                    len,
                    add: false,
                });
                let view = self.view(position);
                for (image, patch) in images.clone().zip(patches.chunks_exact(len)) {
                    let planes = planes(image);
                    if view.whole {
                        let cells = &mut planes[view.first_cell(g.input)..];
                        patch.iter().zip(&self.offsets).for_each(|(from, &offset)| cells[offset] += from);
                        continue;
                    }
                    self.each_run(&view, channels.len(), |tap, cell, count| {
                        for i in 0..count {
                            planes[cell + i * g.window.dilation[2]] += patch[tap + i];
                        }
                    });
                }
            }
        });
    }

    /// The gradient for the weight.
    ///
    /// # Panics
    /// As [`Unshared::forward`].
    pub fn weight_gradient(&self, cpu: &Cpu, x: &[f32], dy: &[f32], dw: &mut [f32], scratch: &mut [f32]) {
        let g = &self.geometry;
        self.check(x.len(), dw.len(), dy.len());
        if g.batch == 0 {
            dw.fill(0.0);
        }
        let dw = SharedMut::new(dw);
        self.each_position(cpu, scratch, |position, patches, dys| {
            // SAFETY: each position has its own weight.
            let dw = unsafe { dw.slice(position * g.weight_len(), g.weight_len()) };
            for images in blocks_of(g.batch) {
                self.gather(x, images.clone(), position, patches);
                for (channel, dys) in dys.chunks_exact_mut(images.len()).take(g.out_channels).enumerate() {
                    for (image, to) in images.clone().zip(dys) {
                        *to = dy[(image * g.out_channels + channel) * self.cells() + position];
                    }
                }
                for group in 0..g.groups {
                    let (rows, patch) = (self.group_out(), self.patch_len());
                    cpu.isa.dispatch(Combine {
                        factors: &dys[group * rows * images.len()..],
                        rows,
                        terms: images.len(),
                        values: &patches[group * patch..],
                        stride: g.in_channels * self.taps(),
                        out: &mut dw[group * rows * patch..],
                        len: patch,
                        add: images.start > 0,
                    });
                }
            }
        });
    }

    /// The gradient for the bias, `O x out spatial`: the sum of `dy` over the batch.
    ///
    /// # Panics
    /// As [`Unshared::forward`].
    pub fn bias_gradient(&self, cpu: &Cpu, dy: &[f32], db: &mut [f32]) {
        let g = &self.geometry;
        let len = g.out_channels * self.cells();
        assert!(dy.len() == g.batch * len && db.len() == len, "dy and db");
        let db = SharedMut::new(db);
        run_ranges(cpu, len, g.batch, |range| {
            for start in range.clone().step_by(PIECE) {
                let count = PIECE.min(range.end - start);
                let mut sums = [0.0f64; PIECE];
                for image in dy.chunks_exact(len) {
                    sums.iter_mut()
                        .zip(&image[start..][..count])
                        .for_each(|(sum, &dy)| *sum += f64::from(dy));
                }
                // SAFETY: ranges of different jobs do not overlap.
                let db = unsafe { db.slice(start, count) };
                db.iter_mut().zip(sums).for_each(|(to, sum)| *to = sum as f32);
            }
        });
    }

    fn check(&self, x: usize, weight: usize, y: usize) {
        let g = &self.geometry;
        assert_eq!(x, g.batch * g.in_channels * self.in_cells(), "elements of the input");
        assert_eq!(y, g.batch * g.out_channels * self.cells(), "elements of the output");
        assert_eq!(weight, self.weight_len(), "elements of the weight");
    }

    fn in_channels(&self) -> usize {
        self.geometry.in_channels
    }

    fn in_cells(&self) -> usize {
        self.geometry.input.iter().product()
    }

    fn cells(&self) -> usize {
        self.geometry.output.iter().product()
    }

    fn taps(&self) -> usize {
        self.geometry.window.kernel.iter().product()
    }

    fn group_out(&self) -> usize {
        self.geometry.out_channels / self.geometry.groups
    }

    /// Elements of a patch of one group, and of a row of weights.
    fn patch_len(&self) -> usize {
        self.geometry.in_channels / self.geometry.groups * self.taps()
    }

    /// Calls `f(position, patches, values)` for each output position, with room for the patches and the output channels of [`IMAGES`] images.
    fn each_position(
        &self,
        cpu: &Cpu,
        scratch: &mut [f32],
        f: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
    ) {
        assert!(scratch.len() >= self.scratch_len(cpu.threads.count()), "scratch");
        let scratch = SharedMut::new(scratch);
        let jobs = job_goal(self.geometry.macs()).min(self.cells());
        cpu.threads.run(jobs, |job, worker| {
            // SAFETY: each worker has its own scratch.
            let (patches, values) = unsafe { self.scratch_of(scratch, worker) };
            share(self.cells(), jobs, job).for_each(|position| f(position, patches, values));
        });
    }

    /// # Safety
    /// Only `worker` uses its scratch.
    unsafe fn scratch_of<'a>(&self, scratch: SharedMut<'a>, worker: usize) -> (&'a mut [f32], &'a mut [f32]) {
        let len = self.scratch_len(1);
        // SAFETY: the caller's promise; the scratch of different workers does not overlap.
        unsafe { scratch.slice(worker * len, len) }.split_at_mut(IMAGES * self.in_channels() * self.taps())
    }

    /// Copies what `position` sees of `images` to `patches`, `C x kernel` each.
    fn gather(&self, x: &[f32], images: Range<usize>, position: usize, patches: &mut [f32]) {
        let (channels, view) = (self.in_channels(), self.view(position));
        let (len, dilation) = (channels * self.in_cells(), self.geometry.window.dilation[2]);
        for (image, patch) in images.zip(patches.chunks_exact_mut(channels * self.taps())) {
            let x = &x[image * len..][..len];
            if view.whole {
                let x = &x[view.first_cell(self.geometry.input)..];
                patch.iter_mut().zip(&self.offsets).for_each(|(to, &offset)| *to = x[offset]);
                continue;
            }
            patch.fill(0.0);
            self.each_run(&view, channels, |tap, cell, count| {
                for i in 0..count {
                    patch[tap + i] = x[cell + i * dilation];
                }
            });
        }
    }

    fn view(&self, position: usize) -> View {
        let ConvGeometry { batch, in_channels, input, output, window, .. } = self.geometry;
        let pool = PoolGeometry { batch, channels: in_channels, input, output, window, adaptive: false };
        let [_, out_h, out_w] = output;
        let at = [position / out_w / out_h, position / out_w % out_h, position % out_w];
        let axes = [0, 1, 2].map(|axis| pool.taps(axis, at[axis]));
        let whole = (0..3).all(|axis| axes[axis].0.len() == window.kernel[axis]);
        View { taps: axes.each_ref().map(|axis| axis.0.clone()), first: axes.map(|axis| axis.1), whole }
    }

    /// Calls `f(tap, cell, count)` for each row of taps in view, of `channels` channels: `count` taps from `tap` on in the patch see the cells from
    /// `cell` on, a dilation apart.
    fn each_run(&self, view: &View, channels: usize, mut f: impl FnMut(usize, usize, usize)) {
        let ConvGeometry { input: [_, in_h, in_w], window, .. } = self.geometry;
        let (taps, in_cells, [_, k_h, k_w]) = (self.taps(), self.in_cells(), window.kernel);
        let [depths, heights, widths] = &view.taps;
        if widths.is_empty() {
            return;
        }
        for channel in 0..channels {
            for depth in depths.clone() {
                let z = view.first[0] + (depth - depths.start) * window.dilation[0];
                for height in heights.clone() {
                    let y = view.first[1] + (height - heights.start) * window.dilation[1];
                    let tap = channel * taps + (depth * k_h + height) * k_w + widths.start;
                    f(tap, channel * in_cells + (z * in_h + y) * in_w + view.first[2], widths.len());
                }
            }
        }
    }
}

/// What a position sees: the taps inside the input along each axis, and the cell that the first of them sees.
struct View {
    taps: [Range<usize>; 3],
    first: [usize; 3],
    /// Whether all taps are inside.
    whole: bool,
}

impl View {
    /// Within a channel.
    fn first_cell(&self, [_, in_h, in_w]: [usize; 3]) -> usize {
        (self.first[0] * in_h + self.first[1]) * in_w + self.first[2]
    }
}

/// The images of a batch, at most [`IMAGES`] at once.
fn blocks_of(batch: usize) -> impl Iterator<Item = Range<usize>> {
    (0..batch).step_by(IMAGES).map(move |first| first..batch.min(first + IMAGES))
}
