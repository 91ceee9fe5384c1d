//! Data sets as they lie on disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use svertka::data::{Dataset, Loader, LoaderOptions, OpenOptions, Preprocessing, Resize, Split};
use svertka::formats::idx::{self, Idx};
use svertka::formats::{Array, ArrayData, Picture, npz};
use tempfile::TempDir;

fn write(root: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

/// A grey PNG of one value.
fn png(width: usize, height: usize, value: u8) -> Vec<u8> {
    Picture::new(width, height, 1, vec![value; width * height]).unwrap().encode_png().unwrap()
}

fn colour_png(width: usize, height: usize) -> Vec<u8> {
    Picture::new(width, height, 3, vec![9; width * height * 3]).unwrap().encode_png().unwrap()
}

/// A folder with `count` grey pictures of 6 x 5 in each class, every one different.
fn class_folders(classes: &[&str], count: u8) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (class, name) in (0..).zip(classes) {
        for i in 0..count {
            write(root.path(), &format!("{name}/{i:02}.png"), &png(6, 5, 100 * class + i));
        }
    }
    root
}

fn open(root: &TempDir) -> Dataset {
    Dataset::open(root.path(), &OpenOptions::default()).unwrap()
}

fn error(root: &TempDir, options: &OpenOptions) -> String {
    Dataset::open(root.path(), options).unwrap_err().to_string()
}

fn per_class(split: &Split) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    (0..split.len()).for_each(|i| *counts.entry(split.label(i)).or_default() += 1);
    counts
}

fn names(split: &Split) -> Vec<String> {
    (0..split.len()).map(|i| split.name(i)).collect()
}

#[test]
fn the_built_in_digits_are_what_they_should_be() {
    let digits = Dataset::open("digits", &OpenOptions::default()).unwrap();
    assert_eq!((digits.name.as_str(), digits.classes.join("")), ("digits", "0123456789".to_owned()));
    let (val, test) = (digits.val.as_ref().unwrap(), digits.test.as_ref().unwrap());
    for (split, expected) in [(&digits.train, 360), (val, 40), (test, 100)] {
        assert_eq!(per_class(split), (0..10).map(|class| (class, expected)).collect());
    }
    assert_eq!((test.name(17).as_str(), test.label(17)), ("digits/test/17", 7));
    // Sum, and sum weighted by position, reckoned from the file by another program.
    let pixels = test.pixels(17).unwrap();
    let weighted: usize = pixels.iter().enumerate().map(|(at, &value)| at * usize::from(value)).sum();
    assert_eq!((pixels.iter().map(|&value| u64::from(value)).sum::<u64>(), weighted), (22_272, 9_029_546));
    let all =
        Dataset::open("digits", &OpenOptions { val_fraction: Some(0.0), ..OpenOptions::default() }).unwrap();
    assert!(all.val.is_none());
    let (mean, std) = all.train.statistics().unwrap();
    assert!((mean[0] - 0.130_859_9).abs() < 1e-6 && (std[0] - 0.308_015_57).abs() < 1e-6, "{mean:?} {std:?}");
}

#[test]
fn held_out_pictures_are_seeded_stratified_and_leave_the_rest() {
    let root = class_folders(&["a", "b"], 10);
    write(root.path(), "c/only.png", &png(6, 5, 0));
    let held = |fraction, seed| {
        let options = OpenOptions { val_fraction: Some(fraction), seed, ..OpenOptions::default() };
        let set = Dataset::open(root.path(), &options).unwrap();
        let val = set.val.unwrap();
        let mut all = [names(&set.train), names(&val)].concat();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 21, "each picture stands in one of both");
        (per_class(&val), names(&val))
    };
    let (counts, first) = held(0.3, 1);
    assert_eq!(counts, BTreeMap::from([(0, 3), (1, 3)]));
    assert_eq!(held(0.3, 1).1, first);
    assert_ne!(held(0.3, 2).1, first);
    assert_eq!(held(0.01, 1).0, BTreeMap::from([(0, 1), (1, 1)]), "at least one of two or more");
    assert_eq!(held(0.99, 1).0, BTreeMap::from([(0, 9), (1, 9)]), "never all");
}

#[test]
fn a_folder_of_all_kinds_of_files_is_read_and_the_broken_ones_are_listed() {
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures");
    let root = tempfile::tempdir().unwrap();
    for name in ["deep.png", "halves.bmp", "halves.gif", "halves.webp", "turned.jpg"] {
        write(root.path(), &format!("a/{name}"), &fs::read(pictures.join(name)).unwrap());
    }
    for i in 0..20 {
        write(root.path(), &format!("b/deeper/{i:02}.PNG"), &png(20, 16, i));
    }
    write(root.path(), "b/empty.png", b"");
    write(root.path(), "b/words.jpg", b"not a picture at all");
    write(root.path(), "b/cut.png", &png(20, 16, 3)[..40]);
    write(root.path(), "b/notes.txt", b"ignored");
    write(root.path(), "b/.hidden.png", b"ignored");
    write(root.path(), ".cache/x.png", b"ignored");
    let seen = AtomicUsize::new(0);
    let progress = |_, total| {
        assert_eq!(total, 28);
        seen.fetch_add(1, Ordering::Relaxed);
    };
    let options = OpenOptions {
        val_fraction: Some(0.0),
        max_skipped_fraction: 0.2,
        progress: &progress,
        ..OpenOptions::default()
    };
    let set = Dataset::open(root.path(), &options).unwrap();
    assert_eq!(seen.into_inner(), 28);
    assert_eq!(set.classes, ["a", "b"]);
    assert_eq!(per_class(&set.train), BTreeMap::from([(0, 5), (1, 20)]));
    let frame = set.train.frame();
    assert_eq!(
        (frame.channels, frame.height, frame.width),
        (3, 16, 16),
        "colour, and the median shorter side"
    );

    let skipped: Vec<String> = set.skipped.iter().map(ToString::to_string).collect();
    for (line, (name, reason)) in skipped.iter().zip([
        ("cut.png", "expected a whole valid file"),
        ("empty.png", "received 0 bytes"),
        ("words.jpg", "text that starts \"not a picture"),
    ]) {
        assert!(line.contains(name) && line.contains(reason), "{line}");
    }
    assert_eq!(skipped.len(), 3);

    let pixel = |name: &str, y: usize, x: usize| {
        let index = names(&set.train).iter().position(|path| path.ends_with(name)).unwrap();
        let picture = set.train.picture(index).unwrap();
        picture.data[(y * picture.width + x) * 3..][..3].to_vec()
    };
    for name in ["halves.bmp", "halves.gif", "halves.webp"] {
        assert_eq!((pixel(name, 8, 2), pixel(name, 8, 13)), (vec![255, 0, 0], vec![0, 0, 255]), "{name}");
    }
    assert_eq!((pixel("deep.png", 8, 2), pixel("deep.png", 8, 13)), (vec![128; 3], vec![255; 3]));
    let (above, below) = (pixel("turned.jpg", 2, 8), pixel("turned.jpg", 13, 8));
    assert!(above[0] > 240 && above[2] < 15 && below[0] < 15 && below[2] > 240, "{above:?} {below:?}");
}

#[test]
fn size_and_colours_are_chosen_from_the_pictures() {
    // Width, height and channels of pictures; channels, height and width chosen.
    type Sizes = (usize, usize, usize);
    let cases: [(&[Sizes], Sizes); 6] = [
        (&[(6, 5, 1), (6, 5, 1)], (1, 5, 6)),
        (&[(6, 5, 1), (6, 5, 3)], (3, 5, 6)),
        (&[(6, 5, 1), (7, 5, 1)], (1, 16, 16)),
        (&[(50, 90, 3), (61, 70, 3), (200, 300, 3)], (3, 64, 64)),
        (&[(80, 65, 3), (80, 65, 3)], (3, 64, 64)),
        (&[(300, 400, 1), (500, 301, 1)], (1, 224, 224)),
    ];
    for (sizes, expected) in cases {
        let root = tempfile::tempdir().unwrap();
        for (i, &(width, height, channels)) in sizes.iter().enumerate() {
            let file = if channels == 1 { png(width, height, 7) } else { colour_png(width, height) };
            write(root.path(), &format!("{i}/x.png"), &file);
        }
        let set = open(&root);
        let frame = set.train.frame();
        assert_eq!((frame.channels, frame.height, frame.width), expected, "{sizes:?}");
    }
    let root = class_folders(&["a", "b"], 2);
    let options = OpenOptions {
        size: Some((8, 12)),
        channels: Some(3),
        resize: Resize::Stretch,
        ..OpenOptions::default()
    };
    let set = Dataset::open(root.path(), &options).unwrap();
    assert_eq!(set.train.frame(), &Preprocessing::new(3, 8, 12, Resize::Stretch).unwrap());
    assert_eq!(set.train.picture(0).unwrap().data.len(), 8 * 12 * 3);
}

#[test]
fn parts_are_matched_by_class_name() {
    let root = tempfile::tempdir().unwrap();
    for (i, name) in
        ["train/cat/1", "train/dog/1", "train/eel/1", "validation/eel/1", "test/dog/1", "test/eel/1"]
            .iter()
            .enumerate()
    {
        write(root.path(), &format!("{name}.png"), &png(6, 5, i as u8));
    }
    let set = open(&root);
    assert_eq!(set.classes, ["cat", "dog", "eel"]);
    assert_eq!(per_class(&set.train), BTreeMap::from([(0, 1), (1, 1), (2, 1)]));
    assert_eq!(per_class(set.val.as_ref().unwrap()), BTreeMap::from([(2, 1)]));
    assert_eq!(per_class(set.test.as_ref().unwrap()), BTreeMap::from([(1, 1), (2, 1)]));
    write(root.path(), "test/fox/1.png", &png(6, 5, 0));
    let error = error(&root, &OpenOptions::default());
    assert!(
        error.contains(
            "test: class folder: expected one of the classes in train: cat, dog, eel, received fox"
        ),
        "{error}"
    );
}

#[test]
fn a_models_classes_give_the_labels() {
    let root = class_folders(&["cat", "eel"], 2);
    let known = |classes: &[&str]| OpenOptions {
        classes: Some(classes.iter().map(ToString::to_string).collect()),
        val_fraction: Some(0.0),
        ..OpenOptions::default()
    };
    let set = Dataset::open(root.path(), &known(&["eel", "dog", "cat"])).unwrap();
    assert_eq!(per_class(&set.train), BTreeMap::from([(0, 2), (2, 2)]));
    assert_eq!(set.train.classes(), 3);
    let error = error(&root, &known(&["cat", "dog"]));
    assert!(error.ends_with("class: expected one of: cat, dog, received eel"), "{error}");
}

#[test]
fn folders_that_are_no_data_set_are_refused_with_the_reason() {
    type Spoil = fn(&Path);
    let cases: &[(Spoil, &str)] = &[
        (
            |root| fs::remove_dir_all(root).unwrap(),
            "or a folder with class folders, with train/ of class folders",
        ),
        (|root| fs::remove_dir_all(root).unwrap(), "received nothing there"),
        (
            |root| {
                fs::remove_dir_all(root).unwrap();
                fs::create_dir(root).unwrap()
            },
            "received an empty folder",
        ),
        (
            |root| {
                fs::remove_dir_all(root).unwrap();
                write(root, "x.png", &png(6, 5, 0));
            },
            "received a folder of 1 files without any folder",
        ),
        (
            |root| fs::remove_dir_all(root.join("b")).unwrap(),
            "classes: expected at least two with pictures, received one: a",
        ),
        (
            |root| fs::create_dir(root.join("c")).unwrap(),
            "c: class folder: expected at least one picture (png, jpg, jpeg, webp, gif, bmp), received an empty folder",
        ),
        (
            |root| {
                write(root, "c/x.txt", b"");
            },
            "received 1 files with other endings",
        ),
        (
            |root| {
                write(root, "c/x.png", b"abc");
            },
            "received 1 that cannot be read, first ",
        ),
        (
            |root| {
                (0..3).for_each(|i| {
                    write(root, &format!("b/{i}x.png"), b"abc");
                })
            },
            "pictures: expected at most 0.1 of 23 unreadable, received 3: ",
        ),
    ];
    for (spoil, expected) in cases {
        let root = class_folders(&["a", "b"], 10);
        spoil(root.path());
        let error = error(&root, &OpenOptions::default());
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(root.path().to_str().unwrap()), "{error}");
    }
    let root = class_folders(&["a", "b"], 2);
    let options = OpenOptions { val_fraction: Some(f64::NAN), ..OpenOptions::default() };
    assert!(error(&root, &options).contains("val_fraction: expected 0 or more, below 1, received NaN"));
    let options = OpenOptions { size: Some((0, 5)), ..OpenOptions::default() };
    assert!(error(&root, &options).contains("height: expected 1 to 16384 pixels, received 0"));
}

#[cfg(unix)]
#[test]
fn links_in_circles_end() {
    let root = class_folders(&["a", "b"], 3);
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, root.path().join(name)).unwrap();
    link(root.path(), "a/up");
    link(&root.path().join("a"), "a/again");
    link(root.path(), "loop");
    link(&root.path().join("nowhere"), "b/gone.png");
    let set = Dataset::open(
        root.path(),
        &OpenOptions { val_fraction: Some(0.0), max_skipped_fraction: 0.2, ..OpenOptions::default() },
    )
    .unwrap();
    assert_eq!(set.classes, ["a", "b"]);
    assert_eq!(per_class(&set.train), BTreeMap::from([(0, 3), (1, 3)]));
    assert!(set.skipped[0].path.ends_with("b/gone.png"), "{:?}", set.skipped);
}

fn idx_file(shape: &[usize], bytes: Vec<u8>) -> Vec<u8> {
    idx::encode(&Idx { shape: shape.to_vec(), data: bytes }).unwrap()
}

fn idx_folder() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "train-images-idx3-ubyte", &idx_file(&[4, 3, 2], (0..24).collect()));
    write(root.path(), "train-labels-idx1-ubyte", &idx_file(&[4], vec![2, 0, 2, 0]));
    write(root.path(), "t10k-images-idx3-ubyte", &idx_file(&[1, 3, 2], vec![9; 6]));
    write(root.path(), "t10k-labels-idx1-ubyte", &idx_file(&[1], vec![1]));
    root
}

#[test]
fn idx_files_are_read_with_and_without_names() {
    let root = idx_folder();
    let all = OpenOptions { val_fraction: Some(0.0), ..OpenOptions::default() };
    let set = Dataset::open(root.path(), &all).unwrap();
    assert_eq!(set.classes, ["0", "1", "2"]);
    assert_eq!(set.train.picture(1).unwrap(), Picture::new(2, 3, 1, (6..12).collect()).unwrap());
    assert_eq!((set.train.label(2), set.test.unwrap().label(0)), (2, 1));
    write(root.path(), "labels.txt", b"shoe\nshirt\nhat\n");
    assert_eq!(open(&root).classes, ["shoe", "shirt", "hat"]);
    let resized =
        Dataset::open(root.path(), &OpenOptions { size: Some((5, 4)), channels: Some(3), ..all }).unwrap();
    let expected = resized.train.frame().fit(set.train.picture(3).unwrap()).unwrap();
    assert_eq!(resized.train.picture(3).unwrap(), expected);
    assert_eq!(expected.data.len(), 60);
}

#[test]
fn idx_files_that_do_not_fit_are_refused() {
    type Spoil = fn(&Path);
    let cases: &[(Spoil, &str)] = &[
        (
            |root| {
                let path = root.join("train-images-idx3-ubyte");
                let bytes = fs::read(&path).unwrap();
                fs::write(path, &bytes[..bytes.len() - 5]).unwrap();
            },
            "train-images-idx3-ubyte: IDX: data: expected 24 bytes for shape [4, 3, 2], received 19 bytes",
        ),
        (
            |root| fs::remove_file(root.join("train-labels-idx1-ubyte")).unwrap(),
            "IDX files: expected train-labels-idx1-ubyte or train-labels-idx1-ubyte.gz, received no such file",
        ),
        (
            |root| fs::remove_file(root.join("train-images-idx3-ubyte")).unwrap(),
            "IDX files: expected train-images-idx3-ubyte or",
        ),
        (
            |root| {
                write(root, "train-labels-idx1-ubyte", &idx_file(&[3], vec![0, 1, 2]));
            },
            "labels: expected one for each of the 4 pictures, received 3",
        ),
        (
            |root| {
                write(root, "train-images-idx3-ubyte", &idx_file(&[4, 6], vec![0; 24]));
            },
            "IDX shape: expected count x height x width, received [4, 6]",
        ),
        (
            |root| {
                write(root, "train-images-idx3-ubyte", &idx_file(&[4, 6, 0], vec![]));
            },
            "width: expected 1 to 16384 pixels, received 0",
        ),
        (
            |root| {
                write(root, "classes.txt", b"shoe\nshirt\n");
            },
            "class names: expected names for 3 classes: labels go to 2, received 2",
        ),
        (
            |root| {
                write(root, "train-labels-idx1-ubyte", &idx_file(&[4], vec![1; 4]));
            },
            "classes: expected at least two with pictures, received one: 1",
        ),
    ];
    for (spoil, expected) in cases {
        let root = idx_folder();
        spoil(root.path());
        let error = error(&root, &OpenOptions::default());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn cifar_files_are_read() {
    let root = tempfile::tempdir().unwrap();
    let record = |label: u8| [vec![label], vec![10; 1024], vec![20; 1024], vec![30; 1024]].concat();
    write(root.path(), "data_batch_1.bin", &[record(1), record(0)].concat());
    write(root.path(), "data_batch_2.bin", &record(1));
    write(root.path(), "test_batch.bin", &record(0));
    write(root.path(), "batches.meta.txt", b"plane\ncar\n\n");
    let set = Dataset::open(root.path(), &OpenOptions { val_fraction: Some(0.0), ..OpenOptions::default() })
        .unwrap();
    assert_eq!(set.classes, ["plane", "car"]);
    assert_eq!(per_class(&set.train), BTreeMap::from([(0, 1), (1, 2)]));
    let picture = set.train.picture(2).unwrap();
    assert_eq!((picture.height, picture.width, &picture.data[..3]), (32, 32, &[10, 20, 30][..]));
}

#[test]
fn npz_files_have_the_names_of_keras() {
    let root = tempfile::tempdir().unwrap();
    let bytes = |shape: &[usize]| {
        let count = shape.iter().product::<usize>();
        Array::new(shape.to_vec(), ArrayData::U8((0..count).map(|i| i as u8).collect())).unwrap()
    };
    let labels = |labels: &[i64], column: bool| {
        let shape = if column { vec![labels.len(), 1] } else { vec![labels.len()] };
        Array::new(shape, ArrayData::I64(labels.to_vec())).unwrap()
    };
    let open = |arrays: &[(&str, &Array)]| {
        let path = write(root.path(), "set.npz", &npz::encode(arrays.iter().copied()).unwrap());
        Dataset::open(path, &OpenOptions { val_fraction: Some(0.0), ..OpenOptions::default() })
    };
    let (x, y) = (bytes(&[3, 2, 4, 3]), labels(&[0, 3, 1], true));
    let set = open(&[
        ("y_train", &y),
        ("x_train", &x),
        ("x_test", &bytes(&[1, 2, 4, 3])),
        ("y_test", &labels(&[1], false)),
    ])
    .unwrap();
    assert_eq!((set.name.as_str(), set.classes.len(), set.train.len()), ("set", 4, 3));
    assert_eq!(set.train.picture(1).unwrap(), Picture::new(4, 2, 3, (24..48).collect()).unwrap());
    assert_eq!((set.test.unwrap().len(), set.train.label(1)), (1, 3));
    assert_eq!(
        open(&[("x", &bytes(&[2, 5, 4])), ("y", &labels(&[1, 0], false))]).unwrap().train.frame().channels,
        1
    );

    let float = Array::new(vec![3, 1, 1], ArrayData::F32(vec![0.0; 3])).unwrap();
    let cases: [(&[(&str, &Array)], &str); 6] = [
        (&[("x_train", &x)], "npz: expected y_train, received no such array"),
        (&[("a", &x), ("b", &y)], "expected arrays x_train and y_train, or x and y, received a, b"),
        (&[("x", &float), ("y", &y)], "x: expected bytes (uint8)"),
        (&[("x", &bytes(&[3, 2])), ("y", &y)], "x: expected count x height x width"),
        (&[("x", &x), ("y", &labels(&[0, -1, 1], false))], "y: expected labels from 0 to 65535, received -1"),
        (
            &[("x", &x), ("y", &labels(&[0, 1], false))],
            "labels: expected one for each of the 3 pictures, received 2",
        ),
    ];
    for (arrays, expected) in cases {
        let error = open(arrays).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("set.npz"), "{error}");
    }
}

#[test]
fn the_fingerprint_tells_changes_and_nothing_else() {
    let root = class_folders(&["a", "b"], 4);
    let before = open(&root).fingerprint();
    let moved = class_folders(&["a", "b"], 4);
    assert_eq!(open(&moved).fingerprint(), before, "where the folder lies does not count");
    write(root.path(), "b/00.png", &png(6, 5, 99));
    assert_ne!(open(&root).fingerprint(), before, "a pixel");
    write(root.path(), "b/00.png", &png(6, 5, 100));
    assert_eq!(open(&root).fingerprint(), before);
    let other_seed = OpenOptions { seed: 1, ..OpenOptions::default() };
    assert_ne!(Dataset::open(root.path(), &other_seed).unwrap().fingerprint(), before, "another split");
    fs::rename(root.path().join("b/03.png"), root.path().join("b/04.png")).unwrap();
    assert_ne!(open(&root).fingerprint(), before, "a name");
}

#[test]
fn pictures_beyond_the_memory_limit_are_the_same() {
    let (folders, numbers) = (class_folders(&["a", "b"], 10), idx_folder());
    let size = Some((12, 9));
    for (root, count) in [(&folders, 20), (&numbers, 4)] {
        let open = |memory_limit| {
            let options =
                OpenOptions { memory_limit, size, val_fraction: Some(0.0), ..OpenOptions::default() };
            Dataset::open(root.path(), &options).unwrap()
        };
        let (within, beyond) = (open(count * 12 * 9), open(count * 12 * 9 - 1));
        assert_eq!(within.fingerprint(), beyond.fingerprint());
        assert_eq!(within.preprocessing().unwrap(), beyond.preprocessing().unwrap());
        assert!((0..count).all(|i| within.train.pixels(i).unwrap() == beyond.train.pixels(i).unwrap()));
    }
}

#[test]
fn a_picture_that_vanishes_is_named() {
    let root = class_folders(&["a", "b"], 10);
    let options = OpenOptions { memory_limit: 0, val_fraction: Some(0.0), ..OpenOptions::default() };
    let set = Dataset::open(root.path(), &options).unwrap();
    let gone = root.path().join("b/07.png");
    fs::remove_file(&gone).unwrap();
    let loader_options = LoaderOptions { batch: 2, start_batch: 7, ..LoaderOptions::default() };
    let mut loader = Loader::new(&set.train, set.train.frame(), loader_options).unwrap();
    assert_eq!(loader.next_batch().unwrap().unwrap().indices, [14, 15]);
    let error = loader.next_batch().unwrap_err().to_string();
    assert!(error.contains(gone.to_str().unwrap()), "{error}");
    assert!(loader.next_batch().unwrap().is_none(), "an error ends the epoch");
}
