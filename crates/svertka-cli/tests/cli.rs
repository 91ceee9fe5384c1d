//! The binary as a user runs it: training, prediction, evaluation, inspection, and what goes wrong.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use image::{GrayImage, ImageEncoder, Luma};
use serde_json::Value;

/// Trains in a second and still learns the digits.
const TINY: [&str; 4] = ["--net", "conv4 bn relu pool4 dropout0.1 linear10", "--epochs", "2"];

struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_svertka"));
    // Not the cache of whoever runs the tests.
    command.env("XDG_CACHE_HOME", folder.join(".cache"));
    command.current_dir(folder).args(args).env_remove("SVERTKA_ISA").stdin(Stdio::null());
    command
}

fn finished(output: Output) -> Run {
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    let code = output.status.code().expect("the process is not killed");
    Run { code, stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn svertka(folder: &Path, args: &[&str]) -> Run {
    finished(command(folder, args).output().expect("the binary runs"))
}

/// Runs what must succeed.
fn ok(folder: &Path, args: &[&str]) -> Run {
    let run = svertka(folder, args);
    assert_eq!(run.code, 0, "{args:?}: {}", run.stderr);
    run
}

/// The one line of stdout as JSON.
fn json(run: &Run) -> Value {
    assert_eq!(run.stdout.lines().count(), 1, "{}", run.stdout);
    serde_json::from_str(&run.stdout).expect("stdout is JSON")
}

fn train_digits(folder: &Path, more: &[&str]) -> Run {
    ok(folder, &[&["train"], &TINY[..], more].concat())
}

#[test]
fn digits_are_trained_evaluated_and_inspected() {
    let dir = tempfile::tempdir().unwrap();
    let human = train_digits(dir.path(), &[]);
    let epochs: Vec<&str> = human.stdout.lines().filter(|line| line.starts_with("epoch ")).collect();
    assert_eq!(epochs.len(), 2, "{}", human.stdout);
    assert!(epochs[0].starts_with("epoch 1/2  loss "), "{}", epochs[0]);
    assert!(!human.stdout.contains(|c: char| c.is_control() && c != '\n'), "{}", human.stdout);
    assert_eq!(human.stderr, "");
    let run = dir.path().join("runs/digits");
    let model = fs::read(run.join("model.onnx")).unwrap();
    let config: Value = serde_json::from_slice(&fs::read(run.join("config.json")).unwrap()).unwrap();
    assert_eq!((&config["train"]["epochs"], &config["network"]), (&2.into(), &TINY[1].into()));
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 2);
    for line in metrics.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let (waited, seconds) =
            (record["data_seconds"].as_f64().unwrap(), record["seconds"].as_f64().unwrap());
        assert!(0.0 < waited && waited < seconds, "{line}");
    }
    assert!(!dir.path().join(".cache").exists(), "the digits are not decoded");
    assert!(fs::read_to_string(run.join("report.html")).unwrap().contains("</html>"));

    // A finished run gives its result again.
    let again = train_digits(dir.path(), &[]);
    assert!(again.stdout.contains("\nthis run was finished before; its result again"), "{}", again.stdout);
    assert_eq!(fs::read(run.join("model.onnx")).unwrap(), model);
    let result = json(&train_digits(dir.path(), &["--json"]));
    assert_eq!(result["model"], "runs/digits/model.onnx");
    assert_eq!((&result["epochs"], &result["measured_on"]), (&2.into(), &"test".into()));
    let accuracy = result["test_accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.8 && result["val_accuracy"].as_f64().unwrap() > 0.8, "{result}");
    assert!(result["interval"][0].as_f64().unwrap() < accuracy && result["seconds"].as_f64().unwrap() > 0.0);
    if cfg!(target_os = "linux") {
        assert!(result["peak_rss_bytes"].as_u64().unwrap() > 1 << 20);
    }

    let eval = json(&ok(dir.path(), &["eval", "runs/digits/model.onnx", "digits", "--json"]));
    assert_eq!((eval["accuracy"].as_f64(), eval["count"].as_u64()), (Some(accuracy), Some(1000)));
    assert_eq!(eval["confusion"], result["confusion"]);
    assert_eq!(eval["per_class"].as_array().unwrap().len(), 10);
    let human =
        ok(dir.path(), &["eval", "runs/digits/model.onnx", "digits", "--split", "val", "--report", "e.html"]);
    assert!(
        human.stdout.contains("digits, val: accuracy ") && human.stdout.contains("true \\ answer"),
        "{}",
        human.stdout
    );
    assert!(fs::read_to_string(dir.path().join("e.html")).unwrap().contains("</html>"));

    let layers = json(&ok(dir.path(), &["inspect", "runs/digits/model.onnx", "--json"]));
    assert_eq!((&layers["parameters"], &layers["macs"]), (&2018.into(), &30_184.into()));
    assert_eq!(layers["layers"][0]["output_shape"], serde_json::json!([1, 4, 28, 28]));
    let table = ok(dir.path(), &["inspect", "lenet5"]).stdout;
    assert!(table.starts_with("lenet5, input 1 x 1 x 28 x 28; 1 MAC = 2 FLOP\n"), "{table}");
}

/// 16 x 16, with the left or the upper half bright.
fn half(left: bool, shade: u8) -> GrayImage {
    GrayImage::from_fn(16, 16, |x, y| {
        let bright = if left { x < 8 } else { y < 8 };
        Luma([shade + if bright { 150 } else { 0 } + ((x * 7 + y * 3) % 11) as u8])
    })
}

/// Pictures of halves in all the forms that files of the same content have.
fn write_halves(folder: &Path) {
    for (class, left) in [("left", true), ("top", false)] {
        let class = folder.join(class);
        fs::create_dir_all(&class).unwrap();
        for shade in 0..24 {
            half(left, shade * 4).save(class.join(format!("{shade}.png"))).unwrap();
        }
        let colour = image::DynamicImage::from(half(left, 30)).into_rgb8();
        colour.save(class.join("colour.jpg")).unwrap();
        let deep = image::DynamicImage::from(half(left, 50)).into_luma16();
        deep.save(class.join("deep.png")).unwrap();
    }
    fs::write(folder.join("left/broken.png"), b"\x89PNG\r\n\x1a\nnothing more").unwrap();
    // Stored with the left half bright, to be shown a quarter turn clockwise: the upper half is.
    let mut jpeg = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut jpeg);
    let orientation = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    encoder.set_exif_metadata(orientation.to_vec()).unwrap();
    encoder.write_image(half(true, 20).as_raw(), 16, 16, image::ExtendedColorType::L8).unwrap();
    fs::write(folder.join("top/turned.jpg"), jpeg).unwrap();
}

#[test]
fn in_less_memory_training_ends_with_the_same_model() {
    let dir = tempfile::tempdir().unwrap();
    let model = |out: &str, more: &[&str]| {
        train_digits(dir.path(), &[&["--out", out], more].concat());
        fs::read(dir.path().join(out).join("model.onnx")).unwrap()
    };
    assert!(model("whole", &[]) == model("less", &["--memory"]));
    let config: Value =
        serde_json::from_slice(&fs::read(dir.path().join("less/config.json")).unwrap()).unwrap();
    assert_eq!(config["train"]["recompute"], true);
}

#[test]
fn a_folder_with_odd_files_is_trained_and_predicted() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    write_halves(&at.join("halves"));
    let args = [
        "train",
        "halves",
        "--net",
        "conv4 relu pool4 linear2",
        "--augment",
        "none",
        "--epochs",
        "12",
        "--batch",
        "8",
    ];
    let run = ok(at, &[&args[..], &["--json", "--out", "run"]].concat());
    assert!(
        run.stderr.contains("skipped 1 picture that could not be read:\n  halves/left/broken.png: picture: "),
        "{}",
        run.stderr
    );
    let result = json(&run);
    assert_eq!((&result["val_accuracy"], &result["test_accuracy"]), (&1.0.into(), &Value::Null), "{result}");

    let model = "run/model.onnx";
    let first =
        |path: &str| json(&ok(at, &["predict", model, path, "--json"]))[0]["labels"][0]["label"].clone();
    for (path, label) in
        [("halves/top/turned.jpg", "top"), ("halves/left/deep.png", "left"), ("halves/left/3.png", "left")]
    {
        assert_eq!(first(path), label, "{path}");
    }
    let list = svertka(at, &["predict", model, "halves", "--json", "--top", "2"]);
    assert_eq!(list.code, 1);
    assert!(list.stderr.starts_with("error: halves/left/broken.png: "), "{}", list.stderr);
    assert!(list.stderr.ends_with("error: 1 of 54 pictures could not be read\n"), "{}", list.stderr);
    let list = json(&list);
    assert_eq!((list.as_array().unwrap().len(), list[0]["path"].as_str()), (53, Some("halves/left/0.png")));
    assert_eq!(list[0]["labels"].as_array().unwrap().len(), 2);

    // Shares are disjoint and complete; batches change nothing.
    let lines = |more: &[&str]| ok(at, &[&["predict", model, "halves/top", "--csv"], more].concat()).stdout;
    let whole = lines(&["--batch", "7"]);
    assert!(whole.starts_with("path,rank,label,index,probability\nhalves/top/0.png,1,top,1,"), "{whole}");
    let mut rows: Vec<String> = whole.lines().skip(1).map(str::to_owned).collect();
    let mut shared: Vec<String> = Vec::new();
    for shard in ["1/2", "2/2"] {
        shared.extend(lines(&["--shard", shard]).lines().skip(1).map(str::to_owned));
    }
    rows.sort();
    shared.sort();
    assert_eq!((rows.len(), rows), (2 * 27, shared));

    let mut child = command(at, &["predict", model, "-", "--top", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(at.join("halves/top/5.png")).unwrap()).unwrap();
    let run = finished(child.wait_with_output().unwrap());
    assert!(
        run.code == 0 && run.stdout.starts_with("-: top ") && run.stdout.lines().count() == 1,
        "{}",
        run.stdout
    );

    let eval = json(&ok(at, &["eval", model, "halves", "--json"]));
    assert_eq!(
        (&eval["measured_on"], &eval["count"], &eval["accuracy"]),
        (&"all".into(), &53.into(), &1.0.into())
    );

    // Going on from a model, and from one with another number of classes.
    let tune = ok(at, &["train", "halves", "--from", model, "--epochs", "1", "--json", "--out", "tuned"]);
    assert_eq!((&json(&tune)["network"], &json(&tune)["val_accuracy"]), (&model.into(), &1.0.into()));
    let wrong = svertka(at, &["train", "digits", "--from", model, "--out", "wrong"]);
    assert_eq!(wrong.code, 1);
    assert!(
        wrong
            .stderr
            .contains("error: train: network: expected 10 outputs, one for each class, received 2\nhint: "),
        "{}",
        wrong.stderr
    );
}

#[test]
fn a_second_run_takes_the_pictures_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    write_halves(&at.join("halves"));
    // What was changed just now is not trusted to stay as it is.
    for entry in ["halves/left", "halves/top"].iter().flat_map(|class| fs::read_dir(at.join(class)).unwrap())
    {
        let file = fs::File::options().write(true).open(entry.unwrap().path()).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(60)).unwrap();
    }
    let train = |out: &str, more: &[&str]| {
        let args = ["train", "halves", "--net", "conv4 relu pool4 linear2", "--epochs", "1", "--out", out];
        let run = ok(at, &[&args[..], more].concat());
        let cache = run.stdout.lines().find(|line| line.starts_with("cache ")).map(str::to_owned);
        (cache.unwrap_or_default(), run.stderr, fs::read(at.join(out).join("model.onnx")).unwrap())
    };
    let listed = |folder: &str| fs::read_dir(at.join(folder)).map_or(0, Iterator::count);
    let (none, skipped, model) = train("plain", &["--no-cache"]);
    assert_eq!((none.as_str(), at.join(".cache").exists()), ("", false));
    let (first, ..) = train("first", &[]);
    assert!(first.starts_with("cache    decoded into ") && first.contains("svertka/halves-"), "{first}");
    assert_eq!(listed(".cache/svertka"), 1);
    let (second, told, same) = train("second", &[]);
    assert!(
        second.starts_with("cache    53 pictures from ") && second.contains("svertka/halves-"),
        "{second}"
    );
    assert_eq!(told, skipped, "the broken picture is told again");
    assert!(same == model, "the cache changes no bit");

    let (own, ..) = train("own", &["--cache", "pictures"]);
    assert!(own.starts_with("cache    decoded into pictures/halves-"), "{own}");
    assert_eq!((listed("pictures"), listed(".cache/svertka")), (1, 1));
    // A cache that can't be written: training goes on, and says so in one line.
    let (cache, told, same) = train("refused", &["--cache", "halves/left/0.png"]);
    let note = "note: decoded pictures can't be kept for the next time: halves/left/0.png: ";
    assert!(told.strip_prefix(&skipped).is_some_and(|told| told.starts_with(note)), "{told}");
    assert_eq!((cache.as_str(), told.lines().count()), ("cache    none", skipped.lines().count() + 1));
    assert!(same == model);
    #[cfg(unix)]
    {
        let full = r#"trap "" XFSZ; ulimit -f 8; exec "$0" "$@""#;
        let args = ["eval", "plain/model.onnx", "halves", "--json", "--cache", "full"];
        let args = [&["-c", full, env!("CARGO_BIN_EXE_svertka")], &args[..]].concat();
        let run = finished(Command::new("sh").args(args).current_dir(at).output().unwrap());
        assert_eq!((run.code, listed("full")), (0, 0), "{}", run.stderr);
        assert!(run.stderr.contains("for the next time: full/halves-"), "{}", run.stderr);
        assert!(run.stderr.ends_with(".pictures: File too large (os error 27)\n"), "{}", run.stderr);
    }
    // `eval` finds them too.
    let eval =
        |more: &[&str]| ok(at, &[&["eval", "first/model.onnx", "halves", "--json"], more].concat()).stdout;
    assert_eq!(eval(&[]), eval(&["--no-cache"]));
    assert_eq!(listed(".cache/svertka"), 1);
}

/// What can be opened.
macro_rules! kinds {
    () => {
        "digits, an .npz file, or a folder with class folders, with train/ of class folders, \
         with IDX files (train-images-idx3-ubyte, ...) or with CIFAR files (data_batch_1.bin, ...)"
    };
}

macro_rules! layout {
    () => {
        "hint: one folder of pictures for each class: DATA/cat/1.jpg, DATA/dog/1.jpg, or DATA/train/cat/1.jpg\n"
    };
}

/// Arguments, exit code, all of stderr.
#[rustfmt::skip] // A line each.
const BAD: &[(&[&str], i32, &str)] = &[
    (&["train", "nowhere"], 1, concat!("error: nowhere: data: expected ", kinds!(), ", received nothing there\n", layout!())),
    (&["train", "empty"], 1, concat!("error: empty: data: expected ", kinds!(), ", received an empty folder\n", layout!())),
    (&["train", "zero.png"], 1, concat!("error: zero.png: data: expected ", kinds!(), ", received another file\n", layout!())),
    (&["train", "one"], 1, "error: one: classes: expected at least two with pictures, received one: cat\n"),
    (&["train", "idx"], 1, "error: idx/train-images-idx3-ubyte: IDX: data: expected 32 bytes for shape [2, 4, 4], received 9 bytes\n"),
    (&["train", "--lr", "NaN"], 1, "error: train: lr: expected a number above 0, received NaN\n"),
    (&["train", "--epochs", "0"], 1, "error: train: epochs: expected at least 1, received 0\n"),
    (&["train", "--crop", "40"], 1, "error: augment: crop_padding: expected at most 27 for pictures of 28 x 28, received 40\n"),
    (&["train", "--net", "conv8 relu"], 1, "error: network: text: expected linear10 as its last layer, for 10 classes: append it, received \"conv8 relu\"\n"),
    (&["train", "--net", "small", "--from", "run/model.onnx"], 2, "error: the argument '--net <NET>' cannot be used with '--from <MODEL.onnx>'\n\nUsage: svertka train --net <NET> [DATA]\n\nFor more information, try '--help'.\n"),
    (&["train", "--flip", "--no-flip"], 2, "error: the argument '--flip' cannot be used with '--no-flip'\n\nUsage: svertka train --flip [DATA]\n\nFor more information, try '--help'.\n"),
    (&["train", "--optimizer", "adamw", "--momentum", "0.5"], 2, "error: the argument '--momentum' cannot be used with '--optimizer adamw'\n"),
    (&["train", "--budget", "10"], 2, "error: invalid value '10' for '--budget <TIME>': expected a time such as 90s, 10m or 1h30m\n\nFor more information, try '--help'.\n"),
    (&["train", "--out", "zero.png/run"], 1, "error: zero.png/run: Not a directory (os error 20)\nhint: train writes to the folder that --out names\n"),
    (&["train", "--epochs", "3", "--net", "conv4 bn relu pool4 dropout0.1 linear10", "--out", "run"], 1, "error: run/checkpoint.safetensors: run: expected the settings of the run that began here (or a fresh start, or another folder), received epochs 2 there, 3 here\nhint: --fresh begins anew in this folder (its model.onnx stays until the new one is done), --out takes another\n"),
    (&["predict", "run/model.onnx", "zero.png", "nowhere.png", "empty"], 1, "error: empty: folder: expected pictures, received none\nerror: zero.png: picture: file: expected PNG, JPEG, WebP, GIF or BMP, received 0 bytes\nerror: nowhere.png: No such file or directory (os error 2)\nerror: 3 of 3 pictures could not be read\n"),
    (&["predict", "text.onnx", "zero.png"], 1, "error: text.onnx: ONNX: file: expected an ONNX protobuf with ir_version and graph, received 20 bytes of text that starts \"This is no network.\\n\" (failed to decode Protobuf message: unexpected end group tag)\n"),
    (&["predict", "run/model.onnx", "zero.png", "--shard", "3/2"], 2, "error: invalid value '3/2' for '--shard <I/N>': expected a share from 1/2 to 2/2\n\nFor more information, try '--help'.\n"),
    (&["eval", "run/model.onnx", "one"], 1, "error: one: class: expected one of: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, received cat\n"),
    (&["eval", "run/model.onnx", "idx"], 1, "error: idx/train-images-idx3-ubyte: IDX: data: expected 32 bytes for shape [2, 4, 4], received 9 bytes\n"),
    (&["inspect", "resnet19"], 1, "error: network: name: expected small, resnet9, lenet5, alexnet, vgg11, vgg16, resnet18, resnet34, resnet50, mobilenet-v1, mobilenet-v2, or layers such as \"conv32 relu pool2 linear10\", received \"resnet19\"\n"),
    (&["inspect", "run/model.onnx", "--input", "3x28x28"], 1, "error: Graph: input \"input\": expected [N, 1, 28, 28], received [1, 3, 28, 28]\n"),
];

#[test]
fn what_is_wrong_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    train_digits(at, &["--out", "run"]);
    fs::create_dir(at.join("empty")).unwrap();
    fs::create_dir_all(at.join("one/cat")).unwrap();
    half(true, 0).save(at.join("one/cat/1.png")).unwrap();
    fs::write(at.join("zero.png"), b"").unwrap();
    fs::write(at.join("text.onnx"), b"This is no network.\n").unwrap();
    fs::create_dir(at.join("idx")).unwrap();
    fs::write(at.join("idx/train-images-idx3-ubyte"), b"\0\0\x08\x03\0\0\0\x02\0\0\0\x04\0\0\0\x04only some")
        .unwrap();
    fs::write(at.join("idx/train-labels-idx1-ubyte"), b"\0\0\x08\x01\0\0\0\x02\x01\x02").unwrap();
    let model = fs::read(at.join("run/model.onnx")).unwrap();
    for (args, code, expected) in BAD {
        let run = svertka(at, args);
        assert_eq!((run.code, run.stderr.as_str()), (*code, *expected), "{args:?}");
        assert!(run.stdout.is_empty() || args[0] == "train", "{args:?}: {}", run.stdout);
    }
    assert_eq!(fs::read(at.join("run/model.onnx")).unwrap(), model);

    let run = finished(command(at, &["inspect", "small"]).env("SVERTKA_ISA", "quick").output().unwrap());
    assert_eq!(run.code, 1);
    assert!(run.stderr.starts_with("error: SVERTKA_ISA: expected one of [\"portable\""), "{}", run.stderr);
}

#[test]
fn a_failed_run_leaves_the_earlier_model() {
    let dir = tempfile::tempdir().unwrap();
    train_digits(dir.path(), &["--out", "run"]);
    let model = || fs::read(dir.path().join("run/model.onnx")).unwrap();
    let before = model();
    let diverging = ["--lr", "1e30", "--warmup", "0", "--clip", "0", "--ema", "0"];
    let run =
        svertka(dir.path(), &[&["train"], &TINY[..], &["--out", "run", "--fresh"], &diverging].concat());
    assert_eq!(run.code, 1, "{}", run.stdout);
    assert!(run.stderr.starts_with("error: train: loss: expected a finite loss"), "{}", run.stderr);
    assert_eq!(model(), before);
    // A disk that is full: files can't grow beyond a block.
    #[cfg(unix)]
    {
        let full = r#"trap "" XFSZ; ulimit -f 1; exec "$0" "$@""#;
        let train =
            [&["-c", full, env!("CARGO_BIN_EXE_svertka"), "train"], &TINY[..], &["--out", "run", "--fresh"]];
        let run = finished(Command::new("sh").args(train.concat()).current_dir(dir.path()).output().unwrap());
        let expected = (1, "error: run/config.json: File too large (os error 27)\n");
        assert_eq!((run.code, run.stderr.as_str()), expected);
        assert_eq!(model(), before);
    }
    // The folder now holds the failed run; --fresh gets rid of it.
    train_digits(dir.path(), &["--out", "run", "--fresh", "--seed", "1"]);
    assert_ne!(model(), before);
}

/// The lines that report an epoch, without the time.
fn epochs(stdout: &str) -> Vec<String> {
    let lines = stdout
        .lines()
        .filter(|line| line.starts_with("epoch ") && (line.ends_with(" s") || line.ends_with("best")));
    lines.map(|line| line.rsplit_once("  val").map_or(line, |(head, _)| head).to_owned()).collect()
}

#[test]
fn killed_at_random_moments_a_run_loses_nothing_and_ends_with_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let train = |out| ["train", "--net", TINY[1], "--epochs", "8", "--out", out];
    let whole = ok(dir.path(), &train("whole")).stdout;
    let (mut reported, mut moments) = (vec![], vec![]);
    for _ in 0..10 {
        // The standard library's only source of randomness; the moments are shown where the test fails.
        let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        let moment = Duration::from_millis(random % 700);
        moments.push(moment);
        let mut child = command(dir.path(), &train("cut")).stdout(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(moment);
        child.kill().unwrap();
        reported.extend(epochs(&String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()));
    }
    let rest = ok(dir.path(), &train("cut")).stdout;
    reported.extend(epochs(&rest));
    let expected = epochs(&whole);
    assert_eq!(expected.len(), 8);
    assert!(reported.iter().all(|line| expected.contains(line)), "{moments:?}: {reported:?} of {expected:?}");
    let records = |out: &str| {
        let lines = fs::read_to_string(dir.path().join(out).join("metrics.jsonl")).unwrap();
        let mut records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for record in records.iter_mut().map(|record| record.as_object_mut().unwrap()) {
            assert!(record.remove("seconds").is_some() && record.remove("data_seconds").is_some());
        }
        records
    };
    assert_eq!(records("cut"), records("whole"), "{moments:?}");
    let model = |out: &str| fs::read(dir.path().join(out).join("model.onnx")).unwrap();
    assert!(model("cut") == model("whole"), "the models differ: {moments:?}");
}

#[test]
fn help_version_and_closed_pipes() {
    let dir = tempfile::tempdir().unwrap();
    let help = ok(dir.path(), &[]).stdout;
    for command in ["train", "predict", "eval", "inspect", "conv", "bench"] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
        assert!(ok(dir.path(), &[command, "--help"]).stdout.contains("Usage: svertka"));
    }
    assert_eq!(ok(dir.path(), &["--version"]).stdout, concat!("svertka ", env!("CARGO_PKG_VERSION"), "\n"));

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let run = finished(command(dir.path(), &["inspect", "resnet18"]).stdout(writer).output().unwrap());
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    #[cfg(target_os = "linux")]
    {
        let full = fs::File::create("/dev/full").unwrap();
        let run = finished(command(dir.path(), &["inspect", "resnet18"]).stdout(full).output().unwrap());
        assert_eq!(
            (run.code, run.stderr.as_str()),
            (1, "error: standard output: No space left on device (os error 28)\n")
        );
    }
}
