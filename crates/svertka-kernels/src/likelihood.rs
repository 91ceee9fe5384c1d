//! The negative log-likelihood of labels: what the true class's logarithm of probability lacks to zero, for each cell of a plain
//! `batch x classes x pixels` tensor.

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::planes::Planes;
use crate::threads::SharedMut;

/// Labels and what they weigh.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// Sizes of the scores: the channels are the classes.
    pub planes: Planes,
    /// The class of each cell, `batch x pixels`: whole numbers.
    pub labels: &'a [f32],
    /// A factor for each class, one where missing.
    pub weights: Option<&'a [f32]>,
    /// Cells of this label do not count.
    pub ignored: Option<f32>,
}

enum Label {
    Ignored,
    Class {
        class: usize,
        weight: f32,
    },
    /// No class: what is made of it is not a number.
    Wrong,
}

impl Labels<'_> {
    fn cells(&self) -> usize {
        self.planes.batch * self.planes.pixels
    }

    fn check(&self, scores: usize) {
        let Planes { batch, channels, pixels } = self.planes;
        assert!(scores == batch * channels * pixels && self.labels.len() == self.cells());
        assert!(self.weights.is_none_or(|weights| weights.len() == channels));
    }

    fn label(&self, cell: usize) -> Label {
        let label = self.labels[cell];
        if self.ignored == Some(label) {
            return Label::Ignored;
        }
        let class = label as usize;
        if label < 0.0 || class as f32 != label || class >= self.planes.channels {
            return Label::Wrong;
        }
        Label::Class { class, weight: self.weights.map_or(1.0, |weights| weights[class]) }
    }

    /// Where the score of a class stands.
    fn at(&self, cell: usize, class: usize) -> usize {
        let (image, pixel) = (cell / self.planes.pixels, cell % self.planes.pixels);
        (image * self.planes.channels + class) * self.planes.pixels + pixel
    }

    /// The sum of the weights of all cells, by which a mean loss is divided. Not a number where a label is no class.
    pub fn total_weight(&self) -> f64 {
        let weight = |cell| match self.label(cell) {
            Label::Ignored => 0.0,
            Label::Class { weight, .. } => f64::from(weight),
            Label::Wrong => f64::NAN,
        };
        (0..self.cells()).map(weight).sum()
    }

    /// `-weight log_probability` of each cell's class; zero where it is ignored, not a number where the label is no class.
    ///
    /// # Panics
    /// Where a slice has not its length.
    pub fn losses(&self, cpu: &Cpu, log_probabilities: &[f32], losses: &mut [f32]) {
        self.check(log_probabilities.len());
        assert_eq!(losses.len(), self.cells());
        let losses = SharedMut::new(losses);
        run_ranges(cpu, self.cells(), 1, |cells| {
            // SAFETY: each job writes its own cells.
            let out = unsafe { losses.slice(cells.start, cells.len()) };
            for (loss, cell) in out.iter_mut().zip(cells) {
                *loss = match self.label(cell) {
                    Label::Ignored => 0.0,
                    Label::Class { class, weight } => -weight * log_probabilities[self.at(cell, class)],
                    Label::Wrong => f32::NAN,
                };
            }
        });
    }

    /// Gradient of [`Labels::losses`], overwritten: `-weight dy(cell)` at the cell's class, zero elsewhere. Not a number at all classes of a cell
    /// whose label is no class.
    ///
    /// # Panics
    /// Where `gradient` has not as many elements as the scores.
    pub fn backward(&self, cpu: &Cpu, dy: impl Fn(usize) -> f32 + Sync, gradient: &mut [f32]) {
        self.check(gradient.len());
        let Planes { batch, channels, pixels } = self.planes;
        let gradient = SharedMut::new(gradient);
        run_ranges(cpu, batch, channels * pixels, |images| {
            for image in images {
                // SAFETY: each job writes its own images.
                let out = unsafe { gradient.slice(image * channels * pixels, channels * pixels) };
                out.fill(0.0);
                for pixel in 0..pixels {
                    let cell = image * pixels + pixel;
                    match self.label(cell) {
                        Label::Ignored => {}
                        Label::Class { class, weight } => out[class * pixels + pixel] = -weight * dy(cell),
                        Label::Wrong => (0..channels).for_each(|c| out[c * pixels + pixel] = f32::NAN),
                    }
                }
            }
        });
    }
}
