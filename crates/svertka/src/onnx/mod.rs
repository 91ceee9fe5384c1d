//! ONNX files: the graph, its weights, and beside them what a classifier needs (labels, preprocessing) in `metadata_props`.
//!
//! Only this module and the `import` and `export` functions of the operators know ONNX's names and attributes. Written files have opset 20.

mod attributes;
mod elements;
mod export;
mod import;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use svertka_formats::Limits;
use svertka_formats::onnx as proto;
use svertka_kernels::Buffer;

pub use export::{Attributes, Export};
pub use import::Import;
use import::Origin;

use crate::data::{Preprocessing, Resize};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::tensor::Tensor;
use crate::write_file::write_file;

/// Keys of `metadata_props` that this library writes.
const LABELS: &str = "labels";
const PREPROCESSING: &str = "preprocessing";

/// A network with what is needed to use it on pictures.
///
/// ```
/// use svertka::{Model, Network};
/// let graph = Network::from_text("conv4 relu pool2 linear2", &[1, 8, 8], 7)?.finish();
/// let model = Model::new(graph).with_labels(["cat", "dog"]);
/// let read = Model::from_bytes(&model.to_bytes()?)?;
/// assert_eq!(read.labels, ["cat", "dog"]);
/// assert_eq!(read.graph.parameters(), model.graph.parameters());
/// # Ok::<(), svertka::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The network.
    pub graph: Graph,
    /// Names of the classes, in the order of the outputs; empty where unknown.
    pub labels: Vec<String>,
    /// How a picture becomes the input.
    pub preprocessing: Option<Preprocessing>,
    /// Other entries of the file's metadata.
    pub metadata: BTreeMap<String, String>,
}

/// Parameters that are still in their file, by their index.
pub(crate) struct Left {
    file: Arc<File>,
    tensors: HashMap<usize, proto::TensorProto>,
}

impl Left {
    /// Elements of the largest.
    pub(crate) fn largest(&self) -> usize {
        let bytes =
            self.tensors.values().filter_map(|tensor| tensor.place_in_file()).map(|(_, bytes)| bytes).max();
        // What is here has been compared with its shape.
        usize::try_from(bytes.unwrap_or(0)).unwrap_or(0) / size_of::<f32>()
    }

    /// The tensor of parameter `index`, if it is here; its elements take `memory` where that is large enough.
    pub(crate) fn read(&self, index: usize, memory: &mut Buffer) -> Result<Option<Tensor>> {
        let Some(tensor) = self.tensors.get(&index) else { return Ok(None) };
        elements::read_floats(tensor, &self.file, std::mem::take(memory)).map(Some)
    }
}

impl Model {
    /// A network alone.
    pub fn new(graph: Graph) -> Self {
        Self { graph, labels: vec![], preprocessing: None, metadata: BTreeMap::new() }
    }

    /// With names of the classes.
    #[must_use]
    pub fn with_labels(mut self, labels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.labels = labels.into_iter().map(Into::into).collect();
        self
    }

    /// How pictures become this model's input: as its file says, else colours and size from the input's shape without normalization.
    ///
    /// # Errors
    /// Where the input is no picture.
    pub fn picture_preprocessing(&self) -> Result<Preprocessing> {
        if let Some(preprocessing) = &self.preprocessing {
            return Ok(preprocessing.clone());
        }
        match self.graph.inputs().first().map(|input| input.shape.as_slice()) {
            Some(&[_, Some(channels), Some(height), Some(width)]) => {
                Preprocessing::new(channels, height, width, Resize::Cover)
            }
            other => {
                Err(Error::argument("model", "input", "N x channels x height x width", format!("{other:?}")))
            }
        }
    }

    /// Reads an ONNX file.
    ///
    /// # Errors
    /// Where the file can't be read, is no ONNX, or holds what this library does not know; the message names the node.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::load_leaving(path.as_ref(), false)?.0)
    }

    /// As [`Model::load`]; with `leave` the large parameters stay in the file, and the graph has placeholders for them.
    pub(crate) fn load_leaving(path: &Path, leave: bool) -> Result<(Self, Left)> {
        let mut file = File::open(path).map_err(Error::io(path))?;
        let outline = proto::outline(&mut file, &Limits::default());
        let model = match outline {
            Ok(model) => model,
            // What is no ONNX at all is said better by who sees the whole.
            Err(error) => {
                let bytes = std::fs::read(path).map_err(Error::io(path))?;
                return Err(Error::format(path)(
                    proto::decode(&bytes, &Limits::default()).err().unwrap_or(error),
                ));
            }
        };
        let file = Arc::new(file);
        let origin = Origin { model: &model, bound: &[], file: Some(Arc::clone(&file)), leave };
        let (model, tensors) =
            Self::from_origin(origin).map_err(|error| error.within(&path.display().to_string()))?;
        Ok((model, Left { file, tensors }))
    }

    /// Writes an ONNX file, under another name first, so that an earlier one is never lost.
    ///
    /// # Errors
    /// Where the folder can't be written to, or an operator has no form in ONNX.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_file(path.as_ref(), &self.to_bytes()?)
    }

    /// Reads the bytes of an ONNX file.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::from_bytes_bound(bytes, &[])
    }

    /// As [`Model::from_bytes`], with the values of some inputs, by name: they become constants. For files that take as inputs what must be
    /// known before a plan is made: sizes, pads, indices.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_bytes_bound(bytes: &[u8], bound: &[proto::TensorProto]) -> Result<Self> {
        let model = proto::decode(bytes, &Limits::default()).map_err(Error::format("ONNX"))?;
        Ok(Self::from_origin(Origin { model: &model, bound, file: None, leave: false })?.0)
    }

    fn from_origin(origin: Origin<'_>) -> Result<(Self, HashMap<usize, proto::TensorProto>)> {
        let model = origin.model;
        let mut metadata: BTreeMap<String, String> =
            model.metadata_props.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
        let labels = parse(&mut metadata, LABELS)?.unwrap_or_default();
        let preprocessing: Option<Preprocessing> = parse(&mut metadata, PREPROCESSING)?;
        if let Some(preprocessing) = &preprocessing {
            preprocessing.validate()?;
        }
        let (graph, left) = import::graph(origin)?;
        Ok((Self { graph, labels, preprocessing, metadata }, left))
    }

    /// The bytes of an ONNX file.
    ///
    /// # Errors
    /// Where an operator has no form in ONNX.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut model = export::model(&self.graph)?;
        let mut metadata = self.metadata.clone();
        if !self.labels.is_empty() {
            metadata.insert(LABELS.into(), json(&self.labels)?);
        }
        if let Some(preprocessing) = &self.preprocessing {
            metadata.insert(PREPROCESSING.into(), json(preprocessing)?);
        }
        model.metadata_props =
            metadata.into_iter().map(|(key, value)| proto::StringStringEntryProto { key, value }).collect();
        Ok(proto::encode(&model))
    }
}

/// Takes an entry of JSON out of the metadata.
fn parse<T: serde::de::DeserializeOwned>(
    metadata: &mut BTreeMap<String, String>,
    key: &str,
) -> Result<Option<T>> {
    let Some(text) = metadata.remove(key) else { return Ok(None) };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| Error::argument("metadata_props", key, "JSON of this library", error))
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::argument("metadata_props", "entry", "a value that JSON can hold", error))
}
