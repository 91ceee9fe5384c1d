//! Counting right and wrong answers.

use serde::{Deserialize, Serialize};

/// How often each class was taken for each: `counts[label][answer]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Rows are true classes, columns answers.
    pub counts: Vec<Vec<usize>>,
}

impl Confusion {
    /// For this many classes, nothing counted.
    pub fn new(classes: usize) -> Self {
        Self { counts: vec![vec![0; classes]; classes] }
    }

    /// Counts an answer.
    ///
    /// # Panics
    /// Where `label` or `answer` is no class.
    pub fn add(&mut self, label: usize, answer: usize) {
        self.counts[label][answer] += 1;
    }

    /// All answers.
    pub fn total(&self) -> usize {
        self.counts.iter().flatten().sum()
    }

    /// Right answers.
    pub fn correct(&self) -> usize {
        (0..self.counts.len()).map(|class| self.counts[class][class]).sum()
    }

    /// Share of right answers; 0 of none.
    pub fn accuracy(&self) -> f64 {
        ratio(self.correct(), self.total()).unwrap_or(0.0)
    }

    /// Of the answers `class`, the share that is right; `None` where it was never the answer.
    pub fn precision(&self, class: usize) -> Option<f64> {
        ratio(self.counts[class][class], self.counts.iter().map(|row| row[class]).sum())
    }

    /// Of the pictures of `class`, the share that was found; `None` where there are none.
    pub fn recall(&self, class: usize) -> Option<f64> {
        ratio(self.counts[class][class], self.counts[class].iter().sum())
    }
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The 95 % confidence interval of a share (Wilson, 1927).
///
/// ```
/// let (low, high) = svertka::train::wilson_interval(980, 1000);
/// assert!((low - 0.9693).abs() < 1e-4 && (high - 0.9870).abs() < 1e-4);
/// ```
pub fn wilson_interval(part: usize, whole: usize) -> (f64, f64) {
    if whole == 0 {
        return (0.0, 1.0);
    }
    let (n, p, z) = (whole as f64, part as f64 / whole as f64, 1.959_963_984_540_054_f64);
    let center = p + z * z / (2.0 * n);
    let spread = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    (((center - spread) / scale).max(0.0), ((center + spread) / scale).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precision_and_recall_of_a_hand_counted_table() {
        let mut confusion = Confusion::new(3);
        for (label, answer) in [(0, 0), (0, 0), (0, 1), (1, 1), (1, 0), (1, 0)] {
            confusion.add(label, answer);
        }
        assert_eq!((confusion.correct(), confusion.total(), confusion.accuracy()), (3, 6, 0.5));
        assert_eq!((confusion.precision(0), confusion.recall(0)), (Some(0.5), Some(2.0 / 3.0)));
        assert_eq!((confusion.precision(2), confusion.recall(2)), (None, None));
    }
}
