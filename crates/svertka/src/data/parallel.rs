//! Many files or pictures, a few threads, results in order.

use std::sync::Mutex;

/// `work` on every item, by `threads` threads (at least one); the results stand in the order of the items.
pub(super) fn map<I, T>(items: I, threads: usize, work: impl Fn(I::Item) -> T + Sync) -> Vec<T>
where
    I: Iterator + Send,
    T: Send,
{
    const UNPOISONED: &str = "nothing panics while it holds the lock";
    let queue = Mutex::new(items.enumerate());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let Some((index, item)) = queue.lock().expect(UNPOISONED).next() else { break };
                    let result = work(item);
                    done.lock().expect(UNPOISONED).push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect(UNPOISONED);
    done.sort_unstable_by_key(|&(index, _)| index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_keep_the_order_of_the_items() {
        let squares: Vec<u64> = (0..500).map(|x| x * x).collect();
        for threads in [0, 1, 3] {
            assert_eq!(super::map(0..500_u64, threads, |x| x * x), squares);
        }
    }
}
