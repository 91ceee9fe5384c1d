//! A network as data: operators, the values between them, and named parameters.
//!
//! Nodes stand in an order in which each reads only what earlier ones made, because [`Graph::push`] takes existing values. Everything else
//! is a function of a graph: [`Plan`](crate::Plan) runs it, [`gradient`](crate::gradient) extends it, [`cost`](crate::cost) counts it,
//! [`onnx`](crate::onnx) reads and writes it.

use std::collections::HashMap;
use std::sync::Arc;

use svertka_kernels::geometry::checked_product;

use crate::error::{Error, Result};
use crate::ops::{Operator, Role};
use crate::tensor::Tensor;

/// A value of a graph: an input, a parameter or the output of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub(crate) usize);

/// One operator applied to values.
#[derive(Clone, Debug)]
pub struct Node {
    /// Unique in its graph.
    pub name: String,
    /// What is computed.
    pub op: Arc<dyn Operator>,
    /// What it reads.
    pub inputs: Vec<Value>,
    /// What it makes.
    pub outputs: Vec<Value>,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.inputs, &self.outputs) == (&other.name, &other.inputs, &other.outputs)
            && *self.op == *other.op
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Graph input of this index.
    Input(usize),
    /// Parameter of this index.
    Parameter(usize),
    /// Output of the node of this index.
    Node(usize),
}

/// An input: its name and sizes, `None` where any size will do (the batch).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The value.
    pub value: Value,
    /// Sizes of the axes.
    pub shape: Vec<Option<usize>>,
}

#[derive(Clone, Debug, PartialEq)]
struct ValueInfo {
    name: String,
    source: Source,
}

/// A network: operators with typed attributes, and named parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    nodes: Vec<Node>,
    values: Vec<ValueInfo>,
    inputs: Vec<Input>,
    parameter_values: Vec<Value>,
    parameters: Vec<Tensor>,
    /// What the graph gives.
    pub outputs: Vec<Value>,
}

impl Graph {
    /// Without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input; `None` stands for any size.
    pub fn input(&mut self, name: &str, shape: Vec<Option<usize>>) -> Value {
        let value = self.value(name.to_owned(), Source::Input(self.inputs.len()));
        self.inputs.push(Input { value, shape });
        value
    }

    /// Adds a parameter.
    pub fn parameter(&mut self, name: &str, tensor: Tensor) -> Value {
        let value = self.value(name.to_owned(), Source::Parameter(self.parameters.len()));
        self.parameter_values.push(value);
        self.parameters.push(tensor);
        value
    }

    /// Adds a node with `outputs` outputs. An empty `name` becomes the operator's and the node's index.
    pub fn push(
        &mut self,
        name: &str,
        op: Arc<dyn Operator>,
        inputs: &[Value],
        outputs: usize,
    ) -> Vec<Value> {
        let index = self.nodes.len();
        let name = if name.is_empty() { format!("{}_{index}", op.name()) } else { name.to_owned() };
        let outputs = (0..outputs)
            .map(|i| {
                self.value(if i == 0 { name.clone() } else { format!("{name}.{i}") }, Source::Node(index))
            })
            .collect::<Vec<_>>();
        self.nodes.push(Node { name, op, inputs: inputs.to_vec(), outputs: outputs.clone() });
        outputs
    }

    /// Gives node `index` one more input, which must be a parameter: parameters have no place in the order of nodes.
    pub(crate) fn append_input(&mut self, index: usize, parameter: Value) {
        debug_assert!(matches!(self.source(parameter), Source::Parameter(_)));
        self.nodes[index].inputs.push(parameter);
    }

    fn value(&mut self, name: String, source: Source) -> Value {
        self.values.push(ValueInfo { name, source });
        Value(self.values.len() - 1)
    }

    /// The nodes, each after what it reads.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The inputs in order.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The parameters' tensors in order.
    pub fn parameters(&self) -> &[Tensor] {
        &self.parameters
    }

    /// The parameters' tensors, to be changed; shapes must stay.
    pub fn parameters_mut(&mut self) -> &mut [Tensor] {
        &mut self.parameters
    }

    /// The parameters' tensors alone.
    pub(crate) fn into_parameters(self) -> Vec<Tensor> {
        self.parameters
    }

    /// The parameters' values, in the order of [`Graph::parameters`].
    pub fn parameter_values(&self) -> &[Value] {
        &self.parameter_values
    }

    /// Number of values; [`Value`]s are numbered below it.
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    /// A value's name.
    pub fn name(&self, value: Value) -> &str {
        &self.values[value.0].name
    }

    /// Names a value.
    pub fn rename(&mut self, value: Value, name: &str) {
        name.clone_into(&mut self.values[value.0].name);
    }

    /// Where a value comes from.
    pub fn source(&self, value: Value) -> Source {
        self.values[value.0].source
    }

    /// The node that makes `value`, unless it is an input or a parameter.
    pub fn producer(&self, value: Value) -> Option<&Node> {
        match self.source(value) {
            Source::Node(index) => Some(&self.nodes[index]),
            _ => None,
        }
    }

    /// The parameter behind `value`, if it is one.
    pub fn parameter_of(&self, value: Value) -> Option<&Tensor> {
        match self.source(value) {
            Source::Parameter(index) => Some(&self.parameters[index]),
            _ => None,
        }
    }

    /// What each parameter is to the operators that read it.
    pub fn roles(&self) -> Vec<Role> {
        let mut roles = vec![Role::Constant; self.parameters.len()];
        for node in &self.nodes {
            for (i, input) in node.inputs.iter().enumerate() {
                if let Source::Parameter(index) = self.source(*input) {
                    roles[index] = node.op.role(i);
                }
            }
        }
        roles
    }

    /// The shapes of the inputs with `batch` for each size that is open.
    pub fn input_shapes(&self, batch: usize) -> Vec<Vec<usize>> {
        self.inputs
            .iter()
            .map(|input| input.shape.iter().map(|size| size.unwrap_or(batch)).collect())
            .collect()
    }

    /// The shape of every value, for inputs of these shapes.
    ///
    /// # Errors
    /// Where an input's shape contradicts the declared one, or an operator refuses its inputs; the message names the node.
    pub fn shapes(&self, inputs: &[Vec<usize>]) -> Result<Vec<Vec<usize>>> {
        if inputs.len() != self.inputs.len() {
            return Err(Error::argument(
                "Graph",
                "inputs",
                format!("{} shapes", self.inputs.len()),
                inputs.len(),
            ));
        }
        let mut shapes = vec![Vec::new(); self.values.len()];
        for (input, shape) in self.inputs.iter().zip(inputs) {
            let fits = |(declared, size): (&Option<usize>, &usize)| {
                declared.is_none_or(|declared| declared == *size)
            };
            if input.shape.len() != shape.len() || !input.shape.iter().zip(shape).all(fits) {
                let name = format!("input {:?}", self.name(input.value));
                return Err(Error::argument(
                    "Graph",
                    name,
                    describe_shape(&input.shape),
                    format!("{shape:?}"),
                ));
            }
            checked_product("input", shape).map_err(Error::geometry(self.name(input.value)))?;
            shapes[input.value.0].clone_from(shape);
        }
        for (value, tensor) in self.parameter_values.iter().zip(&self.parameters) {
            shapes[value.0] = tensor.shape().to_vec();
        }
        for node in &self.nodes {
            let read: Vec<&[usize]> = node.inputs.iter().map(|value| shapes[value.0].as_slice()).collect();
            let made = node.op.output_shapes(&read).map_err(|error| error.within(&node.name))?;
            for (value, shape) in node.outputs.iter().zip(made) {
                checked_product("output", &shape).map_err(Error::geometry(&node.name))?;
                shapes[value.0] = shape;
            }
        }
        Ok(shapes)
    }

    /// A graph of what `keep` needs, with `keep` as its outputs. Inputs and parameters keep their order; parameters that nothing
    /// reads are left out. Also gives the new value of each kept old one.
    pub fn pruned(&self, keep: &[Value]) -> (Self, HashMap<Value, Value>) {
        let mut needed = vec![false; self.values.len()];
        keep.iter().for_each(|value| needed[value.0] = true);
        for node in self.nodes.iter().rev() {
            if node.outputs.iter().any(|value| needed[value.0]) {
                node.inputs.iter().for_each(|value| needed[value.0] = true);
            }
        }
        let (mut graph, mut map) = (Self::new(), HashMap::new());
        for input in &self.inputs {
            map.insert(input.value, graph.input(self.name(input.value), input.shape.clone()));
        }
        for (value, tensor) in
            self.parameter_values.iter().zip(&self.parameters).filter(|(value, _)| needed[value.0])
        {
            map.insert(*value, graph.parameter(self.name(*value), tensor.clone()));
        }
        for node in self.nodes.iter().filter(|node| node.outputs.iter().any(|value| needed[value.0])) {
            let inputs: Vec<Value> = node.inputs.iter().map(|value| map[value]).collect();
            let outputs = graph.push(&node.name, Arc::clone(&node.op), &inputs, node.outputs.len());
            for (old, new) in node.outputs.iter().zip(outputs) {
                graph.rename(new, self.name(*old));
                map.insert(*old, new);
            }
        }
        graph.outputs = keep.iter().map(|value| map[value]).collect();
        (graph, map)
    }
}

/// `[N, 1, 28, 28]`, where `N` may be any size.
pub(crate) fn describe_shape(shape: &[Option<usize>]) -> String {
    let sizes: Vec<String> =
        shape.iter().map(|size| size.map_or("N".into(), |size| size.to_string())).collect();
    format!("[{}]", sizes.join(", "))
}
