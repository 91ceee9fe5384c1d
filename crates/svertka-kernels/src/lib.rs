//! Convolution, pooling, normalization and matrix product on the CPU: slices in, slices out, forward and backward.
//!
//! The crate knows geometry, not graphs. A kernel takes slices, a geometry and a [`Cpu`] (instruction set and threads), and allocates nothing
//! on its way but what a `new` says. Activations are *blocked*, see [`layout`]; weights are plain until a kernel packs them.
//! Results do not depend on the number of threads. This is the only crate of the workspace that holds `unsafe`.
//!
//! Reading order: [`geometry`] (sizes), [`layout`], [`simd`] and [`cpu`], then [`conv`].

pub mod activation;
pub mod binary;
pub mod buffer;
pub mod concat;
pub mod conv;
pub mod cpu;
mod elementwise;
pub mod geometry;
mod geometry_transpose;
pub mod layout;
pub mod matmul;
pub mod norm;
pub mod pad;
pub mod planes;
pub mod pool;
pub mod reference;
pub mod simd;
pub mod softmax;
pub mod threads;
pub mod unshared;
pub mod update;

pub use buffer::Buffer;
pub use cpu::{Cpu, Isa};
