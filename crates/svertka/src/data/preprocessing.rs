//! From a picture of any size to the numbers a network takes.

use serde::{Deserialize, Serialize};
use svertka_formats::Picture;

use crate::error::{Error, Result};

/// Longest side that pictures are fitted to.
const MAX_SIDE: usize = 16_384;

/// Colours, size and normalization of a network's input. It is stored in the model file, so that every program
/// that runs the model prepares pictures alike.
///
/// ```
/// use svertka::data::{Preprocessing, Resize};
/// use svertka::formats::Picture;
/// let input = Preprocessing { mean: vec![0.5], std: vec![0.25], ..Preprocessing::new(1, 1, 2, Resize::Cover)? };
/// let picture = input.fit(Picture::new(2, 1, 1, vec![0, 255])?)?;
/// let mut values = [0.0; 2];
/// input.write(&picture, &mut values)?;
/// assert_eq!(values, [-2.0, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// In pixels.
    pub height: usize,
    /// In pixels.
    pub width: usize,
    /// How a picture of other proportions is made to fit.
    pub resize: Resize,
    /// Subtracted from pixel values between 0 and 1, one per channel.
    pub mean: Vec<f32>,
    /// Divides what is left, one per channel.
    pub std: Vec<f32>,
}

/// How a picture of other proportions is made to fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// Height and width are scaled each by its own factor: all is seen, out of proportion.
    Stretch,
    /// The shorter side is scaled to fit and the longer one cropped at both ends.
    #[default]
    Cover,
}

impl Preprocessing {
    /// Without normalization: mean 0, std 1.
    ///
    /// # Errors
    /// See [`validate`](Self::validate).
    pub fn new(channels: usize, height: usize, width: usize, resize: Resize) -> Result<Self> {
        // The count is checked below; `min` keeps a wrong one from asking for memory.
        let of_each = |value| vec![value; channels.min(4)];
        let new = Self { channels, height, width, resize, mean: of_each(0.0), std: of_each(1.0) };
        new.validate()?;
        Ok(new)
    }

    /// Refuses values without meaning. The fields are public and may come from a file: call it on what was read.
    ///
    /// # Errors
    /// Channels other than 1 and 3; a side of 0 or above 16,384; not one mean and std per channel; a mean or std
    /// that is no number; a std that is not positive.
    pub fn validate(&self) -> Result<()> {
        let check = |argument: &str, right: bool, expected: String, received: String| match right {
            true => Ok(()),
            false => Err(Error::argument("preprocessing", argument, expected, received)),
        };
        let Self { channels, height, width, ref mean, ref std, .. } = *self;
        check("channels", matches!(channels, 1 | 3), "1 or 3".into(), channels.to_string())?;
        for (argument, side) in [("height", height), ("width", width)] {
            let expected = format!("1 to {MAX_SIDE} pixels");
            check(argument, (1..=MAX_SIDE).contains(&side), expected, side.to_string())?;
        }
        let right = mean.len() == channels && mean.iter().all(|value| value.is_finite());
        check("mean", right, format!("{channels} finite numbers"), format!("{mean:?}"))?;
        // The reciprocal is what is multiplied with, so it must be finite too.
        let right = std.len() == channels && std.iter().all(|value| value.is_normal() && *value > 0.0);
        check("std", right, format!("{channels} positive numbers"), format!("{std:?}"))
    }

    /// `picture` in the right colours and size; untouched where it has them already.
    ///
    /// # Errors
    /// A picture or preprocessing whose fields contradict each other.
    pub fn fit(&self, picture: Picture) -> Result<Picture> {
        self.validate()?;
        let picture = match (self.channels, picture.channels) {
            (1, 3) => picture.to_grey(),
            (3, 1) => picture.to_rgb(),
            _ => picture,
        };
        if (picture.height, picture.width) == (self.height, self.width) {
            return Ok(picture);
        }
        let resized = match self.resize {
            Resize::Stretch => picture.resize(self.width, self.height),
            Resize::Cover => picture.resize_cover(self.width, self.height),
        };
        resized.map_err(|error| Error::argument("preprocessing", "picture", "a consistent picture", error))
    }

    /// The normalized values of a fitted picture: channels x height x width.
    ///
    /// # Errors
    /// A picture that is not fitted; an `out` of another length than channels x height x width.
    pub fn write(&self, picture: &Picture, out: &mut [f32]) -> Result<()> {
        self.validate()?;
        let shape = (self.channels, self.height, self.width);
        let received = (picture.channels, picture.height, picture.width);
        if received != shape || picture.data.len() != self.len() {
            let expected = format!("{shape:?} (channels, height, width)");
            let received = format!("{received:?} with {} bytes", picture.data.len());
            return Err(Error::argument("preprocessing", "picture", expected, received));
        }
        if out.len() != self.len() {
            return Err(Error::argument("preprocessing", "out", format!("{} values", self.len()), out.len()));
        }
        self.normalize(&picture.data, None, out);
        Ok(())
    }

    /// Values of a fitted picture.
    pub(super) fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// As [`write`](Self::write), of a fitted picture's bytes; mixed with those of `other` in the proportion
    /// share : 1 - share where there is one.
    pub(super) fn normalize(&self, pixels: &[u8], other: Option<(&[u8], f32)>, out: &mut [f32]) {
        match self.channels {
            1 => self.normalize_to::<1>(pixels, other, out),
            _ => self.normalize_to::<3>(pixels, other, out),
        }
    }

    fn normalize_to<const C: usize>(&self, pixels: &[u8], other: Option<(&[u8], f32)>, out: &mut [f32]) {
        let pixels = pixels.as_chunks::<C>().0;
        for (c, plane) in out.chunks_exact_mut(self.height * self.width).enumerate() {
            let scale = 1.0 / (255.0 * self.std[c]);
            let offset = -self.mean[c] / self.std[c];
            match other {
                None => {
                    for (out, pixel) in plane.iter_mut().zip(pixels) {
                        *out = f32::from(pixel[c]) * scale + offset;
                    }
                }
                Some((other, share)) => {
                    let (scale, other_scale) = (scale * share, scale * (1.0 - share));
                    for ((out, pixel), other) in plane.iter_mut().zip(pixels).zip(other.as_chunks::<C>().0) {
                        *out = f32::from(pixel[c]) * scale + f32::from(other[c]) * other_scale + offset;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_are_normalized_one_by_one() {
        let plain = Preprocessing::new(3, 1, 2, Resize::Stretch).unwrap();
        let input = Preprocessing { mean: vec![0.0, 0.2, 1.0], std: vec![1.0, 0.5, 0.25], ..plain };
        let picture = Picture::new(2, 1, 3, vec![255, 51, 0, 0, 51, 255]).unwrap();
        let mut out = [0.0; 6];
        input.write(&picture, &mut out).unwrap();
        for (out, expected) in out.iter().zip([1.0, 0.0, 0.0, 0.0, -4.0, 0.0]) {
            assert!((out - expected).abs() < 1e-6, "{out} for {expected}");
        }
    }

    #[test]
    fn fitting_converts_colours_and_crops_the_longer_side() {
        let cover = Preprocessing::new(1, 2, 2, Resize::Cover).unwrap();
        let rows = [[0, 0, 90, 90, 200, 200, 0, 0]; 4].concat();
        let wide = Picture::new(8, 4, 1, rows).unwrap().to_rgb();
        let fitted = cover.fit(wide.clone()).unwrap();
        assert_eq!((fitted.channels, fitted.height, fitted.width), (1, 2, 2));
        assert!(fitted.data.iter().all(|&grey| grey >= 80), "the black ends are cropped: {:?}", fitted.data);
        let stretch = Preprocessing { resize: Resize::Stretch, ..cover };
        assert!(
            stretch.fit(wide).unwrap().data.iter().all(|&grey| grey < 120),
            "the black ends are averaged in"
        );
    }

    #[test]
    fn values_without_meaning_are_refused_by_name() {
        let good = Preprocessing::new(3, 5, 7, Resize::Cover).unwrap();
        type Spoil = fn(&mut Preprocessing);
        let cases: [(Spoil, &str); 8] = [
            (|p| p.channels = 2, "channels: expected 1 or 3, received 2"),
            (|p| p.height = 0, "height: expected 1 to 16384 pixels, received 0"),
            (|p| p.width = 1 << 40, "width: expected 1 to 16384 pixels"),
            (|p| p.mean[1] = f32::NAN, "mean: expected 3 finite numbers, received [0.0, NaN, 0.0]"),
            (|p| p.mean.truncate(2), "mean: expected 3 finite numbers"),
            (|p| p.std[2] = 0.0, "std: expected 3 positive numbers, received [1.0, 1.0, 0.0]"),
            (|p| p.std[2] = -1.0, "std: expected 3 positive numbers"),
            (|p| p.std[0] = f32::INFINITY, "std: expected 3 positive numbers"),
        ];
        for (spoil, expected) in cases {
            let mut bad = good.clone();
            spoil(&mut bad);
            let error = bad.validate().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let picture = Picture::new(7, 5, 1, vec![0; 35]).unwrap();
        let error = good.write(&picture, &mut [0.0; 105]).unwrap_err().to_string();
        assert!(
            error.contains("expected (3, 5, 7) (channels, height, width), received (1, 5, 7)"),
            "{error}"
        );
    }

    #[test]
    fn survives_json() {
        let input = Preprocessing {
            mean: vec![0.1307],
            std: vec![0.3081],
            ..Preprocessing::new(1, 28, 30, Resize::Cover).unwrap()
        };
        let json = serde_json::to_string(&input).unwrap();
        assert!(json.contains(r#""resize":"cover""#), "{json}");
        assert_eq!(serde_json::from_str::<Preprocessing>(&json).unwrap(), input);
    }
}
