//! `svertka inspect`: a network's layers in one table.

use std::io::{self, Write};
use std::path::Path;

use anyhow::bail;
use serde_json::json;
use svertka::{Graph, LayerCost, Model, Network, cost, models};

use crate::errors::usage;
use crate::output::{self, Align, plain, thousands};
use crate::values;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Model file, name of a network, or layers such as "conv32 relu pool2 linear10"
    #[arg(value_name = "MODEL|NET")]
    network: String,
    /// Input [default: that of the model, or that a named network was made for; 3x32x32 for layers]
    #[arg(long, value_name = "CxHxW", value_parser = values::shape)]
    input: Option<[usize; 3]>,
    /// Classes of a named network [default: 1000 for pictures above 64 x 64, else 10]
    #[arg(long, value_name = "N")]
    classes: Option<usize>,
    /// Pictures in the batch: MACs are those of all of them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let graph = args.graph()?;
    let shapes = args.input_shapes(&graph)?;
    let layers = cost(&graph, &shapes)?;
    let parameters = layers.iter().map(|layer| layer.parameters as u64).sum();
    let macs = layers.iter().map(|layer| layer.macs).sum();
    let bytes = layers.iter().map(|layer| layer.bytes).sum();
    if args.json {
        return output::json(
            &json!({ "layers": layers, "parameters": parameters, "macs": macs, "bytes": bytes, "inputs": shapes }),
        );
    }
    let mut out = io::stdout().lock();
    let inputs: Vec<String> = shapes.iter().map(|shape| by(shape)).collect();
    writeln!(out, "{}, input {}; 1 MAC = 2 FLOP", plain(&args.network), inputs.join(" and "))?;
    let mut rows: Vec<Vec<String>> = layers.iter().map(row).collect();
    let blank = String::new;
    rows.push(vec![
        "total".into(),
        blank(),
        blank(),
        thousands(parameters),
        thousands(macs),
        thousands(bytes),
        blank(),
    ]);
    let heads = [
        ("name", Align::Left),
        ("op", Align::Left),
        ("output", Align::Left),
        ("parameters", Align::Right),
        ("MACs", Align::Right),
        ("bytes", Align::Right),
        ("receptive field", Align::Left),
    ];
    output::table(&mut out, &heads, &rows)?;
    Ok(())
}

impl Args {
    fn graph(&self) -> anyhow::Result<Graph> {
        let text = self.network.as_str();
        if text.ends_with(".onnx") || Path::new(text).exists() {
            if self.classes.is_some() {
                return Err(usage("the argument '--classes' cannot be used with a model file"));
            }
            return Ok(Model::load(text)?.graph);
        }
        let entry = models::find(text);
        let shape = self.input.unwrap_or_else(|| entry.map_or([3, 32, 32], |entry| entry.input));
        let classes = self.classes.unwrap_or(if shape[1].max(shape[2]) > 64 { 1000 } else { 10 });
        if entry.is_some() {
            return Ok(models::build(text, &shape, classes, 0)?);
        }
        if self.classes.is_some() {
            return Err(usage("the argument '--classes' cannot be used with layers: the last one says it"));
        }
        match Network::from_text(text, &shape, 0) {
            Ok(network) => Ok(network.finish()),
            // For a word that is no layer `build` names the networks too.
            Err(error) => Err(models::build(text, &shape, classes, 0).err().unwrap_or(error).into()),
        }
    }

    fn input_shapes(&self, graph: &Graph) -> anyhow::Result<Vec<Vec<usize>>> {
        let batch = self.batch as usize;
        let mut shapes = graph.input_shapes(batch);
        if let (Some([channels, height, width]), Some(first)) = (self.input, shapes.first_mut()) {
            *first = vec![batch, channels, height, width];
        } else if graph.inputs().iter().any(|input| input.shape.iter().skip(1).any(Option::is_none)) {
            bail!("{}: the sizes of its input are open: say them with --input CxHxW", self.network);
        }
        Ok(shapes)
    }
}

fn row(layer: &LayerCost) -> Vec<String> {
    let none_if_zero = |number: u64| if number == 0 { String::new() } else { thousands(number) };
    vec![
        layer.name.clone(),
        layer.op.to_owned(),
        by(&layer.output_shape),
        none_if_zero(layer.parameters as u64),
        none_if_zero(layer.macs),
        thousands(layer.bytes),
        by(&layer.receptive_field),
    ]
}

/// `1 x 3 x 224 x 224`
fn by(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ")
}
