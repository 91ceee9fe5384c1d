//! Every worked example of the lecture (`lecture/cases.toml`), by name.

#[path = "lecture/cases.rs"]
mod cases;

use cases::{Kind, Result};
use svertka::{ConvSpec, Network, Padding, PaddingMode, Sizes, Tensor, conv, cost};
use toml::Value;

#[test]
fn every_case() {
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
            let mut spec = ConvSpec::new()
                .stride(stride.unwrap_or(1))
                .dilation(dilation.unwrap_or(1))
                .padding(padding.unwrap_or(0));
            if let Some(mode) = padding_mode {
                spec = spec.padding_mode(PaddingMode::from_name(&mode).ok_or("an unknown padding mode")?);
            }
            if let (Some(begin), Some(end)) = (pads_begin, pads_end) {
                spec = spec.padding(Padding::Sides(begin.into_iter().zip(end).collect()));
            }
            equal(conv(&tensor(&input)?, &tensor(&kernel)?, None, &spec)?, tensor(&expect)?)
        }
        Kind::Shape { input_shape, out_channels, kernel_size, stride, padding, dilation, expect_shape } => {
            let mut network = Network::new(&input_shape[1..], 0);
            let spec = ConvSpec::new().stride(stride).padding(Sizes::from(padding)).dilation(dilation);
            network.conv(network.input(), out_channels, kernel_size, &spec)?;
            equal(network.finish().shapes(&[input_shape])?.pop(), Some(expect_shape))
        }
        Kind::Separable { kernel, column, row } => {
            let (kernel, column, row) = (tensor(&kernel)?, tensor(&column)?, tensor(&row)?);
            let (height, width) = (5, 8);
            let picture: Vec<f32> =
                (0..height * width).map(|i| ((i * i * 7 + i * 3) % 23) as f32 - 11.0).collect();
            let picture = Tensor::new([1, 1, height, width], &picture)?;
            let spec = ConvSpec::new();
            let (k, r) = (column.data().len(), row.data().len());
            let once = conv(&picture, &column.reshape([1, 1, k, 1])?, None, &spec)?;
            let twice = conv(&once, &row.reshape([1, 1, 1, r])?, None, &spec)?;
            equal(twice, conv(&picture, &kernel, None, &spec)?)
        }
        Kind::Cost { size, kernel_size, in_channels, out_channels, expect_parameters, expect_macs } => {
            let mut network = Network::new(&[in_channels, size, size], 0);
            let spec = ConvSpec::new().padding(Padding::Same).bias(false);
            let x = network.input();
            match name {
                "cost-regular" => network.conv(x, out_channels, kernel_size, &spec)?,
                "cost-depthwise-separable" => {
                    let x = network.conv(x, in_channels, kernel_size, &spec.clone().groups(in_channels))?;
                    network.conv(x, out_channels, 1, &spec)?
                }
                _ => return Err("a cost of an unknown kind".into()),
            };
            let graph = network.finish();
            let layers = cost(&graph, &graph.input_shapes(1))?;
            let totals =
                (layers.iter().map(|l| l.parameters as u64).sum(), layers.iter().map(|l| l.macs).sum());
            equal(totals, (expect_parameters, expect_macs))
        }
    }
}

fn equal<T: PartialEq + std::fmt::Debug>(received: T, expected: T) -> Result {
    if received == expected {
        Ok(())
    } else {
        Err(format!("expected {expected:?}, received {received:?}").into())
    }
}

/// One picture of one channel, from a row of numbers or from rows of numbers.
fn tensor(numbers: &Value) -> Result<Tensor> {
    let row = |row: &Value| row.clone().try_into::<Vec<f32>>();
    let rows = numbers.as_array().ok_or("no list of numbers")?;
    if rows.iter().all(Value::is_array) {
        let rows = rows.iter().map(row).collect::<std::result::Result<Vec<_>, _>>()?;
        return Ok(Tensor::new([1, 1, rows.len(), rows.first().map_or(0, Vec::len)], &rows.concat())?);
    }
    let row = row(numbers)?;
    Ok(Tensor::new([1, 1, row.len()], &row)?)
}
