//! Calls that must fail, for every operator, with the whole message: one module for each file of `src/ops/`.

use std::sync::Arc;

use svertka::ops::{Operator, examples};

mod activation;
mod adaptive_pool;
mod affine_grid;
mod arithmetic;
mod axes;
mod batch_norm;
mod conv;
mod conv_transpose;
mod cross_entropy;
mod deform_conv;
mod depth_to_space;
mod dropout;
mod flip;
mod fold;
mod fractional_max_pool;
mod global_pool;
mod grid_sample;
mod group_norm;
mod hardmax;
mod instance_norm;
mod k_max_pool;
mod layer_norm;
mod likelihood_loss;
mod linear;
mod local_response_norm;
mod lp_norm;
mod lp_pool;
mod max_pool_with_indices;
mod max_unpool;
mod mean_variance_norm;
mod optimizer_step;
mod pad;
mod pad_axes;
mod pool;
mod prelu;
mod resize;
mod rms_norm;
mod roi_align;
mod softmax;
mod stochastic_pool;
mod unshared;

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
        adaptive_pool::cases(),
        affine_grid::cases(),
        arithmetic::cases(),
        axes::cases(),
        batch_norm::cases(),
        conv::cases(),
        conv_transpose::cases(),
        cross_entropy::cases(),
        deform_conv::cases(),
        depth_to_space::cases(),
        dropout::cases(),
        flip::cases(),
        fold::cases(),
        fractional_max_pool::cases(),
        global_pool::cases(),
        grid_sample::cases(),
        group_norm::cases(),
        hardmax::cases(),
        instance_norm::cases(),
        k_max_pool::cases(),
        layer_norm::cases(),
        likelihood_loss::cases(),
        linear::cases(),
        local_response_norm::cases(),
        lp_norm::cases(),
        lp_pool::cases(),
        max_pool_with_indices::cases(),
        max_unpool::cases(),
        mean_variance_norm::cases(),
        optimizer_step::cases(),
        pad_axes::cases(),
        pad::cases(),
        pool::cases(),
        prelu::cases(),
        resize::cases(),
        rms_norm::cases(),
        roi_align::cases(),
        softmax::cases(),
        stochastic_pool::cases(),
        unshared::cases(),
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
