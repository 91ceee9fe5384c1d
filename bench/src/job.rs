//! What the harness can ask for: one layer or a whole network, in inference or in training.

use std::fmt::Display;
use std::str::FromStr;

use anyhow::{Context, bail};
use svertka::gradient::add_gradients;
use svertka::measure::{Layer, LayerRun, LayerStep, numbers};
use svertka::{Cpu, Graph, Plan, Session, Tensor, Weights};

use crate::protocol::{Job, Keys};
use crate::training;

/// How activations lie at both ends of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Blocked; the plain picture where it is a first layer.
    Native,
    /// Plain, `N x C x spatial`.
    Nchw,
}

impl FromStr for Variant {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text {
            "native" => Ok(Self::Native),
            "nchw" => Ok(Self::Nchw),
            _ => bail!("PEER_VARIANT: expected native or nchw, received {text:?}"),
        }
    }
}

/// Makes ready what `keys` say.
pub(crate) fn set_up<'a>(keys: &Keys<'_>, variant: Variant, cpu: &'a Cpu) -> anyhow::Result<Job<'a>> {
    let batch = number(keys, "n")?;
    match (text(keys, "kind")?, text(keys, "mode")?, variant) {
        ("layer", "fwd", Variant::Native) => {
            let mut run = LayerRun::new(&layer(keys)?, batch, cpu)?;
            Ok(Box::new(move || {
                run.run(cpu);
                Ok(())
            }))
        }
        ("layer", "train", Variant::Native) => {
            let mut step = LayerStep::new(&layer(keys)?, batch, cpu)?;
            Ok(Box::new(move || {
                step.run(cpu);
                Ok(())
            }))
        }
        ("layer", "fwd", Variant::Nchw) => planned(layer(keys)?.graph()?, batch, Weights::Constant, cpu),
        ("layer", "train", Variant::Nchw) => {
            planned(with_gradients(layer(keys)?.graph()?)?, batch, Weights::Changing, cpu)
        }
        ("net", "fwd", _) => {
            let mut session = Session::open(text(keys, "onnx")?, batch, cpu)?;
            let inputs: Vec<Tensor> =
                session.input_shapes().iter().map(|shape| numbers(shape.as_slice())).collect();
            Ok(Box::new(move || Ok(session.run(cpu, &inputs.iter().collect::<Vec<_>>())?)))
        }
        ("net", "train", _) => training::step(text(keys, "name")?, batch, cpu),
        (kind, mode, _) => {
            bail!("expected kind=layer or net and mode=fwd or train, received kind={kind} mode={mode}")
        }
    }
}

/// A job that runs the graph on numbers.
fn planned(graph: Graph, batch: usize, weights: Weights, cpu: &Cpu) -> anyhow::Result<Job<'_>> {
    let shapes = graph.input_shapes(batch);
    let inputs: Vec<Tensor> = shapes.iter().map(|shape| numbers(shape.as_slice())).collect();
    let mut plan = Plan::new(&graph, &shapes, weights, cpu)?;
    Ok(Box::new(move || {
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        Ok(plan.run(cpu, graph.parameters(), &inputs, 0)?)
    }))
}

/// The layer and its three gradients, for a gradient of its output that is a further input.
fn with_gradients(mut graph: Graph) -> anyhow::Result<Graph> {
    let output = graph.outputs[0];
    // The output is the last value, and of a batch of one all but the batch is what it is.
    let made = graph.shapes(&graph.input_shapes(1))?.pop().unwrap_or_default();
    let dy = graph.input("dy", [None].into_iter().chain(made.into_iter().skip(1).map(Some)).collect());
    let wrt: Vec<_> = graph.parameter_values().iter().copied().chain([graph.inputs()[0].value]).collect();
    let gradients = add_gradients(&mut graph, &[(output, dy)], &wrt)?;
    graph.outputs = [Some(output)].into_iter().chain(gradients).flatten().collect();
    Ok(graph)
}

fn layer(keys: &Keys<'_>) -> anyhow::Result<Layer> {
    let dims = number(keys, "dim")?;
    let sizes: Vec<usize> =
        text(keys, "size")?.split('x').map(|size| size.parse()).collect::<Result<_, _>>().context("size")?;
    anyhow::ensure!(
        (1..=3).contains(&dims) && sizes.len() == dims,
        "size: expected one for each of 1 to 3 axes (dim={dims}), received {sizes:?}"
    );
    let mut input = [1; 3];
    input[3 - dims..].copy_from_slice(&sizes);
    Ok(Layer {
        dims,
        in_channels: number(keys, "cin")?,
        out_channels: number(keys, "cout")?,
        kernel_size: number(keys, "k")?,
        input,
        stride: number(keys, "s")?,
        padding: number(keys, "p")?,
        dilation: number(keys, "d")?,
        groups: number(keys, "g")?,
        transposed: number::<u8>(keys, "transp")? == 1,
    })
}

fn text<'a>(keys: &Keys<'a>, key: &str) -> anyhow::Result<&'a str> {
    keys.get(key).copied().with_context(|| format!("{key}: missing"))
}

fn number<T: FromStr<Err: Display>>(keys: &Keys<'_>, key: &str) -> anyhow::Result<T> {
    let text = text(keys, key)?;
    text.parse().map_err(|error| anyhow::anyhow!("{key}={text}: {error}"))
}

#[cfg(test)]
mod tests {
    use svertka::Model;

    use super::*;
    use crate::protocol::serve;
    use svertka::kernels::reference::{conv_forward, conv_input_gradient, conv_weight_gradient};

    /// What a harness sends, with sides that are not equal.
    const LAYER: &str =
        "kind=layer mode=fwd name=x n=2 dim=2 cin=12 cout=9 k=3 size=7x6 s=2 p=1 d=1 g=3 transp=0 onnx=";

    fn keys(line: &str) -> Keys<'_> {
        line.split(' ').filter_map(|word| word.split_once('=')).collect()
    }

    /// Numbers that the layer is filled with, for the definition.
    fn exact(len: usize) -> Vec<f64> {
        numbers([len]).data().iter().map(|&x| f64::from(x)).collect()
    }

    #[track_caller]
    fn expect_close(got: &[f32], expected: &[f64]) {
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!((f64::from(*got) - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{got} {expected}");
        }
    }

    #[test]
    fn layers_give_what_the_definition_gives() {
        let cpu = Cpu::new(2);
        let first = LAYER.replace("cin=12", "cin=3");
        let transposed = LAYER.replace("transp=0", "transp=1");
        let line = LAYER.replace("dim=2", "dim=1").replace("7x6", "11");
        for line in [LAYER, &first, &transposed, &line] {
            let layer = layer(&keys(line)).unwrap();
            let g = layer.geometry(2).unwrap();
            let [near, far] = [
                2 * g.in_channels * g.input.iter().product::<usize>(),
                2 * g.out_channels * g.output.iter().product::<usize>(),
            ];
            let weight = exact(g.weight_len());
            let bias = exact(layer.out_channels);
            let (x, dy) =
                if layer.transposed { (exact(far), exact(near)) } else { (exact(near), exact(far)) };
            let (y, dx, dw) = if layer.transposed {
                let cells = near / 2 / g.in_channels;
                let mut y = conv_input_gradient(&g, &x, &weight);
                y.iter_mut().enumerate().for_each(|(i, y)| *y += bias[i / cells % g.in_channels]);
                (y, conv_forward(&g, &dy, &weight, None), conv_weight_gradient(&g, &dy, &x).0)
            } else {
                let (dw, _) = conv_weight_gradient(&g, &x, &dy);
                (conv_forward(&g, &x, &weight, Some(&bias)), conv_input_gradient(&g, &dy, &weight), dw)
            };
            let cells = dy.len() / 2 / layer.out_channels;
            let mut db = vec![0.0; layer.out_channels];
            dy.iter().enumerate().for_each(|(i, dy)| db[i / cells % layer.out_channels] += dy);

            let mut run = LayerRun::new(&layer, 2, &cpu).unwrap();
            run.run(&cpu);
            expect_close(&run.output(&cpu), &y);
            let mut step = LayerStep::new(&layer, 2, &cpu).unwrap();
            step.run(&cpu);
            for (got, expected) in step.gradients(&cpu).iter().zip([&dx, &dw, &db]) {
                expect_close(got, expected);
            }

            // The other variant, from the graph.
            let graph = with_gradients(layer.graph().unwrap()).unwrap();
            let shapes = graph.input_shapes(2);
            let inputs = shapes.iter().map(|shape| numbers(shape.as_slice())).collect::<Vec<_>>();
            let mut plan = Plan::new(&graph, &shapes, Weights::Changing, &cpu).unwrap();
            plan.run(&cpu, graph.parameters(), &inputs.iter().collect::<Vec<_>>(), 0).unwrap();
            for (i, expected) in [&y, &dw, &db, &dx].into_iter().enumerate() {
                expect_close(plan.output(i), expected);
            }
        }
    }

    #[test]
    fn a_harness_drives_layers_and_networks() {
        let cpu = Cpu::new(1);
        let path = std::env::temp_dir().join(format!("svertka-bench-{}.onnx", std::process::id()));
        let graph = svertka::Network::from_text("conv4 relu gap linear3", &[1, 8, 6], 0).unwrap().finish();
        Model::new(graph).save(&path).unwrap();
        let net = format!("kind=net mode=fwd name=x n=2 onnx={}", path.display());
        let lines = [
            (Variant::Native, LAYER.to_owned(), "ok"),
            (Variant::Native, LAYER.replace("fwd", "train"), "ok"),
            (Variant::Nchw, LAYER.to_owned(), "ok"),
            (Variant::Nchw, LAYER.replace("fwd", "train"), "ok"),
            (Variant::Native, net.clone(), "ok"),
            (Variant::Nchw, net.replace("fwd", "train").replace("=x ", "=lenet5 "), "ok"),
            (Variant::Native, net.replace("fwd", "train"), "err name=x: no network of ours"),
            (
                Variant::Native,
                LAYER.replace("fwd", "back"),
                "err expected kind=layer or net and mode=fwd or train, received kind=layer mode=back",
            ),
            (Variant::Native, LAYER.replace("k=3", "k=x"), "err k=x: invalid digit found in string"),
            (
                Variant::Native,
                LAYER.replace("7x6", "7"),
                "err size: expected one for each of 1 to 3 axes (dim=2), received [7]",
            ),
            (
                Variant::Native,
                LAYER.replace("g=3", "g=5"),
                "err layer: in_channels: expected a multiple of groups = 5, received 12",
            ),
            (Variant::Native, "mode=fwd n=1".to_owned(), "err kind: missing"),
        ];
        for (variant, line, expected) in lines {
            let mut output = Vec::new();
            let input = format!("setup {line}\nrun 0 1\n");
            serve(input.as_bytes(), &mut output, |keys| set_up(keys, variant, &cpu)).unwrap();
            let output = String::from_utf8(output).unwrap();
            let (first, second) = output.split_once('\n').unwrap();
            assert_eq!(first, expected, "{line}");
            assert_eq!(second.starts_with("t "), expected == "ok", "{line}: {second}");
        }
        std::fs::remove_file(path).unwrap();
    }
}
