//! Poolings as layers of a network: padding modes, maxima and back, sizes, and randomness in training.

use std::sync::Arc;

use svertka::graph::Graph;
use svertka::ops::{Domain, MaxPool, Operator, Reduction, StochasticPool};
use svertka::{
    Cpu, FractionalSize, Model, Network, PaddingMode, Plan, PoolSpec, Result, Tensor, Weights, apply,
};

fn run(graph: &Graph, x: &Tensor, seed: u64, threads: usize) -> Vec<f32> {
    let cpu = Cpu::new(threads);
    let mut plan = Plan::new(graph, &[x.shape().to_vec()], Weights::Constant, &cpu).unwrap();
    plan.run(&cpu, graph.parameters(), &[x], seed).unwrap();
    plan.output(0).to_vec()
}

#[test]
fn padding_never_wins_unless_its_mode_says_what_it_holds() -> Result<()> {
    let x = Tensor::new([1, 1, 4], &[-4.0, -3.0, -2.0, -1.0])?;
    let pooled = |mode| {
        let mut net = Network::new(&[1, 4], 0);
        net.max_pool(net.input(), &PoolSpec::new(3).stride(1).padding(1).padding_mode(mode))?;
        Ok::<_, svertka::Error>(run(&net.finish(), &x, 0, 1))
    };
    assert_eq!(pooled(PaddingMode::Zeros)?, [-3.0, -2.0, -1.0, -1.0]);
    assert_eq!(pooled(PaddingMode::Constant(0.0))?, [0.0, -2.0, -1.0, 0.0]);
    assert_eq!(pooled(PaddingMode::Circular)?, [-1.0, -2.0, -1.0, -1.0]);
    Ok(())
}

#[test]
fn unpooling_brings_maxima_back_through_a_file() -> Result<()> {
    let mut net = Network::new(&[3, 7, 10], 0);
    let spec = PoolSpec::new([2, 3]);
    let (y, indices) = net.max_pool_with_indices(net.input(), &spec)?;
    net.max_unpool(y, indices, &spec, Some([7, 10].into()))?;
    let model = Model::new(net.finish());
    let x = Domain::Any.numbers(&[2, 3, 7, 10], 5);
    let unpooled = run(&model.graph, &x, 0, 2);
    // 3 x 3 windows fit into a channel; one value of each stays where it stood.
    assert_eq!(unpooled.iter().filter(|y| **y != 0.0).count(), 2 * 3 * 9);
    assert!(unpooled.iter().zip(x.data()).all(|(y, x)| *y == 0.0 || y == x));
    let read = Model::from_bytes(&model.to_bytes()?)?;
    assert_eq!(run(&read.graph, &x, 0, 1), unpooled);
    Ok(())
}

#[test]
fn an_unpooling_without_a_size_infers_it() -> Result<()> {
    let mut net = Network::new(&[2, 9, 9], 0);
    let spec = PoolSpec::new(3).stride(2).padding(1);
    let (y, indices) = net.max_pool_with_indices(net.input(), &spec)?;
    assert_eq!(net.shape(y), [1, 2, 5, 5]);
    let x = net.max_unpool(y, indices, &spec, None)?;
    assert_eq!(net.shape(x), [1, 2, 9, 9]);
    let same = PoolSpec::new(3).padding(svertka::Padding::Same);
    let error = net.max_unpool(y, indices, &same, None).unwrap_err().to_string();
    assert_eq!(error, "MaxUnpool: output_size: expected a size where the padding is \"same\", received none");
    Ok(())
}

#[test]
fn every_pooling_has_a_builder() -> Result<()> {
    let spec = PoolSpec::new(2).ceil_mode(true).dilation([1, 2]);
    let shape = |layer: &dyn Fn(&mut Network) -> Result<svertka::Value>| {
        let mut net = Network::new(&[9, 7, 6], 0);
        let value = layer(&mut net)?;
        Ok::<_, svertka::Error>(net.shape(value)[1..].to_vec())
    };
    assert_eq!(shape(&|net| net.min_pool(net.input(), &spec))?, [9, 4, 3]);
    assert_eq!(shape(&|net| net.sum_pool(net.input(), &spec))?, [9, 4, 3]);
    assert_eq!(shape(&|net| net.average_pool(net.input(), &spec.clone().divisor_override(3)))?, [9, 4, 3]);
    assert_eq!(shape(&|net| net.lp_pool(net.input(), 2.0, &spec))?, [9, 4, 3]);
    assert_eq!(shape(&|net| net.stochastic_pool(net.input(), &spec))?, [9, 4, 3]);
    assert_eq!(shape(&|net| net.adaptive_max_pool(net.input(), [5, 4]))?, [9, 5, 4]);
    assert_eq!(shape(&|net| net.adaptive_average_pool(net.input(), 3))?, [9, 3, 3]);
    assert_eq!(shape(&|net| net.k_max_pool(net.input(), 2, 3))?, [9, 7, 2]);
    assert_eq!(shape(&|net| net.dynamic_k_max_pool(net.input(), 2, 2, 1, 3, 7))?, [9, 5, 6]);
    assert_eq!(shape(&|net| net.fractional_max_pool(net.input(), 2, FractionalSize::Ratio(0.7)))?, [9, 4, 4]);
    assert_eq!(shape(&|net| net.global_lp_pool(net.input(), 3.0))?, [9, 1, 1]);
    assert_eq!(shape(&|net| net.global_pool(net.input(), Reduction::Min))?, [9, 1, 1]);
    let error = shape(&|net| net.dynamic_k_max_pool(net.input(), 2, 2, 4, 3, 7)).unwrap_err().to_string();
    assert_eq!(error, "KMaxPool: layer: expected 1 to 3, received 4");
    Ok(())
}

/// `op` in its form for training, as a graph of one node.
fn in_training(op: &dyn Operator, shape: &[usize]) -> Graph {
    let mut graph = Graph::new();
    let x = graph.input("x", shape.iter().copied().map(Some).collect());
    graph.outputs = graph.push("op", op.training().unwrap().op, &[x], 1);
    graph
}

#[test]
fn stochastic_pooling_draws_in_proportion_and_depends_on_the_seed_only() -> Result<()> {
    let shape = [1, 1, 3 * 4000];
    let values: Vec<f32> = [1.0, 0.0, 3.0].into_iter().cycle().take(3 * 4000).collect();
    let x = Tensor::new(shape, &values)?;
    let window =
        svertka::kernels::geometry::Window { kernel: [1, 1, 3], stride: [1, 1, 3], ..Default::default() };
    let op = StochasticPool { window, ceil_mode: false, stream: 3, training: false };
    let graph = in_training(&op, &shape);
    let drawn = run(&graph, &x, 1, 1);
    assert_eq!(drawn, run(&graph, &x, 1, 3));
    assert_ne!(drawn, run(&graph, &x, 2, 1));
    assert!(drawn.iter().all(|y| *y == 1.0 || *y == 3.0));
    // One in four, of 4000: a deviation of 100 is more than three and a half standard deviations.
    let ones = drawn.iter().filter(|y| **y == 1.0).count();
    assert!((900..1100).contains(&ones), "{ones}");
    // The mean of what is drawn.
    assert!(apply(Arc::new(op), &[&x])?.data().iter().all(|y| *y == 2.5));
    Ok(())
}

#[test]
fn fractional_pooling_takes_other_windows_for_each_channel_in_training() -> Result<()> {
    let op = svertka::ops::FractionalMaxPool {
        kernel_size: [1, 1, 1],
        output_size: [1, 1, 14],
        stream: 3,
        training: false,
    };
    // Every value is its own place, so the result says where the windows stand.
    let places: Vec<f32> = (0..20).map(|place| place as f32).collect();
    let x = Tensor::new([1, 6, 20], &places.repeat(6))?;
    let graph = in_training(&op, x.shape());
    let drawn = run(&graph, &x, 1, 1);
    assert_eq!(drawn, run(&graph, &x, 1, 3));
    assert_ne!(drawn, run(&graph, &x, 2, 1));
    let rows: Vec<&[f32]> = drawn.chunks(14).collect();
    for row in &rows {
        assert!(row[0] == 0.0 && row[13] == 19.0, "{row:?}");
        assert!(row.windows(2).all(|pair| matches!(pair[1] - pair[0], 1.0 | 2.0)), "{row:?}");
    }
    assert!(rows.iter().any(|row| row != &rows[0]));
    let fixed = apply(Arc::new(op), &[&x])?;
    assert!(fixed.data().chunks(14).all(|row| row == &fixed.data()[..14]));
    Ok(())
}

#[test]
fn adaptive_pooling_with_even_bins_is_the_ordinary_one() -> Result<()> {
    let x = Domain::Any.numbers(&[2, 9, 6, 8], 0);
    let window =
        svertka::kernels::geometry::Window { kernel: [1, 2, 4], stride: [1, 2, 4], ..Default::default() };
    let ordinary = apply(Arc::new(MaxPool { window, ceil_mode: false }), &[&x])?;
    let adaptive = apply(Arc::new(svertka::ops::AdaptiveMaxPool { output_size: [1, 3, 2] }), &[&x])?;
    assert_eq!(ordinary.data(), adaptive.data());
    Ok(())
}
