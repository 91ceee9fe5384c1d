//! `docs/operators.md` says what the list of operators says: `UPDATE=1 cargo test -p svertka --test operator_table` writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use svertka::formats::Limits;
use svertka::formats::onnx::decode;
use svertka::gradient::add_gradients;
use svertka::graph::Graph;
use svertka::ops::{Entry, Example, Layouts, OPERATORS, Shapes};
use svertka::{Model, Value};

const HEADER: &str = "# Operators

Made from the list of operators by `UPDATE=1 cargo test -p svertka --test operator_table`; do not edit.

- *Axes*: spatial axes that the operator is tested on; \"any\" where it does not ask for channels and spatial axes.
- *Gradients*: the inputs that have one, by number.
- *Kernel*: the layout that the kernel reads and writes: *blocked* is `N x C/8 x spatial x 8`, *plain* `N x C x spatial`, *any* either.
- *Reads*: the ONNX operators that become it. *Writes*: what it becomes in an ONNX file; those in the domain `svertka` no other runtime can run.

| operator | axes | gradients | kernel | reads | writes |
|---|---|---|---|---|---|
";

#[derive(Default)]
struct Row {
    axes: BTreeSet<String>,
    gradients: BTreeSet<usize>,
    layouts: BTreeSet<&'static str>,
    writes: BTreeSet<String>,
}

fn shapes(example: &Example) -> Vec<&[usize]> {
    example.inputs.iter().map(Vec::as_slice).collect()
}

/// The operator alone, with all inputs open.
fn graph(example: &Example) -> (Graph, Vec<Value>, Vec<Value>) {
    let mut graph = Graph::new();
    let open = |shape: &[usize]| shape.iter().copied().map(Some).collect();
    let inputs: Vec<Value> = shapes(example).iter().map(|shape| graph.input("x", open(shape))).collect();
    let outputs = example.op.output_shapes(&shapes(example)).unwrap().len();
    let outputs = graph.push("node", Arc::clone(&example.op), &inputs, outputs);
    (graph, inputs, outputs)
}

fn gradients(example: &Example) -> BTreeSet<usize> {
    let (mut graph, inputs, outputs) = graph(example);
    let made = example.op.output_shapes(&shapes(example)).unwrap();
    let dy = graph.input("dy", made[0].iter().copied().map(Some).collect());
    let found = add_gradients(&mut graph, &[(outputs[0], dy)], &inputs).unwrap();
    (0..inputs.len()).filter(|&i| found[i].is_some()).collect()
}

/// The operators of the file that the example becomes, casts of indices left out.
fn writes(example: &Example) -> Option<String> {
    let (mut graph, _, outputs) = graph(example);
    graph.outputs = vec![outputs[0]];
    let bytes = Model::new(graph).to_bytes().ok()?;
    let nodes = decode(&bytes, &Limits::default()).unwrap().graph.unwrap().node;
    let name = |domain: &str, op_type: &str| {
        if domain.is_empty() { op_type.to_owned() } else { format!("{domain}.{op_type}") }
    };
    let mut names: Vec<String> = nodes.iter().map(|node| name(&node.domain, &node.op_type)).collect();
    if names.iter().any(|name| name != "Cast") {
        names.retain(|name| name != "Cast");
    }
    names.dedup();
    Some(names.join(" + "))
}

fn rows(entry: &Entry) -> BTreeMap<&'static str, Row> {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for example in (entry.examples)() {
        let row = rows.entry(example.op.name()).or_default();
        let inputs = shapes(&example);
        // What takes two axes, or none, takes anything.
        let rank = inputs[0].len();
        let spatial = example.op.output_shapes(&[&[&[2, 3][..]], &inputs[1..]].concat()).is_err();
        row.axes.insert(if spatial && rank > 2 { (rank - 2).to_string() } else { "any".into() });
        row.gradients.extend(gradients(&example));
        let made = example.op.output_shapes(&inputs).unwrap();
        let made: Vec<&[usize]> = made.iter().map(Vec::as_slice).collect();
        row.layouts.insert(match example.op.layouts(&Shapes::new(&inputs, &made)) {
            Layouts::Plain => "plain",
            Layouts::Same => "any",
            Layouts::AllBlocked | Layouts::Blocked { .. } => "blocked",
        });
        row.writes.extend(writes(&example));
    }
    rows
}

fn table() -> String {
    let mut text = HEADER.to_owned();
    for entry in OPERATORS {
        let reads: Vec<&str> = entry.onnx.iter().map(|(name, _)| *name).collect();
        let rows = rows(entry);
        for (name, row) in &rows {
            // A name of its own, where there are several; else all that the file of code reads.
            let own = reads.iter().copied().filter(|read| read == name).collect::<Vec<_>>();
            let reads = if rows.len() > 1 { own } else { reads.clone() };
            let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
            let axes =
                if row.axes.contains("any") { "any".into() } else { list(&mut row.axes.iter().cloned()) };
            writeln!(
                text,
                "| {name} | {axes} | {} | {} | {} | {} |",
                list(&mut row.gradients.iter().map(ToString::to_string)),
                list(&mut row.layouts.iter().map(ToString::to_string)),
                reads.join(", "),
                list(&mut row.writes.iter().cloned()),
            )
            .unwrap();
        }
    }
    text
}

#[test]
fn the_table_of_operators_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operators.md");
    let made = table();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = made.lines().zip(written.lines().chain([""])).find(|(made, written)| made != written);
    assert!(made == written, "UPDATE=1 writes it; the first difference: {differs:?}");
}
