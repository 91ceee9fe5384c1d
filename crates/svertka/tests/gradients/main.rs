//! Every operator's gradient, driven by the list of operators: against finite differences, on other sizes than the examples', as the adjoint.

mod check;

use std::collections::BTreeSet;
use std::sync::Arc;

use check::Check;
use svertka::gradient::add_gradients;
use svertka::graph::Graph;
use svertka::ops::{self, Domain, Example};
use svertka::{Cpu, Plan, Tensor, Weights};

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

/// The example with size `from` along `axis` changed to `to`, in every input that has that size there.
fn resized(example: &Example, axis: usize, from: usize, to: usize) -> Example {
    let mut example = example.clone();
    for shape in &mut example.inputs {
        if shape.get(axis) == Some(&from) {
            shape[axis] = to;
        }
    }
    example
}

/// Batches of none and one, axes of size zero and one, odd sizes: an operator refuses them with an error or computes them, and their gradients.
#[test]
fn other_sizes_are_computed_or_refused() {
    let (mut failures, mut computed, mut empty, mut refused) = (vec![], 0, 0, 0);
    for example in ops::examples() {
        let rank = example.inputs.iter().map(Vec::len).max().unwrap_or(0);
        for axis in 0..rank {
            let sizes: BTreeSet<usize> =
                example.inputs.iter().filter_map(|shape| shape.get(axis)).copied().collect();
            for (from, to) in sizes.iter().flat_map(|&from| [0, 1, from + 1].map(|to| (from, to))) {
                let example = resized(&example, axis, from, to);
                let shapes: Vec<&[usize]> = example.inputs.iter().map(Vec::as_slice).collect();
                let Ok(made) = example.op.output_shapes(&shapes) else {
                    refused += 1;
                    continue;
                };
                let nothing = shapes.iter().chain(&[made[0].as_slice()]).any(|shape| shape.contains(&0));
                let indexed = example
                    .domains
                    .iter()
                    .any(|domain| matches!(domain, Domain::Indices(_) | Domain::Cells(_)));
                let check = Check::new(example);
                if nothing || indexed {
                    // Nothing to differentiate, or an index that may lie outside now: it is enough that both passes run.
                    check.gradients();
                    empty += 1;
                } else {
                    failures.extend(check.run().err());
                    computed += 1;
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(computed > 200 && empty > 100 && refused > 100, "{computed} {empty} {refused}");
}

/// Operators that are linear in their first input, at least.
const LINEAR: &[&str] = &[
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Concat",
    "Conv",
    "Flatten",
    "Gather",
    "Gemm",
    "GlobalAveragePool",
    "MatMul",
    "Mul",
    "Pad",
    "ReduceMean",
    "ReduceSum",
    "Reshape",
    "Slice",
    "Sub",
    "Tile",
    "Transpose",
];

/// Where an operator is linear in an input, `<J u, v> = <u, J^T v>` to the last digits of `f32`.
#[test]
fn the_gradient_of_a_linear_operator_is_its_adjoint() {
    let dot = |a: &[f32], b: &[f32]| -> (f64, f64) {
        let terms = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
    };
    let (mut linear, mut failures) = (BTreeSet::new(), vec![]);
    for example in ops::examples() {
        let name = example.op.name();
        let check = Check::new(example);
        let gradients = check.gradients();
        let at = check.output(&check.inputs);
        for (i, gradient) in gradients.iter().enumerate() {
            let Some(gradient) = gradient else { continue };
            if !matches!(check.example.domains[i], Domain::Any | Domain::Unit) {
                continue;
            }
            let step = Domain::Unit.numbers(&check.example.inputs[i], 5);
            let along = |factor: f32| {
                let mut inputs = check.inputs.clone();
                inputs[i].data_mut().iter_mut().zip(step.data()).for_each(|(x, u)| *x += factor * u);
                let moved = check.output(&inputs);
                moved.iter().zip(&at).map(|(a, b)| a - b).collect::<Vec<f32>>()
            };
            let (once, back) = (along(4.0), along(-4.0));
            let size = at.iter().chain(&once).fold(0.0f32, |size, y| size.max(y.abs()));
            if once.iter().zip(&back).any(|(a, b)| (a + b).abs() > 1e-5 * size) {
                continue;
            }
            linear.insert((name, i));
            let ((left, left_size), (right, right_size)) =
                (dot(&once, check.weights.data()), dot(step.data(), gradient));
            let right = 4.0 * right;
            if (left - right).abs() > 3e-6 * (left_size + 4.0 * right_size) + 1e-6 * f64::from(size) {
                failures.push(format!("{:?}: input {i}: {left} and {right}", check.example));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    for name in LINEAR {
        assert!(linear.contains(&(name, 0)), "{name} is linear, but was not found to be");
    }
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
