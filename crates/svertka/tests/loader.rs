//! Batches and the random changes in them.

use std::collections::BTreeMap;

use svertka::data::{
    Affine, Augment, Batch, Dataset, Loader, LoaderOptions, OpenOptions, Preprocessing, Split,
};

/// All batches of an epoch.
fn batches(split: &Split, preprocessing: &Preprocessing, options: LoaderOptions) -> Vec<Batch> {
    let mut loader = Loader::new(split, preprocessing, options).unwrap();
    let mut all = Vec::new();
    while let Some(batch) = loader.next_batch().unwrap() {
        all.push(batch.clone());
    }
    all
}

fn everything() -> LoaderOptions {
    let affine = Affine { degrees: 15.0, translate: 0.1, scale: (0.8, 1.2), shear: 5.0 };
    let augment =
        Augment { crop_padding: 2, flip: true, affine: Some(affine), colour: 0.2, cutout: 7, mixup: 0.4 };
    LoaderOptions { batch: 48, shuffle: true, augment, seed: 5, epoch: 3, ..LoaderOptions::default() }
}

#[test]
fn batches_are_the_same_whatever_the_threads_and_after_a_resume() {
    let digits = Dataset::open("digits", &OpenOptions::default()).unwrap();
    let (test, input) = (digits.test.as_ref().unwrap(), digits.preprocessing().unwrap());
    let one = batches(test, &input, everything());
    assert_eq!(one.len(), 21);
    assert_eq!(one[20].labels.len(), 1000 - 20 * 48);
    let mut indices: Vec<usize> = one.iter().flat_map(|batch| batch.indices.clone()).collect();
    assert!(!indices.is_sorted());
    indices.sort_unstable();
    assert_eq!(indices, (0..1000).collect::<Vec<_>>());
    for threads in [2, 3] {
        assert_eq!(
            batches(test, &input, LoaderOptions { threads, ..everything() }),
            one,
            "{threads} threads"
        );
    }
    for (start_batch, threads) in [(1, 1), (7, 3), (20, 2), (21, 1), (99, 2)] {
        let rest = batches(test, &input, LoaderOptions { start_batch, threads, ..everything() });
        assert_eq!(rest, one[start_batch.min(21)..], "from {start_batch}");
    }
    assert_eq!(batches(test, &input, LoaderOptions { drop_last: true, ..everything() }), one[..20]);
    for other in [LoaderOptions { epoch: 4, ..everything() }, LoaderOptions { seed: 6, ..everything() }] {
        assert_ne!(batches(test, &input, other)[0].indices, one[0].indices);
    }
}

#[test]
fn a_picture_is_changed_alike_in_any_order() {
    let digits = Dataset::open("digits", &OpenOptions::default()).unwrap();
    let (test, input) = (digits.test.as_ref().unwrap(), digits.preprocessing().unwrap());
    let options = LoaderOptions { augment: Augment { mixup: 0.0, ..everything().augment }, ..everything() };
    let pictures = |options| {
        let mut pictures = BTreeMap::new();
        for batch in batches(test, &input, options) {
            for (picture, &index) in batch.pictures.data().chunks_exact(784).zip(&batch.indices) {
                pictures.insert(index, picture.to_vec());
            }
        }
        pictures
    };
    let shuffled = pictures(options.clone());
    assert_eq!(pictures(LoaderOptions { shuffle: false, batch: 100, ..options.clone() }), shuffled);
    assert_ne!(pictures(LoaderOptions { epoch: 4, ..options })[&0], shuffled[&0]);
}

#[test]
fn unchanged_batches_are_the_pictures_in_order() {
    let digits = Dataset::open("digits", &OpenOptions::default()).unwrap();
    let (test, input) = (digits.test.as_ref().unwrap(), digits.preprocessing().unwrap());
    let first = &batches(test, &input, LoaderOptions::default())[0];
    let mut expected = vec![0.0; 784];
    for (i, picture) in first.pictures.data().chunks_exact(784).enumerate() {
        input.write(&test.picture(i).unwrap(), &mut expected).unwrap();
        assert_eq!(picture, expected);
        let targets = &first.targets.data()[10 * i..][..10];
        assert!(
            (0..10).all(|class| targets[class] == f32::from(u8::from(class == test.label(i)))),
            "{targets:?}"
        );
    }
}

#[test]
fn mixup_mixes_pictures_and_targets_in_one_proportion() {
    let digits = Dataset::open("digits", &OpenOptions::default()).unwrap();
    let (test, input) = (digits.test.as_ref().unwrap(), digits.preprocessing().unwrap());
    let augment = Augment { mixup: 1.0, ..Augment::default() };
    let mut shares = Vec::new();
    for batch in batches(test, &input, LoaderOptions { batch: 100, augment, ..LoaderOptions::default() }) {
        let plain: Vec<f64> = {
            let mut out = vec![0.0; 784];
            let sums = batch.indices.iter().map(|&i| {
                input.write(&test.picture(i).unwrap(), &mut out).unwrap();
                out.iter().map(|&x| f64::from(x)).sum()
            });
            sums.collect()
        };
        let sum: f64 = batch.pictures.data().iter().map(|&x| f64::from(x)).sum();
        assert!((sum - plain.iter().sum::<f64>()).abs() < 0.5, "a permutation keeps the sum over the batch");
        for (targets, &label) in batch.targets.data().chunks_exact(10).zip(&batch.labels) {
            assert!((targets.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{targets:?}");
            assert!(targets.iter().filter(|&&share| share > 0.0).count() <= 2);
            assert!(targets[label] > 0.0);
        }
        shares.push(batch.targets.data().iter().copied().filter(|&share| share > 0.0).fold(1.0, f32::min));
    }
    shares.dedup();
    assert!(shares.len() > 5, "each batch draws its own proportion: {shares:?}");
}

#[test]
fn a_loader_can_be_dropped_at_any_time_and_refuses_nonsense() {
    let digits = Dataset::open("digits", &OpenOptions::default()).unwrap();
    let input = digits.preprocessing().unwrap();
    for taken in 0..3 {
        let mut loader =
            Loader::new(&digits.train, &input, LoaderOptions { threads: 3, ..everything() }).unwrap();
        (0..taken).for_each(|_| assert!(loader.next_batch().unwrap().is_some()));
    }
    let other = Preprocessing { width: 27, ..input.clone() };
    let cases = [
        (
            &other,
            everything(),
            "preprocessing: expected (1, 28, 28) (channels, height, width) as the pictures, received (1, 28, 27)",
        ),
        (
            &input,
            LoaderOptions { batch: 0, ..everything() },
            "batch: expected 1 to 1369568 pictures, received 0",
        ),
        (
            &input,
            LoaderOptions { augment: Augment { mixup: f32::NAN, ..Augment::default() }, ..everything() },
            "mixup: expected a number from 0 to 4, received NaN",
        ),
    ];
    for (input, options, expected) in cases {
        let error = Loader::new(&digits.train, input, options).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
