//! No reader panics or asks for much memory, whatever it is given; bad files are refused with a message that
//! says why.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageFormat, RgbaImage};
use proptest::prelude::*;
use svertka_formats::onnx::{self, AttributeProto, Dim, GraphProto, ModelProto, NodeProto, TensorProto};
use svertka_formats::{Array, ArrayData, Limits, Result, cifar, idx, npy, npz, picture, safetensors};

type Read = fn(&[u8], &Limits) -> Result<()>;
type ValidFiles = fn() -> Vec<Vec<u8>>;

/// Every reader, with the ending of its files in `tests/bad` and some valid files to mutate.
const READERS: &[(&str, Read, ValidFiles)] = &[
    (
        "cifar",
        |bytes, limits| cifar::decode(bytes, cifar::Variant::Cifar10, limits).map(drop),
        || vec![vec![3; 2 * 3073]],
    ),
    ("idx", |bytes, limits| idx::decode(bytes, limits).map(drop), || vec![valid_idx(), gzip(&valid_idx())]),
    ("npy", |bytes, limits| npy::decode(bytes, limits).map(drop), || vec![valid_npy(), fortran_npy()]),
    (
        "npz",
        |bytes, limits| npz::decode(bytes, limits).map(drop),
        || vec![npz::encode([("a", &array()), ("b", &array())]).unwrap(), deflated_npz()],
    ),
    ("onnx", read_onnx, || vec![onnx::encode(&model())]),
    ("picture", |bytes, limits| picture::decode(bytes, limits).map(drop), valid_pictures),
    (
        "safetensors",
        |bytes, limits| safetensors::decode(bytes, limits).map(drop),
        || {
            let metadata = [("step \"1\"".to_owned(), "2\n".to_owned())].into();
            // A name of digits is no number of the header.
            vec![safetensors::encode([("12345678901234567890", &array())], &metadata).unwrap()]
        },
    ),
];

/// Decoding and the conversion of all tensors, where dims and data meet.
fn read_onnx(bytes: &[u8], limits: &Limits) -> Result<()> {
    let model = onnx::decode(bytes, limits)?;
    for tensor in model.graph.iter().flat_map(|graph| &graph.initializer) {
        tensor.floats()?;
    }
    Ok(())
}

/// Small, so that a reader that ignores them is found out.
fn limits() -> Limits {
    Limits { inflated_bytes: 1 << 20, onnx_messages: 1000, ..Limits::default() }
}

#[test]
fn bad_files_are_refused_with_their_message() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    for (ending, read, _) in READERS {
        let mut count = 0;
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.extension().is_none_or(|extension| extension != *ending) {
                continue;
            }
            let name = path.file_name().unwrap().to_str().unwrap();
            let message = fs::read_to_string(folder.join(format!("{name}.txt")));
            let message = message.unwrap_or_else(|_| format!("no {name}.txt says what is expected"));
            let received = read(&fs::read(&path).unwrap(), &limits()).map_err(|error| error.to_string());
            assert_eq!(received, Err(message.trim_end().to_owned()), "{name}");
            count += 1;
        }
        assert!(count > 0, "no bad file for the {ending} reader");
    }
}

#[test]
fn the_files_that_are_mutated_are_valid() {
    for (ending, read, files) in READERS {
        for file in files() {
            assert_eq!(read(&file, &limits()), Ok(()), "{ending}");
        }
    }
}

#[test]
fn no_cut_file_panics() {
    for (_, read, files) in READERS {
        for file in files() {
            // All short prefixes, then a sample.
            for length in (0..file.len().min(300)).chain((300..file.len()).step_by(97)) {
                let _ = read(&file[..length], &limits());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kept in 0_usize..40) {
        for (_, read, files) in READERS {
            let _ = read(&bytes, &limits());
            // Behind the beginning of a valid file, else most bytes fail at the magic number.
            for file in files() {
                let _ = read(&[&file[..kept.min(file.len())], &bytes].concat(), &limits());
            }
        }
    }

    #[test]
    fn no_mutated_file_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        (from, to, length) in (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_usize..16),
    ) {
        for (_, read, files) in READERS {
            for mut file in files() {
                for (at, byte) in &changes {
                    let at = at.index(file.len());
                    file[at] = *byte;
                }
                let _ = read(&file, &limits());
                // A few bytes repeated elsewhere: lengths no longer fit.
                let (from, to) = (from.index(file.len()), to.index(file.len()));
                let part = file[from..file.len().min(from + length)].to_vec();
                file.splice(to..to, part);
                let _ = read(&file, &limits());
            }
        }
    }
}

fn array() -> Array {
    Array::new(vec![2, 3], ArrayData::F32(vec![1.0, -2.0, 3.5, 0.0, 5.0, 1e9])).unwrap()
}

fn valid_idx() -> Vec<u8> {
    idx::encode(&idx::Idx { shape: vec![2, 3], data: vec![1, 2, 3, 4, 5, 6] }).unwrap()
}

fn valid_npy() -> Vec<u8> {
    npy::encode(&array()).unwrap()
}

fn fortran_npy() -> Vec<u8> {
    let text = String::from_utf8_lossy(&valid_npy()[10..128]).replace("False", "True ");
    [&valid_npy()[..10], text.as_bytes(), &valid_npy()[128..]].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflated_npz() -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    writer.start_file("x.npy", options.compression_method(zip::CompressionMethod::Deflated)).unwrap();
    std::io::Write::write_all(&mut writer, &valid_npy()).unwrap();
    writer.finish().unwrap().into_inner()
}

fn model() -> ModelProto {
    let node = NodeProto {
        op_type: "Conv".to_owned(),
        input: vec!["x".to_owned(), "w".to_owned()],
        attribute: vec![
            AttributeProto::ints("pads", [1, 1, 1, 1]),
            AttributeProto::string("auto_pad", "VALID"),
        ],
        ..Default::default()
    };
    let half =
        TensorProto { dims: vec![2], data_type: 10, int32_data: vec![0x3c00, 0], ..Default::default() };
    let dims = [Dim::Param("N".to_owned()), Dim::Value(3)];
    let graph = GraphProto {
        node: vec![node],
        initializer: vec![TensorProto::float("w", &[2, 3], &[0.5; 6]), half],
        input: vec![onnx::ValueInfoProto::tensor("x", onnx::DataType::Float, dims)],
        ..Default::default()
    };
    ModelProto { ir_version: 8, graph: Some(graph), ..Default::default() }
}

fn valid_pictures() -> Vec<Vec<u8>> {
    let picture =
        RgbaImage::from_fn(9, 7, |x, y| [(x * 20) as u8, (y * 30) as u8, 77, 255 - (x * y) as u8].into());
    let picture = DynamicImage::from(picture);
    let formats =
        [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp];
    let write = |format| {
        let mut bytes = Cursor::new(Vec::new());
        let picture = if format == ImageFormat::Jpeg { picture.to_rgb8().into() } else { picture.clone() };
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    formats.into_iter().map(write).collect()
}
