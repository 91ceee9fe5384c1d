//! Convolution: plans made once for a geometry, run many times. A plan owns its tables; running allocates nothing.
//!
//! Forward: [`Forward`] computes `y = x * weight` and what its [`Epilogue`] says; [`InputGradient`] and [`WeightGradient`] are its two adjoints. Activations are blocked
//! (see [`crate::layout`]), but for the `x` of an algorithm that [reads it plain](Algorithm::reads_plain); weights plain `O x C/groups x D x H x W`
//! until `pack` arranges them for one pass.
//!
//! Each algorithm is one file: `direct.rs`, with its weight gradient in `weight_gradient.rs`, `depthwise.rs`, `winograd.rs` and `phases.rs`. They share the loops of
//! `tile.rs`, the tables of `windows.rs`, where padding, stride and dilation are turned into offsets so that no algorithm mentions them, and,
//! for weight gradients, the walk of `sweep.rs`. Sums have one order, whatever the number of threads and the place of an image in its batch.
//! Taps on padding are left out of the sum, so not even an infinite weight meets a padded zero.
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

mod depthwise;
mod direct;
mod phases;
mod squares;
mod sweep;
pub(crate) mod tile;
mod weight_gradient;
mod windows;
mod winograd;

use crate::cpu::Cpu;
use crate::epilogue::Epilogue;
use crate::geometry::ConvGeometry;
use crate::layout::BLOCK;
use depthwise::{Depthwise, DepthwiseWeightGradient};
use direct::Direct;
use phases::Phases;
use weight_gradient::DirectWeightGradient;
use winograd::Winograd;

/// Channels up to which a plain `x` is read as it is: a picture's. With more, the input mostly comes from another layer, blocked.
const PLAIN_CHANNELS: usize = 4;

/// A way to compute a convolution and its gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// The register tile over any geometry.
    Direct,
    /// The same with a plain `x`: for pictures, whose few channels would leave most lanes of a block empty. The input gradient is that of
    /// [`Algorithm::Direct`].
    Plain,
    /// Vectors of channels that do not mix: as many groups as input and output channels.
    Depthwise,
    /// Winograd's filtering by squares of 2 x 2 outputs; not for weight gradients.
    WinogradTwo,
    /// Winograd's filtering by squares of 4 x 4 outputs; not for weight gradients.
    WinogradFour,
    /// Winograd's filtering for the input gradient of 4 x 4 windows of stride 2. The forward pass is that of [`Algorithm::Direct`].
    WinogradPhases,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 6] = [
        Self::Direct,
        Self::Plain,
        Self::Depthwise,
        Self::WinogradTwo,
        Self::WinogradFour,
        Self::WinogradPhases,
    ];

    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Plain => "plain",
            Self::Depthwise => "depthwise",
            Self::WinogradTwo => "winograd 2x2",
            Self::WinogradFour => "winograd 4x4",
            Self::WinogradPhases => "winograd phases",
        }
    }

    /// Whether this algorithm can compute `geometry`, forward and back to the input.
    pub fn supports(self, geometry: &ConvGeometry) -> bool {
        match self {
            Self::Direct | Self::Plain => true,
            Self::Depthwise => {
                geometry.groups == geometry.in_channels && geometry.groups == geometry.out_channels
            }
            Self::WinogradTwo | Self::WinogradFour => winograd::supports(geometry),
            Self::WinogradPhases => phases::supports(geometry),
        }
    }

    /// Whether [`Forward`] and [`WeightGradient`] want `x` plain, `N x C x spatial`, where others want it blocked.
    pub fn reads_plain(self) -> bool {
        self == Self::Plain
    }

    /// The algorithm for `geometry`; it does not depend on the batch.
    pub fn choose(geometry: &ConvGeometry) -> Self {
        // With one channel in all, depthwise vectors would hold one real lane; the tile's do too, but it has more pixels in flight.
        if geometry.in_channels > 1 && Self::Depthwise.supports(geometry) {
            Self::Depthwise
        } else if Self::WinogradFour.supports(geometry) && winograd::pays(geometry) {
            Self::WinogradFour
        } else if Self::WinogradPhases.supports(geometry) && phases::pays(geometry) {
            Self::WinogradPhases
        } else if geometry.in_channels <= PLAIN_CHANNELS {
            Self::Plain
        } else {
            Self::Direct
        }
    }
}

/// The algorithms of a pass.
#[derive(Debug)]
enum Plan<A, B> {
    Direct(A),
    Depthwise(B),
    Winograd(Winograd),
    Phases(Phases),
}

/// Constructors that the two passes with packed weights share.
macro_rules! pass {
    ($(#[$doc:meta])* $name:ident: $direct:expr, $plain:expr, $depthwise:expr, $winograd:expr, $phases:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            geometry: ConvGeometry,
            algorithm: Algorithm,
            plan: Plan<Direct, Depthwise>,
        }

        impl $name {
            /// The plan for `geometry` with the algorithm that suits it.
            pub fn new(geometry: &ConvGeometry) -> Self {
                Self::planned(geometry, Algorithm::choose(geometry))
            }

            /// The plan with the named algorithm, if that can compute `geometry`.
            pub fn with_algorithm(geometry: &ConvGeometry, algorithm: Algorithm) -> Option<Self> {
                algorithm.supports(geometry).then(|| Self::planned(geometry, algorithm))
            }

            fn planned(geometry: &ConvGeometry, algorithm: Algorithm) -> Self {
                let plan = match algorithm {
                    Algorithm::Direct => Plan::Direct($direct(geometry)),
                    Algorithm::Plain => Plan::Direct($plain(geometry)),
                    Algorithm::Depthwise => Plan::Depthwise($depthwise(geometry)),
                    Algorithm::WinogradTwo => Plan::Winograd($winograd(geometry, 2)),
                    Algorithm::WinogradFour => Plan::Winograd($winograd(geometry, 4)),
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
                    Plan::Depthwise(plan) => plan.packed_len(),
                    Plan::Winograd(plan) => plan.packed_len(),
                    Plan::Phases(plan) => plan.packed_len(),
                }
            }

            /// Elements of scratch memory on `threads` threads.
            pub fn scratch_len(&self, threads: usize) -> usize {
                match &self.plan {
                    Plan::Direct(_) | Plan::Depthwise(_) => 0,
                    Plan::Winograd(plan) => plan.scratch_len(threads),
                    Plan::Phases(plan) => plan.scratch_len(threads),
                }
            }
        }
    };
}

pass! {
    /// `y = epilogue(x * weight)`.
    Forward: |g| Direct::forward(g, BLOCK), |g| Direct::forward(g, 1), Depthwise::forward, Winograd::forward,
        |g| Plan::Direct(Direct::forward(g, BLOCK))
}

pass! {
    /// The gradient for the input.
    InputGradient: Direct::input_gradient, Direct::input_gradient, Depthwise::input_gradient, Winograd::input_gradient,
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
}

impl Forward {
    /// Arranges the plain `weight` for [`Forward::run`].
    ///
    /// # Panics
    /// Where a slice has not the length that the geometry and [`Forward::packed_len`] say.
    pub fn pack(&self, cpu: &Cpu, weight: &[f32], packed: &mut [f32]) {
        assert_eq!(weight.len(), self.geometry.weight_len(), "weight");
        let (group_in, taps) = weight_sizes(&self.geometry);
        let start = |o, c| (o * group_in + c % group_in) * taps;
        match &self.plan {
            Plan::Direct(plan) => plan.pack(cpu, weight, packed, start),
            Plan::Depthwise(plan) => plan.pack(weight, packed),
            Plan::Winograd(plan) => plan.pack(cpu, weight, packed, start),
            Plan::Phases(plan) => plan.pack(cpu, weight, packed, start),
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
            Plan::Depthwise(plan) => plan.run(cpu, x, packed, epilogue, y),
            Plan::Winograd(plan) => plan.run(cpu, x, packed, epilogue, y, scratch),
            Plan::Phases(plan) => plan.run(cpu, x, packed, epilogue, y, scratch),
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
        let start = |c, o| (o * group_in + c % group_in) * taps;
        match &self.plan {
            Plan::Direct(plan) => plan.pack(cpu, weight, packed, start),
            Plan::Depthwise(plan) => plan.pack(weight, packed),
            Plan::Winograd(plan) => plan.pack(cpu, weight, packed, start),
            Plan::Phases(plan) => plan.pack(cpu, weight, packed, start),
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
            Plan::Depthwise(plan) => plan.run(cpu, dy, packed, epilogue, dx),
            Plan::Winograd(plan) => plan.run(cpu, dy, packed, epilogue, dx, scratch),
            Plan::Phases(plan) => plan.run(cpu, dy, packed, epilogue, dx, scratch),
        }
    }
}

impl WeightGradient {
    /// The plan for `geometry` with the algorithm that suits it.
    pub fn new(geometry: &ConvGeometry) -> Self {
        match Algorithm::choose(geometry) {
            Algorithm::Plain => Self { plan: WeightPlan::Direct(DirectWeightGradient::new(geometry, 1)) },
            _ => Self::of_blocked(geometry),
        }
    }

    /// As [`WeightGradient::new`], but `x` is blocked whatever the algorithm.
    pub fn of_blocked(geometry: &ConvGeometry) -> Self {
        let plan = match Algorithm::choose(geometry) {
            Algorithm::Depthwise => WeightPlan::Depthwise(DepthwiseWeightGradient::new(geometry)),
            _ => WeightPlan::Direct(DirectWeightGradient::new(geometry, BLOCK)),
        };
        Self { plan }
    }

    /// The plan with the named algorithm, if that can compute the weight gradient of `geometry`.
    pub fn with_algorithm(geometry: &ConvGeometry, algorithm: Algorithm) -> Option<Self> {
        let plan = match algorithm {
            Algorithm::Direct => WeightPlan::Direct(DirectWeightGradient::new(geometry, BLOCK)),
            Algorithm::Plain => WeightPlan::Direct(DirectWeightGradient::new(geometry, 1)),
            Algorithm::Depthwise if algorithm.supports(geometry) => {
                WeightPlan::Depthwise(DepthwiseWeightGradient::new(geometry))
            }
            _ => return None,
        };
        Some(Self { plan })
    }

    /// Elements of scratch memory on `threads` threads.
    pub fn scratch_len(&self, threads: usize) -> usize {
        match &self.plan {
            WeightPlan::Direct(plan) => plan.scratch_len(threads),
            WeightPlan::Depthwise(plan) => plan.scratch_len(threads),
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
        }
    }
}

/// Channels of the plain weight's second axis, and its taps.
fn weight_sizes(geometry: &ConvGeometry) -> (usize, usize) {
    (geometry.in_channels / geometry.groups, geometry.window.kernel.iter().product())
}

/// The largest divisor of `count` that is at most `most`; zero for zero.
fn largest_divisor(count: usize, most: usize) -> usize {
    (1..=count.min(most)).rev().find(|&d| count.is_multiple_of(d)).unwrap_or(0)
}
