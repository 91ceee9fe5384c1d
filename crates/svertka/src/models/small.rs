//! The default for small pictures, sides of 16 to 64: a VGG (Simonyan and Zisserman, 2014) in three stages, with batch normalization (Ioffe and
//! Szegedy, 2015) and a global average (Lin et al., "Network in network", 2013) in place of its large linear layers.

use super::network;
use crate::error::Result;
use crate::graph::Graph;
use crate::network::Network;

/// The default for small pictures: 141,034 parameters for ten classes of three channels.
///
/// # Errors
/// Where the picture is under 4 x 4.
pub fn small(shape: &[usize], classes: usize, seed: u64) -> Result<Graph> {
    network(shape, classes, seed)?;
    let layers = format!(
        "conv32nobias bn relu conv32nobias bn relu pool2 \
         conv64nobias bn relu conv64nobias bn relu pool2 \
         conv128nobias bn relu gap dropout0.2 linear{classes}"
    );
    Ok(Network::from_text(&layers, shape, seed)?.finish())
}
