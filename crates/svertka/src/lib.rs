//! Convolutional networks on the CPU: build, train, run, read and write as ONNX.
//!
//! A network is a [`Graph`]: data, from which everything else follows. [`Network`] builds one, [`Model`] reads and writes it as ONNX,
//! [`Plan`] runs it, [`gradient`] extends it by its gradients, [`cost()`] counts it, [`train`] fits it to [`data`].

mod cost;
pub mod data;
mod error;
mod function;
pub mod gradient;
pub mod graph;
pub mod models;
mod network;
pub mod onnx;
pub mod ops;
mod plan;
mod spec;
mod tensor;
mod text;
pub mod train;

pub use cost::{LayerCost, cost};
pub use error::{Error, Result};
pub use function::{apply, conv};
pub use graph::{Graph, Value};
pub use network::{Network, PoolSpec};
pub use onnx::Model;
pub use plan::{Plan, Weights};
pub use spec::{ConvSpec, Padding, PaddingMode, Sizes};
pub use svertka_formats as formats;
pub use svertka_kernels as kernels;
pub use svertka_kernels::Cpu;
pub use svertka_kernels::activation::Activation;
pub use tensor::Tensor;
