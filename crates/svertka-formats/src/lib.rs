//! Untrusted bytes to plain data and back.
//!
//! A reader takes bytes and [`Limits`] and returns owned data that has been checked, or an [`Error`] that says
//! what was expected and what was received. No input makes it panic, and sizes that a file declares are compared
//! with the limits before memory is asked for. There is no `unsafe` code, and nothing here opens a file or knows
//! of tensors and networks.
//!
//! | module | reads | writes | refuses |
//! |---|---|---|---|
//! | [`onnx`] | model files | yes | tensors in other files, text, complex and 8-bit float tensors |
//! | [`safetensors`] | named arrays and metadata | yes | 8-bit and smaller floats, complex |
//! | [`npy`] | NumPy arrays, any order | yes | complex, text, dates, records, objects |
//! | [`npz`] | zip archives of these | yes | members that are not npy, encryption |
//! | [`idx`] | MNIST files, plain or gzip | plain | element types other than unsigned bytes |
//! | [`cifar`] | CIFAR-10 and CIFAR-100, binary version | no | the Python and MATLAB versions |
//! | [`picture`] | PNG, JPEG, WebP, GIF, BMP | PNG | other formats; more than 32,768 pixels a side |
//!
//! [`Format::detect`] tells them apart where they have a magic number.
//!
//! ```
//! use svertka_formats::{Array, ArrayData, Format, Limits, npy};
//!
//! let array = Array::new(vec![2, 3], ArrayData::F32(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))?;
//! let bytes = npy::encode(&array)?;
//! assert_eq!(Format::detect(&bytes), Some(Format::Npy));
//! assert_eq!(npy::decode(&bytes, &Limits::default())?, array);
//!
//! let error = npy::decode(&bytes[..bytes.len() - 1], &Limits::default()).unwrap_err();
//! assert_eq!(error.to_string(), "npy: data: expected 24 bytes for shape [2, 3], received 23 bytes");
//! # Ok::<(), svertka_formats::Error>(())
//! ```

#![forbid(unsafe_code)]

mod array;
pub mod cifar;
mod detect;
mod element;
mod error;
mod gzip;
pub mod idx;
mod limits;
pub mod npy;
pub mod npz;
pub mod onnx;
pub mod picture;
pub mod safetensors;

pub use array::{Array, ArrayData, NamedArrays};
pub use detect::Format;
pub use error::{Error, Result};
pub use limits::Limits;
pub use picture::Picture;
