//! Convolution: plans made once for a geometry, run many times. A plan owns its tables; running allocates nothing.
//!
//! Forward: [`Forward`] computes `y = x * weight` and what its [`Epilogue`] says; [`InputGradient`] and [`WeightGradient`] are its two adjoints. Activations are blocked
//! (see [`crate::layout`]), but for the `x` of an algorithm that [reads it plain](Algorithm::reads_plain); weights plain `O x C/groups x D x H x W`
//! until `pack` arranges them for one pass.
//!
//! Each algorithm is one file: `direct.rs`, with its weight gradient in `weight_gradient.rs`; `rows.rs` for depthwise layers and small groups
//! (`grouped.rs` says which; `depthwise.rs` has the weight gradient of most); `winograd.rs`, whose transforms are in `squares.rs`, whose stages, weights
//! and weight gradient have files beside it, and which `phases.rs` does for transposed layers of stride 2; and `picture.rs`, passes that write
//! a few channels. They share the loops of `tile.rs`, the tables of `windows.rs`, where padding, stride and dilation are turned into
//! offsets so that no algorithm mentions them, and,
//! for weight gradients, the walk of `sweep.rs`. Sums have one order, whatever the number of threads and the place of an image in its batch.
//! The tile leaves taps on padding out of the sum, so that not even an infinite weight meets a padded zero; transformed squares, the rows of `picture.rs`
//! and those of `rows.rs` and depthwise weight gradients do meet zeros, and are finite where all values are.
//!
//! ```
//! use svertka_kernels::{Buffer, Cpu, conv::Forward, epilogue::Epilogue, geometry::{ConvGeometry, Window}, layout};
//! // Two pictures of 1 x 4 x 5, one 1 x 3 filter of ones, padding 1 along the width.
//! let window = Window { kernel: [1, 1, 3], padding: [(0, 0), (0, 0), (1, 1)], ..Window::default() };
//! let geometry = ConvGeometry::new(2, 1, 1, 1, [1, 4, 5], window).unwrap();
//! let cpu = Cpu::new(1);
//! let plan = Forward::new(&geometry);
//! let (mut packed, mut scratch) = (Buffer::zeroed(plan.packed_len()), Buffer::zeroed(plan.scratch_len(1)));
//! plan.pack(&cpu, &[1.0; 3], &mut packed);
//! assert!(plan.algorithm().reads_plain());
//! let mut y = Buffer::zeroed(layout::blocked_len(2, 1, 20));
//! plan.run(&cpu, &[1.0; 40], &packed, &Epilogue::bias(&[0.5]), &mut y, &mut scratch);
//! let mut plain = [0.0; 40];
//! layout::to_plain(2, 1, 20, &y, &mut plain, &cpu);
//! assert_eq!(plain[..5], [2.5, 3.5, 3.5, 3.5, 2.5]);
//! ```

pub(crate) mod ahead;
mod algorithm;
mod depthwise;
mod depthwise_pieces;
mod direct;
mod direct_tiles;
mod grouped;
mod phases;
mod phases_weights;
mod picture;
mod row_tile;
mod rows;
mod side;
mod squares;
mod sweep;
pub(crate) mod tile;
mod weight_gradient;
mod windows;
mod winograd;
mod winograd_gradient;
mod winograd_stages;
mod winograd_weights;

pub use algorithm::{Accuracy, Algorithm};

use crate::cpu::Cpu;
use crate::epilogue::Epilogue;
use crate::geometry::ConvGeometry;
use crate::layout::BLOCK;
use depthwise::DepthwiseWeightGradient;
use direct::Direct;
use phases::Phases;
use picture::Picture;
use rows::{Factors, Rows};
use squares::Axis;
use weight_gradient::DirectWeightGradient;
use winograd::Winograd;
use winograd_gradient::WinogradWeightGradient;

/// The algorithms of a pass.
#[derive(Debug)]
enum Plan {
    Direct(Direct),
    Rows(Rows),
    Winograd(Box<Winograd>),
    Phases(Phases),
    Picture(Box<Picture>),
}

/// Constructors that the two passes with packed weights share.
macro_rules! pass {
    ($(#[$doc:meta])* $name:ident: $direct:expr, $plain:expr, $few:expr, $rows:expr, $winograd:expr, $phases:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            geometry: ConvGeometry,
            algorithm: Algorithm,
            plan: Plan,
        }

        impl $name {
            /// The plan for `geometry` with the algorithm that suits it.
            pub fn new(geometry: &ConvGeometry) -> Self {
                Self::with_accuracy(geometry, Accuracy::Default)
            }

            /// The plan with the algorithm that suits `geometry`, of those that `accuracy` allows.
            pub fn with_accuracy(geometry: &ConvGeometry, accuracy: Accuracy) -> Self {
                Self::planned(geometry, Algorithm::choose(geometry, accuracy))
            }

            /// The plan with the named algorithm, if that can compute `geometry`.
            pub fn with_algorithm(geometry: &ConvGeometry, algorithm: Algorithm) -> Option<Self> {
                algorithm.supports(geometry).then(|| Self::planned(geometry, algorithm))
            }

            fn planned(geometry: &ConvGeometry, algorithm: Algorithm) -> Self {
                let plan = match algorithm {
                    Algorithm::Direct => Plan::Direct($direct(geometry)),
                    Algorithm::Plain => $plain(geometry),
                    Algorithm::FewChannels => $few(geometry),
                    Algorithm::Depthwise => Plan::Rows($rows(geometry, Factors::Own)),
                    Algorithm::Grouped => Plan::Rows($rows(geometry, grouped::factors(geometry))),
                    Algorithm::WinogradTwo => Plan::Winograd(Box::new($winograd(geometry, Axis::Two))),
                    Algorithm::WinogradFour => Plan::Winograd(Box::new($winograd(geometry, Axis::Four))),
                    Algorithm::WinogradSix => Plan::Winograd(Box::new($winograd(geometry, Axis::Six))),
                    Algorithm::WinogradPhases => $phases(geometry),
                };
                Self { geometry: *geometry, algorithm, plan }
            }

            /// The algorithm in use.
            pub fn algorithm(&self) -> Algorithm {
                self.algorithm
            }

            /// What the plan was made for.
            pub fn geometry(&self) -> &ConvGeometry {
                &self.geometry
            }

            /// Elements of the packed weight.
            pub fn packed_len(&self) -> usize {
                match &self.plan {
                    Plan::Direct(plan) => plan.packed_len(),
                    Plan::Rows(plan) => plan.packed_len(),
                    Plan::Winograd(plan) => plan.packed_len(),
                    Plan::Phases(plan) => plan.packed_len(),
                    Plan::Picture(plan) => plan.packed_len(),
                }
            }

            /// Elements of scratch memory on `threads` threads.
            pub fn scratch_len(&self, threads: usize) -> usize {
                match &self.plan {
                    Plan::Direct(_) | Plan::Rows(_) => 0,
                    Plan::Winograd(plan) => plan.scratch_len(threads),
                    Plan::Phases(plan) => plan.scratch_len(threads),
                    Plan::Picture(plan) => plan.scratch_len(threads),
                }
            }
        }
    };
}

pass! {
    /// `y = epilogue(x * weight)`.
    Forward: |g| Direct::forward(g, BLOCK), |g| Plan::Direct(Direct::forward(g, 1)), |g| Plan::Picture(Box::new(Picture::forward(g))),
        Rows::forward, Winograd::forward, |g| Plan::Direct(Direct::forward(g, BLOCK))
}

pass! {
    /// The gradient for the input.
    InputGradient: Direct::input_gradient, Picture::or_tile, |g| Plan::Direct(Direct::input_gradient(g)), Rows::input_gradient, Winograd::input_gradient,
        |g| Plan::Phases(Phases::input_gradient(g))
}

/// The gradients for weight and bias.
#[derive(Debug)]
pub struct WeightGradient {
    plan: WeightPlan,
}

#[derive(Debug)]
enum WeightPlan {
    Direct(DirectWeightGradient),
    Depthwise(DepthwiseWeightGradient),
    Winograd(Box<WinogradWeightGradient>),
}

impl Forward {
    /// Arranges the plain `weight` for [`Forward::run`].
    ///
    /// # Panics
    /// Where a slice has not the length that the geometry and [`Forward::packed_len`] say.
    pub fn pack(&self, cpu: &Cpu, weight: &[f32], packed: &mut [f32]) {
        assert_eq!(weight.len(), self.geometry.weight_len(), "weight");
        let (group_in, taps) = weight_sizes(&self.geometry);
        let start = |o, c| (o * group_in + of_group(c, group_in)) * taps;
        match &self.plan {
            Plan::Direct(plan) => plan.pack(cpu, weight, packed, start),
            Plan::Rows(plan) => plan.pack(weight, packed, start),
            Plan::Winograd(plan) => plan.pack(cpu, weight, packed, start),
            Plan::Phases(plan) => plan.pack(cpu, weight, packed, start),
            Plan::Picture(plan) => plan.pack(weight, packed, start),
        }
    }

    /// Computes the blocked `y` of `x`, which is blocked but where the algorithm [reads it plain](Algorithm::reads_plain). Unused lanes of `y`
    /// become zero, unless the epilogue makes them something else.
    ///
    /// # Panics
    /// Where a slice has not the length that the geometry and [`Forward::packed_len`] say, or `scratch` less than [`Forward::scratch_len`].
    pub fn run(
        &self,
        cpu: &Cpu,
        x: &[f32],
        packed: &[f32],
        epilogue: &Epilogue<'_>,
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        match &self.plan {
            Plan::Direct(plan) => plan.run(cpu, x, packed, epilogue, y),
            Plan::Rows(plan) => plan.run(cpu, x, packed, epilogue, y),
            Plan::Winograd(plan) => plan.run(cpu, x, packed, epilogue, y, scratch),
            Plan::Phases(plan) => plan.run(cpu, x, packed, epilogue, y, scratch),
            Plan::Picture(plan) => plan.run(cpu, x, packed, epilogue, y, scratch),
        }
    }
}

impl InputGradient {
    /// Arranges the plain `weight` for [`InputGradient::run`].
    ///
    /// # Panics
    /// Where a slice has not the length that the geometry and [`InputGradient::packed_len`] say.
    pub fn pack(&self, cpu: &Cpu, weight: &[f32], packed: &mut [f32]) {
        assert_eq!(weight.len(), self.geometry.weight_len(), "weight");
        let (group_in, taps) = weight_sizes(&self.geometry);
        let start = |c, o| (o * group_in + of_group(c, group_in)) * taps;
        match &self.plan {
            Plan::Direct(plan) => plan.pack(cpu, weight, packed, start),
            Plan::Rows(plan) => plan.pack(weight, packed, start),
            Plan::Winograd(plan) => plan.pack(cpu, weight, packed, start),
            Plan::Phases(plan) => plan.pack(cpu, weight, packed, start),
            Plan::Picture(plan) => plan.pack(weight, packed, start),
        }
    }

    /// Computes the whole blocked `dx` from the blocked `dy`; cells that no window reads become zero, and so do unused lanes.
    ///
    /// # Panics
    /// Where a slice has not the length that the geometry and [`InputGradient::packed_len`] say, or `scratch` less than
    /// [`InputGradient::scratch_len`].
    pub fn run(&self, cpu: &Cpu, dy: &[f32], packed: &[f32], dx: &mut [f32], scratch: &mut [f32]) {
        self.run_with_epilogue(cpu, dy, packed, &Epilogue::NONE, dx, scratch);
    }

    /// As [`InputGradient::run`] with an epilogue over the input channels: with that it is the transposed convolution.
    ///
    /// # Panics
    /// As [`InputGradient::run`].
    pub fn run_with_epilogue(
        &self,
        cpu: &Cpu,
        dy: &[f32],
        packed: &[f32],
        epilogue: &Epilogue<'_>,
        dx: &mut [f32],
        scratch: &mut [f32],
    ) {
        match &self.plan {
            Plan::Direct(plan) => plan.run(cpu, dy, packed, epilogue, dx),
            Plan::Rows(plan) => plan.run(cpu, dy, packed, epilogue, dx),
            Plan::Winograd(plan) => plan.run(cpu, dy, packed, epilogue, dx, scratch),
            Plan::Phases(plan) => plan.run(cpu, dy, packed, epilogue, dx, scratch),
            Plan::Picture(plan) => plan.run(cpu, dy, packed, epilogue, dx, scratch),
        }
    }
}

impl WeightGradient {
    /// The plan for `geometry` with the algorithm that suits it.
    pub fn new(geometry: &ConvGeometry) -> Self {
        Self::with_accuracy(geometry, Accuracy::Default)
    }

    /// The plan with the algorithm that suits `geometry`, of those that `accuracy` allows.
    pub fn with_accuracy(geometry: &ConvGeometry, accuracy: Accuracy) -> Self {
        match Algorithm::choose(geometry, accuracy) {
            Algorithm::Plain => Self { plan: WeightPlan::Direct(DirectWeightGradient::new(geometry, 1)) },
            _ => Self::of_blocked(geometry, accuracy),
        }
    }

    /// As [`WeightGradient::with_accuracy`], but `x` is blocked whatever the algorithm.
    pub fn of_blocked(geometry: &ConvGeometry, accuracy: Accuracy) -> Self {
        let winograd = accuracy != Accuracy::Strict && winograd::supports(geometry);
        let plan = match Algorithm::choose(geometry, accuracy) {
            Algorithm::Depthwise => WeightPlan::Depthwise(DepthwiseWeightGradient::new(geometry)),
            Algorithm::Grouped if grouped::factors(geometry) == Factors::Group => {
                WeightPlan::Depthwise(DepthwiseWeightGradient::new(geometry))
            }
            _ if winograd && winograd_gradient::pays(geometry) => {
                WeightPlan::Winograd(Box::new(WinogradWeightGradient::new(geometry, Axis::Four)))
            }
            _ => WeightPlan::Direct(DirectWeightGradient::new(geometry, BLOCK)),
        };
        Self { plan }
    }

    /// The plan with the named algorithm, if that can compute the weight gradient of `geometry`.
    pub fn with_algorithm(geometry: &ConvGeometry, algorithm: Algorithm) -> Option<Self> {
        let winograd = |axis| WeightPlan::Winograd(Box::new(WinogradWeightGradient::new(geometry, axis)));
        let plan = match algorithm {
            _ if !algorithm.supports(geometry) => return None,
            Algorithm::Direct | Algorithm::FewChannels => {
                WeightPlan::Direct(DirectWeightGradient::new(geometry, BLOCK))
            }
            Algorithm::Plain => WeightPlan::Direct(DirectWeightGradient::new(geometry, 1)),
            Algorithm::Depthwise => WeightPlan::Depthwise(DepthwiseWeightGradient::new(geometry)),
            Algorithm::WinogradTwo => winograd(Axis::Two),
            Algorithm::WinogradFour => winograd(Axis::Four),
            Algorithm::WinogradSix => winograd(Axis::Six),
            Algorithm::Grouped if grouped::factors(geometry) == Factors::Group => {
                WeightPlan::Depthwise(DepthwiseWeightGradient::new(geometry))
            }
            Algorithm::Grouped | Algorithm::WinogradPhases => return None,
        };
        Some(Self { plan })
    }

    /// Elements of scratch memory on `threads` threads.
    pub fn scratch_len(&self, threads: usize) -> usize {
        match &self.plan {
            WeightPlan::Direct(plan) => plan.scratch_len(threads),
            WeightPlan::Depthwise(plan) => plan.scratch_len(threads),
            WeightPlan::Winograd(plan) => plan.scratch_len(),
        }
    }

    /// Computes the plain `dw` and `db`, one value for each output channel, from the blocked `dy` and from `x`, which is blocked but where the
    /// algorithm [reads it plain](Algorithm::reads_plain).
    ///
    /// # Panics
    /// Where a slice has not the length that the geometry says, or `scratch` less than [`WeightGradient::scratch_len`].
    pub fn run(
        &self,
        cpu: &Cpu,
        x: &[f32],
        dy: &[f32],
        dw: &mut [f32],
        db: Option<&mut [f32]>,
        scratch: &mut [f32],
    ) {
        match &self.plan {
            WeightPlan::Direct(plan) => plan.run(cpu, x, dy, dw, db, scratch),
            WeightPlan::Depthwise(plan) => plan.run(cpu, x, dy, dw, db, scratch),
            WeightPlan::Winograd(plan) => plan.run(cpu, x, dy, dw, db, scratch),
        }
    }
}

/// Channels of the plain weight's second axis, and its taps.
fn weight_sizes(geometry: &ConvGeometry) -> (usize, usize) {
    (geometry.in_channels / geometry.groups, geometry.window.kernel.iter().product())
}

/// Channel `c` within its group; a division for each weight would take longer than packing it.
#[inline]
fn of_group(c: usize, group: usize) -> usize {
    if c < group { c } else { c % group }
}

/// The largest divisor of `count` that is at most `most`; zero for zero.
fn largest_divisor(count: usize, most: usize) -> usize {
    (1..=count.min(most)).rev().find(|&d| count.is_multiple_of(d)).unwrap_or(0)
}
