//! `svertka bench` as a user runs it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use svertka::graph::Graph;
use svertka::ops::{Linear, Softmax};
use svertka::{Model, Network};

/// Exit code, stdout and stderr.
fn bench(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_svertka"));
    command.current_dir(folder).arg("bench").args(args).stdin(Stdio::null());
    let output = command.output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    (output.status.code().expect("the process is not killed"), text(output.stdout), text(output.stderr))
}

fn json(folder: &Path, args: &[&str]) -> Value {
    let (code, stdout, stderr) = bench(folder, &[args, &["--json"]].concat());
    assert_eq!((code, stderr.as_str(), stdout.lines().count()), (0, "", 1), "{args:?}: {stdout}");
    serde_json::from_str(&stdout).expect("stdout is JSON")
}

#[test]
fn figures_of_a_network_belong_together() {
    let dir = tempfile::tempdir().unwrap();
    let net = "conv16k3p1 relu conv16k3p1 dwconvk3s2 gap linear3";
    let args = ["--input", "16x12x20", "--batch", "2", "--threads", "1", "--runs", "7"];
    let got = json(dir.path(), &[&[net], &args[..]].concat());
    assert_eq!((&got["runs"], &got["threads"], &got["batch"]), (&7.into(), &1.into(), &2.into()));
    assert_eq!(got["inputs"], serde_json::json!([[2, 16, 12, 20]]));
    // Two 3 x 3 convolutions of 16 channels, a depthwise one and a linear layer, for two pictures.
    let macs = 2 * (2 * 9 * 16 * 16 * 12 * 20 + 9 * 16 * 6 * 10 + 16 * 3);
    assert_eq!(got["macs"], macs);
    let number = |key: &str| got[key].as_f64().unwrap();
    let median = number("median_ms");
    assert!(number("best_ms") > 0.0 && number("best_ms") <= median);
    assert!((number("images_per_second") * median / 2000.0 - 1.0).abs() < 1e-9);
    assert!((number("gflops") * median / (2e-6 * f64::from(macs)) - 1.0).abs() < 1e-9);
    assert!(number("peak_gflops") > 0.1);
    // What a convolution reads and what it makes are there at once.
    assert!(number("plan_bytes") >= f64::from(2 * 2 * 16 * 12 * 20 * 4));
    if cfg!(target_os = "linux") {
        assert!(number("peak_rss_bytes") > number("plan_bytes"));
    }
    let steps = got["steps"].as_array().unwrap();
    let convs: Vec<&Value> = steps.iter().filter(|step| step["op"] == "Conv").collect();
    let algorithms: Vec<&str> = convs.iter().map(|step| step["algorithm"].as_str().unwrap()).collect();
    assert_eq!(algorithms, ["winograd 4x4", "winograd 4x4", "depthwise"]);
    assert_eq!(convs[2]["output_shape"], serde_json::json!([2, 16, 6, 10]));
    assert_eq!(steps.iter().map(|step| step["macs"].as_u64().unwrap()).sum::<u64>(), macs as u64);
    for step in steps {
        assert_eq!(step["gflops"].is_null(), step["macs"] == 0, "{step}");
    }
    // Constant weights are packed once, not in each run.
    assert!(steps.iter().all(|step| !step["name"].as_str().unwrap().ends_with(".pack")), "{steps:?}");
    assert!(steps.iter().any(|step| step["op"].is_null()), "the picture is reordered: {steps:?}");
}

#[test]
fn the_slowest_steps_are_shown_or_all() {
    let dir = tempfile::tempdir().unwrap();
    let net = ["resnet18", "--input", "3x32x32", "--time", "0.01s"];
    let steps = |stdout: &str| stdout.lines().skip_while(|line| !line.starts_with("step ")).count() - 1;
    let (code, few, _) = bench(dir.path(), &net);
    assert!(code == 0 && few.starts_with("resnet18, input 1 x 3 x 32 x 32; "), "{few}");
    assert!(few.contains(" images/s; ") && few.contains("\nmemory of the plan "), "{few}");
    assert_eq!(steps(&few), 13, "{few}");
    assert!(few.contains("\nthe 12 slowest of ") && few.contains(" steps; --per-layer shows all\n"), "{few}");
    let (_, all, _) = bench(dir.path(), &[&net[..], &["--per-layer"]].concat());
    assert!(steps(&all) > 20 && !all.contains("--per-layer"), "{all}");
    assert!(all.find("layer1.0.conv1 ").unwrap() < all.find("layer4.1.conv2 ").unwrap(), "{all}");
}

#[test]
fn a_model_file_says_its_batch() {
    let dir = tempfile::tempdir().unwrap();
    let open = Network::from_text("conv4 relu gap linear3", &[1, 8, 6], 0).unwrap().finish();
    Model::new(open).save(dir.path().join("open.onnx")).unwrap();
    let mut fixed = Graph::new();
    let x = fixed.input("x", [4, 3].map(Some).to_vec());
    fixed.outputs = fixed.push("softmax", Arc::new(Softmax::new(1)), &[x], 1);
    Model::new(fixed).save(dir.path().join("fixed.onnx")).unwrap();
    assert_eq!(json(dir.path(), &["open.onnx", "--runs", "1"])["batch"], 1);
    assert_eq!(json(dir.path(), &["open.onnx", "--runs", "1", "--batch", "3"])["batch"], 3);
    let got = json(dir.path(), &["fixed.onnx", "--runs", "1"]);
    assert_eq!((&got["batch"], &got["macs"]), (&4.into(), &0.into()));
    let (code, _, stderr) = bench(dir.path(), &["fixed.onnx", "--batch", "3"]);
    let expected =
        "error: the argument '--batch' cannot be used with fixed.onnx, which is for batches of 4\n";
    assert_eq!((code, stderr.as_str()), (2, expected));
}

#[test]
fn a_step_of_training_is_told_by_operator_and_by_layer() {
    let dir = tempfile::tempdir().unwrap();
    let net = "conv16k3p1 bn relu conv16k3p1 gap linear3";
    let args = ["--train", "--input", "3x12x20", "--batch", "2", "--threads", "1", "--runs", "5"];
    let got = json(dir.path(), &[&[net], &args[..]].concat());
    assert_eq!((&got["runs"], &got["batch"]), (&5.into(), &2.into()));
    assert_eq!(got["inputs"], serde_json::json!([[2, 3, 12, 20]]));
    let (first, second, linear) = (9 * 3 * 16 * 12 * 20, 9 * 16 * 16 * 12 * 20, 16 * 3);
    // Two pictures, three passes.
    assert_eq!(got["macs"], 2 * 3 * (first + second + linear));
    let number = |value: &Value, key: &str| value[key].as_f64().unwrap();
    let median = number(&got, "median_ms");
    assert!((number(&got, "images_per_second") * median / 2000.0 - 1.0).abs() < 1e-9);
    let flops = 2e-6 * number(&got, "macs");
    assert!((number(&got, "gflops") * median / flops - 1.0).abs() < 1e-9);
    assert!(number(&got, "plan_bytes") >= f64::from(2 * 3 * 16 * 12 * 20 * 4));
    let lines = |key: &str| got[key].as_array().unwrap().clone();
    let named = |key: &str, name: &str| {
        lines(key).into_iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("{name}: {got}"))
    };
    // The picture needs no gradient, so the first layer does two thirds of the work.
    assert_eq!(named("operators", "Conv")["macs"], 2 * (2 * first + 3 * second));
    assert_eq!(named("operators", "Gemm")["macs"], 2 * 3 * linear);
    // The norm does what the activation behind it did.
    assert!(!lines("operators").iter().any(|line| line["name"] == "Relu"), "{got}");
    for op in ["BatchNormalization", "CrossEntropy"] {
        let line = named("operators", op);
        assert!(number(&line, "forward_ms") > 0.0 && number(&line, "input_gradient_ms") > 0.0, "{line}");
        assert!(line["gflops"].is_null() && line["macs"] == 0, "{line}");
    }
    let update = named("operators", "update");
    assert!(number(&update, "ms") > 0.0 && number(&update, "forward_ms") == 0.0, "{update}");
    let layers = lines("layers");
    let convs: Vec<&Value> = layers.iter().filter(|line| line["op"] == "Conv").collect();
    assert_eq!([&convs[0]["macs"], &convs[1]["macs"]], [&Value::from(4 * first), &(6 * second).into()]);
    assert!(convs.iter().all(|line| number(line, "weight_gradient_ms") > 0.0), "{convs:?}");
    let back = |line: &Value| number(line, "input_gradient_ms");
    assert!(back(convs[0]) == 0.0 && back(convs[1]) > 0.0, "{convs:?}");
    assert_eq!(convs[1]["output_shape"], serde_json::json!([2, 16, 12, 20]));
    // Both tell of all that is measured.
    let sum = |lines: &[Value]| lines.iter().map(|line| number(line, "ms")).sum::<f64>();
    let (operators, layers) = (sum(&lines("operators")), sum(&layers));
    assert!((operators / layers - 1.0).abs() < 1e-9 && operators < 2.0 * median, "{operators} {layers}");
}

#[test]
fn training_in_less_memory_is_measured() {
    let dir = tempfile::tempdir().unwrap();
    let net = "conv16 bn relu ".repeat(6) + "gap linear3";
    let args = [&net, "--train", "--batch", "16", "--runs", "1"];
    let [whole, less] = [&[][..], &["--memory"]].map(|more| json(dir.path(), &[&args[..], more].concat()));
    assert_eq!((&whole["recompute"], &less["recompute"]), (&false.into(), &true.into()));
    assert!(less["plan_bytes"].as_u64() < whole["plan_bytes"].as_u64(), "{less}");
    let again = |got: &Value, op: &str| {
        let lines = got["layers"].as_array().unwrap().iter().filter(|line| line["op"] == op);
        lines.filter(|line| line["recomputation_ms"].as_f64().unwrap() > 0.0).count()
    };
    assert!(again(&whole, "Conv") == 0 && again(&less, "Conv") > 0, "{less}");
    // Norms are made again in any case, but for that of the first layer, which is as short, and the last, which only a pooling reads.
    assert_eq!(again(&whole, "BatchNormalization"), 4, "{whole}");
    // What is done again does not count.
    assert_eq!(less["macs"], whole["macs"]);
    let (_, table, _) = bench(dir.path(), &[&args[..], &["--memory"]].concat());
    let head = table.lines().find(|line| line.starts_with("op ")).unwrap();
    assert_eq!(head.split_whitespace().take(4).collect::<Vec<_>>(), ["op", "forward", "again", "backward"]);
}

#[test]
fn training_is_shown_as_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let net = ["lenet5", "--train", "--classes", "7", "--time", "0.01s"];
    let (code, table, stderr) = bench(dir.path(), &net);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(table.starts_with("training lenet5, input 64 x 1 x 28 x 28; "), "{table}");
    assert!(table.contains("\na step: median ") && table.contains(" images/s; "), "{table}");
    assert!(
        table.contains("\nop ") && table.contains("\nMaxPool ") && table.contains("\nupdate "),
        "{table}"
    );
    let (_, table, _) = bench(dir.path(), &[&net[..], &["--per-layer", "--batch", "3"]].concat());
    assert!(table.contains("input gradient  weight gradient"), "{table}");
    assert!(table.lines().any(|line| line.contains("  Gemm ") && line.contains("  3 x 7 ")), "{table}");
}

#[test]
fn a_model_file_is_trained_as_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let open = Network::from_text("conv4 relu gap linear3 softmax", &[1, 8, 6], 0).unwrap().finish();
    Model::new(open).save(dir.path().join("open.onnx")).unwrap();
    let got = json(dir.path(), &["open.onnx", "--train", "--runs", "1", "--batch", "5"]);
    assert_eq!(got["inputs"], serde_json::json!([[5, 1, 8, 6]]));
    let mut graph = Graph::new();
    let x = graph.input("x", [Some(4), Some(3)].to_vec());
    let weight = graph.parameter("weight", svertka::Tensor::zeros([2, 3]));
    graph.outputs = graph.push("linear", Arc::new(Linear), &[x, weight], 1);
    Model::new(graph).save(dir.path().join("fixed.onnx")).unwrap();
    assert_eq!(json(dir.path(), &["fixed.onnx", "--train", "--runs", "1"])["batch"], 4);
    let lines: [(&[&str], i32, &str); 3] = [
        (
            &["open.onnx", "--input", "1x8x7"],
            2,
            "'--input' cannot be used with open.onnx, which is for 1 x 8 x 6",
        ),
        (&["open.onnx", "--classes", "3"], 2, "'--classes' cannot be used with a model file"),
        (&["fixed.onnx", "--batch", "3"], 2, "fixed.onnx, which is for batches of 4"),
    ];
    for (args, expected, words) in lines {
        let (code, stdout, stderr) = bench(dir.path(), &[args, &["--train"]].concat());
        assert_eq!((code, stdout.as_str()), (expected, ""), "{args:?}: {stderr}");
        assert!(stderr.contains(words), "{args:?}: {stderr}");
    }
}

#[test]
fn layers_of_the_list_are_measured() {
    let dir = tempfile::tempdir().unwrap();
    let got = json(dir.path(), &["--layers", "_7", "--runs", "2", "--threads", "1", "--batch", "2"]);
    let layers = got["layers"].as_array().unwrap();
    let names: Vec<&str> = layers.iter().map(|layer| layer["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["r50_7x7s2_3_64_224", "r50_3x3_512_512_7", "r50_1x1_512_2048_7", "dw3x3_960_7"]);
    assert_eq!((&got["batch"], &layers[3]["macs"]), (&2.into(), &(2 * 9 * 960 * 49).into()));
    assert_eq!((&layers[3]["algorithm"], &layers[3]["runs"]), (&"depthwise".into(), &2.into()));
    for layer in layers {
        let of = |key: &str| layer[key].as_f64().unwrap();
        let rate = 2e-6 * of("macs") / of("median_ms");
        assert!((of("gflops") / rate - 1.0).abs() < 1e-9 && of("peak_gflops") > 0.1, "{layer}");
    }
    let (code, table, stderr) = bench(dir.path(), &["--layers", "dw3x3_960", "--runs", "1"]);
    assert_eq!((code, stderr.as_str(), table.lines().count()), (0, "", 3), "{table}");
    assert!(
        table.starts_with("forward, batch 1; ") && table.contains("\ndw3x3_960_7  depthwise  "),
        "{table}"
    );
}

#[test]
fn wrong_calls_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let lines: [(&[&str], i32, &str); 13] = [
        (&[], 2, "required arguments were not provided"),
        (&["lenet5", "--runs", "0"], 2, "0 is not in 1..=100000"),
        (&["lenet5", "--batch", "0"], 2, "0 is not in 1..=65535"),
        (&["lenet5", "--runs", "1", "--time", "1s"], 2, "cannot be used with"),
        (&["lenet5", "--layers", "dw"], 2, "cannot be used with"),
        (&["--layers", "nothing"], 1, "error: bench: layers: expected a part of one of r50_7x7s2_3_64_224, "),
        (
            &["--layers", "vgg", "--batch", "65535"],
            1,
            "error: layer: batch: expected at most 17179869184 numbers",
        ),
        (&["lenet5", "--memory"], 2, "required arguments were not provided"),
        (&["--train"], 2, "required arguments were not provided"),
        (&["lenet5", "--train", "--measured"], 2, "cannot be used with"),
        (&["conv4 gmp", "--train"], 1, "error: train: network: expected an output N x classes"),
        (&["lenet9"], 1, "error: network: name: expected small, resnet9, lenet5, "),
        (&["missing.onnx"], 1, "error: missing.onnx: "),
    ];
    for (args, expected, words) in lines {
        let (code, stdout, stderr) = bench(dir.path(), args);
        assert_eq!((code, stdout.as_str()), (expected, ""), "{args:?}: {stderr}");
        assert!(stderr.contains(words), "{args:?}: {stderr}");
    }
}
