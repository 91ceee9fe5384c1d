//! One operator on numbers of its domain: values, gradients, and whether they agree.

use std::sync::Arc;

use svertka::gradient::add_gradients;
use svertka::graph::Graph;
use svertka::ops::{Domain, Example};
use svertka::{Cpu, Plan, Tensor, Weights};

/// The first output's shape, of the operator on these inputs.
fn output_shape(example: &Example) -> (Vec<usize>, usize) {
    let inputs: Vec<&[usize]> = example.inputs.iter().map(Vec::as_slice).collect();
    let outputs = example.op.infer(&inputs).unwrap();
    (outputs[0].clone(), outputs.len())
}

/// An operator, its inputs, and weights that make one number of its first output.
pub(crate) struct Check {
    pub(crate) example: Example,
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) weights: Tensor,
    cpu: Cpu,
}

impl Check {
    pub(crate) fn new(example: Example) -> Self {
        let inputs = (0..example.inputs.len()).map(|i| example.input(i)).collect();
        let mut weights = Domain::Any.numbers(&output_shape(&example).0, 9);
        weights.data_mut().iter_mut().for_each(|v| *v = (*v * 11.0).cos());
        Self { example, inputs, weights, cpu: Cpu::new(2) }
    }

    fn graph(&self) -> (Graph, Vec<svertka::Value>, Vec<svertka::Value>) {
        let mut graph = Graph::new();
        let values: Vec<_> = self
            .inputs
            .iter()
            .enumerate()
            .map(|(i, tensor)| {
                graph.input(&format!("x{i}"), tensor.shape().iter().copied().map(Some).collect())
            })
            .collect();
        let outputs = graph.push("op", Arc::clone(&self.example.op), &values, output_shape(&self.example).1);
        (graph, values, outputs)
    }

    /// `sum(weights * output)` in f64.
    fn value(&self, inputs: &[Tensor]) -> f64 {
        let output = self.output(inputs);
        output.iter().zip(self.weights.data()).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum()
    }

    /// The first output.
    pub(crate) fn output(&self, inputs: &[Tensor]) -> Vec<f32> {
        let (mut graph, _, outputs) = self.graph();
        graph.outputs = vec![outputs[0]];
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|tensor| tensor.shape().to_vec()).collect();
        let mut plan = Plan::new(&graph, &shapes, Weights::Constant, &self.cpu).unwrap();
        plan.run(&self.cpu, &[], &inputs.iter().collect::<Vec<_>>(), 3).unwrap();
        plan.output(0).to_vec()
    }

    /// The gradients of the weighted sum by each input that has one.
    pub(crate) fn gradients(&self) -> Vec<Option<Vec<f32>>> {
        let (mut graph, values, outputs) = self.graph();
        let weights = graph.input("w", self.weights.shape().iter().copied().map(Some).collect());
        let gradients = add_gradients(&mut graph, &[(outputs[0], weights)], &values).unwrap();
        graph.outputs = gradients.iter().flatten().copied().collect();
        let inputs: Vec<&Tensor> = self.inputs.iter().chain([&self.weights]).collect();
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|tensor| tensor.shape().to_vec()).collect();
        let mut plan = Plan::new(&graph, &shapes, Weights::Constant, &self.cpu).unwrap();
        plan.run(&self.cpu, &[], &inputs, 3).unwrap();
        let mut next = 0..;
        gradients.iter().map(|g| g.map(|_| plan.output(next.next().unwrap()).to_vec())).collect()
    }

    /// Compares gradients with differences; how many there were.
    pub(crate) fn run(&self) -> Result<usize, String> {
        let mut checked = 0;
        for (i, gradient) in self.gradients().into_iter().enumerate() {
            let Some(gradient) = gradient else { continue };
            if matches!(self.example.domains[i], Domain::Indices(_) | Domain::Cells(_)) {
                continue;
            }
            assert_eq!(gradient.len(), self.inputs[i].data().len());
            for salt in 0..3 {
                let sign =
                    |j: usize| if (j * 2_654_435_761 + salt * 40_503).is_multiple_of(3) { 1.0 } else { -1.0 };
                let moved = |by: f32| {
                    let mut inputs = self.inputs.clone();
                    inputs[i].data_mut().iter_mut().enumerate().for_each(|(j, v)| *v += by * sign(j));
                    self.value(&inputs)
                };
                let difference = |h: f32| (moved(h) - moved(-h)) / (2.0 * f64::from(h));
                let (wide, near) = (difference(0.01), difference(0.005));
                // Richardson's extrapolation: without the error of second order.
                let difference = (4.0 * near - wide) / 3.0;
                let product: f64 =
                    gradient.iter().enumerate().map(|(j, g)| f64::from(*g) * f64::from(sign(j))).sum();
                let size: f64 = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
                let bound = 2e-2 * size + 2e-3;
                // A difference that depends on its step crosses a kink or a jump, and says nothing of the derivative.
                if (wide - near).abs() > bound {
                    continue;
                }
                if (difference - product).abs() > bound {
                    return Err(format!(
                        "{:?}: input {i}: difference {difference}, gradient {product}",
                        self.example
                    ));
                }
                checked += 1;
            }
        }
        Ok(checked)
    }
}
