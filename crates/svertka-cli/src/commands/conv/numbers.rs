//! Arrays of numbers as people write them, and back.

use std::io::Read;

use serde_json::Value;
use svertka::formats::{Format, Limits, npy};
use svertka::{Error, Result, Tensor};

/// Reads the array that argument `name` gives: numbers, nested JSON lists, `@FILE` or `-`.
pub(super) fn read(name: &str, argument: &str) -> Result<Tensor> {
    let (path, bytes) = match argument.strip_prefix('@') {
        Some(path) => (path, std::fs::read(path).map_err(Error::io(path))?),
        None if argument == "-" => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).map_err(Error::io("standard input"))?;
            ("standard input", bytes)
        }
        None => (name, argument.as_bytes().to_vec()),
    };
    let array = if Format::detect(&bytes) == Some(Format::Npy) {
        let array = npy::decode(&bytes, &Limits::default()).map_err(Error::format(path))?;
        Tensor::new(array.shape, &array.data.into_f32())?
    } else {
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Error::argument(name, "numbers", "text or a .npy file", "other bytes"))?;
        if text.trim_start().starts_with('[') { from_json(name, text)? } else { from_text(name, text)? }
    };
    if array.data().is_empty() {
        return Err(Error::argument(name, "numbers", "at least one", "none"));
    }
    if let Some(index) = array.data().iter().position(|value| !value.is_finite()) {
        let argument = format!("number {}", index + 1);
        return Err(Error::argument(name, argument, "a finite number of 32 bits", array.data()[index]));
    }
    Ok(array)
}

/// Numbers separated by spaces or commas, rows by `;` or a line's end, planes by `|` or an empty line.
fn from_text(name: &str, text: &str) -> Result<Tensor> {
    let lines = text.trim().lines().map(|line| if line.trim().is_empty() { "|" } else { line });
    let text = lines.collect::<Vec<_>>().join(";");
    let (mut data, mut shape) = (Vec::new(), None);
    let planes: Vec<&str> = text.split('|').collect();
    for (p, plane) in planes.iter().enumerate() {
        let rows: Vec<&str> =
            plane.trim_matches(|c: char| c == ';' || c.is_whitespace()).split(';').collect();
        for (r, row) in rows.iter().enumerate() {
            let place = if planes.len() > 1 {
                format!("plane {}, row {}", p + 1, r + 1)
            } else {
                format!("row {}", r + 1)
            };
            let words: Vec<&str> =
                row.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty()).collect();
            for (i, word) in words.iter().enumerate() {
                let argument = || format!("{place}, number {}", i + 1);
                data.push(
                    word.parse()
                        .map_err(|_| Error::argument(name, argument(), "a number", format!("{word:?}")))?,
                );
            }
            let (_, width) = *shape.get_or_insert((rows.len(), words.len()));
            if words.len() != width {
                let expected = format!("{width} numbers, as in the first");
                return Err(Error::argument(name, place, expected, words.len()));
            }
        }
        if let Some((height, _)) = shape
            && rows.len() != height
        {
            let expected = format!("{height} rows, as in the first");
            return Err(Error::argument(name, format!("plane {}", p + 1), expected, rows.len()));
        }
    }
    let (height, width) = shape.unwrap_or_default();
    let shape = match planes.len() {
        1 if !text.contains(';') => vec![width],
        1 => vec![height, width],
        depth => vec![depth, height, width],
    };
    Tensor::new(shape, &data)
}

/// Nested lists; the first of each fix the shape.
fn from_json(name: &str, text: &str) -> Result<Tensor> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Error::argument(name, "JSON", "nested lists of numbers", error))?;
    let (mut shape, mut first, mut data) = (Vec::new(), Some(&value), Vec::new());
    while let Some(Value::Array(items)) = first {
        shape.push(items.len());
        first = items.first();
    }
    flatten(name, "", &value, &shape, &mut data)?;
    Tensor::new(shape, &data)
}

fn flatten(name: &str, place: &str, value: &Value, shape: &[usize], data: &mut Vec<f32>) -> Result<()> {
    match (value, shape) {
        (Value::Array(items), [len, inner @ ..]) if items.len() == *len => items
            .iter()
            .enumerate()
            .try_for_each(|(i, item)| flatten(name, &format!("{place}[{i}]"), item, inner, data)),
        (Value::Number(number), []) => {
            data.push(number.as_f64().unwrap_or(f64::NAN) as f32);
            Ok(())
        }
        _ => {
            let list = |len: usize| format!("a list of {len}");
            let expected = shape.first().map_or("a number".to_owned(), |len| list(*len));
            let received = value.as_array().map_or_else(|| value.to_string(), |items| list(items.len()));
            Err(Error::argument(name, place, expected, received))
        }
    }
}

/// The shortest form that reads back as the same `f32`, whole numbers without decimals.
pub(super) fn number(value: f32) -> String {
    // Adding zero takes the sign from a negative zero.
    let text = format!("{:?}", value + 0.0);
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// Rows of words in columns, aligned at the right.
pub(super) fn grid(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|c| rows.iter().map(|row| row[c].len()).max().unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        row.iter().zip(&widths).map(|(word, width)| format!("{word:>width$}")).collect::<Vec<_>>().join(" ")
    };
    rows.iter().map(line).collect()
}

/// A line for each row, an empty one between planes.
pub(super) fn to_text(array: &Tensor) -> Vec<String> {
    let [.., height, width] = *[&[1, 1], array.shape()].concat() else { unreachable!("two axes were added") };
    let rows: Vec<Vec<String>> =
        array.data().chunks(width).map(|row| row.iter().copied().map(number).collect()).collect();
    let mut lines = grid(&rows);
    for row in (height..rows.len()).step_by(height).rev() {
        lines.insert(row, String::new());
    }
    lines
}

/// Nested lists; a number that is not finite becomes `null`.
pub(super) fn to_json(shape: &[usize], data: &[f32]) -> Value {
    match shape {
        [] => serde_json::from_str(&number(data[0])).unwrap_or(Value::Null),
        [_, inner @ ..] => {
            let size = inner.iter().product();
            data.chunks(size).map(|part| to_json(inner, part)).collect()
        }
    }
}
