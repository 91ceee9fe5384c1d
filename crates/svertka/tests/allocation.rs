//! A training step after the first allocates nothing. The only test of its file: the counter counts every thread of the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use svertka::train::{Step, TrainConfig};
use svertka::{Cpu, Network, Tensor};

/// Counts allocations.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_step_after_the_first_allocates_nothing() {
    let cpu = Cpu::new(2);
    let text = "conv8 bn relu pool2 dwconv bn relu6 conv12k1 silu avgpool2 flatten dropout0.2 linear24 relu linear10";
    let graph = Network::from_text(text, &[1, 28, 28], 11).unwrap().finish();
    let mut step = Step::new(&graph, &TrainConfig::default(), 16, &cpu).unwrap();
    let pictures = Tensor::zeros([16, 1, 28, 28]);
    let mut targets = Tensor::zeros([16, 10]);
    targets.data_mut().chunks_exact_mut(10).for_each(|row| row[3] = 1.0);
    step.run(&cpu, &pictures, &targets, 0.01, 0).unwrap();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for seed in 1..20 {
        step.run(&cpu, &pictures, &targets, 0.01, seed).unwrap();
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
}
