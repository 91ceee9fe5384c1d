//! A training step of a whole network, by the names that harnesses use: cross-entropy, and stochastic gradient descent with momentum 0.9.

use anyhow::Context;
use svertka::measure::numbers;
use svertka::train::{OptimizerKind, Step, TrainConfig};
use svertka::{Cpu, Graph, Tensor, models};

use crate::protocol::Job;

/// Steps on one batch of numbers.
pub(crate) fn step<'a>(name: &str, batch: usize, cpu: &'a Cpu) -> anyhow::Result<Job<'a>> {
    let graph = network(name)?;
    let config = TrainConfig {
        optimizer: OptimizerKind::Sgd { momentum: 0.9, nesterov: false },
        weight_decay: 0.0,
        label_smoothing: 0.0,
        clip_norm: 0.0,
        ema: 0.0,
        ..TrainConfig::default()
    };
    let mut step = Step::new(&graph, &config, batch, cpu)?;
    let pictures = numbers(graph.input_shapes(batch).swap_remove(0));
    let classes = step.logits().len() / batch.max(1);
    let mut targets = Tensor::zeros([batch, classes]);
    // Picture after picture the next class.
    targets
        .data_mut()
        .chunks_exact_mut(classes.max(1))
        .enumerate()
        .for_each(|(i, row)| row[i % classes] = 1.0);
    let mut seed = 0;
    Ok(Box::new(move || {
        seed += 1;
        step.run(cpu, &pictures, &targets, 0.01, seed)?;
        Ok(())
    }))
}

/// The network of PyTorch's MNIST example without dropout, a residual network for small pictures, or one of ours by name.
fn network(name: &str) -> anyhow::Result<Graph> {
    let (text, input, classes) = match name {
        "mnist_cnn" => ("conv32k3p0 relu conv64k3p0 relu maxpool2 linear128 relu linear10", [1, 28, 28], 10),
        "cifar_resnet18" => ("resnet18", [3, 32, 32], 10),
        _ => {
            let entry = models::find(name).with_context(|| format!("name={name}: no network of ours"))?;
            let large = entry.input[1].max(entry.input[2]) > 64;
            (entry.name, entry.input, if large { 1000 } else { 10 })
        }
    };
    Ok(models::build(text, &input, classes, 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_as_many_parameters_as_pytorch_s() {
        for (name, expected) in [
            ("mnist_cnn", 1_199_882),
            ("lenet5", 61_706),
            ("cifar_resnet18", 11_173_962),
            ("resnet18", 11_689_512),
        ] {
            let graph = network(name).unwrap();
            let costs = svertka::cost(&graph, &graph.input_shapes(1)).unwrap();
            assert_eq!(costs.iter().map(|layer| layer.parameters).sum::<usize>(), expected, "{name}");
        }
        assert_eq!(network("none").unwrap_err().to_string(), "name=none: no network of ours");
    }

    #[test]
    fn steps_are_run() {
        let cpu = Cpu::new(1);
        let mut job = step("lenet5", 3, &cpu).unwrap();
        for _ in 0..3 {
            job().unwrap();
        }
    }
}
