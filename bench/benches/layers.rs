//! The kernels over the list of layers, one picture each: `cargo bench -p svertka-bench -- [part of a name]`. Criterion keeps the figures of the last
//! run and tells what a change of the code changed. Rates are multiply-accumulates a second; each is two FLOPs.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use svertka::Cpu;
use svertka::measure::{LAYERS, LayerRun, LayerStep};

fn main() {
    let criterion = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(200));
    let mut criterion = criterion.measurement_time(Duration::from_secs(1)).configure_from_args();
    // One thread, and one for each core.
    let cpus = [Cpu::new(1), Cpu::new(0)];
    for (name, layer) in LAYERS {
        let macs = layer.geometry(1).expect("the list's layers are valid").macs();
        let mut group = criterion.benchmark_group(*name);
        for cpu in &cpus {
            let threads = cpu.threads.count();
            group.throughput(Throughput::Elements(macs));
            group.bench_function(BenchmarkId::new("forward", threads), |bencher| {
                let mut run = LayerRun::new(layer, 1, cpu).expect("the list's layers are valid");
                bencher.iter(|| run.run(cpu));
            });
            // Forward and two gradients cost a forward pass each.
            group.throughput(Throughput::Elements(3 * macs));
            group.bench_function(BenchmarkId::new("training", threads), |bencher| {
                let mut step = LayerStep::new(layer, 1, cpu).expect("the list's layers are valid");
                bencher.iter(|| step.run(cpu));
            });
            if threads == 1 && cpus[1].threads.count() == 1 {
                break;
            }
        }
        group.finish();
    }
    criterion.final_summary();
}
