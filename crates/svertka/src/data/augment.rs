//! Random changes to training pictures that keep their class: crop, flip, affine map, colour, cutout, mixup.
//!
//! All but mixup work on bytes, picture by picture; the batch is normalized to `f32` once, afterwards.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::Preprocessing;
use super::affine::{Affine, shifted};
use crate::error::{Error, Result};

/// What is done to each training picture, in the order of the fields. The default does nothing.
///
/// Draws depend on seed, epoch and the picture's index alone: neither on threads nor on the order of pictures.
///
/// ```
/// use svertka::data::Augment;
/// let augment = Augment { crop_padding: 4, flip: true, ..Augment::default() };
/// augment.validate(32, 32)?;
/// assert!(Augment { cutout: 33, ..augment }.validate(32, 32).is_err());
/// # Ok::<(), svertka::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// A window of the picture's own size out of the picture with this many black pixels around it; 0 is off.
    pub crop_padding: usize,
    /// Left and right exchanged, every other time.
    pub flip: bool,
    /// Rotation, translation, scale and shear about the centre, bilinear, black outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affine: Option<Affine>,
    /// Brightness, contrast and saturation each times a factor from `1 - colour` to `1 + colour`; 0 is off.
    pub colour: f32,
    /// Side in pixels of a square at any place, partly outside too, that is filled with the mean colour
    /// ([DeVries and Taylor, 2017](https://arxiv.org/abs/1708.04552)); 0 is off.
    pub cutout: usize,
    /// Each batch is mixed with a permutation of itself, pictures and targets, in the proportion
    /// lambda : 1 - lambda with lambda from Beta(mixup, mixup)
    /// ([Zhang et al., 2018](https://arxiv.org/abs/1710.09412)); 0 is off.
    pub mixup: f32,
}

impl Augment {
    /// A sensible choice for pictures of a size, mild enough for ten epochs: grey ones, where digits and letters are, are moved a little (2 pixels of
    /// padding at 28 x 28) but not flipped; colour ones are cropped (4 at 32 x 32), flipped and cut out (8), and those above 64 pixels, photographs rather
    /// than thumbnails, lightly recoloured.
    pub fn default_for(height: usize, width: usize, channels: usize) -> Self {
        let side = height.min(width);
        if channels == 1 {
            return Self { crop_padding: side / 14, ..Self::default() };
        }
        let colour = if side > 64 { 0.1 } else { 0.0 };
        Self { crop_padding: side / 8, flip: true, colour, cutout: side / 4, ..Self::default() }
    }

    /// Refuses what has no meaning for pictures of `height` x `width`.
    ///
    /// # Errors
    /// A parameter that is not a number, negative or too large.
    pub fn validate(&self, height: usize, width: usize) -> Result<()> {
        let side = height.min(width);
        let within = |argument: &str, value: f32, low: f32, high: f32| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(Error::argument("augment", argument, format!("a number from {low} to {high}"), value))
        };
        let pixels = |argument: &str, value: usize, most: usize| {
            if value <= most {
                return Ok(());
            }
            let expected = format!("at most {most} for pictures of {height} x {width}");
            Err(Error::argument("augment", argument, expected, value))
        };
        pixels("crop_padding", self.crop_padding, side.saturating_sub(1))?;
        pixels("cutout", self.cutout, side)?;
        within("colour", self.colour, 0.0, 1.0)?;
        within("mixup", self.mixup, 0.0, 4.0)?;
        if let Some(Affine { degrees, translate, scale: (low, high), shear }) = self.affine {
            within("affine.degrees", degrees, 0.0, 180.0)?;
            within("affine.translate", translate, 0.0, 1.0)?;
            within("affine.scale", low, 0.01, 100.0)?;
            within("affine.scale", high, low, 100.0)?;
            within("affine.shear", shear, 0.0, 80.0)?;
        }
        Ok(())
    }

    /// One picture, height x width x channels of `frame`, to another of the same size.
    pub(super) fn apply(&self, pixels: &[u8], frame: &Preprocessing, rng: &mut ChaCha8Rng, out: &mut [u8]) {
        let fill = |c: usize| (frame.mean[c] * 255.0).round() as u8;
        match frame.channels {
            1 => self.apply_to(pixels.as_chunks::<1>().0, frame, [fill(0)], rng, out.as_chunks_mut::<1>().0),
            _ => {
                let fill = [fill(0), fill(1), fill(2)];
                self.apply_to(pixels.as_chunks::<3>().0, frame, fill, rng, out.as_chunks_mut::<3>().0);
            }
        }
    }

    fn apply_to<const C: usize>(
        &self,
        pixels: &[[u8; C]],
        frame: &Preprocessing,
        fill: [u8; C],
        rng: &mut ChaCha8Rng,
        out: &mut [[u8; C]],
    ) {
        let (height, width) = (frame.height, frame.width);
        let mut shift = |padding: usize| rng.random_range(0..=2 * padding as u32) as isize - padding as isize;
        let (dy, dx) =
            if self.crop_padding > 0 { (shift(self.crop_padding), shift(self.crop_padding)) } else { (0, 0) };
        let flip = self.flip && rng.random::<bool>();
        match self.affine {
            Some(affine) => affine.draw(height, width, rng).warp(pixels, height, width, (dy, dx), out),
            None => shifted(pixels, width, (dy, dx), out),
        }
        if flip {
            out.chunks_exact_mut(width).for_each(<[_]>::reverse);
        }
        if self.colour > 0.0 {
            recolour(out, [(); 3].map(|()| 1.0 + self.colour * rng.random_range(-1.0..=1.0_f32)));
        }
        if self.cutout > 0 {
            let mut range = |extent: usize| {
                let end = rng.random_range(0..extent as u32) as usize + self.cutout.div_ceil(2);
                end.saturating_sub(self.cutout)..end.min(extent)
            };
            let (rows, columns) = (range(height), range(width));
            for row in out.chunks_exact_mut(width).take(rows.end).skip(rows.start) {
                row[columns.clone()].fill(fill);
            }
        }
    }
}

/// Saturation about each pixel's luma, contrast about the mean luma, brightness; grey has no saturation to change.
fn recolour<const C: usize>(pixels: &mut [[u8; C]], [brightness, contrast, saturation]: [f32; 3]) {
    let luma = |pixel: &[u8; C]| {
        let weights: &[f32] = if C == 1 { &[1.0] } else { &[0.299, 0.587, 0.114] };
        pixel.iter().zip(weights).map(|(&value, weight)| f32::from(value) * weight).sum::<f32>()
    };
    let mean = pixels.iter().map(|pixel| f64::from(luma(pixel))).sum::<f64>() / pixels.len() as f64;
    for pixel in pixels {
        let grey = luma(pixel);
        *pixel = pixel.map(|value| {
            let coloured = grey + (f32::from(value) - grey) * saturation;
            let contrasted = mean as f32 + (coloured - mean as f32) * contrast;
            // Rounded: the conversion cuts off the fraction, and takes what is below 0 for 0.
            (contrasted * brightness + 0.5) as u8
        });
    }
}

/// A number from Beta(alpha, alpha) by Jöhnk's method, in logarithms so that a small alpha does not underflow.
/// About 2 tries at alpha 1, 70 at 4.
pub(super) fn beta(alpha: f32, rng: &mut ChaCha8Rng) -> f32 {
    loop {
        // `1 - random` lies in (0, 1], so its logarithm is finite.
        let [x, y] = [(); 2].map(|()| (1.0 - rng.random::<f64>()).ln() / f64::from(alpha));
        if x.exp() + y.exp() <= 1.0 {
            return (1.0 / (1.0 + (y - x).exp())) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Resize;
    use super::super::random::{Purpose, rng};
    use super::*;

    const HEIGHT: usize = 5;
    const WIDTH: usize = 7;

    fn picture() -> Vec<u8> {
        (0..HEIGHT * WIDTH * 3).map(|i| (i * 53 + 11) as u8).collect()
    }

    /// What `augment` makes of a colour picture, `index` standing for chance.
    fn apply(augment: &Augment, pixels: &[u8], index: u64) -> Vec<u8> {
        let mut frame = super::super::Preprocessing::new(3, HEIGHT, WIDTH, Resize::Cover).unwrap();
        frame.mean = vec![0.5; 3];
        let mut out = vec![1; pixels.len()];
        augment.apply(pixels, &frame, &mut rng(0, Purpose::Augment, 0, index), &mut out);
        out
    }

    #[test]
    fn an_affine_map_that_changes_nothing_is_exact() {
        let pixels = picture();
        let nothing = Affine { degrees: 0.0, translate: 0.0, scale: (1.0, 1.0), shear: 0.0 };
        let augment = Augment { affine: Some(nothing), ..Augment::default() };
        assert_eq!(apply(&augment, &pixels, 1), pixels);
    }

    #[test]
    fn flipping_twice_changes_nothing() {
        let pixels = picture();
        let flip = Augment { flip: true, ..Augment::default() };
        let flipped: Vec<u64> = (0..40).filter(|&index| apply(&flip, &pixels, index) != pixels).collect();
        assert!((10..30).contains(&flipped.len()), "every other time: {flipped:?}");
        for index in flipped {
            let once = apply(&flip, &pixels, index);
            assert_eq!(once[..3], pixels[WIDTH * 3 - 3..WIDTH * 3]);
            assert_eq!(apply(&flip, &once, index), pixels);
        }
    }

    #[test]
    fn cutout_fills_a_square_with_the_mean() {
        let black = vec![0; HEIGHT * WIDTH * 3];
        let sizes: Vec<usize> = (0..100)
            .map(|index| {
                let out = apply(&Augment { cutout: 3, ..Augment::default() }, &black, index);
                assert!(out.iter().all(|&value| value == 0 || value == 128));
                out.iter().filter(|&&value| value == 128).count() / 3
            })
            .collect();
        assert_eq!(
            (sizes.iter().max(), sizes.iter().min()),
            (Some(&9), Some(&4)),
            "corners are cut to 2 x 2"
        );
    }

    #[test]
    fn colours_change_about_their_means() {
        let mut pixels = [[100, 50, 200], [10, 60, 90]];
        recolour(&mut pixels, [1.0; 3]);
        assert_eq!(pixels, [[100, 50, 200], [10, 60, 90]]);
        recolour(&mut pixels, [1.0, 1.0, 0.0]);
        assert_eq!(pixels, [[82; 3], [48; 3]], "without saturation only luma is left");
        recolour(&mut pixels, [1.0, 0.0, 1.0]);
        assert_eq!(pixels, [[65; 3]; 2], "without contrast only the mean is left");
        recolour(&mut pixels, [5.0, 1.0, 1.0]);
        assert_eq!(pixels, [[255; 3]; 2]);
    }

    #[test]
    fn beta_has_its_moments() {
        for alpha in [0.2_f32, 1.0, 3.0] {
            let mut rng = rng(1, Purpose::Mix, 0, 0);
            let draws: Vec<f64> = (0..20_000).map(|_| beta(alpha, &mut rng).into()).collect();
            let mean = draws.iter().sum::<f64>() / 20_000.0;
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
            let expected = 1.0 / (4.0 * (2.0 * f64::from(alpha) + 1.0));
            assert!(
                (mean - 0.5).abs() < 0.01 && (variance / expected - 1.0).abs() < 0.05,
                "{mean} {variance}"
            );
        }
        let tiny = beta(1e-6, &mut rng(2, Purpose::Mix, 0, 0));
        assert!(tiny == 0.0 || tiny == 1.0, "{tiny}");
    }

    #[test]
    fn parameters_without_meaning_are_refused_by_name() {
        let affine = Affine { degrees: 1.0, translate: 0.1, scale: (0.5, 2.0), shear: 1.0 };
        let with = |affine| Augment { affine: Some(affine), ..Augment::default() };
        let cases = [
            (
                Augment { crop_padding: 5, ..Augment::default() },
                "crop_padding: expected at most 4 for pictures of 5 x 7",
            ),
            (Augment { cutout: 6, ..Augment::default() }, "cutout: expected at most 5"),
            (
                Augment { colour: -0.1, ..Augment::default() },
                "colour: expected a number from 0 to 1, received -0.1",
            ),
            (
                Augment { colour: f32::NAN, ..Augment::default() },
                "colour: expected a number from 0 to 1, received NaN",
            ),
            (Augment { mixup: f32::INFINITY, ..Augment::default() }, "mixup: expected a number from 0 to 4"),
            (with(Affine { degrees: -1.0, ..affine }), "affine.degrees: expected a number from 0 to 180"),
            (with(Affine { translate: 1.5, ..affine }), "affine.translate"),
            (
                with(Affine { scale: (0.0, 1.0), ..affine }),
                "affine.scale: expected a number from 0.01 to 100",
            ),
            (
                with(Affine { scale: (2.0, 1.0), ..affine }),
                "affine.scale: expected a number from 2 to 100, received 1",
            ),
            (with(Affine { shear: 90.0, ..affine }), "affine.shear: expected a number from 0 to 80"),
        ];
        for (augment, expected) in cases {
            let error = augment.validate(HEIGHT, WIDTH).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        for (height, width, channels) in [(28, 28, 1), (32, 40, 3), (1, 1, 3), (224, 200, 3)] {
            Augment::default_for(height, width, channels).validate(height, width).unwrap();
        }
    }
}
