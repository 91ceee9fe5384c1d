//! Quantized operators of ONNX files against loops over whole numbers.

use svertka::formats::onnx::{
    AttributeProto, DataType, Dim, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    ValueInfoProto, encode,
};
use svertka::{Cpu, Model, Plan, Result, Tensor, Weights};

/// Whole numbers of a type.
fn whole(name: &str, kind: DataType, dims: &[usize], data: &[i64]) -> TensorProto {
    let data = data.iter().map(|&value| value as i32).collect();
    let dims = dims.iter().map(|&size| size as i64).collect();
    TensorProto {
        name: name.into(),
        data_type: kind as i32,
        dims,
        int32_data: data,
        ..TensorProto::default()
    }
}

/// A model of one node with an open input `x` of this shape; the other inputs are `constants`, of which nameless ones are left out.
fn model(
    op_type: &str,
    x: &[usize],
    constants: Vec<TensorProto>,
    attribute: Vec<AttributeProto>,
) -> Result<Model> {
    let dims = x.iter().map(|&size| Dim::Value(size as i64));
    let node = NodeProto {
        op_type: op_type.into(),
        input: std::iter::once("x".to_owned()).chain(constants.iter().map(|c| c.name.clone())).collect(),
        output: vec!["y".into()],
        attribute,
        ..NodeProto::default()
    };
    let graph = GraphProto {
        name: "test".into(),
        input: vec![ValueInfoProto::tensor("x", DataType::Float, dims)],
        output: vec![ValueInfoProto::tensor("y", DataType::Float, [])],
        initializer: constants.into_iter().filter(|constant| !constant.name.is_empty()).collect(),
        node: vec![node],
        ..GraphProto::default()
    };
    let opset = OperatorSetIdProto { domain: String::new(), version: 21 };
    Model::from_bytes(&encode(&ModelProto {
        ir_version: 10,
        opset_import: vec![opset],
        graph: Some(graph),
        ..ModelProto::default()
    }))
}

fn run(model: &Model, shape: &[usize], x: &[f32]) -> Vec<f32> {
    let (cpu, x) = (Cpu::new(1), Tensor::new(shape, x).unwrap());
    let mut plan = Plan::new(&model.graph, &[shape.to_vec()], Weights::Constant, &cpu).unwrap();
    plan.run(&cpu, model.graph.parameters(), &[&x], 0).unwrap();
    let y = plan.output(0).to_vec();
    // Written as the operators that it became, it computes the same.
    let read = Model::from_bytes(&model.to_bytes().unwrap()).unwrap();
    let mut plan = Plan::new(&read.graph, &[shape.to_vec()], Weights::Constant, &cpu).unwrap();
    plan.run(&cpu, read.graph.parameters(), &[&x], 0).unwrap();
    assert_eq!(plan.output(0), y);
    y
}

fn numbers(len: usize, salt: i64, low: i64, high: i64) -> Vec<i64> {
    (0..len as i64).map(|i| low + (i * i * 613 + i * 7919 + salt * 6007).rem_euclid(high - low + 1)).collect()
}

fn floats(values: &[i64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

const X: [usize; 4] = [2, 4, 5, 6];
const W: [usize; 4] = [6, 2, 3, 2];
/// Of two groups, stride 2 x 1, padding 1, 0 above and left and 0, 1 below and right.
const Y: [usize; 4] = [2, 6, 2, 6];

fn attributes() -> Vec<AttributeProto> {
    vec![
        AttributeProto::int("group", 2),
        AttributeProto::ints("strides", [2, 1]),
        AttributeProto::ints("pads", [1, 0, 0, 1]),
    ]
}

/// The sums of that convolution.
fn sums(x: &[i64], x_zero: i64, w: &[i64], w_zero: &[i64]) -> Vec<i64> {
    let mut sums = Vec::new();
    for (n, o, row, column) in (0..Y.iter().product()).map(|i| (i / 72, i / 12 % 6, i / 6 % 2, i % 6)) {
        let mut sum = 0;
        for (c, i, j) in (0..12).map(|t: usize| (t / 6, t / 2 % 3, t % 2)) {
            let (line, across) = ((row * 2 + i).wrapping_sub(1), column + j);
            if line < X[2] && across < X[3] {
                let value = x[((n * X[1] + o / 3 * 2 + c) * X[2] + line) * X[3] + across] - x_zero;
                sum += value * (w[((o * W[1] + c) * W[2] + i) * W[3] + j] - w_zero[o % w_zero.len()]);
            }
        }
        sums.push(sum);
    }
    sums
}

#[test]
fn conv_integer_adds_up_whole_numbers() {
    let (x, w) = (numbers(X.iter().product(), 1, 0, 255), numbers(W.iter().product(), 2, -128, 127));
    let weight = || whole("w", DataType::Int8, &W, &w);
    let zeros = [-3, 7, 0, 11, -128, 127];
    for (x_zero, w_zero) in
        [(None, None), (Some(130), None), (Some(130), Some(&zeros[..])), (None, Some(&zeros[1..2]))]
    {
        let mut constants = vec![
            weight(),
            x_zero.map_or_else(TensorProto::default, |zero| whole("xz", DataType::Uint8, &[], &[zero])),
        ];
        if let Some(zero) = w_zero {
            constants.push(whole("wz", DataType::Int8, &[zero.len()], zero));
        }
        let model = model("ConvInteger", &X, constants, attributes()).unwrap();
        let expected = sums(&x, x_zero.unwrap_or(0), &w, w_zero.unwrap_or(&[0]));
        assert_eq!(run(&model, &X, &floats(&x)), floats(&expected), "{x_zero:?} {w_zero:?}");
    }
}

#[test]
fn q_linear_conv_rounds_to_even_and_saturates() {
    let (x, w) = (numbers(X.iter().product(), 3, -128, 127), numbers(W.iter().product(), 4, 0, 255));
    // Powers of two, so that many results lie half way between two whole numbers.
    for (kind, w_scale, y_zero, [low, high]) in [
        (DataType::Int8, &[0.5][..], 5, [-128, 127]),
        (DataType::Uint8, &[0.5, 0.25, 0.125, 1.0, 2.0, 0.0625], 100, [0, 255]),
    ] {
        let bias = numbers(6, 5, -900, 900);
        let constants = vec![
            TensorProto::float("xs", &[], &[0.5]),
            whole("xz", DataType::Int8, &[], &[-9]),
            whole("w", DataType::Uint8, &W, &w),
            TensorProto::float("ws", &[w_scale.len()], w_scale),
            whole("wz", DataType::Uint8, &[1], &[120]),
            TensorProto::float("ys", &[], &[64.0]),
            whole("yz", kind, &[], &[y_zero]),
            whole("b", DataType::Int32, &[6], &bias),
        ];
        let model = model("QLinearConv", &X, constants, attributes()).unwrap();
        let expected: Vec<f32> = sums(&x, -9, &w, &[120])
            .into_iter()
            .enumerate()
            .map(|(i, sum)| {
                let o = i / 12 % 6;
                let real = (sum + bias[o]) as f64 * 0.5 * f64::from(w_scale[o % w_scale.len()]) / 64.0;
                (real.round_ties_even() as i64 + y_zero).clamp(low, high) as f32
            })
            .collect();
        assert!([low, high].iter().all(|end| expected.contains(&(*end as f32))), "some are saturated");
        assert_eq!(run(&model, &X, &floats(&x)), expected, "{kind:?}");
    }
}

#[test]
fn numbers_are_quantized_and_back() {
    let x = [-3.0, -0.25, 0.25, 0.75, 2.0, 500.0, -500.0, 1.1];
    let quantize = |constants, attributes, shape: &[usize]| {
        run(&model("QuantizeLinear", shape, constants, attributes).unwrap(), shape, &x)
    };
    let scale = || TensorProto::float("s", &[], &[0.5]);
    // -6, -0.5 and 0.5 to the even 0, 1.5 to 2.
    let expected = [0.0, 0.0, 0.0, 2.0, 4.0, 255.0, 0.0, 2.0];
    assert_eq!(quantize(vec![scale()], vec![], &[2, 4]), expected);
    let zero = whole("z", DataType::Int8, &[], &[-3]);
    let expected = [-9.0, -3.0, -3.0, -1.0, 1.0, 127.0, -128.0, -1.0];
    assert_eq!(quantize(vec![scale(), zero], vec![], &[2, 4]), expected);
    // A scale and a zero point for each row of the first axis, and for each of the last.
    let rows =
        vec![TensorProto::float("s", &[2], &[0.5, 4.0]), whole("z", DataType::Uint16, &[2], &[10, 200])];
    let expected = [4.0, 10.0, 10.0, 12.0, 200.0, 325.0, 75.0, 200.0];
    assert_eq!(quantize(rows, vec![AttributeProto::int("axis", 0)], &[2, 4]), expected);
    let columns = vec![TensorProto::float("s", &[2], &[1.0, 0.5])];
    let kind = AttributeProto::int("output_dtype", DataType::Int16 as i64);
    let expected = [-3.0, 0.0, 0.0, 2.0, 2.0, 1000.0, -500.0, 2.0];
    assert_eq!(quantize(columns, vec![AttributeProto::int("axis", -1), kind], &[2, 2, 2]), expected);

    let constants = vec![
        TensorProto::float("s", &[3], &[2.0, 4.0, 0.5]),
        whole("z", DataType::Uint8, &[3], &[84, 24, 196]),
    ];
    let x = [3.0, 89.0, 34.0, 200.0, 74.0, 59.0];
    let model = model("DequantizeLinear", &[1, 3, 2], constants, vec![]).unwrap();
    assert_eq!(run(&model, &[1, 3, 2], &x), [-162.0, 10.0, 40.0, 704.0, -61.0, -68.5]);
}

#[test]
fn what_is_left_out_is_an_error() {
    let error = |op_type: &str, constants, attributes| {
        model(op_type, &[2, 4], constants, attributes).unwrap_err().to_string()
    };
    let scale = || TensorProto::float("s", &[], &[0.5]);
    let block = || vec![AttributeProto::int("block_size", 2)];
    assert_eq!(
        error("QuantizeLinear", vec![scale()], block()),
        "QuantizeLinear_0: QuantizeLinear: block_size 2 is not supported"
    );
    assert_eq!(
        error("DequantizeLinear", vec![scale()], block()),
        "DequantizeLinear_0: DequantizeLinear: block_size 2 is not supported"
    );
    let kind = |kind| vec![AttributeProto::int("output_dtype", kind)];
    assert_eq!(
        error("QuantizeLinear", vec![scale()], kind(DataType::Int64 as i64)),
        "QuantizeLinear_0: QuantizeLinear: numbers of type Int64 is not supported"
    );
    assert_eq!(
        error("DequantizeLinear", vec![scale()], kind(10)),
        "DequantizeLinear_0: DequantizeLinear: output_dtype 10 is not supported"
    );
    assert_eq!(
        error("QuantizeLinear", vec![scale()], vec![AttributeProto::int("precision", 10)]),
        "QuantizeLinear_0: QuantizeLinear: precision 10 is not supported"
    );
    assert_eq!(
        error("QuantizeLinear", vec![TensorProto::float("s", &[1, 4], &[1.0; 4])], vec![]),
        "QuantizeLinear_0: QuantizeLinear: input 1: expected one number or one for each place along an axis, received shape [1, 4]"
    );
    let missing = error("QLinearConv", vec![scale()], vec![]);
    assert_eq!(missing, "QLinearConv_0: QLinearConv: input 7: expected a constant, received value \"\"");
}
