//! Writes each operator that ONNX has as a model of one node, with an input and what this library makes of it, for other runtimes to be
//! compared with: `cargo run -p svertka --example write_operators FOLDER`.

use std::path::Path;
use std::sync::Arc;

use svertka::formats::{Array, ArrayData, npz};
use svertka::graph::Graph;
use svertka::{Cpu, Model, Plan, Weights, ops};

fn array(shape: &[usize], data: &[f32]) -> Array {
    Array { shape: shape.to_vec(), data: ArrayData::F32(data.to_vec()) }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("expected a folder, received no argument")?;
    let cpu = Cpu::new(0);
    for (number, example) in ops::examples().into_iter().enumerate() {
        let shapes: Vec<&[usize]> = example.inputs.iter().map(Vec::as_slice).collect();
        let mut graph = Graph::new();
        let x = graph.input("x", shapes[0].iter().copied().map(Some).collect());
        let mut inputs = vec![x];
        for i in 1..shapes.len() {
            inputs.push(graph.parameter(&format!("p{i}"), example.input(i)));
        }
        let outputs = example.op.infer(&shapes)?.len();
        graph.outputs = vec![graph.push("y", Arc::clone(&example.op), &inputs, outputs)[0]];
        let model = Model::new(graph);
        // Training forms and the loss are no operators of a file.
        if outputs > 1 || format!("{:?}", example.op).contains("training: true") {
            continue;
        }
        let x = example.input(0);
        let mut plan = Plan::new(&model.graph, &[x.shape().to_vec()], Weights::Constant, &cpu)?;
        plan.run(&cpu, model.graph.parameters(), &[&x], 0)?;
        let name = format!("{number:03}-{}", example.op.name());
        model.save(Path::new(&folder).join(format!("{name}.onnx")))?;
        let (x, y) = (array(x.shape(), x.data()), array(plan.output_shape(0), plan.output(0)));
        std::fs::write(Path::new(&folder).join(format!("{name}.npz")), npz::encode([("x", &x), ("y", &y)])?)?;
    }
    Ok(())
}
