//! Training that computes activations again: the same bits in less memory.

use svertka::measure::numbers;
use svertka::train::{Event, Pass, Step, TrainConfig, train};
use svertka::{ConvSpec, Cpu, Error, Graph, Network, Padding, PoolSpec, Tensor, Value, models};

/// Networks with all that could come out otherwise the second time: random numbers, statistics, values that are read twice or far behind.
fn networks() -> Result<Vec<(&'static str, Graph)>, Error> {
    let text = |text, shape: &[usize]| Network::from_text(text, shape, 5).map(Network::finish);
    Ok(vec![
        (
            "chain",
            text(
                "conv8 bn relu conv8 bn relu conv8 bn relu pool2 conv8 bn silu conv8 relu conv8 tanh flatten linear3",
                &[2, 12, 10],
            )?,
        ),
        (
            "random",
            text(
                "conv8 relu dropout0.3 conv8 relu dropout0.3 stochasticpool2 conv8 relu dropout0.5 conv8 relu dropout0.2 gap linear3",
                &[2, 12, 10],
            )?,
        ),
        (
            "layers",
            text(
                "dwconv gelu conv9k1 in hardswish tconv8k4s2 ln conv8-reflect prelu avgpool2 conv8k3s2 gn4 gmp linear3 softmax",
                &[3, 12, 10],
            )?,
        ),
        ("residuals", residuals()?),
        ("concatenations", concatenations()?),
        ("mobilenet-v2", models::build("mobilenet-v2", &[3, 32, 32], 3, 1)?),
    ])
}

fn conv_bn_relu(net: &mut Network, x: Value, channels: usize) -> Result<Value, Error> {
    let x = net.conv(x, channels, 3, &ConvSpec::new().padding(Padding::Same))?;
    let x = net.batch_norm(x)?;
    net.relu(x)
}

/// Each block adds its input, and the last one the first one's, too.
fn residuals() -> Result<Graph, Error> {
    let mut net = Network::new(&[2, 12, 10], 2);
    let pictures = net.input();
    let first = conv_bn_relu(&mut net, pictures, 8)?;
    let mut x = first;
    for _ in 0..6 {
        let inner = conv_bn_relu(&mut net, x, 8)?;
        let inner = net.dropout(inner, 0.1)?;
        let sum = net.add(x, inner)?;
        x = net.relu(sum)?;
    }
    let x = net.add(x, first)?;
    let x = net.flatten(x)?;
    net.linear(x, 3)?;
    Ok(net.finish())
}

/// Each layer reads all before it.
fn concatenations() -> Result<Graph, Error> {
    let mut net = Network::new(&[2, 12, 10], 3);
    let mut all = vec![net.input()];
    for _ in 0..6 {
        let x = net.concat(&all)?;
        all.push(conv_bn_relu(&mut net, x, 8)?);
    }
    let x = net.concat(&all)?;
    let x = net.max_pool(x, &PoolSpec::new(2))?;
    let x = net.flatten(x)?;
    net.linear(x, 3)?;
    Ok(net.finish())
}

fn step(graph: &Graph, recompute: bool, batch: usize, cpu: &Cpu) -> Step {
    Step::new(graph, &TrainConfig { recompute, ..TrainConfig::default() }, batch, cpu).unwrap()
}

/// The bits of losses, logits and all parameters, statistics among them, after some steps.
fn bits(graph: &Graph, recompute: bool, threads: usize) -> Vec<u32> {
    let (batch, cpu) = (4, Cpu::new(threads));
    let mut step = step(graph, recompute, batch, &cpu);
    let pictures = numbers(graph.input_shapes(batch).swap_remove(0));
    let mut targets = Tensor::zeros([batch, 3]);
    targets.data_mut().chunks_exact_mut(3).enumerate().for_each(|(i, row)| row[i % 3] = 1.0);
    let mut bits = Vec::new();
    for seed in 0..3 {
        bits.push(step.run(&cpu, &pictures, &targets, 0.05, seed).unwrap().loss.to_bits());
        bits.extend(step.logits().iter().map(|logit| logit.to_bits()));
    }
    bits.extend(step.parameters().iter().flat_map(|tensor| tensor.data()).map(|number| number.to_bits()));
    bits
}

#[test]
fn a_step_has_the_same_bits() {
    for (name, graph) in networks().unwrap() {
        let expected = bits(&graph, false, 1);
        assert!(expected.iter().any(|bits| f32::from_bits(*bits) != 0.0), "{name}");
        for threads in [1, 2] {
            assert!(bits(&graph, true, threads) == expected, "{name}, {threads} threads");
        }
    }
}

#[test]
fn memory_falls_and_some_of_the_forward_pass_is_done_again() {
    let cpu = Cpu::new(1);
    for (name, graph) in networks().unwrap() {
        let [whole, less] = [false, true].map(|recompute| step(&graph, recompute, 64, &cpu));
        assert!(less.memory() < whole.memory(), "{name}: {} of {}", less.memory(), whole.memory());
        let count = |step: &Step, pass| step.parts().iter().filter(|part| part.pass == pass).count();
        let (forward, again) = (count(&less, Pass::Forward), count(&less, Pass::Recomputation));
        assert!(0 < again && again < forward, "{name}: {again} of {forward}");
        // Without being asked only norms are, and activations behind them.
        let mut cheap = whole.parts().iter().filter(|part| part.pass == Pass::Recomputation);
        assert!(cheap.all(|part| part.kind != "Conv" && part.info.macs == 0), "{name}");
        // Running statistics follow the batch once.
        assert!(less.parts().iter().all(|part| part.pass == Pass::Forward || part.kind != "MovingAverage"));
    }
}

#[test]
fn a_deep_network_takes_much_less() {
    let layers = "conv16 bn relu ".repeat(36) + "gap linear3";
    let graph = Network::from_text(&layers, &[16, 12, 10], 0).unwrap().finish();
    let cpu = Cpu::new(1);
    let [whole, less] = [false, true].map(|recompute| step(&graph, recompute, 64, &cpu).memory());
    // 36 layers leave one value each; six segments leave six values, and twelve of the segment at hand.
    assert!(3 * less < 2 * whole, "{less} of {whole}");
}

#[test]
fn a_run_goes_on_with_or_without_it() {
    let data = svertka::data::Dataset::open(
        "digits",
        &svertka::data::OpenOptions { val_fraction: Some(0.9), ..svertka::data::OpenOptions::default() },
    )
    .unwrap();
    let cpu = Cpu::new(2);
    let text = "conv4 bn relu conv4 bn relu pool4 dropout0.1 linear10";
    let graph = Network::from_text(text, &[1, 28, 28], 3).unwrap().finish();
    let config = |recompute, epochs| TrainConfig { epochs, recompute, ..TrainConfig::default() };
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let whole = train(&graph, &data, &config(false, 2), folders[0].path(), &cpu, &mut |_| {}).unwrap();
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let stop = &mut |event: Event<'_>| assert!(!matches!(event, Event::Epoch(_)), "interrupted");
        train(&graph, &data, &config(true, 2), folders[1].path(), &cpu, stop).unwrap()
    }));
    assert!(broken.is_err());
    let resumed = train(&graph, &data, &config(false, 2), folders[1].path(), &cpu, &mut |_| {}).unwrap();
    assert_eq!(resumed.model, whole.model);
}

#[test]
fn norms_and_activations_behind_them_are_not_kept() {
    let cpu = Cpu::new(1);
    let memory = |layers: &str| {
        let graph = Network::from_text(layers, &[16, 12, 10], 0).unwrap().finish();
        step(&graph, false, 64, &cpu).memory()
    };
    // Of a layer with a norm the convolution's result is kept, of one without it that of the activation: as many values.
    let [with, without] =
        ["conv16 bn relu ", "conv16 relu "].map(|layer| memory(&(layer.repeat(24) + "gap linear3")));
    assert!(10 * with < 11 * without, "{with} beside {without}");
}
