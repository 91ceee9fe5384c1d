//! Gradients by reverse accumulation: more nodes in the same graph.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::Result;
use crate::graph::{Graph, Node, Value};
use crate::ops::{Add, Operator};

/// Adds to `graph` the nodes that compute the gradients of `wrt`, given the gradient of some values (`(value, its gradient)` pairs;
/// of a loss the gradient is one). A value that does not reach them has none.
///
/// # Errors
/// Where an operator on the way has no gradient, or shapes do not fit.
pub fn add_gradients(graph: &mut Graph, of: &[(Value, Value)], wrt: &[Value]) -> Result<Vec<Option<Value>>> {
    let mut shapes = graph.shapes(&graph.input_shapes(1))?;
    let mut needed = vec![false; graph.value_count()];
    wrt.iter().for_each(|value| needed[value.0] = true);
    for node in graph.nodes() {
        if node.inputs.iter().any(|value| needed[value.0]) {
            node.outputs.iter().for_each(|value| needed[value.0] = true);
        }
    }
    let mut gradients: HashMap<Value, Value> = of.iter().copied().collect();
    for index in (0..graph.nodes().len()).rev() {
        let node = graph.nodes()[index].clone();
        let reached = node.outputs.iter().any(|value| gradients.contains_key(value) && needed[value.0]);
        if reached {
            let op = Arc::clone(&node.op);
            let context = &mut GradientContext {
                graph,
                shapes: &mut shapes,
                gradients: &mut gradients,
                needed: &needed,
                node,
            };
            op.gradient(context).map_err(|error| error.within(&context.node.name))?;
        }
    }
    Ok(wrt.iter().map(|value| gradients.get(value).copied()).collect())
}

/// One node seen from its gradient.
pub struct GradientContext<'a> {
    graph: &'a mut Graph,
    shapes: &'a mut Vec<Vec<usize>>,
    gradients: &'a mut HashMap<Value, Value>,
    needed: &'a [bool],
    node: Node,
}

impl GradientContext<'_> {
    /// Input `i` of the node.
    pub fn input(&self, i: usize) -> Value {
        self.node.inputs[i]
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.node.inputs.len()
    }

    /// Output `i` of the node.
    pub fn output(&self, i: usize) -> Value {
        self.node.outputs[i]
    }

    /// The gradient of output 0, which for most operators is the only one; the node is visited where any output has one.
    pub fn output_gradient(&self) -> Option<Value> {
        self.gradient_of(0)
    }

    /// The gradient of output `i`, if it has one.
    pub fn gradient_of(&self, i: usize) -> Option<Value> {
        self.node.outputs.get(i).and_then(|output| self.gradients.get(output)).copied()
    }

    /// Whether anybody wants the gradient of input `i`.
    pub fn needs(&self, i: usize) -> bool {
        self.node.inputs.get(i).is_some_and(|value| self.needed[value.0])
    }

    /// The shape of a value for a batch of one.
    pub fn shape(&self, value: Value) -> &[usize] {
        &self.shapes[value.0]
    }

    /// Adds a node, named after the forward one.
    ///
    /// # Errors
    /// Where the operator refuses the shapes.
    pub fn push(&mut self, op: impl Operator + 'static, inputs: &[Value]) -> Result<Vec<Value>> {
        let read: Vec<&[usize]> = inputs.iter().map(|value| self.shapes[value.0].as_slice()).collect();
        let made = op.infer(&read)?;
        let name = format!("{}.{}_{}", self.node.name, op.name(), self.graph.nodes().len());
        let outputs = self.graph.push(&name, Arc::new(op), inputs, made.len());
        self.shapes.extend(made);
        Ok(outputs)
    }

    /// Adds `gradient` to what input `i` has so far.
    ///
    /// # Errors
    /// Where the shapes differ.
    pub fn add(&mut self, i: usize, gradient: Value) -> Result<()> {
        let value = self.node.inputs[i];
        let sum = match self.gradients.get(&value) {
            Some(&first) => self.push(Add, &[first, gradient])?[0],
            None => gradient,
        };
        self.gradients.insert(value, sum);
        Ok(())
    }

    /// The gradients of a layer with inputs `x, weight` and maybe `bias`: `input` is the operator of `x`'s gradient, on the output's gradient and the
    /// weight; `weight` that of the others', on `x` and the output's gradient. It has a second output where the bias wants a gradient.
    ///
    /// # Errors
    /// Where an operator refuses the shapes.
    pub fn add_layer(
        &mut self,
        dy: Value,
        input: impl Operator + 'static,
        weight: impl Operator + 'static,
    ) -> Result<()> {
        if self.needs(0) {
            let dx = self.push(input, &[dy, self.input(1)])?;
            self.add(0, dx[0])?;
        }
        if self.needs(1) || self.needs(2) {
            let gradients = self.push(weight, &[self.input(0), dy])?;
            self.add(1, gradients[0])?;
            if self.needs(2) {
                self.add(2, gradients[1])?;
            }
        }
        Ok(())
    }
}
