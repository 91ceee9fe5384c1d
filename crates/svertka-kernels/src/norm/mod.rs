//! Normalization: of channels over a batch ([`batch_norm_train`] and its kin, blocked), of lines ([`line_norm`], plain: instance, group, layer
//! and root-mean-square normalization), by a line's length ([`lp_norm`]), and by neighbouring channels ([`local_response_norm`]).

mod batch;
mod batch_lanes;
mod line;
mod local_response;
mod lp;

pub use batch::*;
pub use line::{LineGradientsMut, LineNorm, Parameters, line_norm, line_norm_backward};
pub use local_response::{LocalResponse, local_response_norm, local_response_norm_backward};
pub use lp::{Power, lp_norm, lp_norm_backward};
