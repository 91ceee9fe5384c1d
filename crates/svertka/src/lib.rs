//! Convolutional networks on the CPU: build, train, run, read and write as ONNX.
//!
//! ```
//! use svertka::data::{Dataset, OpenOptions};
//! use svertka::train::{Classifier, TrainConfig, train};
//! use svertka::{ConvSpec, Cpu, Network, PoolSpec, Tensor};
//!
//! # fn main() -> svertka::Result<()> {
//! let mut net = Network::new(&[1, 28, 28], 0);
//! let x = net.conv(net.input(), 8, 3, &ConvSpec::new().stride(2).padding(1))?;
//! let shortcut = net.relu(x)?;
//! let x = net.conv(shortcut, 8, 3, &ConvSpec::new().padding(1).bias(false))?;
//! let x = net.batch_norm(x)?;
//! let x = net.add(x, shortcut)?; // a residual network
//! let x = net.max_pool(x, &PoolSpec::new(2))?;
//! net.linear(x, 10)?;
//!
//! let (digits, cpu) = (Dataset::open("digits", &OpenOptions::default())?, Cpu::new(0));
//! let config = TrainConfig { epochs: 2, ..TrainConfig::default() };
//! let run = std::env::temp_dir().join(format!("svertka-example-{}", std::process::id()));
//! let model = train(&net.finish(), &digits, &config, &run, &cpu, &mut |_| {})?.model;
//!
//! let test = digits.test.expect("the digits have test pictures");
//! let mut picture = Tensor::zeros([1, 1, 28, 28]);
//! model.picture_preprocessing()?.write(&test.picture(7)?, picture.data_mut())?;
//! let mut classifier = Classifier::new(&model.graph, 1, &cpu)?;
//! let probabilities = classifier.probabilities(&cpu, model.graph.parameters(), &picture)?;
//! assert!(probabilities[test.label(7)] > 0.5);
//! # std::fs::remove_dir_all(&run).map_err(svertka::Error::io(&run))?;
//! # Ok(())
//! # }
//! ```
//!
//! A network is a [`Graph`]: data, from which everything else follows. [`Network`] builds one, [`models`] has those with names, [`Model`] reads
//! and writes ONNX, [`Plan`] runs it, [`gradient`] extends it by its gradients, [`cost()`] counts it, [`train`](mod@train) fits it to [`data`].
//! Below the graph, [`conv()`] and [`apply`] are operators as plain functions, and [`kernels`] is the arithmetic itself.

#![forbid(unsafe_code)]

mod cost;
pub mod data;
mod error;
mod function;
pub mod gradient;
pub mod graph;
pub mod measure;
pub mod models;
mod network;
pub mod onnx;
pub mod ops;
mod plan;
mod session;
mod spec;
mod tensor;
mod text;
pub mod train;
mod write_file;

pub use cost::{LayerCost, cost};
pub use error::{Error, Result};
pub use function::{
    Extent, LayerMatrix, OuterProduct, Separated, apply, conv, conv_transpose, convolve, correlate,
    layer_matrix, outer_product, separate, unshared,
};
pub use graph::{Graph, Value};
pub use network::{ConvTransposeSpec, FractionalSize, Network, PoolSpec, ResizeMode, ResizeSpec};
pub use onnx::Model;
pub use plan::{Choice, Plan, PlanOptions, StepInfo, Weights};
pub use session::Session;
pub use spec::{ConvSpec, Padding, PaddingMode, Sizes};
pub use svertka_formats as formats;
pub use svertka_kernels as kernels;
pub use svertka_kernels::Cpu;
pub use svertka_kernels::activation::Activation;
pub use svertka_kernels::conv::Accuracy;
pub use tensor::Tensor;
pub use write_file::write_file;

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
