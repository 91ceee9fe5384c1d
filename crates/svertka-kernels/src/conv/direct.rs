//! Dense convolution by the register tile, without copies: forward and input gradient, which differ in who reads, who writes and which taps.
//! The forward pass may read a plain activation: a picture of few channels then needs no blocked copy, of which most lanes would be empty.
//!
//! A *panel* is 16 written channels. It reads the contiguous range of channels that its groups cover; packed weights are zero where groups
//! differ (so an infinity in one group makes NaN of the other groups of its panel). For each class of cells and each panel, or two of them that
//! read alike where registers are wide ([`Simd::PANELS`]), the tile walks blocks of read channels, then taps, then the channels of the block. This is
//! the order of every sum, at edges too. A plain channel is a block of its own.

use std::ops::Range;

use super::direct_tiles::Job;
use super::largest_divisor;
use super::side::Side;
use super::tile::{PANEL, ROWS, Step, pack_columns, pack_rows, pieces};
use super::windows::{Cell, Class};
use crate::cpu::Cpu;
use crate::epilogue::Epilogue;
use crate::geometry::ConvGeometry;
use crate::layout::BLOCK;
use crate::threads::{SharedMut, job_goal};

/// Bytes of read activations that a job may cover, so that they stay in the second-level cache beside a panel of weights.
const JOB_BYTES: usize = 448 << 10;

/// Cells that a group of images should have: enough to fill the tiles of edges and corners.
const GROUP_CELLS: usize = 512;

/// The plan of one pass. Tables hold offsets in elements, for one group of images.
#[derive(Debug)]
pub(crate) struct Direct {
    batch: usize,
    groups: usize,
    pub(super) taps: usize,
    pub(super) read: Side,
    pub(super) write: Side,
    pub(super) panels: Vec<Panel>,
    pub(super) steps: Vec<Step>,
    pub(super) cells: Vec<Cell>,
    pub(super) tiles: Vec<Tile>,
    pub(super) group_images: usize,
    pub(super) chunks: usize,
    pub(super) panel_sets: usize,
}

#[derive(Debug)]
pub(super) struct Panel {
    /// Range of read channels.
    pub(super) channels: Range<usize>,
    /// Start in the packed weight.
    pub(super) packed: usize,
    /// For each class, its range of `steps`.
    pub(super) steps: Vec<Range<usize>>,
}

#[derive(Debug)]
pub(super) struct Tile {
    pub(super) class: usize,
    pub(super) cells: Range<usize>,
}

impl Direct {
    /// The forward pass from an `x` of `lanes` channels side by side.
    pub(crate) fn forward(g: &ConvGeometry, lanes: usize) -> Self {
        let read = Side { channels: g.in_channels, cells: g.input.iter().product(), lanes };
        let write = Side { channels: g.out_channels, cells: g.output.iter().product(), lanes: BLOCK };
        Self::new(g, read, write, &super::windows::forward(g))
    }

    pub(crate) fn input_gradient(g: &ConvGeometry) -> Self {
        let read = Side { channels: g.out_channels, cells: g.output.iter().product(), lanes: BLOCK };
        let write = Side { channels: g.in_channels, cells: g.input.iter().product(), lanes: BLOCK };
        Self::new(g, read, write, &super::windows::input_gradient(g))
    }

    fn new(g: &ConvGeometry, read: Side, write: Side, classes: &[Class]) -> Self {
        let taps = g.window.kernel.iter().product();
        let (panels, steps) = panels(g.groups, taps, read, write, classes);

        let group_images = largest_divisor(g.batch, GROUP_CELLS.div_ceil(write.cells.max(1)));
        let mut cells = vec![];
        let mut tiles = vec![];
        for (class, Class { cells: of_image, .. }) in classes.iter().enumerate() {
            let first = cells.len();
            for image in 0..group_images {
                cells.extend(of_image.iter().map(|cell| Cell {
                    write: image * write.image_len() + cell.write * BLOCK,
                    read: image * read.image_len() + cell.read * read.lanes,
                }));
            }
            tiles.extend(
                pieces(cells.len() - first, ROWS)
                    .map(|cells| Tile { class, cells: first + cells.start..first + cells.end }),
            );
        }

        let image_groups = g.batch.checked_div(group_images).unwrap_or(0);
        // With strides beyond the kernel some cells are never read, but their neighbours bring half of them along: a line holds two.
        let cells_read = read.cells.min(2 * write.cells * taps);
        let bytes = group_images * read.blocks() * cells_read * BLOCK * size_of::<f32>();
        let chunks = bytes.div_ceil(JOB_BYTES).clamp(1, tiles.len().max(1));
        let goal = job_goal(g.macs());
        // Pairs of panels stay together.
        let pairs = panels.len().div_ceil(2);
        let mut plan = Self {
            batch: g.batch,
            groups: g.groups,
            taps,
            read,
            write,
            panels,
            steps,
            cells,
            tiles,
            group_images,
            chunks: 1,
            panel_sets: 1,
        };
        let weights = plan.packed_len();
        let few = weights * size_of::<f32>() <= JOB_BYTES
            && weights <= group_images * (read.image_len() + write.image_len());
        // Of few weights each core reads all, but only its part of the picture, which it has written itself where the layer before is cut alike.
        if !few {
            plan.panel_sets = goal.div_ceil((image_groups * chunks).max(1)).clamp(1, pairs.max(1));
        }
        let rest = goal.div_ceil((image_groups * plan.panel_sets).max(1));
        plan.chunks = chunks.max(rest).min(plan.tiles.len().max(1));
        plan
    }

    pub(crate) fn packed_len(&self) -> usize {
        self.panels.last().map_or(0, |last| last.packed + self.panel_len(last))
    }

    pub(super) fn panel_len(&self, panel: &Panel) -> usize {
        panel.channels.len() * self.taps * PANEL
    }

    /// Whether a panel and the one behind it read the same cells by the same steps.
    pub(super) fn read_alike(&self, number: usize) -> bool {
        let [panel, next] = [&self.panels[number], &self.panels[number + 1]];
        panel.channels == next.channels && panel.steps == next.steps
    }

    /// Packs `weight`, in which the taps of written channel `w` and read channel `r` of its group start at `start(w, r)`.
    pub(crate) fn pack(
        &self,
        cpu: &Cpu,
        weight: &[f32],
        packed: &mut [f32],
        start: impl Fn(usize, usize) -> usize + Sync,
    ) {
        let out = SharedMut::new(packed);
        let (group_read, group_write) = (self.read.channels / self.groups, self.write.channels / self.groups);
        cpu.threads.run(self.panels.len(), |job, _| {
            let panel = &self.panels[job];
            // SAFETY: panels are disjoint, and each is written by its own job.
            let packed = unsafe { out.slice(panel.packed, self.panel_len(panel)) };
            let (first, last) = (job * PANEL, (job * PANEL + PANEL).min(self.write.channels));
            if self.taps == 1 && self.groups == 1 {
                return pack_pointwise(weight, packed, first..last, &start);
            }
            packed.fill(0.0);
            // Lanes inside: one place in the panel for all of them, and its cache lines are written once.
            for read in panel.channels.clone() {
                let group = read / group_read * group_write;
                let (at, tap_len) = self.packed_at(panel, read);
                for written in group.max(first)..(group + group_write).min(last) {
                    let weight = &weight[start(written, read)..][..self.taps];
                    for (tap, &weight) in weight.iter().enumerate() {
                        packed[at + tap * tap_len + written - first] = weight;
                    }
                }
            }
        });
    }

    /// Where tap 0 of a read channel stands in the panel, and the distance between taps.
    fn packed_at(&self, panel: &Panel, read: usize) -> (usize, usize) {
        let first = read - read % self.read.lanes;
        let block = first.max(panel.channels.start)..(first + self.read.lanes).min(panel.channels.end);
        let before = (block.start - panel.channels.start) * self.taps;
        ((before + read - block.start) * PANEL, block.len() * PANEL)
    }

    pub(crate) fn run(&self, cpu: &Cpu, x: &[f32], packed: &[f32], epilogue: &Epilogue<'_>, y: &mut [f32]) {
        assert_eq!(x.len(), self.batch * self.read.image_len(), "elements that the pass reads");
        assert_eq!(y.len(), self.batch * self.write.image_len(), "elements that the pass writes");
        assert_eq!(packed.len(), self.packed_len(), "packed weight");
        let finish = epilogue.finish(cpu.isa, self.write.channels, SharedMut::new(y));
        let jobs = self.batch.checked_div(self.group_images).unwrap_or(0) * self.chunks * self.panel_sets;
        if self.read.lanes == 1 {
            cpu.threads
                .run(jobs, |job, _| cpu.isa.dispatch(Job::<true> { plan: self, x, packed, finish, job }));
        } else {
            cpu.threads
                .run(jobs, |job, _| cpu.isa.dispatch(Job::<false> { plan: self, x, packed, finish, job }));
        }
    }
}

/// Packs the panel of `written` channels where there is one tap and one group: of a matrix whose rows or columns lie in memory.
fn pack_pointwise(
    weight: &[f32],
    packed: &mut [f32],
    written: Range<usize>,
    start: &impl Fn(usize, usize) -> usize,
) {
    let (first, width) = (written.start, written.len());
    if width < 2 || start(first + 1, 0) == start(first, 0) + 1 {
        pack_rows(packed, width, |read| &weight[start(first, read)..]);
    } else {
        let reads = packed.len() / PANEL;
        pack_columns(packed, width, |lane| &weight[start(first + lane, 0)..][..reads]);
    }
}

/// Panels with their steps; panels that cover their blocks alike share the steps.
fn panels(groups: usize, taps: usize, read: Side, write: Side, classes: &[Class]) -> (Vec<Panel>, Vec<Step>) {
    let mut panels: Vec<Panel> = vec![];
    let mut steps = vec![];
    let (group_read, group_write) = (read.channels / groups, write.channels / groups);
    let mut packed = 0;
    for first in (0..write.channels).step_by(PANEL) {
        let last = (first + PANEL).min(write.channels) - 1;
        let channels = first / group_write * group_read..(last / group_write + 1) * group_read;
        let alike = |panel: &&Panel| {
            panel.channels.len() == channels.len()
                && panel.channels.start % read.lanes == channels.start % read.lanes
        };
        let ranges = match panels.iter().rev().find(alike) {
            Some(panel) => panel.steps.clone(),
            None => {
                let of_class = |class: &Class| {
                    let start = steps.len();
                    steps_of(&channels, read, taps, class, &mut steps);
                    start..steps.len()
                };
                classes.iter().map(of_class).collect()
            }
        };
        let len = channels.len() * taps * PANEL;
        panels.push(Panel { channels, packed, steps: ranges });
        packed += len;
    }
    (panels, steps)
}

/// The steps of one class: blocks of the channel range, then taps. Offsets in `a` count from the start of the first block.
fn steps_of(channels: &Range<usize>, read: Side, taps: usize, class: &Class, steps: &mut Vec<Step>) {
    let first = channels.start / read.lanes;
    for block in first..channels.end.div_ceil(read.lanes) {
        let lanes = channels.start.max(block * read.lanes)..channels.end.min((block + 1) * read.lanes);
        for tap in &class.taps {
            steps.push(Step {
                a: read.at(lanes.start - first * read.lanes, tap.read),
                b: ((lanes.start - channels.start) * taps + tap.index * lanes.len()) * PANEL,
                k: lanes.len(),
            });
        }
    }
}
