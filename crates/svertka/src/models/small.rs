//! The default for small pictures, sides of 16 to 64: a VGG (Simonyan and Zisserman, 2014) in three stages of one convolution, with batch
//! normalization (Ioffe and Szegedy, 2015). The linear layer sees the places of the last stage: on a few thousand pictures that learns in a
//! third of the epochs that an average over them takes.

use super::network;
use crate::error::Result;
use crate::graph::Graph;
use crate::network::Network;

/// The default for small pictures: 175,402 parameters for ten classes of 3 x 32 x 32.
///
/// # Errors
/// Where the picture is under 4 x 4.
pub fn small(shape: &[usize], classes: usize, seed: u64) -> Result<Graph> {
    network(shape, classes, seed)?;
    // Halved until a side of the last stage is at most eight.
    let halvings = shape[1..].iter().max().map_or(0, |side| side.div_ceil(32).ilog2() as usize);
    let layers = format!(
        "conv32nobias bn relu pool2 conv64nobias bn relu pool2 conv128nobias bn relu {} dropout0.2 linear{classes}",
        "pool2 ".repeat(halvings)
    );
    Ok(Network::from_text(&layers, shape, seed)?.finish())
}
