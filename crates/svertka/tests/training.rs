//! Training: same bits for any number of threads, resumed runs end like uninterrupted ones.

use std::path::Path;

use svertka::data::{Affine, Augment, Dataset, Loader, LoaderOptions, OpenOptions};
use svertka::train::{Event, OptimizerKind, Outcome, Step, TrainConfig, train};
use svertka::{Cpu, Graph, Network};

/// Convolutions of several kinds, norm, dropout, pooling, two linear layers.
fn network() -> Graph {
    let text = "conv8 bn relu pool2 dwconv bn relu6 conv12k1 silu avgpool2 flatten dropout0.2 linear24 relu linear10";
    Network::from_text(text, &[1, 28, 28], 11).unwrap().finish()
}

fn digits() -> Dataset {
    Dataset::open("digits", &OpenOptions::default()).unwrap()
}

/// The bits of all parameters after some steps.
fn bits_after(steps: usize, threads: usize, optimizer: OptimizerKind) -> Vec<u32> {
    let (data, cpu) = (digits(), Cpu::new(threads));
    let config = TrainConfig { optimizer, ..TrainConfig::default() };
    let mut step = Step::new(&network(), &config, 32, &cpu).unwrap();
    let affine = Affine { degrees: 10.0, translate: 0.1, scale: (0.9, 1.1), shear: 5.0 };
    let options = LoaderOptions {
        batch: 32,
        shuffle: true,
        augment: Augment { affine: Some(affine), mixup: 0.2, ..Augment::default_for(28, 28, 1) },
        threads: threads.min(2),
        ..LoaderOptions::default()
    };
    let mut loader = Loader::new(&data.train, &data.preprocessing().unwrap(), options).unwrap();
    for seed in 0..steps {
        let batch = loader.next_batch().unwrap().unwrap();
        step.run(&cpu, &batch.pictures, &batch.targets, 0.05, seed as u64).unwrap();
    }
    step.parameters().iter().flat_map(|tensor| tensor.data().iter().map(|v| v.to_bits())).collect()
}

#[test]
fn same_bits_for_one_to_four_threads() {
    for optimizer in [OptimizerKind::SGD, OptimizerKind::ADAMW] {
        let one = bits_after(4, 1, optimizer);
        for threads in 2..=4 {
            assert!(bits_after(4, threads, optimizer) == one, "{threads} threads, {optimizer:?}");
        }
    }
}

fn run(folder: &Path, config: &TrainConfig, stop_after: usize) -> Option<Outcome> {
    let (data, cpu) = (small(), Cpu::new(2));
    let graph =
        Network::from_text("conv4 bn relu pool4 dropout0.1 linear10", &[1, 28, 28], 3).unwrap().finish();
    let mut steps = 0;
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let observe = &mut |event: Event<'_>| {
            if let Event::Step { .. } = event {
                steps += 1;
                assert!(steps <= stop_after, "interrupted");
            }
        };
        train(&graph, &data, config, folder, &cpu, observe).unwrap()
    }))
    .ok()
}

fn small() -> Dataset {
    // A tenth of the digits is enough to see whether bits are the same.
    Dataset::open("digits", &OpenOptions { val_fraction: Some(0.9), ..OpenOptions::default() }).unwrap()
}

#[test]
fn an_interrupted_run_ends_with_the_bits_of_an_uninterrupted_one() {
    std::panic::set_hook(Box::new(|_| {}));
    let config = TrainConfig { epochs: 3, batch_size: 32, ..TrainConfig::default() };
    let folder = || tempfile::tempdir().unwrap();
    let (whole, broken) = (folder(), folder());
    let expected = run(whole.path(), &config, usize::MAX).unwrap();
    // 12 steps an epoch: inside the first, right after it, inside the third.
    for stop_after in [5, 12, 2, 13] {
        assert!(run(broken.path(), &config, stop_after).is_none());
    }
    let resumed = run(broken.path(), &config, usize::MAX).unwrap();
    assert_eq!(resumed.model, expected.model);
    let figures = |outcome: &Outcome| {
        outcome
            .history
            .iter()
            .map(|r| (r.epoch, r.train_loss, r.val_loss, r.val_accuracy, r.lr))
            .collect::<Vec<_>>()
    };
    assert_eq!(figures(&resumed), figures(&expected));
    // A finished run gives its result again, without a step.
    assert_eq!(run(broken.path(), &config, 0).unwrap().model, expected.model);
    let lines = std::fs::read_to_string(broken.path().join("metrics.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 3);
    let other = TrainConfig { lr: 0.01, ..config };
    let (data, cpu) = (small(), Cpu::new(1));
    let graph =
        Network::from_text("conv4 bn relu pool4 dropout0.1 linear10", &[1, 28, 28], 3).unwrap().finish();
    let error = train(&graph, &data, &other, broken.path(), &cpu, &mut |_| {}).unwrap_err().to_string();
    assert!(error.ends_with("received lr 0.05 there, 0.01 here"), "{error}");
}

#[test]
fn patience_and_budget_end_a_run() {
    let folder = tempfile::tempdir().unwrap();
    // A rate so small that nothing gets better after the first epoch.
    let config = TrainConfig {
        epochs: 30,
        batch_size: 32,
        lr: 1e-12,
        patience: 2,
        ema: 0.0,
        ..TrainConfig::default()
    };
    let outcome = run(folder.path(), &config, usize::MAX).unwrap();
    assert_eq!(outcome.stop, svertka::train::Stop::Patience);
    assert!(outcome.history.len() < 30);
    let folder = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        epochs: 100_000,
        batch_size: 32,
        budget_seconds: 0.5,
        patience: 0,
        warmup_epochs: 0.0,
        ..config
    };
    let outcome = run(folder.path(), &config, usize::MAX).unwrap();
    assert_eq!(outcome.stop, svertka::train::Stop::Budget);
    assert!(outcome.seconds >= 0.5);
}

#[test]
fn a_small_network_learns_the_digits() {
    let (data, cpu, folder) = (digits(), Cpu::new(0), tempfile::tempdir().unwrap());
    let graph = Network::from_text("conv8 bn relu pool2 conv16 bn relu pool2 linear10", &[1, 28, 28], 1)
        .unwrap()
        .finish();
    let config =
        TrainConfig { epochs: 3, augment: Augment::default_for(28, 28, 1), ..TrainConfig::default() };
    let outcome = train(&graph, &data, &config, folder.path(), &cpu, &mut |_| {}).unwrap();
    let accuracy = outcome.history.last().unwrap().val_accuracy;
    assert!(accuracy > 0.9, "{accuracy}");
}

#[test]
fn a_loss_that_is_no_number_is_an_error() {
    let cpu = Cpu::new(1);
    let graph = Network::from_text("linear10 linear10", &[1, 28, 28], 1).unwrap().finish();
    let config = TrainConfig { clip_norm: 0.0, ..TrainConfig::default() };
    let mut step = Step::new(&graph, &config, 2, &cpu).unwrap();
    let (mut x, mut targets) = (svertka::Tensor::zeros([2, 1, 28, 28]), svertka::Tensor::zeros([2, 10]));
    x.data_mut().fill(1e30);
    targets.data_mut()[0] = 1.0;
    let error = (0..5).find_map(|seed| step.run(&cpu, &x, &targets, 1e30, seed).err()).unwrap().to_string();
    assert!(error.starts_with("train: loss: expected a finite loss and gradient"), "{error}");
}
