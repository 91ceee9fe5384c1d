//! The network that an argument names: a model file, a name, or layers.

use std::path::Path;

use anyhow::bail;
use svertka::{Graph, Model, Network, models};

use crate::errors::usage;

/// The graph of `text`. Without `input` a named network is for the pictures it was made for, and layers are for 3 x 32 x 32; without `classes`
/// a named network has 1000 for pictures above 64 x 64, else 10.
pub(crate) fn graph(text: &str, input: Option<[usize; 3]>, classes: Option<usize>) -> anyhow::Result<Graph> {
    if text.ends_with(".onnx") || Path::new(text).exists() {
        if classes.is_some() {
            return Err(usage("the argument '--classes' cannot be used with a model file"));
        }
        return Ok(Model::load(text)?.graph);
    }
    let entry = models::find(text);
    let shape = input.unwrap_or_else(|| entry.map_or([3, 32, 32], |entry| entry.input));
    let last = classes.unwrap_or(if shape[1].max(shape[2]) > 64 { 1000 } else { 10 });
    if entry.is_some() {
        return Ok(models::build(text, &shape, last, 0)?);
    }
    if classes.is_some() {
        return Err(usage("the argument '--classes' cannot be used with layers: the last one says it"));
    }
    match Network::from_text(text, &shape, 0) {
        Ok(network) => Ok(network.finish()),
        // For a word that is no layer `build` names the networks too.
        Err(error) => Err(models::build(text, &shape, last, 0).err().unwrap_or(error).into()),
    }
}

/// The shapes of its inputs for a batch; `input` is that of the first.
pub(crate) fn input_shapes(
    text: &str,
    graph: &Graph,
    input: Option<[usize; 3]>,
    batch: usize,
) -> anyhow::Result<Vec<Vec<usize>>> {
    let mut shapes = graph.input_shapes(batch);
    if let (Some([channels, height, width]), Some(first)) = (input, shapes.first_mut()) {
        *first = vec![batch, channels, height, width];
    } else if graph.inputs().iter().any(|input| input.shape.iter().skip(1).any(Option::is_none)) {
        bail!("{text}: the sizes of its input are open: say them with --input CxHxW");
    }
    Ok(shapes)
}
