//! `svertka inspect`: a network's layers in one table.

use std::io::{self, Write};

use serde_json::json;
use svertka::{LayerCost, cost};

use crate::network;
use crate::output::{self, Align, by, plain, thousands};
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
    let graph = network::graph(&args.network, args.input, args.classes)?;
    let shapes = network::input_shapes(&args.network, &graph, args.input, args.batch as usize)?;
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
