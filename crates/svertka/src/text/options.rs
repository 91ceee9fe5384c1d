//! What follows a layer's name: its main number, options, and a mode after a dash.

use crate::error::{Error, Result};
use crate::spec::{PaddingMode, Sizes};

/// What follows a layer's name.
pub(super) struct Options<'a> {
    pub(super) kind: &'a str,
    pub(super) rest: &'a str,
    pub(super) mode: Option<&'a str>,
}

impl<'a> Options<'a> {
    pub(super) fn error(&self, expected: &str) -> Error {
        let received = match self.mode {
            Some(mode) => format!("{:?} and -{mode}", self.rest),
            None => format!("{:?}", self.rest),
        };
        Error::argument(self.kind, "options", expected, received)
    }

    fn take(&mut self, allowed: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !allowed(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    pub(super) fn letter(&mut self) -> Option<char> {
        let letter = self.rest.chars().next()?;
        self.rest = &self.rest[letter.len_utf8()..];
        Some(letter)
    }

    pub(super) fn number(&mut self) -> Result<Option<usize>> {
        let digits = self.take(|c| c.is_ascii_digit());
        if digits.is_empty() {
            return Ok(None);
        }
        digits
            .parse()
            .map(Some)
            .map_err(|_| Error::argument(self.kind, "options", "a number", format!("{digits:?}")))
    }

    pub(super) fn required(&mut self) -> Result<usize> {
        self.number()?.ok_or_else(|| self.error("a number"))
    }

    pub(super) fn sizes(&mut self) -> Result<Sizes> {
        let mut sizes = vec![self.required()?];
        while let Some(rest) = self.rest.strip_prefix('x') {
            self.rest = rest;
            sizes.push(self.required()?);
        }
        Ok(Sizes::from(sizes))
    }

    pub(super) fn fraction(&mut self) -> Result<Option<f32>> {
        let digits = self.take(|c| c.is_ascii_digit() || c == '.');
        if digits.is_empty() {
            return Ok(None);
        }
        digits
            .parse()
            .map(Some)
            .map_err(|_| Error::argument(self.kind, "options", "a number", format!("{digits:?}")))
    }

    /// Whether an option of several letters stands here, of which the first was read: `nobias`, `ceil`.
    pub(super) fn word(&mut self, rest: &str) -> bool {
        let found = self.rest.strip_prefix(rest);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    /// A padding mode after a dash, if one stands there.
    pub(super) fn padding_mode(&mut self) -> Result<Option<PaddingMode>> {
        let Some(mode) = self.mode else { return Ok(None) };
        let modes = "-zeros, -replicate, -reflect, -symmetric or -circular";
        let mode = PaddingMode::from_name(mode).ok_or_else(|| self.error(modes))?;
        self.mode = None;
        Ok(Some(mode))
    }
}
