//! Sets whose pictures stand in a few files of numbers: the built-in digits, IDX, CIFAR, npz.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use svertka_formats::cifar::{self, Variant};
use svertka_formats::{Array, ArrayData, Limits, idx, npz};

use super::Preprocessing;
use super::dataset::{OpenOptions, Parts};
use super::split::Store;
use crate::error::{Error, Result};

/// Classes without names are called "0", "1", ...; more than this many are taken for a mistake.
const MAX_CLASSES: u32 = 65_536;

/// The files of a set in the manner of MNIST: part, then pictures and labels.
const IDX_FILES: [(&str, [&str; 2]); 2] = [
    ("train", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]),
    ("test", ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]),
];

/// The files of both CIFAR sets: training, test, class names.
const CIFAR_FILES: [(Variant, &[&str], &str, &str); 2] = [
    (
        Variant::Cifar10,
        &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
        "test_batch.bin",
        "batches.meta.txt",
    ),
    (Variant::Cifar100, &["train.bin"], "test.bin", "fine_label_names.txt"),
];

/// One part of a set as its file has it.
struct Pictures {
    part: &'static str,
    frame: Preprocessing,
    /// Count x height x width x channels.
    bytes: Vec<u8>,
    labels: Vec<u32>,
}

/// The built-in set: 4,000 handwritten digits to train, 1,000 to test, 28 x 28, grey.
pub(super) fn digits(options: &OpenOptions) -> Result<Parts> {
    macro_rules! file {
        ($name:literal) => {
            (Path::new($name), Cow::Borrowed(&include_bytes!(concat!("../../data/digits/", $name))[..]))
        };
    }
    let train =
        idx_pair("train", [file!("train-images-idx3-ubyte.gz"), file!("train-labels-idx1-ubyte.gz")])?;
    let test = idx_pair("test", [file!("t10k-images-idx3-ubyte.gz"), file!("t10k-labels-idx1-ubyte.gz")])?;
    parts("digits", vec![train, test], None, options)
}

/// The IDX files in `folder`; `None` where there are none.
pub(super) fn idx_folder(folder: &Path, options: &OpenOptions) -> Result<Option<Parts>> {
    let find = |name: &str| -> Option<PathBuf> {
        // Some mirrors write a dot where the original has a hyphen.
        let dotted = name.replacen("-idx", ".idx", 1);
        let names = [name.to_owned(), format!("{name}.gz"), format!("{dotted}.gz"), dotted];
        names.into_iter().map(|name| folder.join(name)).find(|path| path.is_file())
    };
    let found = IDX_FILES.map(|(part, names)| (part, names, names.map(find)));
    if found.iter().all(|(_, _, paths)| paths.iter().all(Option::is_none)) {
        return Ok(None);
    }
    let mut all = Vec::new();
    for (part, names, paths) in found {
        match paths {
            [Some(images), Some(labels)] => {
                let files = [read(&images)?, read(&labels)?];
                let [first, second] = files;
                all.push(idx_pair(part, [(&images, first.into()), (&labels, second.into())])?);
            }
            [None, None] if part == "test" => {}
            [images, _] => {
                let missing = names[usize::from(images.is_some())];
                let expected = format!("{missing} or {missing}.gz");
                return Err(Error::argument(
                    folder.display().to_string(),
                    "IDX files",
                    expected,
                    "no such file",
                ));
            }
        }
    }
    let names = ["classes.txt", "labels.txt"].map(|name| folder.join(name));
    let names = names.iter().find(|path| path.is_file()).map(|path| class_names(path)).transpose()?;
    parts(&name_of(folder), all, names, options).map(Some)
}

/// The files of CIFAR-10 or CIFAR-100 in `folder`; `None` where there are none.
pub(super) fn cifar_folder(folder: &Path, options: &OpenOptions) -> Result<Option<Parts>> {
    for (variant, train, test, names) in CIFAR_FILES {
        let present = |name: &&str| folder.join(name).is_file();
        if !train.iter().any(present) {
            continue;
        }
        let mut all = Vec::new();
        for (part, files) in [("train", train), ("test", &[test][..])] {
            let mut whole = cifar::Cifar { labels: vec![], pixels: vec![] };
            for path in files.iter().filter(|name| present(name)).map(|name| folder.join(name)) {
                let file = cifar::decode(&read(&path)?, variant, &Limits::default());
                let file = file.map_err(Error::format(&path))?;
                whole.labels.extend(file.labels);
                whole.pixels.extend(file.pixels);
            }
            if !whole.labels.is_empty() {
                let frame = Preprocessing::new(3, cifar::SIDE, cifar::SIDE, options.resize)?;
                let labels = whole.labels.into_iter().map(u32::from).collect();
                all.push(Pictures { part, frame, bytes: whole.pixels, labels });
            }
        }
        let names = folder.join(names);
        let names = if names.is_file() { Some(class_names(&names)?) } else { None };
        return parts(&name_of(folder), all, names, options).map(Some);
    }
    Ok(None)
}

/// An npz file with the names of Keras: `x_train`, `y_train`, `x_val`, `y_val`, `x_test`, `y_test`, or `x`, `y`.
pub(super) fn npz_file(path: &Path, options: &OpenOptions) -> Result<Parts> {
    let mut arrays = npz::decode(&read(path)?, &Limits::default()).map_err(Error::format(path))?;
    let mut take = |name: &str| {
        let index = arrays.iter().position(|(other, _)| other == name)?;
        Some(arrays.swap_remove(index).1)
    };
    let mut all = Vec::new();
    for (part, names) in [
        ("train", &[["x_train", "y_train"], ["x", "y"]][..]),
        ("val", &[["x_val", "y_val"]]),
        ("test", &[["x_test", "y_test"]]),
    ] {
        for names @ [x, y] in names {
            match (take(x), take(y)) {
                (Some(pictures), Some(labels)) => all.push(from_arrays(path, part, names, pictures, labels)?),
                (None, None) => {}
                (x_found, _) => {
                    let missing = if x_found.is_some() { y } else { x };
                    return Err(Error::argument(
                        path.display().to_string(),
                        "npz",
                        *missing,
                        "no such array",
                    ));
                }
            }
        }
    }
    if all.first().is_none_or(|pictures| pictures.part != "train") {
        let expected = "arrays x_train and y_train, or x and y";
        let received = arrays.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Error::argument(path.display().to_string(), "npz", expected, received));
    }
    parts(&name_of(path), all, None, options)
}

fn from_arrays(
    path: &Path,
    part: &'static str,
    [x, y]: &[&str; 2],
    pictures: Array,
    labels: Array,
) -> Result<Pictures> {
    let subject = path.display().to_string();
    let (height, width, channels) = match pictures.shape[..] {
        [_, height, width] => (height, width, 1),
        [_, height, width, channels] => (height, width, channels),
        _ => {
            let expected = "count x height x width or count x height x width x channels";
            return Err(Error::argument(subject, *x, expected, format!("{:?}", pictures.shape)));
        }
    };
    let ArrayData::U8(bytes) = pictures.data else {
        return Err(Error::argument(subject, *x, "bytes (uint8)", "another element type"));
    };
    let frame = Preprocessing::new(channels, height, width, Default::default())
        .map_err(|error| Error::argument(&subject, *x, "pictures", error))?;
    // Keras writes the labels of CIFAR as a column.
    if !matches!(labels.shape[..], [_] | [_, 1]) {
        return Err(Error::argument(subject, *y, "one label per picture", format!("{:?}", labels.shape)));
    }
    let labels: Vec<i64> = match labels.data {
        ArrayData::U8(labels) => labels.into_iter().map(i64::from).collect(),
        ArrayData::I64(labels) => labels,
        _ => return Err(Error::argument(subject, *y, "integers", "another element type")),
    };
    let label = |label: i64| {
        let right = u32::try_from(label).ok().filter(|&label| label < MAX_CLASSES);
        right.ok_or_else(|| {
            Error::argument(&subject, *y, format!("labels from 0 to {}", MAX_CLASSES - 1), label)
        })
    };
    let labels = labels.into_iter().map(label).collect::<Result<Vec<u32>>>()?;
    Pictures { part, frame, bytes, labels }.checked(&subject)
}

/// Pictures and labels, each with the path that errors name.
fn idx_pair(part: &'static str, [images, labels]: [(&Path, Cow<[u8]>); 2]) -> Result<Pictures> {
    let decode = |(path, bytes): (&Path, Cow<[u8]>)| {
        idx::decode(&bytes, &Limits::default()).map_err(Error::format(path))
    };
    let (subject, labels_subject) = (images.0.display().to_string(), labels.0.display().to_string());
    let (images, labels) = (decode(images)?, decode(labels)?);
    let [_, height, width] = images.shape[..] else {
        let received = format!("{:?}", images.shape);
        return Err(Error::argument(subject, "IDX shape", "count x height x width", received));
    };
    if labels.shape.len() != 1 {
        let received = format!("{:?}", labels.shape);
        return Err(Error::argument(labels_subject, "IDX shape", "count of labels", received));
    }
    let frame = Preprocessing::new(1, height, width, Default::default())
        .map_err(|error| Error::argument(&subject, "IDX shape", "pictures", error))?;
    let labels = labels.data.into_iter().map(u32::from).collect();
    Pictures { part, frame, bytes: images.data, labels }.checked(&subject)
}

impl Pictures {
    /// Refuses another number of labels than of pictures.
    fn checked(self, subject: &str) -> Result<Self> {
        let count = self.bytes.len() / self.frame.len();
        if count == self.labels.len() {
            return Ok(self);
        }
        let expected = format!("one for each of the {count} pictures");
        Err(Error::argument(subject, "labels", expected, self.labels.len()))
    }
}

/// Fits all to the frame that is asked for, or to that of the training pictures.
fn parts(set: &str, all: Vec<Pictures>, names: Option<Vec<String>>, options: &OpenOptions) -> Result<Parts> {
    let native = &all.first().expect("callers read a training part first").frame;
    let (height, width) = options.size.unwrap_or((native.height, native.width));
    let channels = options.channels.unwrap_or(native.channels);
    let frame = Preprocessing::new(channels, height, width, options.resize)?;
    let count = all.iter().flat_map(|pictures| &pictures.labels).max().map_or(0, |label| label + 1);
    let classes = names.unwrap_or_else(|| (0..count).map(|label| label.to_string()).collect());
    if classes.len() < count as usize {
        let expected = format!("names for {count} classes: labels go to {}", count - 1);
        return Err(Error::argument(set, "class names", expected, classes.len()));
    }
    let [mut train, mut val, mut test] = [None, None, None];
    for Pictures { part, frame: native, bytes, labels } in all {
        let prefix = format!("{set}/{part}");
        let store = Store::from_array(prefix, labels, bytes, native, &frame, options)?;
        *match part {
            "train" => &mut train,
            "val" => &mut val,
            _ => &mut test,
        } = Some(store);
    }
    let train = train.expect("callers read a training part first");
    Ok(Parts { classes, train, val, test, skipped: vec![], cache: None })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::io(path))
}

fn class_names(path: &Path) -> Result<Vec<String>> {
    cifar::class_names(&read(path)?).map_err(Error::format(path))
}

/// The last part of a path; of a file, without its ending.
pub(super) fn name_of(path: &Path) -> String {
    let absolute = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = if absolute.is_dir() { absolute.file_name() } else { absolute.file_stem() };
    name.unwrap_or(absolute.as_os_str()).display().to_string()
}
