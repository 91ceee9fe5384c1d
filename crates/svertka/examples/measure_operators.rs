//! Time of every kind of layer, forward and with all gradients, and what a multiply-accumulate costs beside one of the ordinary convolution:
//! `cargo run --release -p svertka --example measure_operators`.

#![allow(clippy::print_stdout, reason = "a measuring program prints its table")]

use std::time::Instant;

use svertka::gradient::add_gradients;
use svertka::graph::Graph;
use svertka::{Cpu, Network, Plan, Result, Tensor, Weights, cost};

/// Layers by their words, over pictures of 32 x 28 x 28, in a batch of 4.
const LAYERS: &[&str] = &[
    "conv32k3",
    "conv32k3g4",
    "dwconv1k3",
    "dsconv32k3",
    "sepconv32k3",
    "conv32k1",
    "tconv32k4s2p1",
    "unshared32k3",
    "deformconv32k3",
    "conv32k3-circular",
    "maxpool2",
    "maxpool3s2p1",
    "avgpool3s2p1",
    "sumpool2",
    "minpool2",
    "lppool2",
    "lppool2n3",
    "stochasticpool2",
    "adaptiveavgpool7",
    "adaptivemaxpool7",
    "fractionalpool14",
    "kmaxpool7",
    "gap",
    "gmp",
    "glp2",
    "bn",
    "in",
    "gn4",
    "ln",
    "lrn5",
    "upsample2",
    "upsample2-linear",
    "upsample2-cubic",
    "shuffle2",
    "pad1-reflect",
    "relu",
    "gelu",
    "mish",
    "prelu",
];

fn main() -> Result<()> {
    let cpu = Cpu::new(1);
    println!(
        "{:20} {:>12} {:>10} {:>12} {:>14} {:>14}",
        "layer", "MACs", "forward ms", "gradients ms", "ns a MAC, all", "beside conv"
    );
    let mut ordinary = None;
    for text in LAYERS {
        let graph = Network::from_text(text, &[32, 28, 28], 0)?.finish();
        let macs: u64 = cost(&graph, &graph.input_shapes(4))?.iter().map(|layer| layer.macs).sum();
        let forward = milliseconds(&graph, &cpu)?;
        let both = milliseconds(&with_gradients(graph, &cpu)?, &cpu)?;
        let (mut each, mut beside) = (String::new(), String::new());
        if macs > 0 {
            let nanoseconds = 1e6 * both / macs as f64;
            each = format!("{nanoseconds:.3}");
            beside = format!("{:.1}", nanoseconds / *ordinary.get_or_insert(nanoseconds));
        }
        println!("{text:20} {macs:12} {forward:10.3} {both:12.3} {each:>14} {beside:>14}");
    }
    Ok(())
}

/// The layer and the gradients of its input and parameters, for some gradient of its output.
fn with_gradients(mut graph: Graph, cpu: &Cpu) -> Result<Graph> {
    let output = graph.outputs[0];
    let plan = Plan::new(&graph, &graph.input_shapes(4), Weights::Changing, cpu)?;
    // The batch is open, as the network's is.
    let made = [None].into_iter().chain(plan.output_shape(0)[1..].iter().copied().map(Some)).collect();
    let wrt: Vec<_> = graph.parameter_values().iter().copied().chain([graph.inputs()[0].value]).collect();
    let dy = graph.input("dy", made);
    graph.outputs = [Some(output)]
        .into_iter()
        .chain(add_gradients(&mut graph, &[(output, dy)], &wrt)?)
        .flatten()
        .collect();
    Ok(graph)
}

/// The median of eleven runs.
fn milliseconds(graph: &Graph, cpu: &Cpu) -> Result<f64> {
    let shapes = graph.input_shapes(4);
    let inputs: Vec<Tensor> = shapes.iter().map(|shape| numbers(shape)).collect();
    let inputs: Vec<&Tensor> = inputs.iter().collect();
    let mut plan = Plan::new(graph, &shapes, Weights::Changing, cpu)?;
    let mut times = vec![];
    for _ in 0..12 {
        let start = Instant::now();
        plan.run(cpu, graph.parameters(), &inputs, 0)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    // The first one meets cold memory.
    times.remove(0);
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn numbers(shape: &[usize]) -> Tensor {
    let mut tensor = Tensor::zeros(shape);
    tensor.data_mut().iter_mut().enumerate().for_each(|(i, x)| *x = (i * 7919 % 1009) as f32 / 504.5 - 0.9);
    tensor
}
