//! A graph as an ONNX model.

use std::collections::HashSet;

use svertka_formats::onnx::{
    AttributeProto, DataType, Dim, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    ValueInfoProto,
};
use svertka_kernels::geometry::Window;

use crate::error::Result;
use crate::graph::{Graph, Node, Source, Value};

/// The operator set written where no node needs a later one: the first with `Gelu`.
const OPSET: i64 = 20;
/// The domain of operators that ONNX does not have.
const OWN_DOMAIN: &str = "svertka";
/// The format version that belongs to it.
const IR_VERSION: i64 = 9;

pub(super) fn model(graph: &Graph) -> Result<ModelProto> {
    let shapes = graph.shapes(&graph.input_shapes(1))?;
    let names = unique_names(graph);
    let mut out = GraphProto { name: "svertka".into(), ..GraphProto::default() };
    for input in graph.inputs() {
        let dims = input
            .shape
            .iter()
            .map(|size| size.map_or(Dim::Param("N".into()), |size| Dim::Value(size as i64)));
        out.input.push(ValueInfoProto::tensor(&names[input.value.0], DataType::Float, dims));
    }
    for (value, tensor) in graph.parameter_values().iter().zip(graph.parameters()) {
        out.initializer.push(TensorProto::float(&names[value.0], tensor.shape(), tensor.data()));
    }
    let mut opset = OPSET;
    for node in graph.nodes() {
        let mut export = Export { node, shapes: &shapes, names: &names, out: &mut out, opset: &mut opset };
        node.op.export(&mut export).map_err(|error| error.within(&node.name))?;
    }
    let open_batch = graph.inputs().iter().any(|input| input.shape.first() == Some(&None));
    for value in &graph.outputs {
        let dims = shapes[value.0].iter().enumerate().map(|(axis, &size)| {
            if axis == 0 && open_batch { Dim::Param("N".into()) } else { Dim::Value(size as i64) }
        });
        out.output.push(ValueInfoProto::tensor(&names[value.0], DataType::Float, dims));
    }
    let own = out.node.iter().any(|node| node.domain == OWN_DOMAIN);
    let domain = |name: &str, version| OperatorSetIdProto { domain: name.into(), version };
    Ok(ModelProto {
        ir_version: IR_VERSION,
        opset_import: [domain("", opset)].into_iter().chain(own.then(|| domain(OWN_DOMAIN, 1))).collect(),
        producer_name: "svertka".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(out),
        ..ModelProto::default()
    })
}

/// The values' names, made unique where they are not.
fn unique_names(graph: &Graph) -> Vec<String> {
    let mut taken = HashSet::new();
    (0..graph.value_count())
        .map(|index| {
            let name = graph.name(Value(index));
            let mut unique = if name.is_empty() { "value".to_owned() } else { name.to_owned() };
            // An output of a node must not be called like a parameter, and names inside a node begin with its name.
            if taken.contains(&unique)
                || matches!(graph.source(Value(index)), Source::Node(_)) && name.is_empty()
            {
                unique = format!("{unique}_{index}");
            }
            taken.insert(unique.clone());
            unique
        })
        .collect()
}

/// One node on its way out.
pub struct Export<'a> {
    node: &'a Node,
    shapes: &'a [Vec<usize>],
    names: &'a [String],
    out: &'a mut GraphProto,
    opset: &'a mut i64,
}

impl Export<'_> {
    /// The file must have at least this operator set: for operators that came, or got their meaning, after the one that is written otherwise.
    pub fn needs_opset(&mut self, version: i64) {
        *self.opset = version.max(*self.opset);
    }

    /// The name of input `i`.
    pub fn input(&self, i: usize) -> String {
        self.names[self.node.inputs[i].0].clone()
    }

    /// The shape of input `i` for a batch of one.
    pub fn shape_of_input(&self, i: usize) -> &[usize] {
        &self.shapes[self.node.inputs[i].0]
    }

    /// The name of output `i`.
    pub fn output(&self, i: usize) -> String {
        self.names[self.node.outputs[i].0].clone()
    }

    /// The names of all inputs.
    pub fn inputs(&self) -> Vec<String> {
        (0..self.node.inputs.len()).map(|i| self.input(i)).collect()
    }

    /// A node with this one's inputs and first output.
    pub fn node(&mut self, op_type: &str, attributes: Attributes) {
        self.node_with(op_type, &self.inputs(), attributes);
    }

    /// A node of this library's own domain, with this one's inputs and outputs: what ONNX has no operator for. Other runtimes show it, but can't run it.
    pub fn own_node(&mut self, op_type: &str, attributes: Attributes) {
        let outputs: Vec<String> = (0..self.node.outputs.len()).map(|i| self.output(i)).collect();
        self.push(op_type, self.node.name.clone(), &self.inputs(), &outputs, attributes);
        self.out.node.last_mut().expect("the node just pushed").domain = OWN_DOMAIN.into();
    }

    /// A node with these inputs and this one's first output.
    pub fn node_with(&mut self, op_type: &str, inputs: &[String], attributes: Attributes) {
        let output = self.output(0);
        self.push(op_type, self.node.name.clone(), inputs, &[output], attributes);
    }

    /// A node with this one's name, these inputs and these outputs.
    pub fn node_named(
        &mut self,
        op_type: &str,
        inputs: &[String],
        outputs: &[String],
        attributes: Attributes,
    ) {
        self.push(op_type, self.node.name.clone(), inputs, outputs, attributes);
    }

    /// A node before the last one; returns the name of its output.
    pub fn inner(&mut self, op_type: &str, inputs: &[String], attributes: Attributes) -> String {
        let name = format!("{}/{op_type}{}", self.node.name, self.out.node.len());
        self.push(op_type, name.clone(), inputs, std::slice::from_ref(&name), attributes);
        name
    }

    /// A node with these inputs and outputs.
    pub fn push(
        &mut self,
        op_type: &str,
        name: String,
        inputs: &[String],
        outputs: &[String],
        attributes: Attributes,
    ) {
        self.out.node.push(NodeProto {
            op_type: op_type.into(),
            name,
            input: inputs.to_vec(),
            output: outputs.to_vec(),
            attribute: attributes.0,
            ..NodeProto::default()
        });
    }

    /// Input `i`, whose numbers are whole, as integers; returns the name.
    pub fn integers(&mut self, i: usize) -> String {
        self.inner("Cast", &[self.input(i)], Attributes::new().int("to", DataType::Int64 as i64))
    }

    /// A constant tensor; returns its name.
    pub fn constant(&mut self, suffix: &str, shape: &[usize], data: &[f32]) -> String {
        let name = format!("{}/{suffix}", self.node.name);
        self.out.initializer.push(TensorProto::float(&name, shape, data));
        name
    }

    /// A constant truth value; returns its name.
    pub fn constant_bool(&mut self, suffix: &str, value: bool) -> String {
        let name = format!("{}/{suffix}", self.node.name);
        let data_type = DataType::Bool as i32;
        let raw_data = vec![u8::from(value)];
        self.out.initializer.push(TensorProto {
            name: name.clone(),
            data_type,
            raw_data,
            ..Default::default()
        });
        name
    }

    /// A constant list of integers; returns its name.
    pub fn constant_ints(&mut self, suffix: &str, data: &[i64]) -> String {
        let name = format!("{}/{suffix}", self.node.name);
        self.out.initializer.push(TensorProto::int64(&name, &[data.len()], data));
        name
    }
}

/// Attributes of a node.
#[derive(Clone, Debug, Default)]
pub struct Attributes(Vec<AttributeProto>);

impl Attributes {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// `kernel_shape`, `strides` and `pads` of a window over `dims` spatial axes.
    pub fn window(window: &Window, dims: usize) -> Self {
        Self::moving_window(window, dims).ints("kernel_shape", &window.kernel[3 - dims..])
    }

    /// `strides` and `pads` of a window over `dims` spatial axes.
    pub fn moving_window(window: &Window, dims: usize) -> Self {
        let pads = &window.padding[3 - dims..];
        let pads: Vec<i64> =
            pads.iter().map(|pads| pads.0 as i64).chain(pads.iter().map(|pads| pads.1 as i64)).collect();
        Self::new().ints("strides", &window.stride[3 - dims..]).push(AttributeProto::ints("pads", pads))
    }

    /// `dilations` of a window over `dims` spatial axes.
    #[must_use]
    pub fn dilations(self, window: &Window, dims: usize) -> Self {
        self.ints("dilations", &window.dilation[3 - dims..])
    }

    /// An integer.
    #[must_use]
    pub fn int(self, name: &str, value: i64) -> Self {
        self.push(AttributeProto::int(name, value))
    }

    /// A float.
    #[must_use]
    pub fn float(self, name: &str, value: f32) -> Self {
        self.push(AttributeProto::float(name, value))
    }

    /// A text.
    #[must_use]
    pub fn string(self, name: &str, value: &str) -> Self {
        self.push(AttributeProto::string(name, value))
    }

    /// A list of floats.
    #[must_use]
    pub fn floats(self, name: &str, values: &[f32]) -> Self {
        self.push(AttributeProto::floats(name, values))
    }

    /// A list of sizes.
    #[must_use]
    pub fn ints(self, name: &str, values: &[usize]) -> Self {
        self.push(AttributeProto::ints(name, values.iter().map(|&value| value as i64).collect::<Vec<_>>()))
    }

    fn push(mut self, attribute: AttributeProto) -> Self {
        self.0.push(attribute);
        self
    }
}
