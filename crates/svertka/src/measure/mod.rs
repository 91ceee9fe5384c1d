//! Measuring: the layers that convolution libraries are compared on, ready to run, and times of many runs.
//!
//! ```
//! use std::time::Duration;
//! use svertka::Cpu;
//! use svertka::measure::{LAYERS, LayerRun, Times, repeat};
//! let cpu = Cpu::new(1);
//! let (_, layer) = LAYERS.iter().find(|(name, _)| *name == "dw3x3_960_7").expect("a layer of the list");
//! let mut run = LayerRun::new(layer, 1, &cpu)?;
//! let times = Times::of(&repeat(Duration::from_millis(2), 10, || {
//!     run.run(&cpu);
//!     Ok::<(), svertka::Error>(())
//! })?);
//! assert!(times.best <= times.median);
//! assert_eq!(run.algorithm().name(), "depthwise");
//! # Ok::<(), svertka::Error>(())
//! ```

mod layer_run;
mod layers;

use std::time::{Duration, Instant};

use svertka_kernels::{Buffer, Cpu, peak};

pub use layer_run::{LayerRun, LayerStep};
pub use layers::{LAYERS, Layer};

use crate::tensor::Tensor;

/// Runs `work` until `budget` is over or it ran `most` times, at least once; the time of each run. The first one meets cold memory.
///
/// # Errors
/// Those of `work`.
pub fn repeat<E>(
    budget: Duration,
    most: usize,
    mut work: impl FnMut() -> Result<(), E>,
) -> Result<Vec<Duration>, E> {
    let (start, mut times) = (Instant::now(), Vec::new());
    loop {
        let begin = Instant::now();
        work()?;
        times.push(begin.elapsed());
        if start.elapsed() >= budget || times.len() >= most {
            return Ok(times);
        }
    }
}

/// What is told of many runs. Of an even number the median is the slower of the two in the middle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Times {
    /// The run that half of them beat.
    pub median: Duration,
    /// The fastest.
    pub best: Duration,
    /// How many there were.
    pub runs: usize,
}

impl Times {
    /// Of these runs; zero where there are none.
    pub fn of(times: &[Duration]) -> Self {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        Self { median: at(sorted.len() / 2), best: at(0), runs: sorted.len() }
    }
}

/// GFLOP/s of a run of `macs` multiply-accumulates, two FLOPs each.
pub fn gflops(macs: u64, time: Duration) -> f64 {
    2e-9 * macs as f64 / time.as_secs_f64()
}

/// GFLOP/s that the threads could reach: the best of some readings of one core, a millisecond in all, for each thread.
pub fn peak_gflops(cpu: &Cpu) -> f64 {
    let readings = (0..32).map(|_| peak::core_gflops(cpu.isa));
    readings.fold(0.0, f64::max) * cpu.threads.count() as f64
}

/// A tensor of numbers from -0.9 to 1.1 that look random and are the same everywhere.
pub fn numbers(shape: impl Into<Vec<usize>>) -> Tensor {
    let mut tensor = Tensor::zeros(shape);
    fill(tensor.data_mut());
    tensor
}

fn fill(values: &mut [f32]) {
    // Both are prime, so that neighbours differ in every row and channel.
    values.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 1009 * 7919 % 1009) as f32 / 504.5 - 0.9);
}

fn filled(len: usize) -> Buffer {
    let mut buffer = Buffer::zeroed(len);
    fill(&mut buffer);
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_repeated_for_a_time_and_a_number_of_runs() {
        let mut count = 0;
        let mut work = || {
            count += 1;
            if count == 9 { Err("nine") } else { Ok(()) }
        };
        assert_eq!(repeat(Duration::from_secs(60), 5, &mut work).map(|times| times.len()), Ok(5));
        assert_eq!(repeat(Duration::ZERO, 5, &mut work).map(|times| times.len()), Ok(1));
        assert_eq!(repeat(Duration::from_secs(60), 5, &mut work), Err("nine"));
    }

    #[test]
    fn the_median_stands_in_the_middle() {
        let times = [5, 1, 9, 3].map(Duration::from_millis);
        let expected = Times { median: Duration::from_millis(5), best: Duration::from_millis(1), runs: 4 };
        assert_eq!(Times::of(&times), expected);
        assert_eq!(Times::of(&[]).runs, 0);
    }
}
