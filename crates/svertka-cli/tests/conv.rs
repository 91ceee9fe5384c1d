//! `svertka conv` as a user calls it: every worked example of the lecture, the terms it shows, the errors it gives.

#[path = "../../svertka/tests/lecture/cases.rs"]
mod cases;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use cases::{Kind, Result};
use serde_json::Value;

#[test]
fn every_case_of_the_lecture() {
    cases::check_every(check);
}

fn check(name: &str, case: Kind<Value>) -> Result {
    match case {
        Kind::Numbers {
            input,
            kernel,
            stride,
            dilation,
            padding,
            padding_mode,
            pads_begin,
            pads_end,
            expect,
        } => {
            let mut options: Vec<String> = Vec::new();
            for (option, value) in [
                ("stride", stride.map(|stride| stride.to_string())),
                ("dilation", dilation.map(|dilation| dilation.to_string())),
                ("padding", padding.map(|padding| padding.to_string())),
                ("padding-mode", padding_mode),
                ("pads-begin", pads_begin.map(|sizes| joined(&sizes))),
                ("pads-end", pads_end.map(|sizes| joined(&sizes))),
            ] {
                options.extend(value.map(|value| format!("--{option}={value}")));
            }
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            // As text and as JSON.
            for spelled in [text, Value::to_string] {
                let (input, kernel) = (spelled(&input), spelled(&kernel));
                equal(&json(&[&[&*input, &*kernel], &options[..]].concat())?["output"], &expect)?;
            }
            Ok(())
        }
        Kind::Shape { input_shape, out_channels, kernel_size, stride, padding, dilation, expect_shape } => {
            let answer = json(&[
                &format!("--input-shape={}", joined(&input_shape)),
                &format!("--out-channels={out_channels}"),
                &format!("--kernel-size={}", joined(&kernel_size)),
                &format!("--stride={}", joined(&stride)),
                &format!("--padding={}", joined(&padding)),
                &format!("--dilation={}", joined(&dilation)),
            ])?;
            equal(&answer["shape"], &expect_shape.into())
        }
        Kind::Separable { kernel, column, row } => {
            let answer = json(&[&text(&kernel), "--separate"])?;
            equal(&answer["separation"]["column"], &column)?;
            equal(&answer["separation"]["row"], &row)
        }
        Kind::Cost { size, kernel_size, in_channels, out_channels, expect_parameters, expect_macs } => {
            let layer = |out_channels: usize, kernel_size: usize, groups: usize| {
                let answer = json(&[
                    &format!("--input-shape=1x{in_channels}x{size}x{size}"),
                    &format!("--out-channels={out_channels}"),
                    &format!("--kernel-size={kernel_size}"),
                    &format!("--groups={groups}"),
                    "--padding=same",
                ])?;
                let count = |key: &str| answer[key].as_u64().ok_or(format!("no {key}: {answer}"));
                Result::Ok([count("parameters")?, count("macs")?])
            };
            let layers = match name {
                "cost-regular" => vec![layer(out_channels, kernel_size, 1)?],
                "cost-depthwise-separable" => {
                    vec![layer(in_channels, kernel_size, in_channels)?, layer(out_channels, 1, 1)?]
                }
                _ => return Err("a cost of an unknown kind".into()),
            };
            let total = |i: usize| layers.iter().map(|layer| layer[i]).sum::<u64>();
            equal(&[total(0), total(1)], &[expect_parameters, expect_macs])
        }
    }
}

/// Arguments and everything that is printed.
#[rustfmt::skip] // Drawings.
const PRINTED: &[(&[&str], &str)] = &[
    (&["1 2 3 4 5", "-1 0 2 0 -1", "--padding=2", "--padding-mode=symmetric", "--show"], "\
2 1 | 1 2 3 4 5 | 5 4
length: floor((5 + 2 + 2 - 1*(5-1) - 1) / 1) + 1 = 5

y[0] = [2]*-1 + [1]*0 + 1*2 + 2*0 + 3*-1 = -3
y[1] = [1]*-1 + 1*0 + 2*2 + 3*0 + 4*-1 = -1
y[2] = 1*-1 + 2*0 + 3*2 + 4*0 + 5*-1 = 0
y[3] = 2*-1 + 3*0 + 4*2 + 5*0 + [5]*-1 = 1
y[4] = 3*-1 + 4*0 + 5*2 + [5]*0 + [4]*-1 = 3

-3 -1 0 1 3
"),
    (&["1 2 3 4 5 5 4 3 2 1", "-1 0 1", "--stride=3", "--show"], "\
1 2 3 4 5 5 4 3 2 1
length: floor((10 + 0 + 0 - 1*(3-1) - 1) / 3) + 1 = 3
1 of 10 input cells is never read

y[0] = 1*-1 + 2*0 + 3*1 = 2
y[1] = 4*-1 + 5*0 + 5*1 = 1
y[2] = 4*-1 + 3*0 + 2*1 = -2

2 1 -2
"),
    (&["1 2 3; 3 4 5", "0 1; 10 -1", "--pads-end=1x1", "--stride=1x2", "--bias=0.5", "--show"], "\
1 2 3 | 0
3 4 5 | 0
---------
0 0 0 | 0
height: floor((2 + 0 + 1 - 1*(2-1) - 1) / 1) + 1 = 2
width: floor((3 + 0 + 1 - 1*(2-1) - 1) / 2) + 1 = 2

y[0, 0] = 1*0 + 2*1 + 3*10 + 4*-1 + 0.5 = 28.5
y[0, 1] = 3*0 + [0]*1 + 5*10 + [0]*-1 + 0.5 = 50.5
y[1, 0] = 3*0 + 4*1 + [0]*10 + [0]*-1 + 0.5 = 4.5
y[1, 1] = 5*0 + [0]*1 + [0]*10 + [0]*-1 + 0.5 = 0.5

28.5 50.5
 4.5  0.5
"),
    // Depthwise: two channels, one kernel each.
    (&["1 2 3; 4 5 6", "[[[1, -1]], [[0, 2]]]", "--groups=2", "--bias=1 -1", "--show"], "\
channel 0
1 2 3
channel 1
4 5 6
length: floor((3 + 0 + 0 - 1*(2-1) - 1) / 1) + 1 = 2

y[0, 0] = 1*1 + 2*-1 + 1 = 0
y[0, 1] = 2*1 + 3*-1 + 1 = 0
y[1, 0] = 4*0 + 5*2 + -1 = 9
y[1, 1] = 5*0 + 6*2 + -1 = 11

0  0
9 11
"),
    (&["1 2 | 3 4", "1 | -1", "--pads-begin=1x0x0", "--show"], "\
depth: padding
0 0
depth 0
1 2
depth 1
3 4
depth: floor((2 + 1 + 0 - 1*(2-1) - 1) / 1) + 1 = 2
height: floor((1 + 0 + 0 - 1*(1-1) - 1) / 1) + 1 = 1
width: floor((2 + 0 + 0 - 1*(1-1) - 1) / 1) + 1 = 2

y[0, 0, 0] = [0]*1 + 1*-1 = -1
y[0, 0, 1] = [0]*1 + 2*-1 = -2
y[1, 0, 0] = 1*1 + 3*-1 = -2
y[1, 0, 1] = 2*1 + 4*-1 = -2

-1 -2

-2 -2
"),
    // A product of polynomials: (1 + 2x)(1 + 3x + x^2).
    (&["1 3 1", "1 2", "--flip", "--padding=full"], "1 5 7 2\n"),
    (&["1 2 3 4", "1 1", "--padding=same-lower"], "1 3 5 7\n"),
    (&["1 2 3 4", "1 1", "--padding=same", "--padding-mode=constant:-0.25"], "3 5 7 3.75\n"),
    (&["1 2 3; 4 5 6", "1 -1;", "--stride", "1x1"], "-1 -1\n-1 -1\n"),
    (&["1 2; 3 4 | 5 6; 7 8", "1 | 1"], " 6  8\n10 12\n"),
    (&["1 2; 3 4 | 5 6; 7 8", "[[[[1]], [[0]]], [[[0]], [[0.1]]]]"], "  1   2\n  3   4\n\n0.5 0.6\n0.7 0.8\n"),
    (&["--input-shape=2x4x9", "--out-channels=6", "--kernel-size=3", "--groups=2", "--stride=2"],
     "shape: 2 x 6 x 4\nparameters: 36, with a bias 42\nmultiply-accumulates: 288\n"),
    (&["1 2 3; 4 5 6", "1 1; 1 1", "--shape-only"], "shape: 1 x 2\nparameters: 4, with a bias 5\nmultiply-accumulates: 8\n"),
    (&["-1 -2 -1; 0 0 0; 1 2 1", "--separate"], "column: -1 0 1\nrow: 1 2 1\n3 x 3 = 9 weights become 3 + 3 = 6\n"),
    (&["2 4 0; 3 6 0", "--separate"], "column: 2 3\nrow: 1 2 0\n2 x 3 = 6 weights become 2 + 3 = 5\n"),
    (&["0 1 0; 1 -4 1; 0 1 0", "--separate"],
     "not a column times a row: not every kernel is\nrows 0 and 1, columns 1 and 0: 1*1 is not 0*-4\n"),
];

#[test]
fn what_is_printed() {
    for (arguments, expected) in PRINTED {
        let output = svertka(arguments, "");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{arguments:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), *expected, "{arguments:?}");
    }
}

#[test]
fn files_and_standard_input() -> Result {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| format!("@{}", folder.path().join(name).display());
    // Two planes of 1 x 3, as text and as NumPy writes them.
    std::fs::write(folder.path().join("x.txt"), "1, 2, 3\n\n4, 5, 6\n")?;
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    let header = format!("{:<117}\n", "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 1, 3), }");
    npy.extend((header.len() as u16).to_le_bytes());
    npy.extend(header.as_bytes());
    npy.extend([1, 2, 3, 4, 5, 6]);
    std::fs::write(folder.path().join("x.npy"), npy)?;
    for (input, stdin) in
        [(path("x.txt"), ""), (path("x.npy"), ""), ("-".to_owned(), "[[[1,2,3]],[[4,5,6]]]")]
    {
        let output = svertka(&[&input, "1 1 | 0 1"], stdin);
        assert_eq!(String::from_utf8(output.stdout)?, "8 11\n", "{input}");
    }
    Ok(())
}

/// Arguments and the whole message.
#[rustfmt::skip] // A line each.
const ERRORS: &[(&[&str], &str)] = &[
    (&["1 2; 3", "1"], "input: row 2: expected 2 numbers, as in the first, received 1"),
    (&["1 2 | 3 4; 5 6", "1"], "input: plane 2: expected 1 rows, as in the first, received 2"),
    (&["1 2", "1; x"], "kernel: row 2, number 1: expected a number, received \"x\""),
    (&["1 inf", "1"], "input: number 2: expected a finite number of 32 bits, received inf"),
    (&["", "1"], "input: numbers: expected at least one, received none"),
    (&["[[1, 2], [3]]", "1"], "input: [1]: expected a list of 2, received a list of 1"),
    (&["[1, true]", "1"], "input: [1]: expected a number, received true"),
    (&["[1, 2", "1"], "input: JSON: expected nested lists of numbers, received EOF while parsing a list at line 1 column 5"),
    (&["1 2 3", "1 2", "--bias=x"], "bias: row 1, number 1: expected a number, received \"x\""),
    (&["1 2 3; 4 5 6", "1 2"], "conv: input and kernel: expected 1 to 3 axes in both, or channels x these and \
        out_channels x channels / groups x these, received shapes [2, 3] and [2]"),
    (&["1 2 3", "1 2 3", "--dilation=2"], "conv: kernel_size: expected at most the padded input 3 along the width, \
        received a window of 5 (kernel_size 3, dilation 2)"),
    (&["1 2 3", "1", "--padding=3", "--padding-mode=reflect"], "conv: padding (reflect): expected at most 2 on either side of \
        the width of size 3, as a reflection shows each cell once, but not the one at the edge, received (3, 3)"),
    (&["1 2 3", "1", "--stride=0"], "conv: stride: expected at least 1 along every axis, received [1, 1, 0]"),
    (&["1 2 3", "1", "--stride=1x2"], "conv: stride: expected one size or 1, received [1, 2]"),
    (&["1 2; 3 4; 5 6", "[[[1]], [[1]], [[1]]]", "--groups=2"], "conv: in_channels: expected a multiple of groups = 2, received 3"),
    (&["1 2; 3 4", "[[[1]], [[1]]]"], "Conv: weight: expected shape [2, 2, 1], received shape [2, 1, 1]"),
    (&["1 2", "1", "--bias=1 2"], "Conv: bias: expected shape [1], received shape [2]"),
    (&["1", "1", "--padding=99999999"], "conv: padded input: expected at most 16777216 cells, received 199999999"),
    (&["--input-shape=3x4", "--kernel-size=1", "--out-channels=1"], "conv: input_shape: expected batch x channels x 1 to 3 sizes, \
        received [3, 4]"),
    (&["1 2", "--separate"], "--separate: kernel: expected rows and columns, received shape [2]"),
    (&["@no-such-file", "1"], "no-such-file: No such file or directory (os error 2)"),
];

#[test]
fn every_kind_of_layer() -> Result {
    let pool = ["1 2 3; 4 5 6; 7 8 9", "--layers"];
    for (arguments, key, expected) in [
        // Each input cell spreads the kernel, two cells apart.
        (&["1 2 3", "1 10", "--transposed", "--stride=2"][..], "output", "[1,10,2,20,3,30]"),
        (
            &["1 2 3", "1 10 100", "--transposed", "--stride=2", "--padding=1", "--output-padding=1"],
            "output",
            "[10,102,20,203,30,300]",
        ),
        (&["1 2 3", "1 10", "--transposed", "--matrix"], "matrix", "[[1,0,0],[10,1,0],[0,10,1],[0,0,10]]"),
        (&["1 2 3 4", "1 10", "--matrix"], "matrix", "[[1,10,0,0],[0,1,10,0],[0,0,1,10]]"),
        (
            &["1 2 3 4", "1 10; 2 20; 3 30", "--unshared", "--matrix"],
            "matrix",
            "[[1,10,0,0],[0,2,20,0],[0,0,3,30]]",
        ),
        (&["1 2 3 4", "1 10; 2 20; 3 30", "--unshared", "--bias=1 2 3"], "output", "[22,66,132]"),
        (&[pool[0], pool[1], "maxpool2s1"], "output", "[[5,6],[8,9]]"),
        (&[pool[0], pool[1], "sumpool2s1"], "output", "[[12,16],[24,28]]"),
        (&[pool[0], pool[1], "adaptiveavgpool1"], "output", "[[5]]"),
        (&["3 1 4 1 5 9 2 6", pool[1], "kmaxpool3"], "output", "[5,9,6]"),
        (&["1 2; 3 4", pool[1], "upsample2"], "output", "[[1,1,2,2],[1,1,2,2],[3,3,4,4],[3,3,4,4]]"),
        (&["1 2 | 3 4 | 5 6 | 7 8", pool[1], "shuffle2", "--channels"], "output", "[[[1,3,2,4],[5,7,6,8]]]"),
    ] {
        let expected: Value = serde_json::from_str(expected)?;
        equal(&numbers(&json(arguments)?[key]), &numbers(&expected))
            .map_err(|error| format!("{arguments:?}: {error}"))?;
    }
    Ok(())
}

/// All numbers of nested lists, and how deep these are.
fn numbers(value: &Value) -> (Vec<f64>, usize) {
    match value.as_array() {
        None => (value.as_f64().into_iter().collect(), 0),
        Some(items) => {
            let inner: Vec<_> = items.iter().map(numbers).collect();
            let depth = inner.iter().map(|inner| inner.1).max().unwrap_or(0);
            (inner.into_iter().flat_map(|inner| inner.0).collect(), depth + 1)
        }
    }
}

#[test]
fn errors_name_what_was_expected() {
    let failed: Vec<String> = ERRORS
        .iter()
        .filter_map(|(arguments, expected)| {
            let output = svertka(arguments, "");
            let received = String::from_utf8_lossy(&output.stderr).into_owned();
            let right = output.status.code() == Some(1)
                && output.stdout.is_empty()
                && received.trim_end().strip_prefix("error: ") == Some(expected);
            (!right).then(|| format!("{arguments:?}: {}: {received}", output.status))
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn wrong_usage_has_its_own_code() {
    for arguments in [
        &["1 2"][..],
        &["1 2", "1", "--padding=-1"],
        &["1 2", "1", "--padding=some"],
        &["1 2", "1", "--padding-mode=mirror"],
        &["1 2", "1", "--padding=1", "--pads-end=1"],
        &["1 2", "1", "--stride=2xx"],
        &["--input-shape=1x1x4"],
    ] {
        let output = svertka(arguments, "");
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

fn svertka(arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_svertka"))
        .arg("conv")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The program may end without reading it.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

fn json(arguments: &[&str]) -> Result<Value> {
    let output = svertka(&[arguments, &["--json"]].concat(), "");
    let printed = String::from_utf8(output.stdout)?;
    serde_json::from_str(&printed).map_err(|_| String::from_utf8_lossy(&output.stderr).into())
}

fn equal<T: PartialEq + std::fmt::Debug + ?Sized>(received: &T, expected: &T) -> Result {
    if received == expected {
        Ok(())
    } else {
        Err(format!("expected {expected:?}, received {received:?}").into())
    }
}

fn joined(sizes: &[usize]) -> String {
    sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}

/// Numbers with spaces between them, rows with semicolons.
fn text(numbers: &Value) -> String {
    let items = numbers.as_array().map_or(&[][..], Vec::as_slice);
    if items.iter().all(Value::is_array) {
        items.iter().map(text).collect::<Vec<_>>().join("; ")
    } else {
        items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }
}
