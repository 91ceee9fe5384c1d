//! The one error type of this crate.

/// What a reader or a writer of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why bytes were refused, or why data cannot be written in a format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes (or the value to be written) break a rule of the format.
    #[error("{format}: {what}: expected {expected}, received {received}")]
    Malformed {
        /// Name of the format, as in "npy".
        format: &'static str,
        /// The part that is wrong.
        what: String,
        /// What would have been right.
        expected: String,
        /// What is there.
        received: String,
    },
    /// A size exceeds one of the [`Limits`](crate::Limits).
    #[error("{format}: {what}: expected at most {limit}, received {received}")]
    Limit {
        /// Name of the format.
        format: &'static str,
        /// The size that is limited, with its unit.
        what: String,
        /// Largest size that is accepted.
        limit: u64,
        /// Size that the input asks for; with compressed input the size at which reading was stopped.
        received: u64,
    },
    /// The bytes may be right, but use a part of the format that is not read here.
    #[error("{format}: {what} is not supported")]
    Unsupported {
        /// Name of the format.
        format: &'static str,
        /// The unsupported part.
        what: String,
    },
}

impl Error {
    pub(crate) fn malformed(
        format: &'static str,
        what: impl Into<String>,
        expected: impl Into<String>,
        received: impl Into<String>,
    ) -> Self {
        Self::Malformed { format, what: what.into(), expected: expected.into(), received: received.into() }
    }

    /// The same error, said of a part of a larger file.
    pub(crate) fn within(mut self, part: &str) -> Self {
        let (Self::Malformed { what, .. } | Self::Limit { what, .. } | Self::Unsupported { what, .. }) =
            &mut self;
        *what = format!("{part}: {what}");
        self
    }

    pub(crate) fn unsupported(format: &'static str, what: impl Into<String>) -> Self {
        Self::Unsupported { format, what: what.into() }
    }
}
