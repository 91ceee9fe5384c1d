//! What the network sees: the filters of its first convolution, and what its first and last convolution stages make of some pictures.

use anyhow::Result;
use maud::{Markup, html};
use svertka::graph::Node;
use svertka::ops::Field;
use svertka::{Graph, LayerCost, Plan, Tensor, Value, Weights, cost};

use super::{Answer, Input, thumbnail};

/// Filters on the page.
const MAX_FILTERS: usize = 64;

/// Pictures whose feature maps are shown, each of another class.
const MAX_SAMPLES: usize = 4;

/// Channels of a stage, strongest first.
const MAX_MAPS: usize = 8;

/// A convolution with what works cell by cell on its output (normalization, activation): what the next layer reads.
struct Stage<'a> {
    convolution: &'a Node,
    output: Value,
    cost: &'a LayerCost,
}

pub(super) fn section(input: &Input<'_>, answers: &[Answer<'_>]) -> Result<Markup> {
    let graph = &input.model.graph;
    let layers = cost(graph, &graph.input_shapes(1))?;
    let stages = stages(graph, &layers);
    let filters = stages.first().map(|stage| filters(graph, stage)).transpose()?.flatten();
    let samples = if stages.is_empty() { vec![] } else { samples(input, answers, &stages)? };
    Ok(html! {
        section id="features" {
            h2 { "What it sees" }
            @if stages.is_empty() {
                p { "This network has no convolution over pictures, so there are no filters and no feature maps to show." }
            }
            @if let Some(filters) = filters { (filters) }
            @if !samples.is_empty() {
                h3 { "Feature maps" }
                p {
                    "Each small picture is one channel of a convolution after its activation: where in the picture on the left, and how strongly, "
                    "the network found what that channel looks for. The " (MAX_MAPS) " channels with the highest mean are shown, strongest first. "
                    (scale()) " Each map has its own scale; below it stand the channel and its largest magnitude."
                }
                @for sample in &samples { (sample) }
            }
        }
    })
}

fn scale() -> Markup {
    html! { span.key.below { "below zero" } ", white at zero, " span.key.above { "above zero" } "." }
}

/// The first and the last stage whose maps are pictures; one, where they are the same.
fn stages<'a>(graph: &'a Graph, layers: &'a [LayerCost]) -> Vec<Stage<'a>> {
    let is_convolution =
        |index: &usize| layers[*index].op == "Conv" && layers[*index].output_shape.len() == 4;
    let convolutions: Vec<usize> = (0..layers.len()).filter(is_convolution).collect();
    let (Some(&first), Some(&last)) = (convolutions.first(), convolutions.last()) else { return vec![] };
    let stage = |convolution: usize| {
        let end = end_of_stage(graph, layers, convolution);
        Stage {
            convolution: &graph.nodes()[convolution],
            output: graph.nodes()[end].outputs[0],
            cost: &layers[end],
        }
    };
    let mut stages = vec![stage(first)];
    if last != first {
        stages.push(stage(last));
    }
    stages
}

/// The last of the nodes that follow node `index` one after another, keep its shape and work cell by cell on nothing but its output.
fn end_of_stage(graph: &Graph, layers: &[LayerCost], index: usize) -> usize {
    let value = graph.nodes()[index].outputs[0];
    let mut readers = graph.nodes().iter().enumerate().filter(|(_, node)| node.inputs.contains(&value));
    match (readers.next(), readers.next()) {
        (Some((next, node)), None)
            if node.op.field() == Field::Cell
                && layers[next].output_shape == layers[index].output_shape
                && node
                    .inputs
                    .iter()
                    .all(|input| *input == value || graph.parameter_of(*input).is_some()) =>
        {
            end_of_stage(graph, layers, next)
        }
        _ => index,
    }
}

/// The filters of a convolution whose weight is known before it runs.
fn filters(graph: &Graph, stage: &Stage<'_>) -> Result<Option<Markup>> {
    let weight = stage.convolution.inputs.get(1).and_then(|weight| graph.parameter_of(*weight));
    let Some((weight, &[out_c, in_c, height, width])) =
        weight.and_then(|weight| Some((weight, weight.shape().as_array()?)))
    else {
        return Ok(None);
    };
    let cells = height * width;
    let mut pictures = Vec::new();
    for (number, filter) in weight.data().chunks_exact(in_c * cells).take(MAX_FILTERS).enumerate() {
        let picture = if in_c == 3 {
            coloured(filter, height, width)?
        } else {
            let summed: Vec<f32> =
                (0..cells).map(|cell| filter.iter().skip(cell).step_by(cells).sum()).collect();
            thumbnail::diverging(&summed, height, width, magnitude(&summed))?
        };
        let title = format!("{number}: largest weight {:.2}", magnitude(filter));
        pictures.push((thumbnail::drawing(&picture, &format!("Filter {number}"))?, title));
    }
    Ok(Some(html! {
        h3 { "Filters of the first convolution" }
        p {
            "The " (out_c) " patterns of " (height) " × " (width) " pixels that the first layer " code { (stage.convolution.name) }
            " looks for everywhere in a picture"
            @if out_c > MAX_FILTERS { ", the first " (MAX_FILTERS) " of them" }
            ". "
            @if in_c == 3 {
                "Their colours are the weights of red, green and blue, each filter by its own scale; mid-grey is no influence."
            } @else {
                @if in_c > 1 { "Weights are summed over the " (in_c) " input channels. " }
                (scale()) " Each filter has its own scale."
            }
        }
        ul.filters { @for (picture, title) in &pictures { li title=(title) { (picture) } } }
    }))
}

/// Three planes of weights as red, green and blue around mid-grey.
fn coloured(filter: &[f32], height: usize, width: usize) -> Result<svertka::formats::Picture> {
    let (cells, largest) = (height * width, magnitude(filter).max(f32::MIN_POSITIVE));
    let level = |weight: f32| (127.5 * (1.0 + weight / largest)).round() as u8;
    let data =
        (0..cells).flat_map(|cell| [0, 1, 2].map(|colour| level(filter[colour * cells + cell]))).collect();
    Ok(svertka::formats::Picture::new(width, height, 3, data)?)
}

fn magnitude(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

/// Feature maps of some pictures, from a run of the network up to the stages' outputs.
fn samples(input: &Input<'_>, answers: &[Answer<'_>], stages: &[Stage<'_>]) -> Result<Vec<Markup>> {
    let preprocessing = input.model.picture_preprocessing()?;
    let outputs: Vec<Value> = stages.iter().map(|stage| stage.output).collect();
    let (graph, _) = input.model.graph.pruned(&outputs);
    let shapes = graph.input_shapes(1);
    let mut plan = Plan::new(&graph, &shapes, Weights::Constant, input.cpu)?;
    // A network may be made for a larger batch: what stands behind the first picture is not looked at.
    let mut tensors: Vec<Tensor> = shapes.into_iter().map(Tensor::zeros).collect();
    let len = preprocessing.channels * preprocessing.height * preprocessing.width;
    let mut samples = Vec::new();
    for answer in chosen(answers, input.classes()) {
        let picture = input.split.picture(answer.index)?;
        let place =
            tensors.first_mut().and_then(|tensor| tensor.data_mut().get_mut(..len)).unwrap_or_default();
        preprocessing.write(&preprocessing.fit(picture.clone())?, place)?;
        plan.run(input.cpu, graph.parameters(), &tensors.iter().collect::<Vec<_>>(), 0)?;
        let rows = stages.iter().enumerate();
        let rows = rows
            .map(|(i, stage)| maps(stage, plan.output_shape(i), plan.output(i)))
            .collect::<Result<Vec<_>>>()?;
        let (label, given) = (input.class(answer.label), input.class(answer.answer));
        samples.push(html! {
            div.sample {
                figure {
                    (thumbnail::photo(&picture, &format!("Sample picture: {label}"))?)
                    figcaption { "is " bdi { (label) } br; "answer: " bdi { (given) } }
                }
                div { @for row in &rows { (row) } }
            }
        });
    }
    Ok(samples)
}

/// The first picture of each of some classes, which are spread evenly over those that have pictures.
fn chosen<'a>(answers: &'a [Answer<'a>], classes: usize) -> Vec<&'a Answer<'a>> {
    let first = |class| answers.iter().find(|answer| answer.label == class);
    let firsts: Vec<_> = (0..classes).filter_map(first).collect();
    let count = firsts.len().min(MAX_SAMPLES);
    (0..count).map(|i| firsts[i * firsts.len() / count]).collect()
}

/// The strongest channels of a stage, `1 x channels x height x width`.
fn maps(stage: &Stage<'_>, shape: &[usize], values: &[f32]) -> Result<Markup> {
    let &[_, channels, height, width] = shape.as_array().unwrap_or(&[0; 4]);
    let cells = height * width;
    let mean = |map: &[f32]| map.iter().sum::<f32>() / cells as f32;
    let mut strongest: Vec<(usize, &[f32])> =
        values.chunks_exact(cells.max(1)).take(channels).enumerate().collect();
    strongest.sort_by(|(_, a), (_, b)| mean(b).total_cmp(&mean(a)));
    let mut pictures = Vec::new();
    for (channel, map) in strongest.into_iter().take(MAX_MAPS) {
        let picture = thumbnail::diverging(map, height, width, magnitude(map))?;
        let title =
            format!("channel {channel}: mean {:.3}, largest magnitude {:.3}", mean(map), magnitude(map));
        pictures.push((channel, magnitude(map), thumbnail::drawing(&picture, &title)?, title));
    }
    let field = stage.cost.receptive_field.iter().map(ToString::to_string).collect::<Vec<_>>().join(" × ");
    Ok(html! {
        p.stage {
            code { (stage.convolution.name) } ": " (channels) " channels of " (height) " × " (width)
            "; each cell sees " (field) " pixels"
        }
        ul.maps { @for (channel, largest, picture, title) in &pictures {
            li title=(title) { (picture) span { "#" (channel) " · " (format!("{largest:.1}")) } }
        } }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use svertka::Network;

    fn names(text: &str) -> Vec<(String, String)> {
        let graph = Network::from_text(text, &[3, 12, 16], 0).unwrap().finish();
        let layers = cost(&graph, &graph.input_shapes(1)).unwrap();
        let name = |stage: Stage<'_>| (stage.convolution.op.name().to_owned(), stage.cost.op.to_owned());
        stages(&graph, &layers).into_iter().map(name).collect()
    }

    #[test]
    fn stages_end_before_the_shape_changes() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(names("linear3"), []);
        assert_eq!(names("conv4 bn relu pool2 linear3"), [pair("Conv", "Relu")]);
        assert_eq!(
            names("conv4 bn pool2 conv4 tanh flatten linear3"),
            [pair("Conv", "BatchNormalization"), pair("Conv", "Tanh")]
        );
        assert_eq!(names("conv4 conv3 gap"), [pair("Conv", "Conv"), pair("Conv", "Conv")]);
    }

    #[test]
    fn samples_are_of_different_classes() {
        let answers: Vec<_> = [5, 0, 0, 1, 3, 3, 2]
            .into_iter()
            .enumerate()
            .map(|(index, label)| Answer { index, label, answer: 0, probabilities: &[] })
            .collect();
        let indices =
            |classes| chosen(&answers, classes).iter().map(|answer| answer.index).collect::<Vec<_>>();
        assert_eq!(indices(6), [1, 3, 6, 4]);
        assert_eq!(indices(2), [1, 3]);
    }

    #[test]
    fn filters_in_colour_and_summed() {
        // One pixel of red 1, green -1, blue 0.
        assert_eq!(coloured(&[1.0, -1.0, 0.0], 1, 1).unwrap().data, [255, 0, 128]);
        for (channels, words) in [(1, "below zero"), (2, "summed over the 2"), (3, "red, green and blue")] {
            let graph = Network::from_text("conv5k2x3 relu linear2", &[channels, 6, 8], 0).unwrap().finish();
            let layers = cost(&graph, &graph.input_shapes(1)).unwrap();
            let page = filters(&graph, &stages(&graph, &layers)[0]).unwrap().unwrap().into_string();
            assert!(page.contains("The 5 patterns of 2 × 3 pixels") && page.contains(words), "{page}");
            assert_eq!(page.matches("<img").count(), 5);
        }
    }
}
