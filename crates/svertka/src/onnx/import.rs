//! An ONNX model as a graph.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::Arc;

use svertka_formats::Error as FormatError;
use svertka_formats::onnx::{self, DataType, Dim, ModelProto, NodeProto, TensorProto, ValueInfoProto};

use super::elements::{is_floats_in_file, tensor_of};
use crate::error::{Error, Result};
use crate::graph::{Graph, Source, Value};
use crate::ops::{self, Flatten, Linear, Operator};
use crate::tensor::Tensor;

/// A model to be read.
pub(super) struct Origin<'a> {
    pub(super) model: &'a ModelProto,
    /// Inputs that are constants with these values.
    pub(super) bound: &'a [TensorProto],
    /// The file in which the model left elements of tensors.
    pub(super) file: Option<Arc<File>>,
    /// Whether parameters may stay there.
    pub(super) leave: bool,
}

/// The graph of a model, and the tensors of those parameters that are still in the file, by their index; the graph has placeholders for them.
pub(super) fn graph(origin: Origin<'_>) -> Result<(Graph, HashMap<usize, TensorProto>)> {
    let Origin { model, bound, file, leave } = origin;
    let source = model.graph.as_ref().ok_or_else(|| Error::argument("ONNX", "graph", "a graph", "none"))?;
    let opset = model.opset_import.iter().find(|entry| matches!(entry.domain.as_str(), "" | "ai.onnx"));
    let mut reader = Reader {
        file,
        leave,
        graph: Graph::new(),
        left: HashMap::new(),
        shapes: vec![],
        values: HashMap::new(),
        constants: source
            .initializer
            .iter()
            .chain(bound)
            .map(|tensor| (tensor.name.clone(), tensor.clone()))
            .collect(),
        uses: HashMap::new(),
        opset: opset.map_or(1, |entry| entry.version),
    };
    let read = source
        .node
        .iter()
        .flat_map(|node| &node.input)
        .chain(source.output.iter().map(|output| &output.name));
    read.for_each(|name| *reader.uses.entry(name.clone()).or_default() += 1);
    for input in &source.input {
        // Before format version 4 every initializer was listed as an input too.
        if !reader.constants.contains_key(&input.name) {
            reader.input(input)?;
        }
    }
    let unknown: HashSet<&str> = source
        .node
        .iter()
        .map(|node| node.op_type.as_str())
        .filter(|op_type| ops::importer(op_type).is_none())
        .collect();
    if !unknown.is_empty() {
        let mut unknown: Vec<&str> = unknown.into_iter().collect();
        unknown.sort_unstable();
        return Err(Error::unsupported("ONNX", format!("operator {}", unknown.join(", "))));
    }
    for (index, node) in source.node.iter().enumerate() {
        let name = if node.name.is_empty() { format!("{}_{index}", node.op_type) } else { node.name.clone() };
        let import = &mut Import { node, name: &name, index, reader: &mut reader };
        match ops::importer(&node.op_type) {
            Some(read) => read(import).map_err(|error| error.within(&name))?,
            None => return Err(Error::unsupported(&name, format!("operator {}", node.op_type))),
        }
    }
    for output in &source.output {
        let value = reader.values.get(&output.name).copied();
        let value =
            value.ok_or_else(|| Error::argument("ONNX", "output", "a value of the graph", &output.name))?;
        reader.graph.outputs.push(value);
    }
    Ok((reader.graph, reader.left))
}

struct Reader {
    file: Option<Arc<File>>,
    leave: bool,
    graph: Graph,
    /// Parameters whose elements are still in the file.
    left: HashMap<usize, TensorProto>,
    /// Of every value so far, for a batch of one.
    shapes: Vec<Vec<usize>>,
    values: HashMap<String, Value>,
    /// Initializers and constants, by name.
    constants: HashMap<String, TensorProto>,
    /// How often each name is read.
    uses: HashMap<String, usize>,
    opset: i64,
}

impl Reader {
    fn input(&mut self, info: &ValueInfoProto) -> Result<()> {
        let subject = || format!("input {:?}", info.name);
        let dims = info.dims().ok_or_else(|| Error::unsupported(subject(), "an input without a shape"))?;
        let mut shape = Vec::new();
        for (axis, dim) in dims.into_iter().enumerate() {
            shape.push(match dim {
                Some(Dim::Value(size)) if *size > 0 && !(axis == 0 && *size == 1) => Some(*size as usize),
                // A batch of exactly one is how many exporters write "a picture": any batch will do.
                _ if axis == 0 => None,
                _ => return Err(Error::unsupported(subject(), format!("an open size along axis {axis}"))),
            });
        }
        self.shapes.push(shape.iter().map(|size| size.unwrap_or(1)).collect());
        let value = self.graph.input(&info.name, shape);
        self.values.insert(info.name.clone(), value);
        Ok(())
    }

    fn parameter(&mut self, name: &str, tensor: Tensor) -> Value {
        self.shapes.push(tensor.shape().to_vec());
        self.graph.parameter(name, tensor)
    }
}

/// One node on its way in.
pub struct Import<'a> {
    pub(super) node: &'a NodeProto,
    name: &'a str,
    index: usize,
    reader: &'a mut Reader,
}

pub(super) fn format_error(error: FormatError) -> Error {
    Error::format("ONNX")(error)
}

impl Import<'_> {
    /// The operator's name.
    pub fn op_type(&self) -> &str {
        &self.node.op_type
    }

    /// The node's place in the file.
    pub fn node_index(&self) -> u64 {
        self.index as u64
    }

    /// Version of the operator set.
    pub fn opset(&self) -> i64 {
        self.reader.opset
    }

    /// How many outputs anybody names.
    pub fn outputs(&self) -> usize {
        self.node.output.iter().filter(|name| !name.is_empty()).count()
    }

    /// How many outputs the node lists.
    pub fn node_outputs(&self) -> usize {
        self.node.output.len()
    }

    /// Whether the file names output `i`.
    pub fn names_output(&self, i: usize) -> bool {
        self.node.output.get(i).is_some_and(|name| !name.is_empty())
    }

    fn input_name(&self, i: usize) -> Option<&str> {
        self.node.input.get(i).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Whether input `i` is given.
    pub fn has_input(&self, i: usize) -> bool {
        self.input_name(i).is_some()
    }

    /// Input `i`; a constant becomes a parameter.
    ///
    /// # Errors
    /// Where there is none, or nothing before makes it.
    pub fn input(&mut self, i: usize) -> Result<Value> {
        let missing = || {
            Error::argument(
                &self.node.op_type,
                "inputs",
                format!("at least {}", i + 1),
                self.node.input.len(),
            )
        };
        let name = self.input_name(i).ok_or_else(missing)?.to_owned();
        if let Some(value) = self.reader.values.get(&name) {
            return Ok(*value);
        }
        let proto = self.constant_proto(i)?;
        let tensor = if self.reader.leave && is_floats_in_file(proto) {
            let placeholder = Tensor::placeholder(proto.shape().map_err(format_error)?);
            let proto = proto.clone();
            self.reader.left.insert(self.reader.graph.parameters().len(), proto);
            placeholder
        } else {
            self.constant(i)?
        };
        let value = self.reader.parameter(&name, tensor);
        self.reader.values.insert(name, value);
        Ok(value)
    }

    /// Input `i` where it is given.
    ///
    /// # Errors
    /// Where nothing before makes it.
    pub fn optional(&mut self, i: usize) -> Result<Option<Value>> {
        if self.input_name(i).is_some() { self.input(i).map(Some) } else { Ok(None) }
    }

    /// All inputs.
    ///
    /// # Errors
    /// Where nothing before makes one of them.
    pub fn all_inputs(&mut self) -> Result<Vec<Value>> {
        (0..self.node.input.len()).map(|i| self.input(i)).collect()
    }

    fn constant_proto(&self, i: usize) -> Result<&TensorProto> {
        let name = self.input_name(i).unwrap_or_default();
        self.reader.constants.get(name).ok_or_else(|| {
            Error::argument(&self.node.op_type, format!("input {i}"), "a constant", format!("value {name:?}"))
        })
    }

    /// The numbers of input `i`, which must be a constant.
    ///
    /// # Errors
    /// Where it is not.
    pub fn constant(&self, i: usize) -> Result<Tensor> {
        tensor_of(self.constant_proto(i)?, self.reader.file.as_deref())
    }

    /// The integers of input `i`, which must be a constant.
    ///
    /// # Errors
    /// Where it is not.
    pub fn constant_ints(&self, i: usize) -> Result<Vec<i64>> {
        let proto = self.constant_proto(i)?;
        match (proto.place_in_file(), self.reader.file.as_deref()) {
            (Some(_), Some(mut file)) => onnx::read_tensor(&mut file, proto).and_then(|tensor| tensor.ints()),
            _ => proto.ints(),
        }
        .map_err(format_error)
    }

    /// The element type of input `i`, which must be a constant.
    ///
    /// # Errors
    /// Where it is not, or has a type without a name.
    pub fn constant_type(&self, i: usize) -> Result<DataType> {
        let kind = self.constant_proto(i)?.data_type;
        DataType::try_from(kind)
            .map_err(|_| Error::unsupported(&self.node.op_type, format!("element type {kind}")))
    }

    /// As [`Import::constant`], or `None` where the input is left out.
    ///
    /// # Errors
    /// Where it is given and no constant.
    pub fn constant_if_given(&self, i: usize) -> Result<Option<Tensor>> {
        self.input_name(i).map(|_| self.constant(i)).transpose()
    }

    /// As [`Import::constant_ints`], or `None` where the input is left out.
    ///
    /// # Errors
    /// Where it is given and no constant.
    pub fn constant_ints_if_given(&self, i: usize) -> Result<Option<Vec<i64>>> {
        self.input_name(i).map(|_| self.constant_ints(i)).transpose()
    }

    /// A parameter in place of constant input `i`.
    pub fn replace_parameter(&mut self, i: usize, tensor: Tensor) -> Value {
        let name = format!("{}.{}", self.input_name(i).unwrap_or_default(), self.index);
        self.reader.parameter(&name, tensor)
    }

    /// A parameter without axes, named after this node and `suffix`.
    pub fn scalar(&mut self, suffix: &str, value: f32) -> Value {
        self.reader.parameter(&format!("{}.{suffix}", self.name), Tensor::scalar(value))
    }

    /// The shape of a value for a batch of one.
    pub fn shape(&self, value: Value) -> &[usize] {
        &self.reader.shapes[value.0]
    }

    /// `value` without spatial axes: flattened where it has some of size one.
    ///
    /// # Errors
    /// Where an operator refuses its shape.
    pub fn flattened(&mut self, value: Value) -> Result<Value> {
        if self.shape(value).len() == 2 {
            return Ok(value);
        }
        Ok(self.append("flatten", Flatten, &[value])?[0])
    }

    /// The node's operator, applied to `inputs`; its outputs get the names they have in the file.
    ///
    /// # Errors
    /// Where the operator refuses the shapes, or has fewer outputs than the file names.
    pub fn push(&mut self, op: impl Operator + 'static, inputs: &[Value]) -> Result<()> {
        let outputs = self.node_of(self.name, op, inputs)?;
        for i in (0..self.node.output.len()).filter(|&i| !self.node.output[i].is_empty()) {
            let value = *outputs
                .get(i)
                .ok_or_else(|| Error::unsupported(&self.node.op_type, format!("output {i}")))?;
            self.define(i, value);
        }
        Ok(())
    }

    /// A node more, named after this one and `suffix`: for operators that are several of ours. Name its last outputs with [`Import::define`].
    ///
    /// # Errors
    /// Where the operator refuses the shapes.
    pub fn append(
        &mut self,
        suffix: &str,
        op: impl Operator + 'static,
        inputs: &[Value],
    ) -> Result<Vec<Value>> {
        self.node_of(&format!("{}.{suffix}", self.name), op, inputs)
    }

    /// Output `i` of the node is `value`, which a node of ours has just made. Nothing where the file does not name that output.
    pub fn define(&mut self, i: usize, value: Value) {
        if let Some(name) = self.node.output.get(i).filter(|name| !name.is_empty()) {
            self.reader.graph.rename(value, name);
            self.reader.values.insert(name.clone(), value);
        }
    }

    fn node_of(&mut self, name: &str, op: impl Operator + 'static, inputs: &[Value]) -> Result<Vec<Value>> {
        let read: Vec<&[usize]> = inputs.iter().map(|value| self.shape(*value)).collect();
        let made = (&op as &dyn Operator).output_shapes(&read)?;
        let outputs = self.reader.graph.push(name, Arc::new(op), inputs, made.len());
        self.reader.shapes.extend(made);
        Ok(outputs)
    }

    /// The node computes nothing: its output is `value`.
    ///
    /// # Errors
    /// Where the node has no output.
    pub fn forward(&mut self, value: Value) -> Result<()> {
        let name =
            self.node.output.first().ok_or_else(|| Error::argument(self.name, "outputs", "one", "none"))?;
        self.reader.values.insert(name.clone(), value);
        if let Some(constant) = self.input_name(0).and_then(|input| self.reader.constants.get(input)).cloned()
        {
            self.reader.constants.insert(name.clone(), constant);
        }
        Ok(())
    }

    /// The node's output is this constant.
    ///
    /// # Errors
    /// Where the node has no output.
    pub fn define_constant(&mut self, tensor: TensorProto) -> Result<()> {
        let name =
            self.node.output.first().ok_or_else(|| Error::argument(self.name, "outputs", "one", "none"))?;
        self.reader.constants.insert(name.clone(), tensor);
        Ok(())
    }

    /// The node's output is this constant.
    ///
    /// # Errors
    /// Where the node has no output.
    pub fn define_tensor(&mut self, tensor: Tensor) -> Result<()> {
        self.define_constant(TensorProto::float("", tensor.shape(), tensor.data()))
    }

    /// For `Add`: where one side is a [`Linear`] without bias that nothing else reads and the other a constant row, makes that the bias.
    ///
    /// # Errors
    /// Where an input is missing.
    pub fn fold_bias(&mut self) -> Result<bool> {
        for (product, row) in [(0, 1), (1, 0)] {
            let Some(name) = self.input_name(product).map(str::to_owned) else { continue };
            let (Some(&value), Ok(bias)) = (self.reader.values.get(&name), self.constant(row)) else {
                continue;
            };
            let Source::Node(index) = self.reader.graph.source(value) else { continue };
            let node = &self.reader.graph.nodes()[index];
            let out = self.shape(value).last().copied().unwrap_or(0);
            let fits = bias.data().len() == out && bias.shape().last() == Some(&out);
            if node.op.name() == Linear.name()
                && node.inputs.len() == 2
                && fits
                && self.reader.uses[&name] == 1
            {
                let bias = self.replace_parameter(row, bias.reshape([out])?);
                self.reader.graph.append_input(index, bias);
                self.forward(value)?;
                self.reader.graph.rename(value, &self.node.output[0]);
                return Ok(true);
            }
        }
        Ok(false)
    }
}
