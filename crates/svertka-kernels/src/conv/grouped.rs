//! Small groups by rows of cells: which geometries, and what the lanes of a block are multiplied with.
//!
//! The dense tile has sixteen written channels, and multiplies with zeros where these are of several groups. Here the lanes of a block meet only
//! channels of their own group. Groups of 2 and 4 in and out: both sides share their block, and a permutation brings the channel that is due to
//! all lanes of a group. Groups of whole blocks: one scalar for all lanes of a block. Others (3, 5, a multiplier) are left to the tile.

use super::rows::Factors;
use super::tile::PANEL;
use crate::geometry::ConvGeometry;
use crate::layout::BLOCK;

/// Whether rows of cells can do `geometry` both ways.
pub(crate) fn supports(geometry: &ConvGeometry) -> bool {
    let whole = |channels: usize| channels > 0 && channels.is_multiple_of(BLOCK);
    match group(geometry) {
        (2, 2) | (4, 4) => true,
        (read, write) => whole(read) && whole(write),
    }
}

/// How the lanes of a block are multiplied, for a geometry that [`supports`] has said yes to.
pub(crate) fn factors(geometry: &ConvGeometry) -> Factors {
    if group(geometry).0 < BLOCK { Factors::Group } else { Factors::All }
}

/// Whether a side has groups of less than a panel, or of one and a half: the tile would waste a third of its work or more.
pub(crate) fn pays(geometry: &ConvGeometry) -> bool {
    let wasteful = |channels| channels < PANEL || channels == PANEL + BLOCK;
    let (read, write) = group(geometry);
    geometry.groups > 1 && (wasteful(read) || wasteful(write))
}

fn group(geometry: &ConvGeometry) -> (usize, usize) {
    (geometry.in_channels / geometry.groups, geometry.out_channels / geometry.groups)
}
