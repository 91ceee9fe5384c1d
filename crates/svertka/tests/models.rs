//! Named networks: their size and cost against published figures, and what they give.

use svertka::models::{self, Entry, MODELS};
use svertka::{Cpu, Graph, Plan, Result, Tensor, Weights, cost};

/// Of a network with its own input size.
struct Published {
    name: &'static str,
    classes: usize,
    /// torchvision's documentation; Howard et al. (2017) round theirs to 4.2 M. `small`, `resnet9` and `lenet5` by hand.
    parameters: usize,
    /// Multiply-accumulates: torchvision's documentation; for MobileNet, the papers.
    macs: f64,
}

#[rustfmt::skip] // A line each.
const PUBLISHED: &[Published] = &[
    Published { name: "small", classes: 10, parameters: 175_402, macs: 10.404e6 },
    Published { name: "resnet9", classes: 10, parameters: 1_646_122, macs: 95.259e6 },
    Published { name: "lenet5", classes: 10, parameters: 61_706, macs: 416_520.0 },
    Published { name: "alexnet", classes: 1000, parameters: 61_100_840, macs: 0.714e9 },
    Published { name: "vgg11", classes: 1000, parameters: 132_863_336, macs: 7.61e9 },
    Published { name: "vgg16", classes: 1000, parameters: 138_357_544, macs: 15.47e9 },
    Published { name: "resnet18", classes: 1000, parameters: 11_689_512, macs: 1.814e9 },
    Published { name: "resnet34", classes: 1000, parameters: 21_797_672, macs: 3.66e9 },
    Published { name: "resnet50", classes: 1000, parameters: 25_557_032, macs: 4.09e9 },
    Published { name: "mobilenet-v1", classes: 1000, parameters: 4_231_976, macs: 0.569e9 },
    Published { name: "mobilenet-v2", classes: 1000, parameters: 3_504_872, macs: 0.30e9 },
];

fn output_shape(graph: &Graph, batch: usize) -> Result<Vec<usize>> {
    Ok(graph.shapes(&graph.input_shapes(batch))?.pop().unwrap())
}

/// One after the other: VGG has 553 MB of weights.
#[test]
fn parameters_and_macs_are_the_published_ones() -> Result<()> {
    for Entry { name, input, build, .. } in MODELS {
        let Some(published) = PUBLISHED.iter().find(|published| published.name == *name) else {
            panic!("{name}: no published figures to compare with");
        };
        let graph = build(input, published.classes, 0)?;
        let layers = cost(&graph, &graph.input_shapes(1))?;
        assert_eq!(
            layers.iter().map(|layer| layer.parameters).sum::<usize>(),
            published.parameters,
            "{name}"
        );
        let macs = layers.iter().map(|layer| layer.macs).sum::<u64>() as f64;
        assert!(
            (macs / published.macs - 1.0).abs() < 0.01,
            "{name}: {macs} MACs, published {}",
            published.macs
        );
        assert_eq!(output_shape(&graph, 3)?, [3, published.classes], "{name}");
        assert!(
            graph.nodes().last().is_some_and(|node| node.op.name() == "Gemm"),
            "{name} does not end in logits"
        );
    }
    Ok(())
}

/// All but those whose linear layers need the large picture.
fn fit_small_pictures() -> impl Iterator<Item = &'static Entry> {
    MODELS.iter().filter(|entry| entry.name != "alexnet" && !entry.name.starts_with("vgg"))
}

#[test]
fn small_pictures_give_finite_logits_that_depend_on_the_picture() -> Result<()> {
    let cpu = Cpu::new(2);
    let shape = [2, 3, 32, 32];
    let noise = |i: usize| ((i as f32 * 12.9898).sin() * 43758.547).fract();
    let pictures: Vec<f32> = (0..shape.iter().product()).map(noise).collect();
    let pictures = Tensor::new(shape, &pictures)?;
    for Entry { name, build, .. } in fit_small_pictures() {
        let graph = build(&shape[1..], 10, 1)?;
        let mut plan = Plan::new(&graph, &[shape.to_vec()], Weights::Constant, &cpu)?;
        plan.run(&cpu, graph.parameters(), &[&pictures], 0)?;
        assert_eq!(plan.output_shape(0), [2, 10], "{name}");
        let logits = plan.output(0);
        assert!(logits.iter().all(|logit| logit.is_finite()), "{name}: {logits:?}");
        assert!(logits[..10].iter().zip(&logits[10..]).all(|(a, b)| a != b), "{name}: {logits:?}");
    }
    Ok(())
}

#[test]
fn a_seed_gives_the_same_graph_and_another_seed_other_weights() -> Result<()> {
    for Entry { name, build, .. } in fit_small_pictures() {
        let graph = build(&[1, 20, 33], 4, 7)?;
        assert!(graph == build(&[1, 20, 33], 4, 7)?, "{name}");
        let other = build(&[1, 20, 33], 4, 8)?;
        assert_eq!(graph.nodes(), other.nodes(), "{name}");
        assert_ne!(graph.parameters()[0], other.parameters()[0], "{name}");
    }
    Ok(())
}

/// The shapes before and behind the first node of operator `op`, for one picture.
fn around(graph: &Graph, op: &str) -> Result<[Vec<usize>; 2]> {
    let layers = cost(graph, &graph.input_shapes(1))?;
    let index = graph.nodes().iter().position(|node| node.op.name() == op).unwrap();
    Ok([layers[index - 1].output_shape.clone(), layers[index].output_shape.clone()])
}

/// The size before the global average tells which stem was taken.
#[test]
fn stems_keep_the_size_of_small_pictures() -> Result<()> {
    for (name, [height, width], before) in [
        ("resnet18", [32, 64], [512, 4, 8]),
        ("resnet18", [32, 65], [512, 1, 3]),
        ("resnet50", [32, 64], [2048, 4, 8]),
        ("mobilenet-v1", [32, 64], [1024, 2, 4]),
        ("mobilenet-v1", [32, 65], [1024, 1, 3]),
        ("mobilenet-v2", [32, 64], [1280, 2, 4]),
        ("mobilenet-v2", [32, 65], [1280, 1, 3]),
    ] {
        let graph = models::build(name, &[3, height, width], 10, 0)?;
        assert_eq!(around(&graph, "GlobalAveragePool")?[0][1..], before, "{name} of {height} x {width}");
    }
    Ok(())
}

#[test]
fn blocks_are_named_as_in_torchvision() -> Result<()> {
    for (name, parameters) in [
        ("resnet18", &["conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer4.1.bn2.bias"][..]),
        ("resnet50", &["layer1.0.bn3.weight", "layer1.2.conv3.weight", "layer3.5.conv2.weight"]),
        ("mobilenet-v2", &["features.0.conv1.weight", "features.18.conv1.weight", "classifier.linear1.bias"]),
    ] {
        let graph = models::build(name, &[3, 32, 32], 10, 0)?;
        let names: Vec<&str> = graph.parameter_values().iter().map(|value| graph.name(*value)).collect();
        for parameter in parameters {
            assert!(names.contains(parameter), "{name}: no {parameter} in {names:?}");
        }
    }
    Ok(())
}

#[test]
fn small_takes_any_picture_from_8_x_8_up() -> Result<()> {
    for shape in [[1, 8, 8], [2, 9, 13], [3, 64, 17], [5, 96, 96]] {
        assert_eq!(output_shape(&models::small(&shape, 7, 0)?, 2)?, [2, 7], "{shape:?}");
    }
    Ok(())
}

#[test]
fn alexnet_averages_the_features_of_larger_pictures() -> Result<()> {
    let graph = models::alexnet(&[1, 254, 415], 2, 0)?;
    assert_eq!(around(&graph, "AveragePool")?, [[1, 256, 6, 12], [1, 256, 6, 6]]);
    Ok(())
}

#[test]
fn names_are_found_as_people_write_them() {
    for (typed, name) in
        [("resnet18", "resnet18"), (" ResNet50 ", "resnet50"), ("mobilenet_v2", "mobilenet-v2")]
    {
        assert_eq!(models::find(typed).map(|entry| entry.name), Some(name));
    }
    assert!(models::find("resnet").is_none());
}

#[test]
fn text_gives_the_network_that_it_spells() -> Result<()> {
    let text = "conv8 relu gap linear3";
    assert!(
        models::build(text, &[2, 9, 7], 3, 5)? == svertka::Network::from_text(text, &[2, 9, 7], 5)?.finish()
    );
    assert_eq!(output_shape(&models::build("linear3", &[2, 9], 3, 0)?, 4)?, [4, 3]);
    Ok(())
}

#[test]
fn errors_say_what_to_write_instead() {
    let known = "small, resnet9, lenet5, alexnet, vgg11, vgg16, resnet18, resnet34, resnet50, mobilenet-v1, mobilenet-v2";
    let unknown = |word| {
        let instead = "or layers such as \"conv32 relu pool2 linear10\"";
        format!("network: name: expected {known}, {instead}, received \"{word}\"")
    };
    let append = |text| {
        format!(
            "network: text: expected linear10 as its last layer, for 10 classes: append it, received \"{text}\""
        )
    };
    let picture = "network: input: expected channels, height and width, each at least 1";
    for (name_or_text, shape, classes, message) in [
        ("resnet19", &[3, 32, 32][..], 10, unknown("resnet19")),
        ("mobilenet-v3", &[3, 32, 32], 10, unknown("mobilenet-v3")),
        ("conv8 resnet18", &[3, 32, 32], 10, "network: \"resnet18\": layer: name: expected conv, dwconv".into()),
        ("conv", &[3, 32, 32], 10, "network: \"conv\": conv: options: expected output channels".into()),
        ("conv8", &[3, 32, 32], 10, append("conv8")),
        ("conv8 relu linear5", &[3, 32, 32], 10, append("conv8 relu linear5")),
        ("conv8 linear10 softmax", &[3, 32, 32], 10, append("conv8 linear10 softmax")),
        ("linear0", &[3, 32, 32], 0, "network: classes: expected at least 1, received 0".into()),
        ("small", &[3, 32, 32], 0, "small: network: classes: expected at least 1, received 0".into()),
        ("small", &[32, 32], 10, format!("small: {picture}, received [32, 32]")),
        ("resnet18", &[3, 0, 32], 10, format!("resnet18: {picture}, received [3, 0, 32]")),
        ("lenet5", &[1, 11, 28], 10, "lenet5: maxpool2: MaxPool: kernel_size: expected at most the padded input 1".into()),
        (
            "alexnet",
            &[3, 224, 255],
            10,
            "alexnet: network: input: expected height and width from 223 to 254, from 415 to 446, and so on by 192, received 224 x 255"
                .into(),
        ),
        (
            "vgg16",
            &[3, 32, 32],
            10,
            "vgg16: network: input: expected height and width from 224 to 255, from 448 to 479, and so on by 224, received 32 x 32"
                .into(),
        ),
    ] {
        let error = models::build(name_or_text, shape, classes, 0).unwrap_err().to_string();
        assert!(error.starts_with(&message), "{name_or_text}: {error}\nexpected {message}");
    }
}
