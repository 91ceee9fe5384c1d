//! Which algorithms there are, what each can do, and which one a geometry gets.

use super::{grouped, phases, picture, winograd};
use crate::geometry::ConvGeometry;

/// Channels up to which a plain `x` is read as it is: a picture's. With more, the input mostly comes from another layer, blocked.
const PLAIN_CHANNELS: usize = 4;

/// A way to compute a convolution and its gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// The register tile over any geometry.
    Direct,
    /// The same with a plain `x`: for pictures, whose few channels would leave most lanes of a block empty. The input gradient has cells in its lanes
    /// instead, or is that of [`Algorithm::Direct`] where there is depth or a dilation.
    Plain,
    /// Vectors of cells instead of channels, for passes that write up to four channels. The gradients are those of [`Algorithm::Direct`].
    FewChannels,
    /// Vectors of channels that do not mix: as many groups as input and output channels.
    Depthwise,
    /// Vectors of channels that mix with those of their own group only: groups of 2, 4 or whole blocks of 8, in and out.
    Grouped,
    /// Winograd's filtering by squares of 2 x 2 outputs.
    WinogradTwo,
    /// Winograd's filtering by squares of 4 x 4 outputs.
    WinogradFour,
    /// Winograd's filtering by squares of 6 x 6 outputs, with some eight times the rounding error.
    WinogradSix,
    /// Winograd's filtering for the input gradient of 4 x 4 windows of stride 2. The forward pass is that of [`Algorithm::Direct`].
    WinogradPhases,
}

/// How much rounding error an algorithm may have, beside that of one sum in `f32` after the other (root mean square).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Accuracy {
    /// No more: [`Algorithm::Direct`] and what sums as it does.
    Strict,
    /// Three times as much: Winograd's filtering by squares of 2 x 2 or 4 x 4.
    #[default]
    Default,
    /// Twelve times as much: by squares of 6 x 6 too.
    Fast,
}

impl Accuracy {
    /// Whether `algorithm` has no more rounding error than this.
    pub fn allows(self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::Direct
            | Algorithm::Plain
            | Algorithm::FewChannels
            | Algorithm::Depthwise
            | Algorithm::Grouped => true,
            Algorithm::WinogradTwo | Algorithm::WinogradFour | Algorithm::WinogradPhases => {
                self != Self::Strict
            }
            Algorithm::WinogradSix => self == Self::Fast,
        }
    }
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 9] = [
        Self::Direct,
        Self::Plain,
        Self::FewChannels,
        Self::Depthwise,
        Self::Grouped,
        Self::WinogradTwo,
        Self::WinogradFour,
        Self::WinogradSix,
        Self::WinogradPhases,
    ];

    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Plain => "plain",
            Self::FewChannels => "few channels",
            Self::Depthwise => "depthwise",
            Self::Grouped => "grouped",
            Self::WinogradTwo => "winograd 2x2",
            Self::WinogradFour => "winograd 4x4",
            Self::WinogradSix => "winograd 6x6",
            Self::WinogradPhases => "winograd phases",
        }
    }

    /// The algorithm of this name.
    ///
    /// ```
    /// use svertka_kernels::conv::Algorithm;
    /// assert!(Algorithm::ALL.iter().all(|algorithm| Algorithm::find(algorithm.name()) == Some(*algorithm)));
    /// ```
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Whether this algorithm can compute `geometry`, forward and back to the input.
    pub fn supports(self, geometry: &ConvGeometry) -> bool {
        match self {
            Self::Direct | Self::Plain => true,
            Self::FewChannels => picture::supports(geometry),
            Self::Depthwise => {
                geometry.groups == geometry.in_channels && geometry.groups == geometry.out_channels
            }
            Self::Grouped => grouped::supports(geometry),
            Self::WinogradTwo | Self::WinogradFour | Self::WinogradSix => winograd::supports(geometry),
            Self::WinogradPhases => phases::supports(geometry),
        }
    }

    /// Whether [`Forward`](super::Forward) and [`WeightGradient`](super::WeightGradient) want `x` plain, `N x C x spatial`, where others want it blocked.
    pub fn reads_plain(self) -> bool {
        self == Self::Plain
    }

    /// The algorithm for `geometry` of those that `accuracy` allows. It may be another for another batch, since many squares share what transformed
    /// weights cost; a picture has the same bits in every batch where the algorithm is the same.
    pub fn choose(geometry: &ConvGeometry, accuracy: Accuracy) -> Self {
        let winograd = accuracy != Accuracy::Strict && Self::WinogradFour.supports(geometry);
        // With one channel in all, depthwise vectors would hold one real lane; the tile's do too, but it has more pixels in flight.
        if geometry.in_channels > 1 && Self::Depthwise.supports(geometry) {
            Self::Depthwise
        } else if winograd && accuracy == Accuracy::Fast && winograd::six_pays(geometry) {
            Self::WinogradSix
        } else if winograd && winograd::pays(geometry) {
            Self::WinogradFour
        } else if winograd && winograd::two_pays(geometry) {
            Self::WinogradTwo
        } else if Self::Grouped.supports(geometry) && grouped::pays(geometry) {
            Self::Grouped
        } else if accuracy != Accuracy::Strict
            && Self::WinogradPhases.supports(geometry)
            && phases::pays(geometry)
        {
            Self::WinogradPhases
        } else if geometry.in_channels <= PLAIN_CHANNELS {
            Self::Plain
        } else if Self::FewChannels.supports(geometry) && picture::pays(geometry) {
            Self::FewChannels
        } else {
            Self::Direct
        }
    }
}
