//! What PyTorch computes in double precision, output and all gradients, within 1e-5 of the largest value: `golden/torch_cases.py` wrote the cases.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;
use svertka::formats::{ArrayData, Limits, npy};
use svertka::gradient::add_gradients;
use svertka::graph::Graph;
use svertka::ops::Operator;
use svertka::{Cpu, Plan, Tensor, Value, Weights};

mod convolution;
mod elementwise;
mod normalization;
mod pooling;
mod resampling;

/// Of the largest value of an array.
const BOUND: f32 = 1e-5;

#[derive(serde::Deserialize)]
struct Case {
    kind: String,
    args: Json,
    inputs: Vec<Input>,
    gradients: Vec<usize>,
    y: Vec<usize>,
}

#[derive(serde::Deserialize)]
struct Input {
    shape: Vec<usize>,
    #[serde(default)]
    low: f64,
    #[serde(default)]
    high: f64,
    labels: Option<usize>,
    #[serde(default)]
    stored: bool,
}

/// A graph under construction, and the case's arguments.
struct Build<'a> {
    graph: &'a mut Graph,
    args: &'a Json,
    shapes: HashMap<Value, Vec<usize>>,
}

impl Build<'_> {
    fn push(&mut self, op: impl Operator + 'static, inputs: &[Value]) -> Value {
        self.push_all(op, inputs)[0]
    }

    fn push_all(&mut self, op: impl Operator + 'static, inputs: &[Value]) -> Vec<Value> {
        let read: Vec<&[usize]> = inputs.iter().map(|value| self.shape(*value)).collect();
        let made = (&op as &dyn Operator).output_shapes(&read).unwrap_or_else(|error| panic!("{error}"));
        let values = self.graph.push("", Arc::new(op), inputs, made.len());
        self.shapes.extend(values.iter().copied().zip(made));
        values
    }

    fn shape(&self, value: Value) -> &[usize] {
        &self.shapes[&value]
    }

    fn constant(&mut self, shape: &[usize], data: &[f32]) -> Value {
        let value = self.graph.parameter("", Tensor::new(shape, data).unwrap());
        self.shapes.insert(value, shape.to_vec());
        value
    }

    fn int(&self, name: &str) -> usize {
        self.args[name].as_u64().unwrap_or_else(|| panic!("{name} in {}", self.args)) as usize
    }

    fn float(&self, name: &str) -> f32 {
        self.args[name].as_f64().unwrap_or_else(|| panic!("{name} in {}", self.args)) as f32
    }

    fn flag(&self, name: &str) -> bool {
        self.args[name].as_bool().unwrap_or(false)
    }

    fn text(&self, name: &str) -> &str {
        self.args[name].as_str().unwrap_or_else(|| panic!("{name} in {}", self.args))
    }

    /// A list of sizes, or one for each of `dims` axes.
    fn sizes(&self, name: &str, dims: usize) -> Vec<usize> {
        match &self.args[name] {
            Json::Array(list) => list.iter().map(|size| size.as_u64().unwrap() as usize).collect(),
            other => vec![other.as_u64().unwrap() as usize; dims],
        }
    }
}

/// As in the script: all different up to 10,007 elements.
fn numbers(shape: &[usize], salt: i64, low: f64, high: f64) -> Tensor {
    let len = shape.iter().product::<usize>() as i64;
    let unit = |i: i64| ((i * 7919 + salt * 104_729 + 17) % 10_007) as f64 / 10_006.0;
    let data: Vec<f32> = (0..len).map(|i| (low + (high - low) * unit(i)) as f32).collect();
    Tensor::new(shape, &data).unwrap()
}

fn build(kind: &str, build: &mut Build<'_>, inputs: &[Value]) -> Option<Value> {
    convolution::build(kind, build, inputs)
        .or_else(|| pooling::build(kind, build, inputs))
        .or_else(|| normalization::build(kind, build, inputs))
        .or_else(|| resampling::build(kind, build, inputs))
        .or_else(|| elementwise::build(kind, build, inputs))
}

fn differs(what: &str, received: &[f32], expected: &[f32]) -> Option<String> {
    if received.len() != expected.len() {
        return Some(format!("{what}: {} elements, not {}", received.len(), expected.len()));
    }
    let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let error = received.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let (at, error) = error.enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let wrong = error.is_nan() || error > BOUND * largest;
    wrong.then(|| format!("{what} at {at}: {} and {}, largest {largest}", received[at], expected[at]))
}

/// Takes the next numbers of the file.
fn take<'a>(rest: &mut &'a [f32], len: usize) -> &'a [f32] {
    let (taken, left) = rest.split_at(len);
    *rest = left;
    taken
}

fn run(case: &Case, rest: &mut &[f32], cpu: &Cpu) -> Result<(), String> {
    let len = |shape: &[usize]| shape.iter().product::<usize>();
    let mut tensors = vec![];
    for (salt, input) in case.inputs.iter().enumerate() {
        tensors.push(match input.labels {
            _ if input.stored => Tensor::new(input.shape.clone(), take(rest, len(&input.shape))).unwrap(),
            Some(below) => {
                let labels = (0..len(&input.shape)).map(|i| ((i * 7919 + salt) % below) as f32);
                Tensor::new(input.shape.clone(), &labels.collect::<Vec<_>>()).unwrap()
            }
            None => numbers(&input.shape, salt as i64, input.low, input.high),
        });
    }
    let gradients: Vec<&[f32]> =
        case.gradients.iter().map(|&i| take(rest, len(&case.inputs[i].shape))).collect();
    let y = take(rest, len(&case.y));

    let mut graph = Graph::new();
    let open = |graph: &mut Graph, name: &str, shape: &[usize]| {
        graph.input(name, shape.iter().copied().map(Some).collect())
    };
    let inputs: Vec<Value> =
        tensors.iter().enumerate().map(|(i, x)| open(&mut graph, &format!("x{i}"), x.shape())).collect();
    let dy = open(&mut graph, "dy", &case.y);
    tensors.push(numbers(&case.y, 99, -1.0, 1.0));
    let shapes = inputs.iter().copied().zip(tensors.iter().map(|tensor| tensor.shape().to_vec())).collect();
    let mut builder = Build { graph: &mut graph, args: &case.args, shapes };
    let output = build(&case.kind, &mut builder, &inputs).ok_or("nothing builds this kind")?;
    let wrt: Vec<Value> = case.gradients.iter().map(|&i| inputs[i]).collect();
    let found = add_gradients(&mut graph, &[(output, dy)], &wrt).map_err(|error| error.to_string())?;
    graph.outputs = [Some(output)]
        .into_iter()
        .chain(found)
        .map(|value| value.ok_or("no gradient"))
        .collect::<Result<_, _>>()?;
    let shapes = graph.input_shapes(0);
    let mut plan = Plan::new(&graph, &shapes, Weights::Constant, cpu).map_err(|error| error.to_string())?;
    plan.run(cpu, graph.parameters(), &tensors.iter().collect::<Vec<_>>(), 0).unwrap();
    let expected = [("y".to_owned(), y)].into_iter().chain(
        case.gradients
            .iter()
            .zip(gradients)
            .map(|(i, gradient)| (format!("gradient of input {i}"), gradient)),
    );
    expected
        .enumerate()
        .find_map(|(i, (what, expected))| differs(&what, plan.output(i), expected))
        .map_or(Ok(()), Err)
}

#[test]
fn pytorch_computes_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let cases: Vec<Case> =
        serde_json::from_slice(&std::fs::read(folder.join("torch.json")).unwrap()).unwrap();
    let array = npy::decode(&std::fs::read(folder.join("torch.npy")).unwrap(), &Limits::default()).unwrap();
    let ArrayData::F32(numbers) = array.data else { panic!("{:?}", array.shape) };
    let (mut rest, cpu, mut failures) = (&numbers[..], Cpu::new(2), vec![]);
    for (i, case) in cases.iter().enumerate() {
        if let Err(error) = run(case, &mut rest, &cpu) {
            failures.push(format!("{i} {} {}: {error}", case.kind, case.args));
        }
    }
    assert!(rest.is_empty(), "{} numbers left over", rest.len());
    assert!(cases.len() >= 400, "{}", cases.len());
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}
