//! Argument values that are more than a number or a word.

use std::fmt::Display;
use std::str::FromStr;

use svertka::Accuracy;

/// `32` or `24x32`: height and width.
pub(crate) fn size(text: &str) -> Result<(usize, usize), String> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    Ok((number(height)?, number(width)?))
}

/// `3x224x224`: channels, height and width.
pub(crate) fn shape(text: &str) -> Result<[usize; 3], String> {
    let sizes: Vec<usize> = text.split('x').map(number).collect::<Result<_, _>>()?;
    sizes.try_into().map_err(|sizes: Vec<usize>| format!("expected CxHxW, received {} sizes", sizes.len()))
}

/// `90s`, `10m`, `1h30m`: seconds.
pub(crate) fn duration(text: &str) -> Result<f64, String> {
    let (mut seconds, mut rest) = (0.0, text);
    while let Some(end) = rest.find(['h', 'm', 's']) {
        let unit = match rest.as_bytes()[end] {
            b'h' => 3600.0,
            b'm' => 60.0,
            _ => 1.0,
        };
        seconds += number::<f64>(&rest[..end])? * unit;
        rest = &rest[end + 1..];
    }
    if rest.is_empty() && seconds > 0.0 && f64::is_finite(seconds) {
        return Ok(seconds);
    }
    Err("expected a time such as 90s, 10m or 1h30m".into())
}

/// `0.9..1.1`: smallest and largest.
pub(crate) fn range(text: &str) -> Result<(f32, f32), String> {
    let (low, high) = text.split_once("..").ok_or("expected two numbers such as 0.9..1.1")?;
    Ok((number(low)?, number(high)?))
}

/// A share of the work: `2/8` is the second eighth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Counted from 0.
    pub(crate) index: usize,
    pub(crate) count: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (index, count) = text.split_once('/').ok_or("expected a share such as 1/4")?;
        let (index, count): (usize, usize) = (number(index)?, number(count)?);
        if !(1..=count).contains(&index) {
            return Err(format!("expected a share from 1/{count} to {count}/{count}"));
        }
        Ok(Self { index: index - 1, count })
    }
}

fn number<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

/// [`Accuracy`], as a word.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum AccuracyClass {
    /// No more; least memory
    Strict,
    /// Up to three times as much
    Default,
    /// Up to twelve times as much
    Fast,
}

impl From<AccuracyClass> for Accuracy {
    fn from(class: AccuracyClass) -> Self {
        match class {
            AccuracyClass::Strict => Self::Strict,
            AccuracyClass::Default => Self::Default,
            AccuracyClass::Fast => Self::Fast,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_or_refused() {
        assert_eq!((size("32"), size("24x32")), (Ok((32, 32)), Ok((24, 32))));
        assert!(size("x32").is_err() && size("1x2x3").is_err());
        assert_eq!(shape("3x20x24"), Ok([3, 20, 24]));
        assert!(shape("3x20").is_err() && shape("").is_err());
        assert_eq!((duration("90s"), duration("1h30m"), duration("0.5m")), (Ok(90.0), Ok(5400.0), Ok(30.0)));
        for wrong in ["", "90", "m", "0s", "-1s", "1m30", "infs", "nans", "1d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(range("0.9..1.1"), Ok((0.9, 1.1)));
        assert!(range("0.9").is_err() && range("a..b").is_err());
        assert_eq!("2/8".parse(), Ok(Shard { index: 1, count: 8 }));
        for wrong in ["0/4", "5/4", "1/0", "4", "a/b"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
