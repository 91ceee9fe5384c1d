//! Convolution, pooling, normalization and matrix product on the CPU: slices in, slices out, forward and backward.
//!
//! The crate knows geometry, not graphs. A kernel takes slices, a geometry and a [`Cpu`] (instruction set and threads), and allocates nothing
//! on its way but what a `new` says. Activations are *blocked*, see [`layout`]; weights are plain until a kernel packs them.
//! Results do not depend on the number of threads. This is the only crate of the workspace that holds `unsafe`.
//!
//! Reading order: [`geometry`] (sizes), [`layout`], [`simd`] and [`cpu`], then [`conv`].

pub mod activation;
pub mod affine_grid;
pub mod batch_matmul;
pub mod binary;
pub mod buffer;
pub mod concat;
pub mod conv;
pub mod cpu;
pub mod deform_conv;
pub mod depth_to_space;
mod elementwise;
pub mod epilogue;
pub mod fold;
pub mod gather;
pub mod geometry;
pub mod geometry_pool;
mod geometry_transpose;
pub mod grid_sample;
pub mod layout;
pub mod likelihood;
pub mod lines;
pub mod mapping;
pub mod matmul;
pub mod norm;
pub mod optimizer_rule;
pub mod pad;
pub mod peak;
pub mod planes;
pub mod pool;
pub mod prelu;
pub mod reference;
pub mod resample;
pub mod resize;
pub mod roi_align;
pub mod simd;
pub mod softmax;
pub mod strided;
pub mod threads;
pub mod unshared;
pub mod update;

pub use buffer::Buffer;
pub use cpu::{Cpu, Isa};
