//! Calls that must fail, for every operator, with the whole message: one module for each file of `src/ops/`.

use std::sync::Arc;

use svertka::ops::{Operator, examples};

mod activation;
mod affine_grid;
mod conv;
mod depth_to_space;
mod fold;
mod grid_sample;
mod pad_axes;
mod pool;
mod resize;
mod roi_align;

/// An operator, shapes of inputs that it must refuse, and what it must say.
struct Case {
    op: Arc<dyn Operator>,
    inputs: Vec<Vec<usize>>,
    message: &'static str,
}

fn case<const N: usize>(op: impl Operator + 'static, inputs: [&[usize]; N], message: &'static str) -> Case {
    Case { op: Arc::new(op), inputs: inputs.iter().map(|shape| shape.to_vec()).collect(), message }
}

fn cases() -> Vec<Case> {
    [
        activation::cases(),
        affine_grid::cases(),
        conv::cases(),
        depth_to_space::cases(),
        fold::cases(),
        grid_sample::cases(),
        pad_axes::cases(),
        pool::cases(),
        resize::cases(),
        roi_align::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn wrong_calls_fail_with_the_whole_message() {
    let mut failures = vec![];
    for Case { op, inputs, message } in cases() {
        let shapes: Vec<&[usize]> = inputs.iter().map(Vec::as_slice).collect();
        let received =
            op.output_shapes(&shapes).map_or_else(|error| error.to_string(), |made| format!("{made:?}"));
        if received != message {
            failures.push(format!("{op:?} of {inputs:?}\n  expected {message}\n  received {received}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_operator_counts_its_inputs() {
    for example in examples() {
        let (name, arity) = (example.op.name(), example.op.arity());
        assert!(arity.contains(&example.inputs.len()), "{name}: {arity:?}");
        let error = example.op.output_shapes(&[]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name}: inputs: expected ")), "{error}");
    }
}

#[test]
fn every_operator_has_a_wrong_call() {
    let tried: Vec<&str> = cases().iter().map(|case| case.op.name()).collect();
    let mut missing: Vec<&str> = examples().iter().map(|example| example.op.name()).collect();
    missing.retain(|name| !tried.contains(name));
    missing.sort_unstable();
    missing.dedup();
    assert!(missing.is_empty(), "no wrong call of {missing:?}");
}
