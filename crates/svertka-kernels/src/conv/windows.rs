//! Which cells a window reaches. Padding is never stored: cells whose windows reach the same taps form a [`Class`], which walks only those
//! taps. The inside of a picture is one class, each edge and corner another; with strides, an input gradient has classes by phase.

use std::ops::Range;

use crate::geometry::{ConvGeometry, Window};

/// One tap that the cells of a class reach: its flat index, and how many cells it reads beyond the cell's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tap {
    pub(crate) index: usize,
    pub(crate) read: usize,
}

/// One cell of a class, flat within an image: where it writes, and the first cell that it reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) write: usize,
    pub(crate) read: usize,
}

/// Cells of the written side that reach the same taps of the read side.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) taps: Vec<Tap>,
    /// Row-major.
    pub(crate) cells: Vec<Cell>,
}

/// The classes of the forward pass: output cells that read input cells. Each output cell is in one class.
pub(crate) fn forward(geometry: &ConvGeometry) -> Vec<Class> {
    let axes = [0, 1, 2].map(|axis| classes_of(geometry.output[axis], |o| forward_taps(geometry, axis, o)));
    product(&axes, geometry.window.kernel, geometry.output, geometry.input)
}

/// The classes of the input gradient: input cells that read output cells. Each input cell is in one class, perhaps one without taps.
pub(crate) fn input_gradient(geometry: &ConvGeometry) -> Vec<Class> {
    let Window { kernel, stride, dilation, padding } = geometry.window;
    let axes = [0, 1, 2].map(|a| {
        classes_of(geometry.input[a], |i| {
            // Output cells in ascending order, so that reads are counted from the first.
            let taps = (0..kernel[a]).rev().filter_map(|tap| {
                let start = (i + padding[a].0).checked_sub(tap * dilation[a])?;
                (start % stride[a] == 0 && start / stride[a] < geometry.output[a])
                    .then(|| Tap { index: tap, read: start / stride[a] })
            });
            taps.collect()
        })
    });
    product(&axes, kernel, geometry.input, geometry.output)
}

/// Cells of a row, equally far apart, that walk over a line of read cells like a convolution without dilation: cell `n` meets its tap `u` at
/// position `n * stride + u` of the line.
#[derive(Debug)]
pub(crate) struct Line {
    /// The first written cell.
    pub(crate) write: usize,
    pub(crate) write_step: usize,
    pub(crate) count: usize,
    /// The read cell at position 0, which may lie on padding.
    pub(crate) read: isize,
    pub(crate) read_step: usize,
    pub(crate) stride: usize,
    /// Flat indices of the taps, in order of position.
    pub(crate) taps: Vec<usize>,
    /// Positions that are not padding.
    pub(crate) inside: Range<usize>,
}

/// The lines of a row of the forward pass. Each cell is in one line.
pub(crate) fn forward_lines(geometry: &ConvGeometry) -> Vec<Line> {
    let (kernel, stride, dilation, padding) = along_width(geometry);
    // Windows whose distance is a multiple of the dilation read the same cells.
    let shared = divisor(stride, dilation);
    let write_step = dilation / shared;
    let line = |write| {
        let read = (write * stride) as isize - padding as isize;
        line(
            geometry.output[2],
            geometry.input[2],
            (write, write_step),
            (read, dilation),
            stride / shared,
            (0..kernel).collect(),
        )
    };
    (0..write_step.min(geometry.output[2])).map(line).collect()
}

/// The lines of a row of the input gradient. Each cell is in one line, perhaps one without taps.
pub(crate) fn input_gradient_lines(geometry: &ConvGeometry) -> Vec<Line> {
    let (kernel, stride, dilation, padding) = along_width(geometry);
    let read_step = dilation / divisor(stride, dilation);
    let write_step = stride * read_step;
    let line = |write| {
        // Where a tap reads, times the stride.
        let start = |tap: usize| (write + padding) as isize - (tap * dilation) as isize;
        let taps: Vec<usize> = (0..kernel).rev().filter(|&tap| start(tap) % stride as isize == 0).collect();
        let read = taps.first().map_or(0, |&tap| start(tap) / stride as isize);
        line(geometry.input[2], geometry.output[2], (write, write_step), (read, read_step), 1, taps)
    };
    (0..write_step.min(geometry.input[2])).map(line).collect()
}

/// Kernel, stride, dilation and padding before; a kernel of one cell has no dilation.
fn along_width(geometry: &ConvGeometry) -> (usize, usize, usize, usize) {
    let Window { kernel, stride, dilation, padding } = geometry.window;
    (kernel[2], stride[2], if kernel[2] == 1 { 1 } else { dilation[2] }, padding[2].0)
}

fn line(
    written: usize,
    cells: usize,
    (write, write_step): (usize, usize),
    (read, read_step): (isize, usize),
    stride: usize,
    taps: Vec<usize>,
) -> Line {
    let count = (written - write).div_ceil(write_step);
    let positions = |cell: isize| usize::try_from(cell - read).unwrap_or(0).div_ceil(read_step);
    let inside = positions(0)..positions(cells as isize);
    Line { write, write_step, count, read, read_step, stride, taps, inside }
}

fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// `geometry` with its width taken for one cell: its classes are classes of rows.
pub(crate) fn of_rows(geometry: &ConvGeometry) -> ConvGeometry {
    let mut rows = *geometry;
    let Window { kernel, stride, dilation, padding } = &mut rows.window;
    (rows.input[2], rows.output[2], kernel[2], stride[2], dilation[2], padding[2]) = (1, 1, 1, 1, 1, (0, 0));
    rows
}

/// Output cells side by side that reach the same taps: `count` of them from `write`, reading from `read` on in steps of the stride.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) write: usize,
    pub(crate) read: usize,
    pub(crate) count: usize,
}

/// Taps, and all output cells that reach them: what a weight gradient sums over.
pub(crate) struct Part {
    pub(crate) taps: Vec<Tap>,
    /// Row-major.
    pub(crate) runs: Vec<Run>,
}

/// For each tap, the output cells whose windows reach it. An output cell is in many parts.
pub(crate) fn parts_by_tap(geometry: &ConvGeometry) -> Vec<Part> {
    let Window { kernel, stride, dilation, padding } = geometry.window;
    let axes = [0, 1, 2].map(|a| {
        let parts = (0..kernel[a]).map(|index| {
            let (tap, before) = (index * dilation[a], padding[a].0);
            let write = before.saturating_sub(tap).div_ceil(stride[a]);
            let end = (geometry.input[a] + before).saturating_sub(tap).div_ceil(stride[a]);
            let count = end.min(geometry.output[a]).saturating_sub(write);
            let read = (write * stride[a] + tap).saturating_sub(before);
            (vec![Tap { index, read: 0 }], Run { write, read, count })
        });
        parts.collect()
    });
    parts(geometry, &axes)
}

/// The classes of the forward pass as parts. An output cell is in one part.
pub(crate) fn parts_by_class(geometry: &ConvGeometry) -> Vec<Part> {
    let axes = [0, 1, 2].map(|axis| {
        let classes = classes_of(geometry.output[axis], |o| forward_taps(geometry, axis, o));
        // The taps in reach move in one direction, so the cells of a forward class are neighbours.
        let run = |cells: &[Cell]| Run { write: cells[0].write, read: cells[0].read, count: cells.len() };
        classes.into_iter().map(|class| (class.taps, run(&class.cells))).collect()
    });
    parts(geometry, &axes)
}

fn parts(geometry: &ConvGeometry, axes: &[Vec<(Vec<Tap>, Run)>; 3]) -> Vec<Part> {
    let (read, write, stride) = (geometry.input, geometry.output, geometry.window.stride);
    let mut parts = vec![];
    for (depth_taps, depth) in &axes[0] {
        for (height_taps, height) in &axes[1] {
            for (width_taps, width) in &axes[2] {
                let taps = each(depth_taps, height_taps, width_taps, |d, h, w| Tap {
                    index: flat(geometry.window.kernel, [d.index, h.index, w.index]),
                    read: flat(read, [d.read, h.read, w.read]),
                });
                let rows = (0..depth.count).flat_map(|d| (0..height.count).map(move |h| (d, h)));
                let runs = rows.filter(|_| width.count > 0).map(|(d, h)| Run {
                    write: flat(write, [depth.write + d, height.write + h, width.write]),
                    read: flat(read, [depth.read + d * stride[0], height.read + h * stride[1], width.read]),
                    count: width.count,
                });
                parts.push(Part { taps, runs: runs.collect() });
            }
        }
    }
    parts
}

/// The taps that output cell `o` reaches along an axis, with the absolute cells that they read.
fn forward_taps(geometry: &ConvGeometry, axis: usize, o: usize) -> Vec<Tap> {
    let Window { kernel, stride, dilation, padding } = geometry.window;
    let taps = (0..kernel[axis]).filter_map(|index| {
        let read = (o * stride[axis] + index * dilation[axis]).checked_sub(padding[axis].0)?;
        (read < geometry.input[axis]).then_some(Tap { index, read })
    });
    taps.collect()
}

/// Sorts the cells of one axis by the taps that they reach.
fn classes_of(cells: usize, taps: impl Fn(usize) -> Vec<Tap>) -> Vec<Class> {
    let mut classes: Vec<Class> = vec![];
    for write in 0..cells {
        let mut taps = taps(write);
        let read = taps.first().map_or(0, |tap| tap.read);
        taps.iter_mut().for_each(|tap| tap.read -= read);
        let cell = Cell { write, read };
        // Neighbours and, with strides, every other cell mostly are of one class: the newest classes are the likeliest.
        match classes.iter_mut().rev().find(|class| class.taps == taps) {
            Some(class) => class.cells.push(cell),
            None => classes.push(Class { taps, cells: vec![cell] }),
        }
    }
    classes
}

/// The classes of a volume from those of its axes.
fn product(axes: &[Vec<Class>; 3], kernel: [usize; 3], write: [usize; 3], read: [usize; 3]) -> Vec<Class> {
    let mut classes = vec![];
    for depth in &axes[0] {
        for height in &axes[1] {
            for width in &axes[2] {
                let taps = each(&depth.taps, &height.taps, &width.taps, |d, h, w| Tap {
                    index: flat(kernel, [d.index, h.index, w.index]),
                    read: flat(read, [d.read, h.read, w.read]),
                });
                let cells = each(&depth.cells, &height.cells, &width.cells, |d, h, w| Cell {
                    write: flat(write, [d.write, h.write, w.write]),
                    read: flat(read, [d.read, h.read, w.read]),
                });
                classes.push(Class { taps, cells });
            }
        }
    }
    classes
}

/// Row-major index of a cell; also the sum of index steps along the axes.
fn flat(size: [usize; 3], [d, h, w]: [usize; 3]) -> usize {
    (d * size[1] + h) * size[2] + w
}

fn each<T: Copy, U>(depth: &[T], height: &[T], width: &[T], f: impl Fn(T, T, T) -> U) -> Vec<U> {
    let mut all = Vec::with_capacity(depth.len() * height.len() * width.len());
    for &d in depth {
        for &h in height {
            all.extend(width.iter().map(|&w| f(d, h, w)));
        }
    }
    all
}
