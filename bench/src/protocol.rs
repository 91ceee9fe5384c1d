//! The line protocol between harness and worker.
//!
//! | command | answer |
//! |---|---|
//! | `setup key=value ...` | `ok` |
//! | `run BUDGET_MS MAX_ITERS` | `t ms ms ...`: each iteration's time; the first call also warms up |
//! | `drop` | `ok`: the job's memory is free |
//! | `rss` | `rss BASE PEAK`: resident MiB before the set-up, and the most since |
//! | `quit`, or the end of the input | the worker ends |
//!
//! What fails answers `err MESSAGE` in one line, and the job is gone.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use svertka::measure::repeat;

use crate::resident;

/// The pairs of a `setup` line.
pub(crate) type Keys<'a> = HashMap<&'a str, &'a str>;

/// One iteration of what is measured.
pub(crate) type Job<'a> = Box<dyn FnMut() -> anyhow::Result<()> + 'a>;

/// Longest answer: a message from deep inside must not fill the harness's pipe.
const MAX_MESSAGE: usize = 300;

/// Answers each line of `input` on `output`.
pub(crate) fn serve<'a>(
    input: impl BufRead,
    mut output: impl Write,
    mut set_up: impl FnMut(&Keys<'_>) -> anyhow::Result<Job<'a>>,
) -> anyhow::Result<()> {
    let mut worker = Worker { job: None, base: 0.0 };
    for line in input.lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words.as_slice() {
            [] => continue,
            ["quit"] => break,
            words => worker.answer(words, &mut set_up),
        };
        let answer = answer.unwrap_or_else(|error| {
            worker.job = None;
            let message: String = format!("{error:#}").chars().take(MAX_MESSAGE).collect();
            format!("err {}", message.replace(['\n', '\r'], " "))
        });
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}

struct Worker<'a> {
    job: Option<Job<'a>>,
    /// Resident MiB before the set-up.
    base: f64,
}

impl<'a> Worker<'a> {
    fn answer(
        &mut self,
        words: &[&str],
        set_up: &mut impl FnMut(&Keys<'_>) -> anyhow::Result<Job<'a>>,
    ) -> anyhow::Result<String> {
        match *words {
            ["setup", ref pairs @ ..] => {
                let mut keys = Keys::new();
                for word in pairs {
                    let (key, value) =
                        word.split_once('=').with_context(|| format!("{word}: expected key=value"))?;
                    keys.insert(key, value);
                }
                // What an earlier job held must not count as this one's base.
                self.job = None;
                self.base = resident::now();
                resident::forget_peak();
                self.job = Some(set_up(&keys)?);
                Ok("ok".to_owned())
            }
            ["run", budget, most] => {
                let budget: f64 = budget.parse().context("BUDGET_MS")?;
                let budget = Duration::try_from_secs_f64(budget / 1e3).context("BUDGET_MS")?;
                let most = most.parse().context("MAX_ITERS")?;
                let job = self.job.as_mut().context("run: expected a setup before it")?;
                let times = repeat(budget, most, job)?;
                let times = times.iter().map(|time| format!(" {:.5}", time.as_secs_f64() * 1e3));
                Ok(format!("t{}", times.collect::<String>()))
            }
            ["drop"] => {
                self.job = None;
                Ok("ok".to_owned())
            }
            ["rss"] => Ok(format!("rss {:.1} {:.1}", self.base, resident::peak())),
            _ => bail!("expected setup, run BUDGET_MS MAX_ITERS, drop, rss or quit, received {words:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(input: &str, set_up: impl FnMut(&Keys<'_>) -> anyhow::Result<Job<'static>>) -> Vec<String> {
        let mut output = Vec::new();
        serve(input.as_bytes(), &mut output, set_up).unwrap();
        String::from_utf8(output).unwrap().lines().map(str::to_owned).collect()
    }

    /// A job that sleeps as long as its key says, and fails in its third iteration.
    fn sleeper(keys: &Keys<'_>) -> anyhow::Result<Job<'static>> {
        let sleep: u64 = keys.get("ms").context("ms: missing\nfrom the line")?.parse()?;
        let mut count = 0;
        Ok(Box::new(move || {
            count += 1;
            anyhow::ensure!(count < 3, "worn out");
            std::thread::sleep(Duration::from_millis(sleep));
            Ok(())
        }))
    }

    #[test]
    fn every_iteration_has_its_time() {
        let got =
            answers("\nsetup ms=2 name=a=b\nrun 0 9\nrun 1e3 1\nrun 1e3 1\nrun 1e3 1\nquit\nrss\n", sleeper);
        assert_eq!(got.len(), 5, "{got:?}");
        assert_eq!(got[0], "ok");
        for times in &got[1..3] {
            let time: f64 = times.strip_prefix("t ").unwrap().parse().unwrap();
            assert!(time >= 2.0, "{times}");
        }
        assert_eq!(got[3..], ["err worn out", "err run: expected a setup before it"]);
    }

    #[test]
    fn what_is_wrong_is_told_and_the_job_is_gone() {
        let lines = [
            ("run 5 1", "err run: expected a setup before it"),
            (
                "setup ms=0\nfly",
                "err expected setup, run BUDGET_MS MAX_ITERS, drop, rss or quit, received [\"fly\"]",
            ),
            (
                "setup ms=0\nrun 5",
                "err expected setup, run BUDGET_MS MAX_ITERS, drop, rss or quit, received [\"run\", \"5\"]",
            ),
            ("setup ms=0\nrun x 1", "err BUDGET_MS: invalid float literal"),
            (
                "setup ms=0\nrun nan 1",
                "err BUDGET_MS: cannot convert float seconds to Duration: value is either too big or NaN",
            ),
            ("setup ms=0\nrun 5 -1", "err MAX_ITERS: invalid digit found in string"),
            ("setup ms", "err ms: expected key=value"),
            ("setup", "err ms: missing from the line"),
            ("setup ms=0\nsetup ms=x\nrun 5 1", "err run: expected a setup before it"),
            ("setup ms=0\ndrop\nrun 5 1", "err run: expected a setup before it"),
        ];
        for (input, last) in lines {
            assert_eq!(answers(input, sleeper).last().map(String::as_str), Some(last), "{input:?}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_of_a_job_is_told_beside_what_was_there_before() {
        const MIB: usize = 1 << 20;
        let holder = |_: &Keys<'_>| {
            let held = vec![1u8; 64 * MIB];
            let job = move || {
                assert_eq!(held[held.len() / 2], 1);
                Ok(())
            };
            Ok(Box::new(job) as Job<'static>)
        };
        let got = answers("setup\nrun 0 1\nrss", holder);
        let sizes: Vec<f64> = got[2].split(' ').skip(1).map(|word| word.parse().unwrap()).collect();
        assert!(sizes[0] > 0.5 && sizes[1] - sizes[0] > 60.0, "{got:?}");
    }
}
