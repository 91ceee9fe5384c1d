//! What a writer wrote, its reader reads.

use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;
use svertka_formats::onnx::{
    self, AttributeProto, DataType, Dim, GraphProto, ModelProto, NodeProto, StringStringEntryProto,
    TensorProto, ValueInfoProto,
};
use svertka_formats::{Array, ArrayData, Limits, Picture, idx, npy, npz, picture, safetensors};

fn shape() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0_usize..6, 0..4)
}

fn array() -> impl Strategy<Value = Array> {
    shape().prop_flat_map(|shape| {
        let count: usize = shape.iter().product();
        fn list<T: Debug + Clone>(
            element: impl Strategy<Value = T>,
            count: usize,
        ) -> impl Strategy<Value = Vec<T>> {
            prop::collection::vec(element, count)
        }
        let data = prop_oneof![
            list(any::<u8>(), count).prop_map(ArrayData::U8),
            list(any::<i64>(), count).prop_map(ArrayData::I64),
            list(any::<f32>(), count).prop_map(ArrayData::F32),
            list(any::<f64>(), count).prop_map(ArrayData::F64),
        ];
        data.prop_map(move |data| Array::new(shape.clone(), data).unwrap())
    })
}

/// Names with what needs escaping in JSON.
fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof![any::<char>(), Just('"'), Just('\\'), Just('\n')], 0..8)
        .prop_map(|chars| chars.into_iter().collect())
}

fn model() -> impl Strategy<Value = ModelProto> {
    let attribute = prop_oneof![
        (name(), any::<i64>()).prop_map(|(name, i)| AttributeProto::int(&name, i)),
        (name(), prop::collection::vec(any::<i64>(), 0..5))
            .prop_map(|(name, ints)| AttributeProto::ints(&name, ints)),
        (name(), any::<f32>()).prop_map(|(name, f)| AttributeProto::float(&name, f)),
        (name(), prop::collection::vec(any::<f32>(), 0..5))
            .prop_map(|(name, floats)| AttributeProto::floats(&name, floats)),
        (name(), name()).prop_map(|(name, s)| AttributeProto::string(&name, &s)),
    ];
    let node =
        (name(), prop::collection::vec(name(), 0..4), prop::collection::vec(attribute, 0..4)).prop_map(
            |(op_type, input, attribute)| NodeProto { op_type, input, attribute, ..Default::default() },
        );
    let dim = prop_oneof![any::<i64>().prop_map(Dim::Value), name().prop_map(Dim::Param)];
    let value = (name(), prop::collection::vec(dim, 0..5))
        .prop_map(|(name, dims)| ValueInfoProto::tensor(&name, DataType::Float, dims));
    let graph = (prop::collection::vec(node, 0..4), prop::collection::vec(value, 0..3))
        .prop_map(|(node, input)| GraphProto { node, input, ..Default::default() });
    (1_i64.., graph, name(), name()).prop_map(|(ir_version, graph, key, value)| ModelProto {
        ir_version,
        graph: Some(graph),
        metadata_props: vec![StringStringEntryProto { key, value }],
        ..Default::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn npy_files(array in array()) {
        let bytes = npy::encode(&array).unwrap();
        prop_assert_eq!(bytes.len() % 64, array_bytes(&array) % 64, "the data starts at a multiple of 64");
        prop_assert_eq!(npy::decode(&bytes, &Limits::default()).unwrap(), array);
    }

    #[test]
    fn npz_files(arrays in prop::collection::btree_map("[a-z/.]{1,8}", array(), 0..4)) {
        let bytes = npz::encode(arrays.iter().rev().map(|(name, array)| (&**name, array))).unwrap();
        let read = npz::decode(&bytes, &Limits::default()).unwrap();
        // The order is that of writing, not of names.
        prop_assert_eq!(read, arrays.into_iter().rev().collect::<Vec<_>>());
    }

    #[test]
    fn safetensors_files(
        arrays in prop::collection::btree_map(name(), array(), 0..4),
        metadata in prop::collection::btree_map(name(), name(), 0..6),
    ) {
        let bytes = safetensors::encode(arrays.iter().map(|(name, array)| (&**name, array)), &metadata).unwrap();
        let reversed = arrays.iter().rev().map(|(name, array)| (&**name, array));
        prop_assert_eq!(&safetensors::encode(reversed, &metadata).unwrap(), &bytes, "order does not matter");
        let (read, read_metadata) = safetensors::decode(&bytes, &Limits::default()).unwrap();
        prop_assert_eq!(read, arrays.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(read_metadata, metadata);
    }

    #[test]
    fn idx_files(shape in shape(), seed in any::<u8>()) {
        let data = (0..shape.iter().product()).map(|at: usize| (at as u8).wrapping_mul(31) ^ seed).collect();
        let file = idx::Idx { shape, data };
        prop_assert_eq!(idx::decode(&idx::encode(&file).unwrap(), &Limits::default()).unwrap(), file);
    }

    #[test]
    fn onnx_files(model in model()) {
        prop_assert_eq!(onnx::decode(&onnx::encode(&model), &Limits::default()).unwrap(), model);
    }

    #[test]
    fn onnx_tensors(floats in prop::collection::vec(any::<f32>(), 6), ints in prop::collection::vec(any::<i64>(), 6)) {
        let tensor = TensorProto::float("f", &[2, 3], &floats);
        prop_assert_eq!((tensor.shape().unwrap(), tensor.floats().unwrap()), (vec![2, 3], floats));
        let tensor = TensorProto::int64("i", &[3, 2], &ints);
        prop_assert_eq!((tensor.shape().unwrap(), tensor.ints().unwrap()), (vec![3, 2], ints));
    }

    #[test]
    fn png_files(
        (width, height, channels, data) in (1_usize..9, 1_usize..9, prop_oneof![Just(1_usize), Just(3)])
            .prop_flat_map(|(w, h, c)| (Just(w), Just(h), Just(c), prop::collection::vec(any::<u8>(), w * h * c))),
    ) {
        let picture = Picture::new(width, height, channels, data).unwrap();
        let bytes = picture.encode_png().unwrap();
        prop_assert_eq!(picture::decode(&bytes, &Limits::default()).unwrap(), picture);
    }
}

fn array_bytes(array: &Array) -> usize {
    match &array.data {
        ArrayData::U8(data) => data.len(),
        ArrayData::I64(data) => data.len() * 8,
        ArrayData::F32(data) => data.len() * 4,
        ArrayData::F64(data) => data.len() * 8,
    }
}

#[test]
fn what_no_reader_would_accept_is_not_written() {
    let lying = Array { shape: vec![2, 3], data: ArrayData::U8(vec![0; 5]) };
    let message = "array: data: expected as many elements as shape [2, 3] says, received 5";
    assert_eq!(npy::encode(&lying).unwrap_err().to_string(), message);
    assert_eq!(npz::encode([("a", &lying)]).unwrap_err().to_string(), message);
    assert_eq!(safetensors::encode([("a", &lying)], &BTreeMap::new()).unwrap_err().to_string(), message);

    let one = Array::new(vec![], ArrayData::U8(vec![1])).unwrap();
    for names in [["a", "a"], ["a", "__metadata__"]] {
        assert!(safetensors::encode(names.map(|name| (name, &one)), &BTreeMap::new()).is_err(), "{names:?}");
    }
    assert!(npz::encode([("a", &one), ("a", &one)]).is_err());
    assert!(idx::encode(&idx::Idx { shape: vec![2], data: vec![0] }).is_err());
    assert!(Picture { width: 2, height: 2, channels: 3, data: vec![0; 11] }.encode_png().is_err());
    assert!(Picture::new(2, 2, 2, vec![0; 8]).is_err());
}
