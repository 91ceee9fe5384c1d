//! The thread pool: one wake-up for many small jobs, spinning briefly between runs so that layers follow each other without a wake-up.
//!
//! Work is cut into jobs by shape, never by the number of threads, and a job writes only its own output; so results do not depend on which
//! thread ran which job. Each thread begins with its share of neighbouring jobs: where one run after another cuts the same picture alike, a thread finds in its
//! caches what it has written. Jobs are claimed one by one, of others when the own are done: a core that a neighbour holds takes fewer. A worker that
//! wakes after the last job was claimed is not waited for.

use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a worker spins for the next run before it parks.
const SPIN: Duration = Duration::from_micros(60);

/// State word: runs so far in the high half, then whether workers may still enter, then how many are inside.
const RUN: u64 = 1 << 32;
const OPEN: u64 = 1 << 31;
const INSIDE: u64 = OPEN - 1;

type Job<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// A fixed number of threads that run jobs together; the calling thread is worker 0.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// let sum = AtomicUsize::new(0);
/// svertka_kernels::threads::Threads::new(2).run(10, |job, _worker| {
///     sum.fetch_add(job, Ordering::Relaxed);
/// });
/// assert_eq!(sum.into_inner(), 45);
/// ```
#[derive(Debug)]
pub struct Threads {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Only one run at a time: the job pointer is one.
    gate: Mutex<()>,
}

#[derive(Debug)]
struct Shared {
    state: AtomicU64,
    job: Mutex<Option<RawJob>>,
    /// For each thread, the next job of its share.
    next: Vec<Next>,
    panicked: AtomicBool,
    stop: AtomicBool,
}

/// On lines of their own, or threads would wait for each other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Next(AtomicUsize);

/// The closure of the current run, its lifetime erased, and the number of jobs.
#[derive(Clone, Copy, Debug)]
struct RawJob {
    run: *const Job<'static>,
    jobs: usize,
}

// SAFETY: the closure behind the pointer is `Sync`, and `Threads::run` keeps it alive until no worker is inside.
unsafe impl Send for RawJob {}

impl Threads {
    /// A pool of `count` threads, the caller among them; zero counts as one.
    pub fn new(count: usize) -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            job: Mutex::new(None),
            next: (0..count.max(1)).map(|_| Next::default()).collect(),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        // A system that gives fewer threads than asked for is slower, not wrong.
        let workers = (1..count)
            .map_while(|worker| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name(format!("svertka-{worker}"))
                    .spawn(move || shared.work(worker))
                    .ok()
            })
            .collect();
        Self { shared, workers, gate: Mutex::new(()) }
    }

    /// Number of threads, the caller among them.
    pub fn count(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `f(job, worker)` once for each `job < jobs`, on all threads, and returns when all calls have. `worker < self.count()` tells
    /// the threads apart, for scratch memory. A second caller waits for the first. `f` must not call `run` of the same pool.
    ///
    /// # Panics
    /// Where `f` panicked.
    pub fn run(&self, jobs: usize, f: impl Fn(usize, usize) + Sync) {
        self.run_jobs(jobs, &f);
    }

    /// [`Threads::run`], compiled once for all closures.
    fn run_jobs(&self, jobs: usize, f: &Job<'_>) {
        if self.workers.is_empty() || jobs <= 1 {
            (0..jobs).for_each(|job| f(job, 0));
            return;
        }
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: only the lifetime changes; below we wait until no worker is inside and none may enter before `f` ends.
        let run = unsafe { std::mem::transmute::<*const Job<'_>, *const Job<'static>>(f) };
        *self.shared.job.lock().unwrap_or_else(PoisonError::into_inner) = Some(RawJob { run, jobs });
        for (worker, next) in self.shared.next.iter().enumerate() {
            next.0.store(share(jobs, self.shared.next.len(), worker).start, Ordering::Relaxed);
        }
        let runs = self.shared.state.load(Ordering::Relaxed) & !(OPEN | INSIDE);
        self.shared.state.store(runs.wrapping_add(RUN) | OPEN, Ordering::Release);
        self.workers.iter().for_each(|worker| worker.thread().unpark());

        let own = catch_unwind(AssertUnwindSafe(|| self.shared.claim(RawJob { run, jobs }, 0)));
        self.shared.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0u32;
        while self.shared.state.load(Ordering::Acquire) & INSIDE != 0 {
            spins += 1;
            if spins < 1 << 12 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        if let Err(panic) = own {
            std::panic::resume_unwind(panic);
        }
        assert!(!self.shared.panicked.swap(false, Ordering::Relaxed), "a job panicked on another thread");
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its jobs, so joining cannot fail.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn claim(&self, job: RawJob, worker: usize) {
        let owners = self.next.len();
        for owner in (worker..owners).chain(0..worker) {
            let end = share(job.jobs, owners, owner).end;
            loop {
                let next = self.next[owner].0.fetch_add(1, Ordering::Relaxed);
                if next >= end {
                    break;
                }
                // SAFETY: this thread is inside the run, or its caller, so the closure is alive.
                unsafe { (*job.run)(next, worker) };
            }
        }
    }

    fn work(&self, worker: usize) {
        let mut seen = 0;
        let mut idle = Instant::now();
        while !self.stop.load(Ordering::Acquire) {
            let state = self.state.load(Ordering::Acquire);
            if state & OPEN == 0 || state & !(OPEN | INSIDE) == seen {
                if idle.elapsed() < SPIN {
                    std::hint::spin_loop()
                } else {
                    std::thread::park()
                }
                continue;
            }
            if self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                continue;
            }
            seen = state & !(OPEN | INSIDE);
            let job = *self.job.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(job) = job
                && catch_unwind(AssertUnwindSafe(|| self.claim(job, worker))).is_err()
            {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.state.fetch_sub(1, Ordering::AcqRel);
            idle = Instant::now();
        }
    }
}

/// A mutable slice that several jobs write in disjoint parts.
#[derive(Clone, Copy, Debug)]
pub struct SharedMut<'a, T = f32> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: access goes through `slice`, whose callers promise that parts do not overlap.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    /// Shares `slice`.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The `len` elements from `start`.
    ///
    /// # Safety
    /// No part that overlaps this one may be in use at the same time.
    ///
    /// # Panics
    /// Where the part reaches beyond the slice.
    pub unsafe fn slice(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(
            start.checked_add(len).is_some_and(|end| end <= self.len),
            "part {start}+{len} of {}",
            self.len
        );
        // SAFETY: the part lies inside the slice, and the caller promises that it is alone in using it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }

    /// Pointer to the first element, for kernels that write single vectors; the same promise as [`SharedMut::slice`] holds for each write.
    pub fn as_ptr(&self) -> *mut T {
        self.start
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// How many jobs to cut `macs` multiply-accumulates into: enough for a few threads, none shorter than about 20 microseconds.
pub(crate) fn job_goal(macs: u64) -> usize {
    (macs >> 20).clamp(1, 16) as usize
}

/// Part `part` of `count` things cut into `parts` nearly equal ranges.
pub(crate) fn share(count: usize, parts: usize, part: usize) -> Range<usize> {
    part * count / parts..(part + 1) * count / parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_runs_once_for_any_number_of_threads() {
        for count in [0, 1, 2, 3, 7] {
            let threads = Threads::new(count);
            for jobs in [0, 1, 2, 5, 1000] {
                let mut hits = vec![0u32; jobs];
                let out = SharedMut::new(&mut hits);
                threads.run(jobs, |job, worker| {
                    assert!(worker < threads.count());
                    // SAFETY: each job writes its own element.
                    let hit = unsafe { out.slice(job, 1) };
                    hit[0] += 1;
                });
                assert!(hits.iter().all(|&h| h == 1));
            }
        }
    }

    #[test]
    fn many_short_runs_after_pauses() {
        let threads = Threads::new(3);
        let total = AtomicUsize::new(0);
        for round in 0..2000 {
            if round % 100 == 0 {
                std::thread::sleep(2 * SPIN);
            }
            threads.run(3, |job, _| {
                total.fetch_add(job, Ordering::Relaxed);
            });
        }
        assert_eq!(total.into_inner(), 6000);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let threads = Threads::new(2);
        let result = catch_unwind(AssertUnwindSafe(|| threads.run(64, |job, _| assert_ne!(job, 63))));
        assert!(result.is_err());
        threads.run(4, |_, _| {});
    }
}
