//! Every operator's gradient against finite differences, driven by the list of operators.

use std::sync::Arc;

use svertka::gradient::add_gradients;
use svertka::graph::Graph;
use svertka::ops::{self, Domain, Example};
use svertka::{Cpu, Plan, Tensor, Weights};

/// The first output's shape, of the operator on these inputs.
fn output_shape(example: &Example) -> (Vec<usize>, usize) {
    let inputs: Vec<&[usize]> = example.inputs.iter().map(Vec::as_slice).collect();
    let outputs = example.op.infer(&inputs).unwrap();
    (outputs[0].clone(), outputs.len())
}

struct Check {
    example: Example,
    inputs: Vec<Tensor>,
    weights: Tensor,
    cpu: Cpu,
}

impl Check {
    fn new(example: Example) -> Self {
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
        let (mut graph, _, outputs) = self.graph();
        graph.outputs = vec![outputs[0]];
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|tensor| tensor.shape().to_vec()).collect();
        let mut plan = Plan::new(&graph, &shapes, Weights::Constant, &self.cpu).unwrap();
        plan.run(&self.cpu, &[], &inputs.iter().collect::<Vec<_>>(), 3).unwrap();
        let terms = plan.output(0).iter().zip(self.weights.data());
        terms.map(|(y, w)| f64::from(*y) * f64::from(*w)).sum()
    }

    /// The gradients of `value` by each input that has one.
    fn gradients(&self) -> Vec<Option<Vec<f32>>> {
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

    fn run(&self) -> Result<usize, String> {
        let mut checked = 0;
        for (i, gradient) in self.gradients().into_iter().enumerate() {
            let Some(gradient) = gradient else { continue };
            if matches!(self.example.domains[i], Domain::Indices(_)) {
                continue;
            }
            assert_eq!(gradient.len(), self.inputs[i].data().len());
            for salt in 0..3 {
                let sign =
                    |j: usize| if (j * 2_654_435_761 + salt * 40_503).is_multiple_of(3) { 1.0 } else { -1.0 };
                let h = 0.01;
                let moved = |by: f32| {
                    let mut inputs = self.inputs.clone();
                    inputs[i].data_mut().iter_mut().enumerate().for_each(|(j, v)| *v += by * sign(j));
                    self.value(&inputs)
                };
                let difference = (moved(h) - moved(-h)) / (2.0 * f64::from(h));
                let product: f64 =
                    gradient.iter().enumerate().map(|(j, g)| f64::from(*g) * f64::from(sign(j))).sum();
                let size: f64 = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
                if (difference - product).abs() > 2e-2 * size + 2e-3 {
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

#[test]
fn every_gradient_agrees_with_finite_differences() {
    let (mut failures, mut checked) = (vec![], 0);
    for example in ops::examples() {
        match Check::new(example).run() {
            Ok(0) => failures.push("no gradient at all".to_owned()),
            Ok(count) => checked += count,
            Err(failure) => failures.push(failure),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(checked >= 3 * ops::examples().len());
}

#[test]
fn a_value_that_two_read_gets_the_sum_of_both_gradients() {
    let mut graph = Graph::new();
    let x = graph.input("x", vec![Some(2), Some(3)]);
    let doubled = graph.push("add", Arc::new(ops::Add), &[x, x], 1)[0];
    let product = graph.push("mul", Arc::new(ops::Mul), &[doubled, x], 1)[0];
    let dy = graph.input("dy", vec![Some(2), Some(3)]);
    let gradients = add_gradients(&mut graph, &[(product, dy)], &[x]).unwrap();
    graph.outputs = vec![gradients[0].unwrap()];
    let cpu = Cpu::new(1);
    let mut plan = Plan::new(&graph, &graph.input_shapes(0), Weights::Constant, &cpu).unwrap();
    let x = Tensor::new([2, 3], &[1.0, 2.0, 3.0, -1.0, 0.5, 0.0]).unwrap();
    let ones = Tensor::new([2, 3], &[1.0; 6]).unwrap();
    plan.run(&cpu, &[], &[&x, &ones], 0).unwrap();
    // y = 2 x^2
    assert_eq!(plan.output(0), [4.0, 8.0, 12.0, -4.0, 2.0, 0.0]);
}
