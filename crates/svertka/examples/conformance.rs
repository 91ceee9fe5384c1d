//! Runs the ONNX project's tests as model files: `cargo run -p svertka --example conformance FOLDER LIST`.
//!
//! `FOLDER` holds groups of cases (see `interop/onnx_tests.py`). `LIST` names those that are not supported, with a reason each: `group/case: reason`.
//! A failure that is not on the list is an error, and so is a pass that is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use svertka::formats::Limits;
use svertka::formats::onnx::{DataType, TensorProto, decode, decode_tensor};
use svertka::{Cpu, Model, Plan, Tensor, Weights};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What the ONNX project's own runner allows.
const RELATIVE: f32 = 1e-3;
const ABSOLUTE: f32 = 1e-7;

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |name: &str| arguments.next().ok_or(format!("expected the argument {name}"));
    let (folder, list) = (PathBuf::from(argument("FOLDER")?), argument("LIST")?);
    let list = fs::read_to_string(list)?;
    let unsupported: BTreeMap<&str, &str> = list
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once(": ").ok_or(format!("expected `group/case: reason`, received {line:?}")))
        .collect::<std::result::Result<_, _>>()?;
    let (cpu, mut surprises) = (Cpu::new(0), vec![]);
    for group in entries(&folder)? {
        let (mut passed, cases) = (0, entries(&group)?);
        for case in &cases {
            let name = case.strip_prefix(&folder)?.display().to_string();
            match (run(case, &cpu), unsupported.get(&*name)) {
                (Ok(()), None) => passed += 1,
                (Err(_), Some(_)) => {}
                (Ok(()), Some(reason)) => surprises.push(format!("{name} passes, but is listed: {reason}")),
                (Err(error), None) => surprises.push(format!("{name}: {error}")),
            }
        }
        #[allow(clippy::print_stdout, reason = "the program's output")]
        {
            println!("{}: {passed} of {} pass", group.display(), cases.len());
        }
        if cases.is_empty() {
            surprises.push(format!("{}: no cases", group.display()));
        }
    }
    surprises.iter().for_each(|surprise| eprintln!("{surprise}"));
    Ok(if surprises.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a folder holds, sorted.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// `kind_0.pb`, `kind_1.pb`, ...
fn tensors(case: &Path, kind: &str) -> Result<Vec<TensorProto>> {
    (0..)
        .map(|i| case.join(format!("{kind}_{i}.pb")))
        .take_while(|path| path.exists())
        .map(|path| Ok(decode_tensor(&fs::read(path)?, &Limits::default())?))
        .collect()
}

fn run(case: &Path, cpu: &Cpu) -> Result<()> {
    let bytes = fs::read(case.join("model.onnx"))?;
    let declared = decode(&bytes, &Limits::default())?.graph.ok_or("no graph")?;
    let mut inputs = tensors(case, "input")?;
    // Inputs stand in the order of the graph, those with a value in the file left out.
    let names = declared.input.iter().map(|input| &input.name);
    let open = names.filter(|name| declared.initializer.iter().all(|tensor| tensor.name != **name));
    inputs.iter_mut().zip(open).for_each(|(tensor, name)| tensor.name.clone_from(name));
    let integer = |tensor: &TensorProto| tensor.data_type != DataType::Float as i32;
    let (mut bound, mut given): (Vec<_>, Vec<_>) =
        inputs.iter().cloned().enumerate().partition(|(i, tensor)| *i > 0 && integer(tensor));
    let read = |bound: &[(usize, TensorProto)]| {
        Model::from_bytes_bound(&bytes, &bound.iter().map(|(_, tensor)| tensor.clone()).collect::<Vec<_>>())
    };
    let model = read(&bound).or_else(|error| {
        // What must be known to plan the network may be a float as well: scales, bounds.
        if error.to_string().contains("expected a constant") {
            (given, bound) = inputs.iter().cloned().enumerate().partition(|(i, _)| *i == 0);
            return read(&bound);
        }
        Err(error)
    })?;
    let given: Vec<Tensor> = given
        .iter()
        .map(|(_, tensor)| Ok(Tensor::new(tensor.shape()?, &tensor.floats()?)?))
        .collect::<Result<_>>()?;
    let shapes: Vec<Vec<usize>> = given.iter().map(|tensor| tensor.shape().to_vec()).collect();
    let mut plan = Plan::new(&model.graph, &shapes, Weights::Constant, cpu)?;
    plan.run(cpu, model.graph.parameters(), &given.iter().collect::<Vec<_>>(), 0)?;
    for (i, expected) in tensors(case, "output")?.iter().enumerate() {
        if plan.output_shape(i) != expected.shape()? {
            let (expected, received) = (expected.shape()?, plan.output_shape(i));
            return Err(format!("output {i}: expected shape {expected:?}, received {received:?}").into());
        }
        let expected = expected.floats()?;
        let differs = |(a, b): (&f32, &f32)| {
            !(a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= ABSOLUTE + RELATIVE * b.abs())
        };
        if let Some(at) = plan.output(i).iter().zip(&expected).position(differs) {
            let (expected, received) = (expected[at], plan.output(i)[at]);
            return Err(format!("output {i} at {at}: expected {expected}, received {received}").into());
        }
    }
    Ok(())
}
